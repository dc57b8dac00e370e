"""Every fact counts once: the ids of the last day, in buckets that are dropped whole, surviving restarts.

Decayed sums are not idempotent, so a retried event must be known again. The ids lie in memory (`actors.id_set`, behind
a filter that says which bucket to ask) and, in the same commit as the state they belong to, in one table per bucket. A
bucket covers an eighth of the window or a fixed number of ids, whichever ends first. Time is ``appended``, never a
clock, so replay forgets what live forgot. Facts of our own producers carry (producer, seq) and are no part of this.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from actors.id_filter import SETS, IdFilter
from actors.id_set import IdSet, pack_ids
from actors.state import Change, StateReader

DAY_US = 86_400_000_000
TABLES = SETS
"""Names of bucket tables, used in turn."""
CHUNK_BYTES = 4096
"""Ids are kept in rows of up to one page, the last of which is rewritten until it is full."""

_ONE = np.uint64(1)
_FACTS = struct.Struct("<QQQ")
_FACTS_KEY = b"\x00"
_CHUNK_KEY = struct.Struct(">BI")


@dataclass(frozen=True)
class DedupeSettings:
    """``ids_max``: 10 M ids are 340 MB of memory and a day at 115 events/s per partition; beyond it the oldest bucket
    gives way, which is counted. ``window_us``: SDKs retry for hours, not days. ``bucket_ids``: 8 MB."""

    ids_max: int = 10_000_000
    window_us: int = DAY_US
    bucket_ids: int = 262_144
    buckets_per_window: int = 8

    def __post_init__(self) -> None:
        assert self.ids_max >= 2 * self.bucket_ids, "at least two buckets, so that one can be dropped whole"
        assert self.ids_max // self.bucket_ids + self.buckets_per_window + 3 <= TABLES


@dataclass
class _Bucket:
    number: int
    first_at: int
    last_at: int
    ids: IdSet = field(default_factory=IdSet)
    chunk: int = 0
    tail: bytes = b""

    @property
    def place(self) -> int:
        return self.number % TABLES

    @property
    def table(self) -> str:
        return f"dedupe-{self.place:02d}"

    def facts(self) -> Change:
        return (self.table, _FACTS_KEY, _FACTS.pack(self.number, self.first_at, self.last_at))


@dataclass
class Remembered:
    """What one commit has to do so that ids stay known."""

    changes: list[Change] = field(default_factory=list)
    emptied: list[str] = field(default_factory=list)

    def empty(self, table: str) -> None:
        """Drop the table, and what this same commit would have put into it."""
        self.changes = [change for change in self.changes if change[0] != table]
        self.emptied.append(table)


class Dedupe:
    """The ids known to one partition."""

    def __init__(self, settings: DedupeSettings) -> None:
        self._settings = settings
        self._buckets: list[_Bucket] = []
        self._filter = IdFilter(settings.bucket_ids)
        self.forgotten_early = 0
        """Ids given up before their window ended, because there were more than ``ids_max``."""

    @classmethod
    def load(cls, settings: DedupeSettings, state: StateReader) -> Dedupe:
        """As it was at the last commit."""
        dedupe = cls(settings)
        for index in range(TABLES):
            bucket = dedupe._load(state, f"dedupe-{index:02d}")
            if bucket is not None:
                dedupe._buckets.append(bucket)
        dedupe._buckets.sort(key=lambda bucket: bucket.number)
        return dedupe

    def __len__(self) -> int:
        return sum(len(bucket.ids) for bucket in self._buckets)

    def seen(self, ids: Sequence[bytes]) -> list[bool]:
        """For each id, whether it is known. Says nothing about repeats among ``ids``."""
        if not ids:
            return []
        rows = pack_ids(ids)
        known = np.zeros(len(ids), dtype=np.bool_)
        masks = self._filter.masks(rows)
        (asked,) = masks.nonzero()
        if len(asked):
            for bucket in self._buckets:
                here = asked[(masks[asked] >> np.uint64(bucket.place)) & _ONE != 0]
                if len(here):
                    known[here] |= bucket.ids.contains(rows[here])
        return known.tolist()

    def remember(self, ids: Sequence[bytes], at: int, out: Remembered) -> None:
        """Know ``ids`` (distinct, not seen) from now on; ``at`` is the ``appended`` of the last of them. What has to be
        committed is added to ``out``."""
        ids = list(ids)
        while ids:
            bucket = self._current(at, out)
            taken = ids[: self._settings.bucket_ids - len(bucket.ids)]
            del ids[: len(taken)]
            self._extend(bucket, taken, at, out)

    def _extend(self, bucket: _Bucket, ids: list[bytes], at: int, out: Remembered) -> None:
        rows = pack_ids(ids)
        bucket.ids.add(rows)
        self._filter.add(rows, bucket.place)
        bucket.last_at = at
        out.changes.append(bucket.facts())
        data = bucket.tail + b"".join(ids)
        for start in range(0, len(data), CHUNK_BYTES):
            bucket.tail = data[start : start + CHUNK_BYTES]
            out.changes.append((bucket.table, _CHUNK_KEY.pack(1, bucket.chunk), bucket.tail))
            if len(bucket.tail) == CHUNK_BYTES:
                bucket.chunk += 1
                bucket.tail = b""

    def _current(self, at: int, out: Remembered) -> _Bucket:
        """The bucket to add to, after dropping what is over and beginning a new one where due."""
        settings = self._settings
        while self._buckets and self._buckets[0].last_at < at - settings.window_us:
            self._drop_oldest(out)
        last = self._buckets[-1] if self._buckets else None
        span = settings.window_us // settings.buckets_per_window
        if last is not None and len(last.ids) < settings.bucket_ids and at - last.first_at < span:
            return last
        while len(self) + settings.bucket_ids > settings.ids_max:
            self.forgotten_early += self._drop_oldest(out)
        fresh = _Bucket(last.number + 1 if last else 0, at, at)
        self._buckets.append(fresh)
        return fresh

    def _drop_oldest(self, out: Remembered) -> int:
        """Forget the oldest bucket; returns how many ids that were."""
        oldest = self._buckets.pop(0)
        self._filter.clear(oldest.place)
        out.empty(oldest.table)
        return len(oldest.ids)

    def _load(self, state: StateReader, table: str) -> _Bucket | None:
        rows = iter(state.scan(table))
        facts = next(rows, None)
        if facts is None:
            return None
        number, first_at, last_at = _FACTS.unpack(facts[1])
        chunks = [value for _, value in rows]
        ids = pack_ids(b"".join(chunks))
        bucket = _Bucket(number, first_at, last_at, IdSet(len(ids)))
        bucket.ids.add(ids)
        self._filter.add(ids, bucket.place)
        bucket.chunk = len(chunks)
        if chunks and len(chunks[-1]) < CHUNK_BYTES:
            bucket.chunk -= 1
            bucket.tail = chunks[-1]
        return bucket
