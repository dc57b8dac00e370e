"""One machine: what outlives its processes. Its disk, the states committed on it, its replicas' spools, its clock.

A process that dies leaves all of it as it was. A power loss takes unsynced bytes from the disk (`events.memory_disk`),
every state (none is trusted after one; a checkpoint may be left) and the ends of the spools, which nobody syncs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random
from typing import Final

from actors.state import HeldTable, MemoryState
from events.errors import Unavailable
from events.ids import Micros
from events.memory_disk import MemoryDisk
from events.secrets import Secrets
from serving import spool
from simulate.scheduler import Scheduler

SECRETS: Final = Secrets.derive(bytes(range(32)))


class Machine:
    """See the module. ``spools`` is an empty folder of the real file system: spools are no part of the disk port."""

    def __init__(self, seed: int, scheduler: Scheduler, spools: Path) -> None:
        self.disk = MemoryDisk(seed)
        self.spools = spools
        self.skew_us = 0
        """What its clock is off by."""
        self.power_losses = 0
        self._scheduler = scheduler
        self._random = Random(f"{seed} machine")
        self._states: dict[str, MemoryState] = {}
        self._copies: dict[str, MemoryState] = {}

    def now(self) -> Micros:
        """`events.clock.Clock`."""
        return Micros(self._scheduler.now + self.skew_us)

    def state(self, name: str) -> MemoryState | None:
        """The trusted state of this name, if there is one."""
        return self._states.get(name)

    def put(self, name: str, state: MemoryState) -> None:
        """From now on this is the state of that name."""
        self._states[name] = state

    def checkpoint(self, name: str) -> None:
        """Copy a state aside."""
        self._copies[name] = copied(self._states[name])

    def restored(self, name: str) -> MemoryState | None:
        """A copy of the checkpoint, if there is one."""
        held = self._copies.get(name)
        return None if held is None else copied(held)

    def lose_power(self) -> int:
        """See the module; returns how many spools were cut."""
        self.power_losses += 1
        self.disk.crash()
        self._states.clear()
        return sum(self._cut(spool.path_of(self.spools, name)) for name in spool.spools(self.spools))

    def _cut(self, path: Path) -> bool:
        """Keep a part of a spool, its last bytes perhaps garbled."""
        data = path.read_bytes()
        left = self._random.choice((0, len(spool.MAGIC), self._random.randint(0, len(data)), len(data)))
        kept = bytearray(data[:left])
        if len(kept) > 64 and self._random.random() < 0.5:
            kept[-32:] = bytes(32)
        if kept == data:
            return False
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
        os.write(descriptor, kept)
        os.close(descriptor)
        return True


class Shared:
    """A state as other processes read it: whatever state has that name at the moment."""

    def __init__(self, machine: Machine, name: str) -> None:
        self._machine = machine
        self._name = name

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._state().get(table, key)

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._state().get_many(table, keys)

    def scan(self, table: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        return self._state().scan(table, start)

    def offsets(self) -> dict[str, int]:
        return self._state().offsets()

    def held(self, table: str) -> AbstractContextManager[HeldTable]:
        return self._state().held(table)

    def close(self) -> None:
        """Nothing is held."""

    def _state(self) -> MemoryState:
        state = self._machine.state(self._name)
        if state is None:
            raise Unavailable(f"the state {self._name} is being made anew")
        return state


def copied(state: MemoryState) -> MemoryState:
    """Another state that holds the same."""
    other = MemoryState()
    other.commit([(table, key, value) for table in state.tables() for key, value in state.scan(table)], state.offsets())
    return other
