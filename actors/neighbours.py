"""From counters to the rows that are served: what goes with an item, what is bought like it.

A row is made anew when one of its item's own pairs changed; a partner's mass moving alone does not, because lifts and
cosines of a row move together slowly and rows would otherwise all change with every event. A category's row is made
anew when its mass grew by `REFRESH_GROWTH`; when it doubled, the rows of its items follow, so that items with thin
evidence of their own keep up with what their type learned.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from actors.backlog import Backlog
from actors.catalogue import Catalogue, key, keys
from actors.column import Column
from actors.covisitation import HALF_LIFE_MS, Covisitation, Level
from actors.item_knn import SHRINK, SUPPORT_MIN, cosine
from actors.lift import (
    STRENGTH_CATEGORY,
    STRENGTH_ITEM,
    STRENGTH_TYPE,
    damped,
    posterior,
    tempered,
)
from actors.pairs import Pairs, lookup, merged, pair_keys
from actors.popularity import Popularity
from actors.ranked import Floats, Ints, best, best_of_rows, distinct, pack, unpack
from actors.recency import weight
from actors.state import Change, StateReader

COVISITED: Final = "covisited"
"""idx → row by lift."""
SIMILAR: Final = "similar"
"""idx → row by cosine."""
BACKOFF: Final = "backoff"
"""category → what goes with it: served for items with no row of their own."""

SERVED: Final = 64
BACKOFF_TYPES: Final = 16
"""Types named by a back-off row, and the items of each: enough for a row of `SERVED` after blocked ones fall out."""
BACKOFF_ITEMS: Final = 6
BACKOFF_LOOK: Final = 24
BACKOFF_PARENTS: Final = 8
"""Categories whose types are considered although the type at hand was never seen with them."""
REFRESH_GROWTH: Final = 1.05


class Neighbours:
    """Makes served rows; backlogs name the rows that wait."""

    def __init__(
        self, store: StateReader, catalogue: Catalogue, popularity: Popularity, covisitation: Covisitation
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._popularity = popularity
        self._counts = covisitation
        self.items_waiting = Backlog(store, "items")
        self.categories_waiting = Backlog(store, "categories")
        self._refreshed: Column[np.float64] = Column(np.float64, 0.0)
        self._spread: Column[np.float64] = Column(np.float64, 0.0)
        self._grow()
        everything = np.arange(len(catalogue.categories))
        self._refreshed.values[:] = self._spread.values[:] = self._mass(everything)

    def touched(self, pairs: Pairs) -> None:
        """Note the rows that a batch of item pairs made out of date."""
        items = distinct(pairs.left)
        self.items_waiting.add(items.tolist())
        leaf = distinct(self._catalogue.leaf[items])
        leaf = leaf[leaf >= 0]
        known = np.union1d(leaf, self._catalogue.categories.parent[leaf]).astype(np.int64)
        known = known[known >= 0]
        self._grow()
        mass = self._mass(known)
        self.categories_waiting.add(known[mass > REFRESH_GROWTH * self._refreshed.values[known]].tolist())

    def items(self, ids: Ints, clock: int) -> list[Change]:
        """The served rows of ``ids`` (ascending, each once), with evidence weighed as of ``clock`` (ms)."""
        if not len(ids):
            return []
        unit = weight(clock, HALF_LIFE_MS)
        level = self._counts.items
        own = level.rows.rows(ids)
        like = cosine(own.sums, level.out[own.left], level.into[own.right], SHRINK * unit)
        known = own.sums >= SUPPORT_MIN * unit
        pairs = merged(own, self._candidates(ids))
        left, right = pairs.left, pairs.right
        leaf = self._catalogue.leaf.astype(np.int64)
        prior = damped(self._type_lift(leaf[left], leaf[right], unit))
        lift = posterior(pairs.sums, level.expected(left, right), prior, STRENGTH_ITEM * unit)
        goes = lift > 1.0
        rank = tempered(lift[goes], level.into[right[goes]] / level.total) if level.total else lift[goes]
        return [
            *_rows(COVISITED, ids, left[goes], right[goes], rank),
            *_rows(SIMILAR, ids, own.left[known], own.right[known], like[known]),
        ]

    def categories(self, numbers: Ints, clock: int) -> list[Change]:
        """The back-off rows of ``numbers``."""
        unit = weight(clock, HALF_LIFE_MS)
        self._grow()
        out: list[Change] = []
        for number in numbers.tolist():
            mass = float(self._mass(np.array([number]))[0])
            self._refreshed.values[number] = mass
            if mass > 2 * self._spread.values[number]:
                self._spread.values[number] = mass
                members = np.flatnonzero(self._catalogue.leaf == number)
                self.items_waiting.add(members[self._counts.items.out[members] > 0].tolist())
            out.append((BACKOFF, key(number), self._backoff(number, unit)))
        return out

    def _grow(self) -> None:
        self._refreshed.grow(len(self._catalogue.categories))
        self._spread.grow(len(self._catalogue.categories))

    def _mass(self, categories: Ints) -> Floats:
        return np.asarray(self._counts.types.out[categories] + self._counts.categories.out[categories])

    def _candidates(self, ids: Ints) -> Pairs:
        """Pairs without evidence of their own: each item with what goes with its type (or its type's category)."""
        leaf = self._catalogue.leaf[ids]
        found = {number: served_backoff(self._store, self._catalogue, number) for number in distinct(leaf).tolist()}
        rows = [found[number] for number in leaf.tolist()]
        right = np.concatenate(rows).astype(np.int64)
        left = np.repeat(ids, [len(row) for row in rows])
        keys = np.sort(pair_keys(left, right)[left != right])
        return Pairs(keys, np.zeros(len(keys)))

    def _type_lift(self, left: Ints, right: Ints, unit: float) -> Floats:
        """Lift between types, backed off to their categories; 1 where an item has no type."""
        parent = self._catalogue.categories.parent.astype(np.int64)
        typed = np.flatnonzero((left >= 0) & (right >= 0))
        lift = np.ones(len(left))
        t, u = left[typed], right[typed]
        lift[typed] = _level_lift(
            self._counts.types,
            t,
            u,
            damped(self._category_lift(parent[t], parent[u], unit)),
            STRENGTH_TYPE * unit,
        )
        return lift

    def _category_lift(self, left: Ints, right: Ints, unit: float) -> Floats:
        """Lift between the parent categories of types; 1 where a type has none."""
        known = np.flatnonzero((left >= 0) & (right >= 0))
        lift = np.ones(len(left))
        lift[known] = _level_lift(
            self._counts.categories, left[known], right[known], np.ones(len(known)), STRENGTH_CATEGORY * unit
        )
        return lift

    def _backoff(self, number: int, unit: float) -> bytes:
        """What goes with a category: the most popular items of the categories that go with it, itself left out."""
        typed = self._counts.types.out[number] > 0
        others = self._other_types(number, unit) if typed else self._other_categories(number)
        here = np.full(len(others), number, np.int64)
        lift = self._type_lift(here, others, unit) if typed else self._category_lift(here, others, unit)
        level = self._counts.types if typed else self._counts.categories
        if not len(others) or not level.total:
            return b""
        order = best(others, tempered(lift, level.into[others] / level.total), BACKOFF_TYPES)
        order = order[lift[order] > 1.0]
        chosen = [self._offered(int(others[at])) for at in order]
        items = np.concatenate([np.zeros(0, np.int64), *chosen])
        rank = np.repeat(damped(lift[order]), [len(part) for part in chosen])
        rank = tempered(rank, self._counts.items.into[items] / max(self._counts.items.total, 1e-300))
        items, first = np.unique(items, return_index=True)
        ranked = best(items, rank[first], SERVED)
        return pack(items[ranked], rank[first][ranked])

    def _other_types(self, number: int, unit: float) -> Ints:
        """Types seen with a type, and those of the categories that go best with its category."""
        seen = self._counts.types.rows.rows(np.array([number], np.int64)).right
        parents = self._catalogue.categories.parent
        above = int(parents[number])
        if above >= 0:
            categories = self._other_categories(above)
            lift = self._category_lift(np.full(len(categories), above, np.int64), categories, unit)
            near = categories[best(categories, lift, BACKOFF_PARENTS)]
            into = self._counts.types.into
            seen = np.union1d(seen, np.flatnonzero(np.isin(parents, near) & (into[: len(parents)] > 0)))
        return np.asarray(seen[seen != number])

    def _other_categories(self, number: int) -> Ints:
        seen = self._counts.categories.rows.rows(np.array([number], np.int64)).right
        return np.asarray(seen[seen != number])

    def _offered(self, category: int) -> Ints:
        popular = self._popularity.top(category, BACKOFF_LOOK)
        return popular[~self._catalogue.blocked[popular]][:BACKOFF_ITEMS].astype(np.int64)


def served_backoff(store: StateReader, catalogue: Catalogue, leaf: int) -> Ints:
    """The items of the nearest back-off row at or above a leaf category."""
    if leaf >= 0:
        for number in catalogue.categories.lineage[leaf].tolist():
            row = store.get(BACKOFF, key(number)) if number >= 0 else None
            if row:
                return unpack(row)[0].astype(np.int64)
    return np.zeros(0, np.int64)


def _level_lift(level: Level, left: Ints, right: Ints, prior: Floats, strength: float) -> Floats:
    n = lookup(level.rows.rows(distinct(left)), pair_keys(left, right))
    return posterior(n, level.expected(left, right), prior, strength)


def _rows(table: str, ids: Ints, left: Ints, right: Ints, rank: Floats) -> list[Change]:
    """One served row per id; ``left`` ascends and ``right`` ascends within it."""
    order = best_of_rows(left, rank, SERVED)
    left, right32, rank32 = left[order], right[order].astype("<i4"), rank[order].astype("<f4")
    ends = np.searchsorted(left, ids, side="right").tolist()
    starts = np.searchsorted(left, ids).tolist()
    return [
        (table, name, right32[start:end].tobytes() + rank32[start:end].tobytes())
        for name, start, end in zip(keys(ids), starts, ends, strict=True)
    ]
