"""Reading profiles without being their owner: from the same machine's files, or by asking the host.

`LocalProfiles` maps the state that the host commits; it needs nobody's help, and goes on answering from the last commit
when the host is down, telling how old that is. `HostProfiles` is for other machines: calls made while others are under
way travel together. Both pass one contract suite (``tests/actors/reader_contract.py``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from actors.batcher import Batcher
from actors.heartbeat import Pulse
from actors.history import History
from actors.lmdb_state import LmdbReader
from actors.profile import Glance, Head, Profile, Stored, decode, decode_head, mark
from actors.recovery import STATE
from actors.refold import OFFSET
from actors.store import Store
from actors.wire import View, pack_keys, unpack_views
from actors.working_set import PROFILES
from events.disk import LocalDisk
from events.ids import Key, PartitionId, key_hash
from events.segment_log import SegmentLogReader
from events.vault import SLOTS, VaultReader

HEADS_KEPT: Final = 8_192
"""Heads held by one reader, less than 1 kB each."""


class ProfileRead(NamedTuple):
    """What a reader saw."""

    profile: Profile | None
    """None: never heard of."""
    partition: PartitionId
    applied: int
    """Every record of the partition below this LSN is folded in."""
    age_ms: int
    """0 while the host lives; else how long ago this was known to be the newest; -1: unknown."""


class Glanced(NamedTuple):
    """`ProfileRead` for who may not need the whole profile."""

    profile: Glance | None
    age_ms: int


class ProfileReader(Protocol):
    async def fetch(self, key: Key) -> ProfileRead:
        """The profile of ``key`` as of the last commit. Raises `Unavailable` where there is no state to read."""
        ...


class PartitionFiles:
    """One partition's files, read-only, for one thread."""

    def __init__(self, folder: Path, number: PartitionId, store: Store) -> None:
        """Opens lazily; nothing is created. Raises `NotFound` where the partition was never opened by an owner."""
        disk = LocalDisk(folder)
        self.number = number
        self.pulse = Pulse(folder)
        self.state = LmdbReader(folder / STATE)
        self.log = SegmentLogReader(folder)
        self.vault = VaultReader(disk.open(SLOTS, "read"), store.secrets.vault_wrap)
        self.history = History(number, store.secrets.key_hash, self.state, self.log, self.vault)

    def close(self) -> None:
        self.log.close()
        self.vault.close()
        self.pulse.close()
        self.state.close()


class LocalProfiles:
    """Profiles from this machine's files. For one thread; `read` takes microseconds and never waits for the host."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._secret = store.secrets.key_hash
        self._states: dict[PartitionId, tuple[LmdbReader, Pulse]] = {}
        self._heads: OrderedDict[bytes, tuple[bytes, Head]] = OrderedDict()
        for number in store.numbers():
            folder = store.folder(number)
            self._states[number] = (LmdbReader(folder / STATE), Pulse(folder))

    def read(self, key: Key) -> ProfileRead:
        """The profile of ``key`` as of the last commit. Raises `Unavailable` where there is no state to read."""
        view = self.view(key)
        return ProfileRead(
            None if view.blob is None else decode(view.blob), PartitionId(view.partition), view.applied, view.age_ms
        )

    async def fetch(self, key: Key) -> ProfileRead:
        return self.read(key)

    def glance(self, key: Key) -> Glanced:
        """As `read`, but decodes only what every answer looks at, once per version of the profile."""
        state, pulse = self._states[self._store.partition(key)]
        name = key_hash(self._secret, key)
        blob = state.get(PROFILES, name)
        if blob is None:
            self._heads.pop(name, None)
            return Glanced(None, pulse.age_ms())
        return Glanced(Stored(self._head(name, blob), blob), pulse.age_ms())

    def _head(self, name: bytes, blob: bytes) -> Head:
        seen = mark(blob)
        known = self._heads.get(name)
        if known is not None and known[0] == seen:
            self._heads.move_to_end(name)
            return known[1]
        head = decode_head(blob)
        self._heads[name] = seen, head
        if len(self._heads) > HEADS_KEPT:
            self._heads.popitem(last=False)
        return head

    def view(self, key: Key) -> View:
        """`read` without decoding."""
        number = self._store.partition(key)
        state, pulse = self._states[number]
        values, offsets = state.look(PROFILES, (key_hash(self._secret, key),))
        return View(values[0], number, offsets.get(OFFSET, 0), pulse.age_ms())

    def applied(self, number: PartitionId) -> int:
        """Every record of the partition below this LSN is folded in."""
        return self._states[number][0].offsets().get(OFFSET, 0)

    def close(self) -> None:
        for state, pulse in self._states.values():
            state.close()
            pulse.close()


class HostCalls(Protocol):
    """How to ask hosts; with Ray a handle, in one process the host itself."""

    async def views(self, number: PartitionId, packed: bytes) -> bytes:
        """`View` s of the packed keys, all of partition ``number``."""
        ...


class HostProfiles:
    """Profiles from their hosts. One event loop."""

    def __init__(self, store: Store, calls: HostCalls) -> None:
        self._store = store
        self._calls = calls
        self._batchers = {number: Batcher(self._asking(number)) for number in store.numbers()}

    async def fetch(self, key: Key) -> ProfileRead:
        (view,) = await self._batchers[self._store.partition(key)].submit([key])
        return ProfileRead(
            None if view.blob is None else decode(view.blob), PartitionId(view.partition), view.applied, view.age_ms
        )

    def _asking(self, number: PartitionId) -> Callable[[Sequence[Key]], Awaitable[Sequence[View]]]:
        async def ask(keys: Sequence[Key]) -> Sequence[View]:
            return unpack_views(await self._calls.views(number, pack_keys(keys)))

        return ask
