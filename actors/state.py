"""The state store: what a fold keeps, with the offsets it was folded up to, committed together.

Because the offset of the last folded record commits in the same transaction as the state, every record has its effect
exactly once, whatever crashes. A store is a cache of the log: losing it costs a replay, nothing else. Two backends,
`MemoryState` and `actors.lmdb_state.LmdbState`, pass one contract suite (``tests/actors/state_contract.py``).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Protocol, TypeAlias

from events.errors import DiskFull

Change: TypeAlias = tuple[str, bytes, bytes | None]
"""(table, key, value); None deletes. Keys are 1..511 bytes."""

NO_OFFSETS: Mapping[str, int] = {}


class StateReader(Protocol):
    """A consistent look at the last commit. Every call stands alone: nothing is held open between two calls."""

    def get(self, table: str, key: bytes) -> bytes | None: ...

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of ``keys`` in their order, as of one commit."""
        ...

    def scan(self, table: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """(key, value) in key order from ``start`` on. Read in pieces: commits in between may show."""
        ...

    def offsets(self) -> dict[str, int]:
        """Per source, the next offset to fold."""
        ...

    def close(self) -> None: ...


class HeldTable(Protocol):
    """One table and the offsets as of one commit, for as long as it is held."""

    @property
    def offsets(self) -> Mapping[str, int]: ...

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]: ...

    def rows(self, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Up to ``limit`` (key, value) in key order from ``start`` on."""
        ...

    def entries(self) -> int:
        """How many rows the table has."""
        ...


class HoldingReader(StateReader, Protocol):
    """A `StateReader` that can look several times at one commit."""

    def held(self, table: str) -> AbstractContextManager[HeldTable]:
        """Leave it within a fraction of a second: whoever holds an old commit keeps every page written since."""
        ...


class StateStore(StateReader, Protocol):
    """What a fold needs on top. Six methods in all."""

    def commit(
        self, changes: Iterable[Change], offsets: Mapping[str, int] = NO_OFFSETS, emptied: Sequence[str] = ()
    ) -> None:
        """Empty the tables ``emptied``, then apply ``changes`` in order, then set ``offsets``: all or nothing.

        Survives ``kill -9`` on return; a machine crash may lose it, then the log is replayed.
        """
        ...


class MemoryState:
    """Tables in memory. While `full` is set, commits fail like those of a full disk."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[bytes, bytes]] = {}
        self._order: dict[str, list[bytes]] = {}
        self._offsets: dict[str, int] = {}
        self.full = False

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._tables.get(table, {}).get(key)

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        rows = self._tables.get(table, {})
        return [rows.get(key) for key in keys]

    def scan(self, table: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        while True:
            order = self._order.get(table, [])
            at = bisect_left(order, start)
            if at == len(order):
                return
            key = order[at]
            yield key, self._tables[table][key]
            start = key + b"\x00"

    def offsets(self) -> dict[str, int]:
        return dict(self._offsets)

    @contextmanager
    def held(self, table: str) -> Iterator[HeldTable]:
        yield _HeldRows(self, table)

    def tables(self) -> list[str]:
        """Names of the tables that were ever written to, sorted."""
        return sorted(self._tables)

    def commit(
        self, changes: Iterable[Change], offsets: Mapping[str, int] = NO_OFFSETS, emptied: Sequence[str] = ()
    ) -> None:
        if self.full:
            raise DiskFull("the state has no room: give it some, then send again")
        changes = list(changes)
        for table in emptied:
            self._tables.pop(table, None)
            self._order.pop(table, None)
        for table, key, value in changes:
            self._put(table, key, value)
        self._offsets.update(offsets)

    def close(self) -> None:
        pass

    def _put(self, table: str, key: bytes, value: bytes | None) -> None:
        rows = self._tables.setdefault(table, {})
        order = self._order.setdefault(table, [])
        if value is None:
            if rows.pop(key, None) is not None:
                del order[bisect_left(order, key)]
            return
        if key not in rows:
            insort(order, key)
        rows[key] = value


class _HeldRows:
    """Nobody commits to a `MemoryState` while another looks: both are one thread."""

    def __init__(self, state: MemoryState, table: str) -> None:
        self._state = state
        self._table = table
        self.offsets = state.offsets()

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._state.get_many(self._table, keys)

    def rows(self, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        return list(islice(self._state.scan(self._table, start), limit))

    def entries(self) -> int:
        return sum(1 for _ in self._state.scan(self._table))
