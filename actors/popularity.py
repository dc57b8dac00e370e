"""Decayed popularity: of every item, and the most popular of the store and of every category of every level.

Two sums per item, half-life a month: *organic* events, and those a recommendation led to (``list_id``); a third, with a
half-life of a week, is what `actors.trending` holds against them. Lists rank by organic + `FEEDBACK` · recommended:
what a list was offered is picked partly because it was offered, and a ranking that took such picks at face value would
feed itself. Personal data plays no part: an event without consent for personalization counts as one anonymous event
more.

Forward decay never changes the order of two items by time alone, so a list needs a look only when one of its items, or
one that might enter, gained weight; the lists are always exactly what a full sort would give.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from actors.catalogue import Catalogue, key, keys
from actors.column import Column
from actors.ranked import Floats, Indices, Ints, best, distinct
from actors.recency import MONTH_MS, WEEK_MS
from actors.state import Change, StateReader

COUNTS: Final = "popularity"
"""idx → (organic, recommended, lately), decayed sums; rows of older stores end before ``lately``."""
POPULAR: Final = "popular"
"""category or `ALL` → the best items with their sums."""
ALL: Final = 0xFFFF_FFFF
TOP: Final = np.dtype([("idx", "<i4"), ("sum", "<f8")])

LISTED: Final = 200
HALF_LIFE_MS: Final = MONTH_MS
"""Long enough to outlast a weekly rhythm, short enough to follow a season."""
FEEDBACK: Final = 0.25
"""A store whose every page is a recommendation would have no popularity at all with 0."""
LATELY_MS: Final = WEEK_MS
"""Half-life of the sum that tells what is going on: shorter than a week, and every Saturday would be a trend."""
_ROW = struct.Struct("<ddd")


class Popularity:
    """The sums in memory (24 bytes per item), rows and lists in the store."""

    def __init__(self, store: StateReader, catalogue: Catalogue) -> None:
        self._store = store
        self._catalogue = catalogue
        self._organic: Column[np.float64] = Column(np.float64, 0.0)
        self._recommended: Column[np.float64] = Column(np.float64, 0.0)
        self._lately: Column[np.float64] = Column(np.float64, 0.0)
        self._touched: set[int] = set()
        self._rebuild: set[int] = set()
        self._grow()
        for name, row in store.scan(COUNTS):
            idx = int.from_bytes(name, "big")
            sums = _ROW.unpack(row.ljust(_ROW.size, b"\0"))
            self._organic.values[idx], self._recommended.values[idx], self._lately.values[idx] = sums

    def learn(self, items: Ints, weight: Floats, recommended: bool, lately: Floats | None = None) -> None:
        """Add event weights, already multiplied by `actors.recency.weight` of their time: ``weight`` under
        `HALF_LIFE_MS`, ``lately`` under `LATELY_MS`."""
        self._grow()
        column = self._recommended if recommended else self._organic
        np.add.at(column.values, items, weight)
        if lately is not None:
            np.add.at(self._lately.values, items, lately * FEEDBACK if recommended else lately)
        self._touched.update(items.tolist())

    def moved(self, idx: int, was: int) -> None:
        """An item with weight left the leaf category ``was``: the lists it was in and is in now are made anew."""
        self._grow()
        if self._sums(np.array([idx]))[0] > 0:
            lineage = self._catalogue.categories.lineage
            for leaf in (was, int(self._catalogue.leaf[idx])):
                if leaf >= 0:
                    self._rebuild.update(lineage[leaf][lineage[leaf] >= 0].tolist())

    def organic(self) -> Floats:
        """By item: the sum of what nobody was led to. A view: valid until the next call."""
        self._grow()
        return self._organic.values

    def sums(self, items: Ints) -> tuple[Floats, Floats]:
        """Of each item the sums that lists rank by, under `HALF_LIFE_MS` and under `LATELY_MS`."""
        self._grow()
        return self._sums(items), self._lately.values[items]

    def top(self, category: int, limit: int) -> Indices:
        """The best items of a category as of the last commit."""
        row = self._store.get(POPULAR, key(category))
        return np.frombuffer(row or b"", TOP)["idx"][:limit]

    def changes(self) -> list[Change]:
        """Rows and lists that changed since the last call."""
        if not self._touched and not self._rebuild:
            return []
        self._grow()  # a list made anew looks at everything of its category, also at what is new and untouched
        touched = np.fromiter(sorted(self._touched), np.int64, len(self._touched))
        rows = np.column_stack([column.values[touched] for column in self._columns()]).tolist()
        out: list[Change] = [(COUNTS, name, _ROW.pack(*row)) for name, row in zip(keys(touched), rows, strict=True)]
        for category, entered in self._lists(touched):
            if category not in self._rebuild:
                out.append(self._listed(category, distinct(np.concatenate([self.top(category, LISTED), entered]))))
        out += [self._listed(category, self._catalogue.members(category)) for category in sorted(self._rebuild)]
        self._touched.clear()
        self._rebuild.clear()
        return out

    def _lists(self, touched: Ints) -> list[tuple[int, Ints]]:
        """(list, the touched items that belong in it) for every list concerned."""
        leaf = self._catalogue.leaf[touched]
        inside = touched[leaf >= 0]
        lineage = self._catalogue.categories.lineage[leaf[leaf >= 0]]
        where = lineage.ravel()
        items = np.repeat(inside, lineage.shape[1])[where >= 0]
        where = where[where >= 0]
        order = np.argsort(where, kind="stable")
        where, items = where[order], items[order]
        cuts = np.flatnonzero(np.diff(where)) + 1
        lists = [
            (int(where[at]), part) for at, part in zip([0, *cuts], np.split(items, cuts), strict=True) if len(part)
        ]
        return [(ALL, touched), *lists] if len(touched) else []

    def _listed(self, category: int, candidates: Ints) -> Change:
        sums = self._sums(candidates)
        order = best(candidates, sums, LISTED)
        order = order[sums[order] > 0]
        row = np.empty(len(order), TOP)
        row["idx"], row["sum"] = candidates[order], sums[order]
        return (POPULAR, key(category), row.tobytes())

    def _sums(self, items: Ints) -> Floats:
        return self._organic.values[items] + FEEDBACK * self._recommended.values[items]

    def _columns(self) -> tuple[Column[np.float64], ...]:
        return self._organic, self._recommended, self._lately

    def _grow(self) -> None:
        for column in self._columns():
            column.grow(self._catalogue.size)
