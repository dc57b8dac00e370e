"""The backend of a replica on the machine that holds the data: reads from files, writes through the host.

Reads need nobody's help, so they go on when the host is down and say how old the state is. Where the host lives is for
`Host` to know: in this process it is the `actors.host.PartitionHost` itself, in a cluster something that calls it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypeVar

from actors.history import Told
from actors.item_view import ItemSource
from actors.reader import LocalProfiles, PartitionFiles
from actors.store import Store
from actors.wire import Marks, Placed, pack_drafts, pack_entries, unpack_marks, unpack_placed
from events.errors import BadRequest, EverfoldError, Unavailable
from events.ids import Key, Micros, Millis, PartitionId
from events.intake import Rejected
from events.quarantine import Entry
from events.record import Draft
from serving.backend import Part, Seen, Status
from serving.follower_host import unpack_status
from serving.host_numbers import HostFigures, follower_fault, follower_numbers
from serving.token import Token

T = TypeVar("T")
LOOK_S: Final = 0.002
"""Between two looks whether a write is visible. An item follower takes some 5 ms, so waiting longer would show."""
STATUS_S: Final = 1.0


class Host(Protocol):
    """The partition host (or hosts, behind one address); see `actors.host.PartitionHost` for the methods."""

    async def append(self, packed: bytes) -> bytes: ...

    async def set_aside(self, packed: bytes) -> None: ...

    async def imports(self, producer: str) -> bytes: ...

    async def status(self) -> dict[str, object]: ...


class Followers(Protocol):
    """The follower host; see `serving.follower_host.FollowerHost`."""

    async def status(self) -> bytes: ...


class LocalBackend:
    """`serving.backend.Backend` over a data folder. One event loop."""

    def __init__(self, store: Store, host: Host, followers: Followers, items: ItemSource, replicas: Replicas) -> None:
        self._store = store
        self._host = host
        self._followers = followers
        self._items = items
        self._replicas = replicas
        self._profiles = LocalProfiles(store)
        self._numbers = frozenset(store.numbers())
        self._files: dict[PartitionId, PartitionFiles] = {}
        self._history = ThreadPoolExecutor(1, thread_name_prefix="history")

    async def append(self, drafts: Sequence[Draft]) -> Sequence[Placed]:
        return unpack_placed(await self._host.append(pack_drafts(drafts)))

    async def set_aside(self, rejected: Sequence[Rejected], received_at: Millis) -> None:
        entries = [Entry(received_at, one.reason, one.detail, one.raw) for one in rejected]
        await self._host.set_aside(pack_entries(entries))

    async def imports(self, producer: str) -> Marks:
        return unpack_marks(await self._host.imports(producer))

    async def profile(self, key: Key, as_of: Micros | None = None) -> Seen:
        if as_of is None:
            return Seen(*self._profiles.glance(key))
        files, at = self._store.partition(key), as_of

        def look() -> Seen:
            opened = self._opened(files)
            return Seen(opened.history.as_of(key, at), opened.pulse.age_ms())

        return await self._aside(look)

    async def history(self, key: Key, limit: int) -> Sequence[Told]:
        number = self._store.partition(key)
        return await self._aside(lambda: self._opened(number).history.events(key, limit))

    async def seen(self, token: Token, wait_ms: int) -> bool:
        for partition, _ in token.marks:
            if partition not in self._numbers:
                raise BadRequest("`after` is a token of another store")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_ms / 1000
        while not self._sees(token):
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(LOOK_S)
        return True

    async def status(self) -> Status:
        faults: dict[Part, str] = {}
        numbers: dict[str, list[float]] = {"everfold_host_up": [0.0]}
        try:
            host = HostFigures.of(await asyncio.wait_for(self._host.status(), STATUS_S))
            numbers |= host.numbers()
            if host.fault():
                faults["log"] = host.fault()
        except (TimeoutError, EverfoldError, RuntimeError) as error:  # RuntimeError: a host closed in this process
            faults["log"] = f"the partition host does not answer ({error})"
        try:
            for number in self._numbers:
                self._profiles.applied(number)
        except Unavailable as error:
            faults["state"] = str(error)
        try:
            followers = unpack_status(await asyncio.wait_for(self._followers.status(), STATUS_S))
            numbers |= follower_numbers(followers)
            if follower_fault(followers):
                faults["followers"] = follower_fault(followers)
            self._items.snapshot()
        except (TimeoutError, EverfoldError) as error:
            faults["followers"] = f"the followers do not answer ({error})"
        if missing := self._replicas():
            faults["replicas"] = missing
        return Status(faults, numbers)

    async def close(self) -> None:
        await self._aside(self._close_files)
        self._history.shutdown()
        self._profiles.close()

    def _sees(self, token: Token) -> bool:
        """Whether state (and for items, their follower) is past every mark."""
        for partition, lsn in token.marks:
            if self._profiles.applied(PartitionId(partition)) <= lsn:
                return False
            if token.items and self._items.applied(partition) <= lsn:
                return False
        return True

    def _opened(self, number: PartitionId) -> PartitionFiles:
        """For the history thread only."""
        files = self._files.get(number)
        if files is None:
            files = self._files[number] = PartitionFiles(self._store.folder(number), number, self._store)
        return files

    def _close_files(self) -> None:
        for files in self._files.values():
            files.close()

    async def _aside(self, action: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._history, action)


Replicas = Callable[[], str]
"""Says what replicas are missing; empty when none is."""
