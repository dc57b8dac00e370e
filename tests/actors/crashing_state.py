"""A state store whose process dies at a chosen commit: before it, or right after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from actors.state import NO_OFFSETS, Change, StateStore


class Crash(Exception):
    """The process is gone."""


class CrashingState:
    def __init__(self, kept: StateStore, crash_at: int, after: bool) -> None:
        """``kept`` outlives the process; commit number ``crash_at`` (from 0) dies, before or ``after`` its effect."""
        self.kept = kept
        self._left = crash_at
        self._after = after

    def get(self, table: str, key: bytes) -> bytes | None:
        return self.kept.get(table, key)

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        return self.kept.get_many(table, keys)

    def scan(self, table: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        return self.kept.scan(table, start)

    def offsets(self) -> dict[str, int]:
        return self.kept.offsets()

    def close(self) -> None:
        self.kept.close()

    def commit(
        self, changes: Iterable[Change], offsets: Mapping[str, int] = NO_OFFSETS, emptied: Sequence[str] = ()
    ) -> None:
        self._left -= 1
        if self._left == -1 and not self._after:
            raise Crash
        self.kept.commit(changes, offsets, emptied)
        if self._left == -1:
            raise Crash
