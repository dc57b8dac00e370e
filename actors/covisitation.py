"""Co-visitation: what people do after, or buy together with, what they just did.

Two kinds of evidence go into one directed counter n(i → j), half-life a quarter:

* the items of one event (an order) are an unordered set: every ordered pair gets 1/(n - 1), so each item of a basket
  gives weight 1 and large baskets do not outshout small ones. Above `BASKET_MAX` items a deterministic sample is taken.
* consecutive events of one subject are directed and lagged (`actors.steps`), with weight 0.6^(lag - 1), each item of
  the earlier event sharing it over the items of the later.

The same pairs are counted at three levels: items, their types (leaf categories) and the types' parent categories.
`actors.lift` says how the levels are combined.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xxhash

from actors.catalogue import Catalogue, key, keys
from actors.column import Column
from actors.pairs import PairRows, Pairs, summed
from actors.ranked import Floats, Indices, Ints, distinct
from actors.recency import QUARTER_MS, weights
from actors.state import Change, StateReader
from actors.steps import Transition

HALF_LIFE_MS: Final = QUARTER_MS
BASKET_MAX: Final = 64
"""0.3 % of supermarket baskets are larger; pairs grow with the square."""
PARTNERS_ITEM: Final = 200
PARTNERS_TYPE: Final = 600
"""Types are few and their rows carry the back-off, so they may be long."""

_MASS = struct.Struct("<dd")


@dataclass(frozen=True, slots=True)
class Basket:
    """The items of one event, ascending, each once, at least two."""

    items: tuple[int, ...]
    at: int


def sampled(items: Sequence[int], seed: bytes, most: int = BASKET_MAX) -> tuple[int, ...]:
    """At most ``most`` of ``items``, ascending: those whose hash with the event's id is lowest, so that neither order
    nor number decides who is left out, and replay agrees.

    >>> sampled([3, 1, 2], b"e"), len(sampled(range(100), b"e", 10))
    ((1, 2, 3), 10)
    """
    if len(items) <= most:
        return tuple(sorted(items))
    return tuple(sorted(sorted(items, key=lambda i: (xxhash.xxh3_64_intdigest(seed + key(i)), i))[:most]))


class Level:
    """Pair rows of one level with the exact masses expected counts are made of."""

    def __init__(self, store: StateReader, name: str, kept: int) -> None:
        self.rows = PairRows(store, f"pairs:{name}", kept)
        self._table = f"mass:{name}"
        self._out: Column[np.float64] = Column(np.float64, 0.0)
        self._into: Column[np.float64] = Column(np.float64, 0.0)
        for row_key, row in store.scan(self._table):
            number = int.from_bytes(row_key, "big")
            self.grow(number + 1)
            self._out.values[number], self._into.values[number] = _MASS.unpack(row)
        self.total = float(self._out.values.sum())

    @property
    def out(self) -> Floats:
        """Weight given, by number."""
        return self._out.values

    @property
    def into(self) -> Floats:
        """Weight received, by number."""
        return self._into.values

    def grow(self, size: int) -> None:
        self._out.grow(size)
        self._into.grow(size)

    def expected(self, left: Ints, right: Ints) -> Floats:
        """out_left · in_right / total; 0 in an empty store."""
        return self.out[left] * self.into[right] / self.total if self.total > 0 else np.zeros(len(left))

    def learn(self, pairs: Pairs) -> list[Change]:
        """Count ``pairs``; the rows that change, to be committed before the next call."""
        if not len(pairs.keys):
            return []
        left, right = pairs.left, pairs.right
        np.add.at(self.out, left, pairs.sums)
        np.add.at(self.into, right, pairs.sums)
        self.total += float(pairs.sums.sum())
        seen = distinct(np.concatenate([left, right]))
        masses = np.column_stack([self.out[seen], self.into[seen]]).tolist()
        rows = [(self._table, name, _MASS.pack(*mass)) for name, mass in zip(keys(seen), masses, strict=True)]
        return rows + self.rows.add(pairs)


class Covisitation:
    """The counters of the three levels."""

    def __init__(self, store: StateReader, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.items = Level(store, "item", PARTNERS_ITEM)
        self.types = Level(store, "type", PARTNERS_TYPE)
        self.categories = Level(store, "category", PARTNERS_TYPE)
        self.grow()

    def grow(self) -> None:
        """Make room for what came into the catalogue."""
        self.items.grow(self._catalogue.size)
        self.types.grow(len(self._catalogue.categories))
        self.categories.grow(len(self._catalogue.categories))

    def learn(self, baskets: Sequence[Basket], transitions: Sequence[Transition]) -> tuple[Pairs, list[Change]]:
        """Count one batch: the item pairs it held, and the rows it changes."""
        self.grow()
        pairs = summed(*_joined(_basket_pairs(baskets), _transition_pairs(transitions)))
        leaf = self._catalogue.leaf
        types = _lifted(pairs, leaf)
        categories = _lifted(types, self._catalogue.categories.parent)
        changes = self.items.learn(pairs) + self.types.learn(types) + self.categories.learn(categories)
        return pairs, changes


def _lifted(pairs: Pairs, coarser: Indices) -> Pairs:
    """``pairs`` counted by the coarser numbers of their members; those without one are left out."""
    if not len(pairs.keys):
        return pairs
    left, right = coarser[pairs.left].astype(np.int64), coarser[pairs.right].astype(np.int64)
    known = (left >= 0) & (right >= 0)
    return summed(left[known], right[known], pairs.sums[known])


_Triples = tuple[Ints, Ints, Floats]


def _basket_pairs(baskets: Sequence[Basket]) -> _Triples:
    """Every ordered pair of different items of each basket, with weight 1/(n - 1) at the basket's time."""
    sizes = np.array([len(basket.items) for basket in baskets], np.int64)
    items = np.array([item for basket in baskets for item in basket.items], np.int64)
    each = weights(np.array([basket.at for basket in baskets], np.int64), HALF_LIFE_MS) / np.maximum(sizes - 1, 1)
    partners = np.repeat(sizes, sizes)
    left = np.repeat(np.arange(len(items)), partners)
    first_of_run = np.cumsum(partners) - partners
    first_of_basket = np.repeat(np.cumsum(sizes) - sizes, sizes)
    right = np.arange(len(left)) + np.repeat(first_of_basket - first_of_run, partners)
    other = left != right
    weight = np.repeat(np.repeat(each, sizes), partners)
    return items[left[other]], items[right[other]], weight[other]


def _transition_pairs(transitions: Sequence[Transition]) -> _Triples:
    """Every pair (earlier item, later item), different, with the transition's weight shared over the later items."""
    left: list[int] = []
    right: list[int] = []
    size: list[int] = []
    share: list[float] = []
    for step in transitions:
        width = len(step.later)
        left += [item for item in step.earlier for _ in range(width)]
        right += step.later * len(step.earlier)
        size.append(width * len(step.earlier))
        share.append(step.weight / width)
    at = weights(np.array([step.at for step in transitions], np.int64), HALF_LIFE_MS)
    weight = np.repeat(at * np.array(share, np.float64), np.array(size, np.int64))
    lefts, rights = np.array(left, np.int64), np.array(right, np.int64)
    other = lefts != rights
    return lefts[other], rights[other], weight[other]


def _joined(a: _Triples, b: _Triples) -> _Triples:
    return np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]]), np.concatenate([a[2], b[2]])
