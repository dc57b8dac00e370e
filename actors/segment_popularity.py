"""Popularity within segments: what the people of each segment do most, decayed as all popularity is.

Learned from acts of people who allow it, each counted in every segment its person is in at that moment, as the facts
about entering and leaving say (`actors.steps` remembers). A segment keeps at most `KEPT` items: beyond it the weakest
give way, so that what leads a list is exact but for items that fell below some hundreds of others in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from actors.popularity import TOP
from actors.ranked import best
from actors.state import Change, StateReader

POPULAR_IN: Final = "popular_in"
"""Segment's name → its items with their sums (`actors.popularity.TOP`), strongest first."""

KEPT: Final = 512
"""6 kB a row, which every commit in which somebody of the segment acted writes anew."""
_SURVIVE: Final = KEPT * 7 // 8
"""Of a full segment, so that not every further item has to look for the weakest."""


class SegmentPopularity:
    """Sums of the segments touched since the start in memory, at most 512 items each."""

    def __init__(self, store: StateReader) -> None:
        self._store = store
        self._sums: dict[str, dict[int, float]] = {}
        self._touched: set[str] = set()

    def learn(self, segments: Iterable[str], items: Iterable[int], weight: float) -> None:
        """An act of somebody who is in ``segments``; ``weight`` as `actors.popularity.Popularity.learn` takes it."""
        for segment in segments:
            sums = self._of(segment)
            for idx in items:
                sums[idx] = sums.get(idx, 0.0) + weight
            if len(sums) > KEPT:
                ranked = sorted(sums.items(), key=lambda entry: (-entry[1], entry[0]))
                self._sums[segment] = dict(ranked[:_SURVIVE])
            self._touched.add(segment)

    def drop(self, segment: str) -> None:
        """There is no such segment any more."""
        self._sums[segment] = {}
        self._touched.add(segment)

    def changes(self) -> list[Change]:
        """Rows that changed since the last call."""
        out: list[Change] = [
            (POPULAR_IN, segment.encode(), _row(self._sums[segment]) or None) for segment in sorted(self._touched)
        ]
        self._touched.clear()
        return out

    def _of(self, segment: str) -> dict[int, float]:
        sums = self._sums.get(segment)
        if sums is None:
            held = np.frombuffer(self._store.get(POPULAR_IN, segment.encode()) or b"", TOP)
            sums = self._sums[segment] = dict(zip(held["idx"].tolist(), held["sum"].tolist(), strict=True))
        return sums


def _row(sums: dict[int, float]) -> bytes:
    idx, values = np.fromiter(sums, np.int64, len(sums)), np.fromiter(sums.values(), np.float64, len(sums))
    order = best(idx, values, len(idx))
    row = np.empty(len(idx), TOP)
    row["idx"], row["sum"] = idx[order], values[order]
    return row.tobytes()
