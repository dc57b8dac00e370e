"""What co-visitation, item-kNN and content have in common: each anchor has a row of neighbours, and the rows add up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np

from training.recommender import ABSTAIN, Indices, Scored, Scores

Row: TypeAlias = tuple[Indices, Scores]
"""Neighbours and their scores, strongest first."""


def spread(
    anchors: Iterable[tuple[int, float]], rows_of: Callable[[Sequence[int], int], Sequence[Row]], row_max: int
) -> Scored:
    """Σ over anchors a of weight(a) · score(a, i) / max over i of score(a, i).

    Dividing by the row's own maximum makes every anchor's best neighbour worth the anchor's weight; without it a rare
    item's huge lift would drown all others. ``because`` is the anchor, and for an item in several rows the heaviest,
    given that ``anchors`` come heaviest first. At most ``row_max`` neighbours of a row are taken.
    """
    lightest_first = list(anchors)[::-1]
    found = rows_of([anchor for anchor, _ in lightest_first], row_max)
    spoken = [
        (row, weight / float(row[1][0]), anchor)
        for (anchor, weight), row in zip(lightest_first, found, strict=True)
        if len(row[0])
    ]
    if not spoken:
        return ABSTAIN
    lengths = [len(row[0]) for row, _, _ in spoken]
    score = np.concatenate([row[1] for row, _, _ in spoken])
    score *= np.array([weight for _, weight, _ in spoken], np.float32).repeat(lengths)
    return Scored(
        np.concatenate([row[0] for row, _, _ in spoken]),
        score,
        np.array([anchor for _, _, anchor in spoken], np.int32).repeat(lengths),
    )
