"""Fairness of exposure: what a group of items lacks of the attention its relevance earns.

    merit(g)     = share of the candidates' relevance that lies in group g
    exposure(g)  = share of the candidates' impressions that went to group g
    shortfall(g) = max(0, merit(g) - exposure(g))

After FairCo (Morik, Singh, Hong, Joachims: Controlling fairness and bias in dynamic learning-to-rank, SIGIR 2020): a
proportional controller, the term added to an item's gain being strength · shortfall of its group. Relevance is the
estimate of this request, impressions are the item follower's, decayed with a half-life of a month and counted for
everybody, so the controller's state is one more fold of the log.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from training.recommender import Indices

Floats: TypeAlias = npt.NDArray[np.float64]


def shortfall(group: Indices, relevance: Floats, impressions: Floats) -> Floats:
    """By candidate, what its group lacks: in [0, 1].

    Args:
        group: number of each candidate's group; negative: in no group, which lacks nothing.
        relevance: of each candidate, not negative.
        impressions: of each candidate, not negative; where nobody has seen anything, nobody lacks anything.

    >>> shortfall(np.array([0, 0, 1], np.int32), np.array([1.0, 1.0, 2.0]), np.array([4.0, 4.0, 2.0])).tolist()
    [0.0, 0.0, 0.3]
    """
    lacking = np.zeros(len(group))
    known = group >= 0
    earned, seen = float(relevance[known].sum()), float(impressions[known].sum())
    if earned <= 0 or seen <= 0:
        return lacking
    _, number = np.unique(group[known], return_inverse=True)
    merit = np.bincount(number, relevance[known]) / earned
    exposure = np.bincount(number, impressions[known]) / seen
    lacking[known] = np.maximum(merit - exposure, 0.0)[number]
    return lacking
