"""Exploration pool: items worth trying, because they are new or promising and have hardly been shown.

    score(i) = (2^(-age/`NEW_MS`) + √s / (1 + s)) / (1 + seen)

``age`` is the time since the item was first heard of; s its organic acts, decayed with a half-life of a month and in
units of a purchase; ``seen`` its impressions, decayed likewise. The second term is 1/2 for an item with one purchase's
worth of evidence and falls on both sides: of what nobody touched nothing is known, and what everybody buys needs no
trying. A new item comes before it for a fortnight. Impressions are counted for everybody, as one anonymous look more:
they say something of the item alone.

The pool is a look at all items (2 ms per 100,000), so it is made anew in idle moments only, when items came or
`REFRESH` impressions or acts were counted.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from actors.catalogue import Catalogue, key, keys
from actors.column import Column
from actors.popularity import ALL, HALF_LIFE_MS, Popularity
from actors.ranked import Floats, Ints, best, pack
from actors.recency import weight, weights
from actors.signals import SIGNALS
from actors.state import Change, StateReader

EXPOSURE: Final = "exposure"
"""idx → (impressions, decayed sum; when first heard of, ms)."""
POOL: Final = "pool"
"""`ALL` → the pool, packed."""
LISTED: Final = 200
NEW_MS: Final = 14 * 86_400_000
REFRESH: Final = 256
"""Twenty lists of twelve."""
UNIT: Final = SIGNALS["purchase"].weight
LONG_KNOWN: Final = -(2.0**62)
"""When items of older stores were first heard of."""
_ROW = struct.Struct("<dd")


class Exploration:
    """Impressions and first times in memory (16 bytes per item), rows and the pool in the store."""

    def __init__(self, store: StateReader, catalogue: Catalogue, popularity: Popularity) -> None:
        self._catalogue = catalogue
        self._popularity = popularity
        self._seen: Column[np.float64] = Column(np.float64, 0.0)
        self._born: Column[np.float64] = Column(np.float64, LONG_KNOWN)
        self._touched: set[int] = set()
        self._waiting = 0
        self._grow()
        for name, row in store.scan(EXPOSURE):
            idx = int.from_bytes(name, "big")
            self._seen.values[idx], self._born.values[idx] = _ROW.unpack(row)

    def born(self, first: int, at: int) -> None:
        """Items from number ``first`` on came at ``at`` (ms)."""
        self._grow()
        self._born.values[first:] = at
        self._touched.update(range(first, self._catalogue.size))
        self._waiting = REFRESH

    def shown(self, items: Ints, at: Ints) -> None:
        """One impression of each entry of ``items``, at ``at`` (ms) of the same place."""
        self._grow()
        np.add.at(self._seen.values, items, weights(at, HALF_LIFE_MS))
        self._touched.update(items.tolist())
        self._waiting += len(items)

    def acted(self, count: int) -> None:
        """So many item acts were learned by popularity."""
        self._waiting += count

    def changes(self) -> list[Change]:
        """Rows that changed since the last call."""
        if not self._touched:
            return []
        touched = np.fromiter(sorted(self._touched), np.int64, len(self._touched))
        rows = np.column_stack((self._seen.values[touched], self._born.values[touched])).tolist()
        self._touched.clear()
        return [(EXPOSURE, name, _ROW.pack(*row)) for name, row in zip(keys(touched), rows, strict=True)]

    def refresh(self, clock: int) -> list[Change]:
        """The pool as of ``clock`` (ms), where enough happened."""
        if self._waiting < REFRESH:
            return []
        self._waiting = 0
        self._grow()
        allowed = np.flatnonzero(~self._catalogue.blocked)
        unit = weight(clock, HALF_LIFE_MS)
        acts = self._popularity.organic()[allowed] / (unit * UNIT)
        score = worth_trying(acts, self._seen.values[allowed] / unit, clock - self._born.values[allowed])
        if len(allowed) > LISTED:
            least = np.partition(score, len(score) - LISTED)[len(score) - LISTED]
            allowed, score = allowed[score >= least], score[score >= least]
        order = best(allowed, score, LISTED)
        order = order[score[order] > 0]
        return [(POOL, key(ALL), pack(allowed[order], score[order]))]

    def _grow(self) -> None:
        self._seen.grow(self._catalogue.size)
        self._born.grow(self._catalogue.size)


def impressions_of(row: bytes | None) -> float:
    """The stored sum of a row of `EXPOSURE`; 0 without one."""
    return float(_ROW.unpack(row)[0]) if row else 0.0


def worth_trying(acts: Floats, seen: Floats, age: Floats) -> Floats:
    """See the module. ``acts`` in purchases, ``age`` in ms; an item of the future counts as new.

    >>> worth_trying(np.array([0.0, 1.0, 1.0]), np.array([0.0, 0.0, 3.0]), np.array([NEW_MS, 1e15, 1e15])).tolist()
    [0.5, 0.5, 0.125]
    """
    new = np.exp2(-np.clip(age / NEW_MS, 0.0, 1000.0))
    return np.asarray((new + np.sqrt(acts) / (1.0 + acts)) / (1.0 + seen))
