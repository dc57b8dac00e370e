"""The log in memory: for tests, the simulator, and as the shortest statement of what a log is."""

from __future__ import annotations

from collections.abc import Sequence

from events.errors import NotFound
from events.log import Durability
from events.record import Record


class MemoryLog:
    """A list of records. Every record is as durable as any other; followers may read it directly."""

    def __init__(self) -> None:
        self._start = 0
        self._records: list[Record] = []

    def bounds(self) -> tuple[int, int]:
        return self._start, self._start + len(self._records)

    def read(self, start: int, limit: int) -> Sequence[Record]:
        self._ensure_held(start)
        first = start - self._start
        return self._records[first : first + limit]

    def get(self, lsn: int) -> Record:
        self._ensure_held(lsn)
        if lsn >= self.bounds()[1]:
            raise NotFound(f"LSN {lsn} is not in the log yet: it ends at {self.bounds()[1]}")
        return self._records[lsn - self._start]

    def append(self, records: Sequence[Record], durability: Durability = "durable") -> None:
        end = self.bounds()[1]
        assert [record.lsn for record in records] == list(range(end, end + len(records))), f"append at {end}"
        self._records.extend(records)

    def trim(self, before: int) -> int:
        kept = min(max(before, self._start), self.bounds()[1])
        del self._records[: kept - self._start]
        self._start = kept
        return kept

    def close(self) -> None:
        """Nothing is held."""

    def _ensure_held(self, lsn: int) -> None:
        if lsn < self._start:
            raise NotFound(f"LSN {lsn} was trimmed: the log starts at {self._start}")
