"""What co-visitation, item-kNN and content have in common: each anchor has a row of neighbours, and the rows add up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np

from training.recommender import ABSTAIN, Indices, Scored, Scores

Row: TypeAlias = tuple[Indices, Scores]
"""Neighbours and their scores, strongest first."""


def spread(anchors: Iterable[tuple[int, float]], row_of: Callable[[int], Row], row_max: int) -> Scored:
    """Σ over anchors a of weight(a) · score(a, i) / max over i of score(a, i).

    Dividing by the row's own maximum makes every anchor's best neighbour worth the anchor's weight; without it a rare
    item's huge lift would drown all others. ``because`` is the anchor, and for an item in several rows the heaviest,
    given that ``anchors`` come heaviest first. At most ``row_max`` neighbours of a row are taken.
    """
    rows: list[Indices] = []
    scores: list[Scores] = []
    weights: list[float] = []
    causes: list[int] = []
    for anchor, weight in anchors:
        idx, score = row_of(anchor)
        if len(idx):
            rows.append(idx[:row_max])
            scores.append(score[:row_max])
            weights.append(weight / float(score[0]))
            causes.append(anchor)
    if not rows:
        return ABSTAIN
    rows.reverse()
    scores.reverse()
    lengths = [len(row) for row in rows]
    return Scored(
        np.concatenate(rows),
        np.concatenate(scores) * np.repeat(np.array(weights[::-1], np.float32), lengths),
        np.repeat(np.array(causes[::-1], np.int32), lengths),
    )
