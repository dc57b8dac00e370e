"""The first weights of the blend: fitted listwise on pseudo-requests, and never worse on them than the best recommender
alone.

`training.evaluation.listwise` finds the weights. Its scores order candidates; the learner wants log-odds, so each
outcome gets an intercept under which the mean probability is the share of candidates that were wanted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np
import numpy.typing as npt

from training.blend import FEATURES, feature_names
from training.evaluation.listwise import Requests, fit, loss
from training.learned import CONTEXT, OUTCOMES, Learned, SurfaceWeights, pack
from training.pseudo_requests import Stacked
from training.surface import Surface

Vector = npt.NDArray[np.float64]

DEPTH: Final = 10
L2: Final = 0.03
ITERATIONS: Final = 60
PRIOR_SCALE: Final = 2.0
"""Softmax weight of a recommender that has all of the fixed weight. These three were chosen on two fortnights of The
Complete Journey, each fitted on one and looked at on the other: with 300 to 600 requests a smaller penalty fits better
and does worse elsewhere (NDCG@10 .1921 against .1932 on one, .1923 against .1931 on the other)."""
SHARES: Final = (0.2, 0.4, 0.7, 1.0, 1.5, 2.5, 5.0)
"""How much of the fitted weights is added to the best recommender's own order, tried one after another. The softmax
bounds NDCG and is not NDCG: on the same fortnights, where they were fitted, the weights alone were .002 behind repeat
purchase on one and .004 ahead on the other, the best mixture .001 and .007 ahead."""
SCALES: Final = tuple(2.0**power for power in range(-4, 5))
ALONE: Final = (1.0, 0.0, 0.0, -100.0)
"""Weights, in the order of `FEATURES`, that put candidates in a recommender's own order, what it does not know last."""


@dataclass(frozen=True, slots=True)
class Blend:
    """Fitted weights, and what they reached on the requests they were fitted on."""

    names: tuple[str, ...]
    weights: Vector
    """Shape (recommenders · 4,)."""
    ndcg: float
    alone: Mapping[str, float]
    """NDCG of every recommender by itself on the same requests."""
    fell_back: str = ""
    """The recommender whose order the weights keep, where the fitted ones were worse than it; empty: they were not."""


def fixed_blend(names: Sequence[str], surface: Surface) -> Vector:
    """The surface's fixed weights in the terms of a learned blend: on ``log_z``, with a tenth of it below the mean (see
    `training.blend.BELOW_MEAN`; a linear score has one slope for z, so this is near the fixed blend, not equal)."""
    weights = np.zeros((len(names), len(FEATURES)))
    total = sum(surface.weights.get(name, 0.0) for name in names) or 1.0
    share = np.array([surface.weights.get(name, 0.0) for name in names]) / total
    weights[:, 1] = share * PRIOR_SCALE
    weights[:, 0] = share * PRIOR_SCALE * 0.1
    return weights.ravel()


def fit_blend(requests: Stacked, names: Sequence[str], prior: Vector) -> Blend:
    """Weights for these requests, pulled towards ``prior``. The same requests, the same weights.

    Where a single recommender would have ordered these candidates better, its order is kept: an ensemble that loses to
    one of its members is not worth its cost.
    """
    alone = {name: _ndcg(requests, alone_weights(names, name)) for name in names}
    useful = requests.rows(np.asarray(requests.wanted.any(axis=1)))
    if not len(useful):
        return Blend(tuple(names), prior, _ndcg(requests, prior), alone)
    best = min(alone, key=lambda name: (-alone[name], name))
    rows = _listwise(useful)
    fitted = fit(rows, feature_names(names), l2=L2, prior=prior, iterations=ITERATIONS).value
    lead = alone_weights(names, best, silent=-3.0)
    tried = [fitted, *(lead + share * fitted for share in SHARES)]
    reached = [_ndcg(requests, weights) for weights in tried]
    chosen = max(range(len(tried)), key=lambda number: (reached[number], -number))
    if alone[best] > reached[chosen]:
        return Blend(tuple(names), alone_weights(names, best), alone[best], alone, best)
    scale = min(SCALES, key=lambda by: loss(rows, by * tried[chosen]))
    return Blend(tuple(names), scale * tried[chosen], reached[chosen], alone)


def alone_weights(names: Sequence[str], only: str, silent: float = ALONE[3]) -> Vector:
    """Weights under which candidates stand in one recommender's own order; ``silent`` is what those get that it does
    not know."""
    weights = np.zeros((len(names), len(FEATURES)))
    weights[list(names).index(only)] = (*ALONE[:3], silent)
    return weights.ravel()


def learned_of(blends: Mapping[str, Blend], requests: Mapping[str, Stacked]) -> Learned | None:
    """What the learner starts from, of every surface that has a blend; None where none has. ``version`` is a digest of
    the weights; ``model`` stays empty: the artefact's id is made of these."""
    surfaces = {name: _surface(blend, requests[name]) for name, blend in sorted(blends.items())}
    if not surfaces:
        return None
    names = next(iter(blends.values())).names
    bare = Learned("", "", names, surfaces)
    return Learned("fitted-" + blake2b(pack(bare), digest_size=8).hexdigest(), "", names, surfaces)


def _surface(blend: Blend, requests: Stacked) -> SurfaceWeights:
    count, outcomes = len(blend.names), len(OUTCOMES)
    return SurfaceWeights(
        intercept=np.full(outcomes, _intercept(blend, requests)),
        recommenders=np.tile(blend.weights, (outcomes, 1)),
        context=np.zeros((outcomes, len(CONTEXT))),
        hedge=np.full(count, 1.0 / max(count, 1)),
    )


def _intercept(blend: Blend, requests: Stacked) -> float:
    """b with mean sigmoid(score + b) = share of candidates that were wanted, by bisection."""
    scores = requests.score(blend.weights)[requests.idx >= 0].astype(np.float64)
    wanted = int(requests.wanted.sum())
    if not 0 < wanted < len(scores):
        return 0.0
    low, high = -50.0 - float(scores.max()), 50.0 - float(scores.min())
    for _ in range(60):
        middle = (low + high) / 2
        mean = float((1.0 / (1.0 + np.exp(-np.clip(scores + middle, -500, 500)))).mean())
        low, high = (middle, high) if mean < wanted / len(scores) else (low, middle)
    return (low + high) / 2


def _listwise(requests: Stacked) -> Requests:
    """Their candidates under each other, of requests that each want some."""
    real = requests.idx >= 0
    wanted = requests.wanted / requests.wanted.sum(axis=1, keepdims=True)
    start = np.concatenate(([0], np.cumsum(requests.size)))
    return Requests(requests.features[real], start.astype(np.int64), wanted[real])


def _ndcg(requests: Stacked, weights: Vector) -> float:
    return float(requests.ndcg(requests.score(weights), DEPTH).mean()) if len(requests) else 0.0
