"""Fixed-share Hedge over recommenders: who has been right lately. One feature of the blend, learned at once.

When somebody acts on a shown item, every recommender that scored items of that list is charged how surprised it was:

    loss_g = -log softmax_g(item) / log n_g, clipped to [0, 1]      n_g = shown items that g scored
    w_g    = w_g · exp(-eta · loss_g)                               renormalised over those charged
    w      = (1 - share) · w + share / G

softmax_g is over b_g · z of the shown items g scored, with b_g an inverse temperature fitted as one goes. Dividing by
log n makes a recommender that knows nothing lose 1. One that scored others but not this item loses 1 too; one that
scored fewer than two items of the list says nothing and keeps its weight (a sleeping expert; Freund, Schapire, Singer,
Warmuth: Using and combining predictors that specialize, STOC 1997). The share keeps everybody's weight above share / G,
so that a recommender that becomes right is found again (Herbster and Warmuth: Tracking the best expert, Machine
Learning 32, 1998).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Vector: TypeAlias = npt.NDArray[np.float64]
Matrix: TypeAlias = npt.NDArray[np.float64]

SHARE: Final = 0.02
"""Within the published range 0.01 to 0.05: a change of the best recommender every fifty acts or so is followed."""
HORIZON: Final = 1_000
"""Acts over which eta = sqrt(8 ln G / T) is optimal for a fixed best expert; 0.14 for 14 recommenders."""
TEMPERATURE_RATE: Final = 0.02
INVERSE_MAX: Final = 8.0
"""A recommender that is always right would want an infinite one."""


@dataclass(frozen=True, slots=True)
class Hedge:
    """Weights (not negative, summing to 1) and inverse temperatures, one per recommender; shape (G,) each."""

    weights: Vector
    inverse: Vector

    @classmethod
    def start(cls, recommenders: int) -> Hedge:
        """Everybody weighs the same.

        >>> Hedge.start(4).weights.tolist()
        [0.25, 0.25, 0.25, 0.25]
        """
        return cls(np.full(recommenders, 1.0 / recommenders), np.ones(recommenders))


def charged(hedge: Hedge, z: Matrix, spoke: npt.NDArray[np.bool_], acted: int) -> Hedge:
    """After an act on the item in row ``acted`` of a list.

    Args:
        z: standardised scores, shape (items, G); whatever where a recommender did not speak.
        spoke: shape (items, G): whether the recommender scored the item.
        acted: row of the item acted on.
    """
    count = len(hedge.weights)
    n = spoke.sum(axis=0)
    judged = n >= 2
    if not judged.any():
        return hedge
    logits = np.where(spoke, hedge.inverse * z, -np.inf)
    with np.errstate(invalid="ignore"):
        logits = logits - np.where(judged, logits.max(axis=0, initial=-np.inf, where=spoke), 0.0)
    p = np.where(spoke, np.exp(logits), 0.0)
    p /= np.where(judged, p.sum(axis=0), 1.0)
    named = judged & spoke[acted]
    surprise = -np.log(np.maximum(np.where(named, p[acted], 1.0), 1e-300)) / np.log(np.maximum(n, 2))
    loss = np.where(named, np.clip(surprise, 0.0, 1.0), 1.0)
    eta = math.sqrt(8.0 * math.log(max(count, 2)) / HORIZON)
    weights = np.where(judged, hedge.weights * np.exp(-eta * loss), hedge.weights)
    mass, after = hedge.weights[judged].sum(), weights[judged].sum()
    weights = np.where(judged, weights * (mass / after), weights)
    weights = (1.0 - SHARE) * weights / weights.sum() + SHARE / count
    gradient = np.where(named, np.where(spoke, p * z, 0.0).sum(axis=0) - z[acted], 0.0)
    inverse = np.clip(hedge.inverse - TEMPERATURE_RATE * gradient, 0.0, INVERSE_MAX)
    return Hedge(weights, inverse)
