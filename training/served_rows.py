"""Served rows: item → item weights of a linear model, cut to each item's strongest, in contiguous arrays.

A dense matrix of 5,000 items is 100 MB and a product with it 5 ms; an answer looks at a few rows of 200.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from training.interactions import Int32
from training.model import Bound, Table, floats, ints
from training.recommender import ABSTAIN, Indices, Scored, Scores
from training.taste import Taste

ROWS: Final = 200
"""Items kept per row."""


def served_rows(weights: npt.NDArray[np.floating], items: Int32, known: int, limit: int = ROWS) -> Table:
    """The ``limit`` strongest positive weights of every row of ``weights``, strongest first, ties by lower item.

    Args:
        weights: (n, n); row a and column i stand for the items ``items[a]`` and ``items[i]``, ascending.
        known: how many items the model numbers.

    Returns ``place`` (known,) int32: an item's row or -1; ``idx`` (n, limit) int32: item numbers, -1 past the end;
    ``weight`` (n, limit) float32, 0 past the end.
    """
    count = len(items)
    limit = min(limit, count)
    idx = np.full((count, limit), -1, np.int32)
    weight = np.zeros((count, limit), np.float32)
    for row in range(count):
        line = weights[row].astype(np.float32)
        least = np.partition(line, count - limit)[count - limit]
        some = np.flatnonzero((line >= least) & (line > 0))
        order = some[np.argsort(-line[some], kind="stable")][:limit]
        idx[row, : len(order)], weight[row, : len(order)] = items[order], line[order]
    place = np.full(known, -1, np.int32)
    place[items] = np.arange(count, dtype=np.int32)
    return {"place": place, "idx": idx, "weight": weight}


def spread_rows(table: Table, bound: Bound, taste: Taste, row_max: int, limit: int) -> Scored:
    """score(i) = Σ over a of taste(a) · weight(a, i), of each row its ``row_max`` strongest; the ``limit`` best items.
    ``because`` is the heaviest item of the taste that leads there. Abstains where no item of the taste has a row."""
    place = ints(table, "place")[taste.number]
    rows = (place >= 0).nonzero()[0][::-1]
    if not len(rows):
        return ABSTAIN
    where = place[rows]
    number = ints(table, "idx")[:, :row_max][where]
    score = floats(table, "weight")[:, :row_max][where] * taste.weight[rows, None]
    idx = viewed(bound, number)
    cause = taste.idx[rows].repeat(number.shape[1])
    said = (idx >= 0).ravel().nonzero()[0]  # positions: taking by them is cheaper than by a mask, three times over
    return strongest(idx.ravel()[said], score.ravel()[said], cause[said], len(bound.to_model), limit)


def viewed(bound: Bound, number: Indices) -> Indices:
    """The view's indices of a model's item numbers, -1 where there is none."""
    idx: Indices = bound.to_view[number]
    idx[number < 0] = -1
    return idx


def strongest(idx: Indices, score: Scores, because: Indices, size: int, limit: int) -> Scored:
    """Evidence added up by item, the ``limit`` best (ties: lower index), in no order. An item's cause is that of its
    last entry.

    Items are told apart by a scratch array, as in `training.blend.merge`; ``size`` bounds the indices.
    """
    count = len(idx)
    if not count:
        return ABSTAIN
    representative = np.empty(size, np.int32)
    place = idx.astype(np.intp)  # once, instead of at every look-up
    numbers = np.arange(count, dtype=np.int32)
    representative[place] = numbers
    chosen = representative[place]
    last = (chosen == numbers).nonzero()[0]
    sums = np.bincount(chosen, score, count)[last]
    if len(last) > limit:
        ordered = sums.copy()
        ordered.partition(len(last) - limit)
        best = (sums >= ordered[len(last) - limit]).nonzero()[0]
        if len(best) > limit:
            best = best[np.lexsort((idx[last[best]], -sums[best]))[:limit]]
        last, sums = last[best], sums[best]
    return Scored(idx[last], sums.astype(np.float32), because[last])
