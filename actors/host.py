"""The host of some partitions: an asyncio shell around one writer thread and one reader thread.

The event loop never touches LMDB or a sync. Writes are queued, bounded, with a deadline (`actors.writer`); reads look
at committed files and go on where writes have stopped. A plain class: in a cluster `actors.on_ray` wraps it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from actors.partition import ensure_sound
from actors.profile import encode as encode_profile
from actors.reader import LocalProfiles, PartitionFiles
from actors.recovery import Opening, OwnedPartition
from actors.store import Store
from actors.wire import (
    Marks,
    Placed,
    View,
    pack_history,
    pack_marks,
    pack_placed,
    pack_views,
    unpack_drafts,
    unpack_entries,
    unpack_keys,
)
from actors.writer import Job, Writer, WriterSettings
from events.errors import EverfoldError, NotOwner, PartitionStopped, SyncFailed, Unavailable
from events.ids import Key, PartitionId
from events.record import Draft

T = TypeVar("T")
Ends = Mapping[PartitionId, int]
"""Partition → the LSN up to which (exclusive) everything is durable and folded."""

WRITE_S: Final = 5.0
"""How long a write is waited for before its caller is told to come back."""


@dataclass(frozen=True)
class HostSettings:
    """``checkpoint_s`` bounds the replay after a machine crash; ``readers_s``: how soon entries of dead readers are
    freed; states above ``close_checkpoint_bytes`` are not copied at a clean close, which is to take seconds."""

    writer: WriterSettings = field(default_factory=WriterSettings)
    beat_s: float = 1.0
    readers_s: float = 10.0
    checkpoint_s: float = 600.0
    close_checkpoint_bytes: int = 256 << 20


class PartitionHost:
    """Some partitions of one store, from `start` to `close`. All methods belong to one event loop."""

    def __init__(
        self, store: Store, numbers: Sequence[PartitionId], opening: Opening, settings: HostSettings | None = None
    ) -> None:
        self._store = store
        self._numbers = list(numbers)
        self._opening = opening
        self._settings = settings or HostSettings()
        self._owned: dict[PartitionId, OwnedPartition] = {}
        self._files: dict[PartitionId, PartitionFiles] = {}
        self._profiles = LocalProfiles(store)
        self._upkeep = ThreadPoolExecutor(1, thread_name_prefix="upkeep")
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="reader")
        self._tasks: list[asyncio.Task[None]] = []
        self._listeners: list[Callable[[Ends], None]] = []
        self._waiters: list[tuple[PartitionId, int, asyncio.Future[None]]] = []
        self._ends: dict[PartitionId, int] = {}
        self._checkpointed: dict[PartitionId, int] = {}
        self.unopened: dict[PartitionId, EverfoldError] = {}
        """Partitions that cannot be opened, and why; the others work."""

    async def start(self) -> None:
        """Open every partition, replaying what has to be; then take calls.

        Raises `Held` naming the pid of another owner, `NotFound` for a missing folder. A partition that is damaged is
        kept out (`unopened`) or takes no writes (its `stopped`), with the others working.
        """
        self._loop = asyncio.get_running_loop()
        try:
            await self._loop.run_in_executor(self._upkeep, self._open)
        except BaseException:
            for owned in self._owned.values():
                owned.close()
            self._upkeep.shutdown(wait=False)
            raise
        self._writer = Writer(self._owned, self._settings.writer, self._committed)
        self._writer.start()
        self._ends = {number: owned.partition.end for number, owned in self._owned.items()}
        self._checkpointed = dict(self._ends)
        self._tasks = [
            asyncio.create_task(self._every(self._settings.beat_s, self._beat)),
            asyncio.create_task(self._every(self._settings.readers_s, self._check_readers)),
            asyncio.create_task(self._every(self._settings.checkpoint_s, self._checkpoint)),
        ]

    async def append(self, packed: bytes, timeout_s: float = WRITE_S) -> bytes:
        """Packed drafts in, packed `Placed` out, in order; each draft is durable and folded, or known, or set aside.

        Raises `Unavailable` in one of its kinds: some partition did not take its part in time. Others may have: the
        caller sends all of it again, with the same ids.
        """
        drafts = unpack_drafts(packed)
        ensure_sound(drafts)
        places: dict[PartitionId, list[int]] = {}
        for index, draft in enumerate(drafts):
            places.setdefault(self._store.partition(Key(draft.key)), []).append(index)
        deadline = time.monotonic() + timeout_s
        jobs = [self._job(number, [drafts[index] for index in at], deadline) for number, at in places.items()]
        self._writer.submit(jobs)
        outcomes = await self._in_time(asyncio.gather(*(asyncio.wrap_future(job.done) for job in jobs)), timeout_s)
        placed: list[Placed | None] = [None] * len(drafts)
        for (number, at), told in zip(places.items(), outcomes, strict=True):
            for index, outcome in zip(at, told, strict=True):
                placed[index] = Placed(outcome.status, number, outcome.lsn, outcome.reason)
        return pack_placed([each for each in placed if each is not None])

    async def set_aside(self, packed: bytes) -> None:
        """Put packed entries into quarantine: the first working partition's. Raises `Unavailable`."""
        entries = unpack_entries(packed)
        for owned in self._owned.values():
            if owned.partition.stopped is None:
                return await self._on_writer(partial(owned.partition.set_aside, entries))
        raise PartitionStopped("no partition of this host takes writes: see its status")

    async def erase(self, key: Key, reason: str = "") -> Placed:
        """Destroy the key of a subject: its facts are unreadable on return. LSN -1: there was nothing to erase."""
        number = self._store.partition(key)
        lsn = await self._on_writer(partial(self._owner(number).partition.erase, key, reason))
        if lsn >= 0:
            self._moved({number: lsn + 1})
        return Placed("ok", number, lsn)

    async def imports(self, producer: str) -> bytes:
        """Packed `Marks`: how far ``producer`` came in each partition, and every import known."""

        def ask() -> bytes:
            working = {number: owned.partition for number, owned in self._owned.items()}
            known = [each for partition in working.values() for each in partition.imports()]
            return pack_marks(Marks({number: each.mark(producer) for number, each in working.items()}, known))

        return await self._on_writer(ask)

    async def views(self, number: PartitionId, packed: bytes) -> bytes:
        """Packed `View` s of the packed keys (``number`` is where the caller believes they live)."""

        def look() -> bytes:
            return pack_views([self._profiles.view(key) for key in unpack_keys(packed)])

        return await self._loop.run_in_executor(self._reading, look)

    async def history(self, key: Key, limit: int) -> bytes:
        """The newest ``limit`` facts of ``key``, newest first, packed."""
        number = self._store.partition(key)
        return await self._loop.run_in_executor(
            self._reading, lambda: pack_history(self._read(number).history.events(key, limit))
        )

    async def as_of(self, key: Key, appended: int) -> bytes:
        """A packed list of one `View`: the profile as known at ``appended`` (microseconds, inclusive)."""
        number = self._store.partition(key)

        def look() -> bytes:
            profile = self._read(number).history.as_of(key, appended)
            return pack_views([View(encode_profile(profile) if profile.version else None, number, profile.lsn + 1, 0)])

        return await self._loop.run_in_executor(self._reading, look)

    async def applied(self, number: PartitionId, lsn: int, timeout_s: float) -> bool:
        """Wait until the record at ``lsn`` is folded and committed; False when that took too long."""
        self._owner(number)
        if self._ends.get(number, 0) > lsn:
            return True
        done: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append((number, lsn, done))
        try:
            await asyncio.wait_for(done, timeout_s)
        except TimeoutError:
            return False
        finally:
            self._waiters = [waiter for waiter in self._waiters if waiter[2] is not done]
        return True

    def listen(self, listener: Callable[[Ends], None]) -> None:
        """``listener`` is told, on the event loop, the new ends of the partitions that moved: a hint to followers."""
        self._listeners.append(listener)

    async def checkpoint(self) -> None:
        """Copy every state that moved since its last checkpoint."""
        await self._checkpoint()

    async def status(self) -> dict[str, object]:
        """Figures for metrics and readiness; plain values only."""
        return await self._loop.run_in_executor(self._reading, self._status)

    async def close(self) -> None:
        """Finish what was accepted, checkpoint, and leave everything clean."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._loop.run_in_executor(self._upkeep, self._close)
        self._upkeep.shutdown()
        self._reading.shutdown()

    def _open(self) -> None:
        for number in self._numbers:
            try:
                self._owned[number] = OwnedPartition(self._store.folder(number), number, self._opening)
            except PartitionStopped as error:
                self.unopened[number] = error

    def _close(self) -> None:
        self._writer.stop()
        self._reading.submit(self._close_files).result()
        for owned in self._owned.values():
            if (
                owned.partition.stopped is None
                and owned.state.usage()["bytes"] <= self._settings.close_checkpoint_bytes
            ):
                owned.checkpoint()
            owned.close()

    def _close_files(self) -> None:
        for files in self._files.values():
            files.close()
        self._profiles.close()

    def _owner(self, number: PartitionId) -> OwnedPartition:
        owned = self._owned.get(number)
        if owned is not None:
            return owned
        if number in self.unopened:
            error = self.unopened[number]
            raise type(error)(str(error))
        raise NotOwner(f"partition {number} does not live on this host: look the placement up again")

    def _job(self, number: PartitionId, drafts: list[Draft], deadline: float) -> Job:
        self._owner(number)
        return Job(number, drafts, deadline)

    async def _on_writer(self, action: Callable[[], T]) -> T:
        return await self._in_time(asyncio.wrap_future(self._writer.call(action)), WRITE_S)

    async def _in_time(self, waiting: asyncio.Future[T], timeout_s: float) -> T:
        try:
            return await asyncio.wait_for(waiting, timeout_s)
        except TimeoutError:
            raise Unavailable(
                f"the write was not finished within {timeout_s:g} s: send again with the same ids"
            ) from None

    def _read(self, number: PartitionId) -> PartitionFiles:
        files = self._files.get(number)
        if files is None:
            files = self._files[number] = PartitionFiles(self._store.folder(number), number, self._store)
        return files

    def _committed(self, ends: Ends) -> None:
        self._loop.call_soon_threadsafe(self._moved, ends)

    def _moved(self, ends: Ends) -> None:
        self._ends.update(ends)
        for number, lsn, done in self._waiters:
            if self._ends.get(number, 0) > lsn and not done.done():
                done.set_result(None)
        for listener in self._listeners:
            listener(ends)

    async def _every(self, seconds: float, action: Callable[[], object]) -> None:
        while True:
            await asyncio.sleep(seconds)
            done = action()
            if asyncio.iscoroutine(done):
                await done

    def _beat(self) -> None:
        for owned in self._owned.values():
            owned.heartbeat.touch("loop")

    async def _check_readers(self) -> None:
        def check() -> None:
            for owned in self._owned.values():
                owned.state.check_readers()

        await self._loop.run_in_executor(self._upkeep, check)

    async def _checkpoint(self) -> None:
        for number, owned in self._owned.items():
            if owned.partition.stopped is None and self._checkpointed[number] != self._ends[number]:
                end = self._ends[number]
                await self._on_writer(partial(owned.log.append, []))
                await self._loop.run_in_executor(self._upkeep, owned.checkpoints.take, owned.state)
                self._checkpointed[number] = end

    def _status(self) -> dict[str, object]:
        writer = self._writer
        return {
            "partitions": {number: self._partition_status(owned) for number, owned in self._owned.items()},
            "unopened": {number: str(error) for number, error in self.unopened.items()},
            "fatal": self._fatal(),
            "waiting": writer.waiting,
            "events": writer.events,
            "append": writer.append_time.as_dict(),
            "sync": writer.sync_time.as_dict(),
            "quarantined": dict(writer.quarantined),
        }

    def _partition_status(self, owned: OwnedPartition) -> dict[str, object]:
        stopped = owned.partition.stopped
        return {
            **owned.partition.status(),
            **{f"lmdb_{name}": value for name, value in owned.state.usage().items()},
            "epoch": owned.epoch,
            "stopped": "" if stopped is None else str(stopped),
        }

    def _fatal(self) -> str:
        """Why this process had better be replaced by a new one; empty when it need not."""
        for owned in self._owned.values():
            if isinstance(owned.partition.stopped, SyncFailed | NotOwner):
                return str(owned.partition.stopped)
        return ""
