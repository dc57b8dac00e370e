"""Trending: what is done more, these days, than its own month would lead one to expect.

    excess(i) = (o - e) / √(e + `PRIOR`),   o = sum under a week's half-life,   e = month's sum · (week / month)

A decayed sum over its half-life is a rate, so for something done at a steady pace o = e and it does not trend, however
popular it is. The root makes it a standard score as of counts; `PRIOR` keeps two looks at something new from being a
trend.

An item's excess can only rise when the item is touched; left alone it sinks. So the list is kept from itself and what a
batch touched. Both sums are listed, and readers weigh them as of their own snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from actors.catalogue import key
from actors.popularity import ALL, HALF_LIFE_MS, LATELY_MS, Popularity
from actors.ranked import Floats, Indices, Row, best, distinct
from actors.recency import weight
from actors.state import Change, StateReader

TRENDING: Final = "trending"
"""`ALL` → items with both sums."""
TREND: Final = np.dtype([("idx", "<i4"), ("sum", "<f8"), ("lately", "<f8")])
LISTED: Final = 200
PRIOR: Final = 10.0
"""In event weights: two purchases."""


class Trending:
    """The list, in the store; its sums are popularity's."""

    def __init__(self, store: StateReader, popularity: Popularity) -> None:
        self._store = store
        self._popularity = popularity

    def changes(self, touched: Iterable[int], clock: int) -> list[Change]:
        """The list after ``touched`` items gained weight, as of ``clock`` (ms); to be called after they did."""
        fresh = np.array(sorted(touched), np.int64)
        if not len(fresh):
            return []
        listed = np.frombuffer(self._store.get(TRENDING, key(ALL)) or b"", TREND)["idx"]
        items = distinct(np.concatenate((fresh, listed.astype(np.int64))))
        total, lately = self._popularity.sums(items)
        how = excess(total, lately, clock)
        order = best(items, how, LISTED)
        order = order[how[order] > 0]
        row = np.empty(len(order), TREND)
        row["idx"], row["sum"], row["lately"] = items[order], total[order], lately[order]
        return [(TRENDING, key(ALL), row.tobytes())]


def excess(total: Floats, lately: Floats, clock: int) -> Floats:
    """See the module; of stored sums, read at ``clock`` (ms).

    >>> from actors.recency import LANDMARK_MS
    >>> excess(np.array([30.0]), np.array([7.0 + 68 ** 0.5]), LANDMARK_MS).round(9).tolist()
    [2.0]
    """
    observed = lately / weight(clock, LATELY_MS)
    expected = total / weight(clock, HALF_LIFE_MS) * (LATELY_MS / HALF_LIFE_MS)
    return np.asarray((observed - expected) / np.sqrt(expected + PRIOR))


def served(row: bytes, clock: int) -> Row:
    """The stored list as of ``clock``: items with an excess above 0, largest first, ties by index."""
    listed = np.frombuffer(row, TREND)
    how = excess(listed["sum"], listed["lately"], clock)
    order = best(listed["idx"], how, LISTED)
    order = order[how[order] > 0]
    idx: Indices = listed["idx"][order].astype(np.int32)
    score: npt.NDArray[np.float32] = how[order].astype(np.float32)
    return idx, score
