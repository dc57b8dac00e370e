"""The log protocol: an append-only, ordered sequence of records of one partition.

Two backends, `events.memory_log.MemoryLog` and `events.segment_log.SegmentLog`, pass one contract suite
(``tests/events/log_contract.py``). LSNs are dense; the first is `start`, the next to be given is `end`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol, TypeAlias

from events.record import Record

Durability: TypeAlias = Literal["durable", "os"]
"""``durable``: fdatasync before the call returns. ``os``: handed to the operating system, survives ``kill -9``."""


class LogReader(Protocol):
    """What followers and history need. Never shows a record past the durable watermark."""

    def bounds(self) -> tuple[int, int]:
        """(start, end): the first LSN still held and the one after the last readable one."""
        ...

    def read(self, start: int, limit: int) -> Sequence[Record]:
        """Up to ``limit`` records from LSN ``start`` on, in order. Empty at the end.

        Raises `Corrupt` for a bad sealed segment, `NotFound` below the log's start.
        """
        ...

    def get(self, lsn: int) -> Record:
        """One record. Raises `NotFound` outside the bounds."""
        ...


class Log(LogReader, Protocol):
    """What a partition needs on top: append, forget the oldest, close. Six methods in all."""

    def append(self, records: Sequence[Record], durability: Durability = "durable") -> None:
        """Append; the first record's LSN must equal ``end``. All or nothing.

        Raises `DiskFull` (nothing was kept; may be called again) or `SyncFailed` (never call again).
        """
        ...

    def trim(self, before: int) -> int:
        """Drop whole segments that lie below LSN ``before``; returns the new start."""
        ...

    def close(self) -> None:
        """Mark a clean end and let go of the files."""
        ...


def scan(log: LogReader, start: int, stop: int | None = None, chunk: int = 2048) -> Iterator[Record]:
    """Every record from ``start`` up to ``stop`` (default: the end as of now)."""
    stop = log.bounds()[1] if stop is None else stop
    while start < stop:
        records = log.read(start, min(chunk, stop - start))
        if not records:
            return
        yield from records
        start = records[-1].lsn + 1
