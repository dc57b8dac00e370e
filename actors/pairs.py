"""Decayed sums of directed pairs (left → right), a row per left in the store, each row bounded.

A row keeps its `kept` heaviest partners: it is pruned to that many when it holds more than `PRUNE_ABOVE` times as many,
so a newcomer has some hundred further partners' time to come back before it is dropped. Pruning only loses sums of
pairs; the masses expected counts are made of (`actors.covisitation.Level`) stay exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from actors.catalogue import keys
from actors.ranked import Floats, Ints, distinct, firsts
from actors.state import Change, StateReader

PAIR: Final = np.dtype([("right", "<i4"), ("sum", "<f8")])
PRUNE_ABOVE: Final = 1.7
"""340 partners of 12 bytes are one LMDB overflow page."""
_LEFT: Final = 32
_RIGHT_MASK: Final = (1 << _LEFT) - 1


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs in order of (left, right), each once."""

    keys: Ints
    """left · 2^32 + right."""
    sums: Floats

    @property
    def left(self) -> Ints:
        return self.keys >> _LEFT

    @property
    def right(self) -> Ints:
        return self.keys & _RIGHT_MASK


NO_PAIRS: Final = Pairs(np.zeros(0, np.int64), np.zeros(0))


def pair_keys(left: Ints, right: Ints) -> Ints:
    return (left << _LEFT) | right


def summed(left: Ints, right: Ints, weight: Floats) -> Pairs:
    """Pairs with the weights of equal ones added.

    >>> pairs = summed(np.array([2, 1, 2]), np.array([5, 4, 5]), np.array([0.5, 1.0, 0.25]))
    >>> pairs.left.tolist(), pairs.right.tolist(), pairs.sums.tolist()
    ([1, 2], [4, 5], [1.0, 0.75])
    """
    if not len(left):
        return NO_PAIRS
    keys = pair_keys(left, right)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(firsts(keys))
    return Pairs(keys[first], np.add.reduceat(weight[order], first))


def merged(old: Pairs, more: Pairs) -> Pairs:
    """Both added up."""
    if not len(old.keys):
        return more
    at = np.searchsorted(old.keys, more.keys)
    hit = old.keys[np.minimum(at, len(old.keys) - 1)] == more.keys
    sums = old.sums.copy()
    sums[at[hit]] += more.sums[hit]
    new = ~hit
    return Pairs(np.insert(old.keys, at[new], more.keys[new]), np.insert(sums, at[new], more.sums[new]))


def lookup(pairs: Pairs, keys: Ints) -> Floats:
    """The sums under ``keys``, 0 where there is no such pair."""
    if not len(pairs.keys):
        return np.zeros(len(keys))
    at = np.minimum(np.searchsorted(pairs.keys, keys), len(pairs.keys) - 1)
    return np.where(pairs.keys[at] == keys, pairs.sums[at], 0.0)


def pruned(pairs: Pairs, kept: int) -> Pairs:
    """Every row that has grown above `PRUNE_ABOVE` · kept cut to its ``kept`` heaviest partners, ties to the lower."""
    left = pairs.left
    starts = np.flatnonzero(firsts(left))
    lengths = np.append(starts[1:], len(left)) - starts
    stays = np.ones(len(left), np.bool_)
    for at in np.flatnonzero(lengths > PRUNE_ABOVE * kept).tolist():
        row = slice(int(starts[at]), int(starts[at] + lengths[at]))
        stays[row] = _heaviest(pairs.sums[row], kept)
    return Pairs(pairs.keys[stays], pairs.sums[stays])


def _heaviest(sums: Floats, kept: int) -> npt.NDArray[np.bool_]:
    """Whether each is among the ``kept`` largest; of equal ones the first."""
    least = np.partition(sums, len(sums) - kept)[len(sums) - kept]
    stays: npt.NDArray[np.bool_] = sums > least
    stays[np.flatnonzero(sums == least)[: kept - int(np.count_nonzero(stays))]] = True
    return stays


class PairRows:
    """The rows of one table. Nothing is kept in memory: the store is memory-mapped, a row costs about 2 us."""

    def __init__(self, store: StateReader, table: str, kept: int) -> None:
        self._store = store
        self._table = table
        self._kept = kept

    def rows(self, lefts: Ints) -> Pairs:
        """All pairs of ``lefts`` (ascending, each once) as of the last commit."""
        found = self._store.get_many(self._table, keys(lefts))
        raw = np.frombuffer(b"".join([row for row in found if row is not None]), PAIR)
        lengths = [0 if row is None else len(row) // PAIR.itemsize for row in found]
        return Pairs(pair_keys(np.repeat(lefts, lengths), raw["right"].astype(np.int64)), raw["sum"].astype(np.float64))

    def add(self, pairs: Pairs) -> list[Change]:
        """The rows that ``pairs`` change, to be committed before the next call."""
        if not len(pairs.keys):
            return []
        lefts = distinct(pairs.left)
        return self._packed(lefts, pruned(merged(self.rows(lefts), pairs), self._kept))

    def _packed(self, lefts: Ints, pairs: Pairs) -> list[Change]:
        raw = np.empty(len(pairs.keys), PAIR)
        raw["right"], raw["sum"] = pairs.right, pairs.sums
        data = raw.tobytes()
        ends = (np.searchsorted(pairs.keys, (lefts + 1) << _LEFT) * PAIR.itemsize).tolist()
        starts = [0, *ends[:-1]]
        return [(self._table, key, data[start:end]) for key, start, end in zip(keys(lefts), starts, ends, strict=True)]
