"""Confidence intervals by bootstrap over users.

Requests of one person are alike, so people are drawn, not requests. Drawing n of n with replacement is nearly the same
as giving each a Poisson(1) count, and counts multiply as one matrix: every metric of every model shares the draws.
Chamandy, Muralidharan, Najmi, Naidu: Estimating uncertainty for massive data streams, Google (2012).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Values: TypeAlias = npt.NDArray[np.float64]
Clusters: TypeAlias = npt.NDArray[np.integer]
"""The number of the person (household, session) each request belongs to."""

RESAMPLES: Final = 1000
"""Enough that the ends of a 95 % interval move by less than a tenth of its width from seed to seed."""
_BLOCK: Final = 100


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over requests, and the bounds the resampled means stay within."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def bootstrap(
    values: Mapping[str, Values],
    *,
    seed: int,
    clusters: Clusters | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Percentile interval of the mean of each named row of per-request values; all rows share the draws.

    ``clusters``: the person of each request; without it every request is a person of its own. No requests: all NaN.
    """
    names = list(values)
    table = np.stack([values[name] for name in names], axis=1) if names else np.empty((0, 0))
    if not len(table):
        return {name: Interval(float("nan"), float("nan"), float("nan")) for name in names}
    sums, counts = _per_cluster(table, clusters)
    means = _resampled(sums, counts, seed, resamples)
    tail = (1 - level) / 2
    low, high = np.nanquantile(means, [tail, 1 - tail], axis=0)
    centre = sums.sum(axis=0) / counts.sum()
    return {
        name: Interval(float(c), float(lo), float(hi)) for name, c, lo, hi in zip(names, centre, low, high, strict=True)
    }


def paired_difference(
    ours: Values, theirs: Values, *, seed: int, clusters: Clusters | None = None, resamples: int = RESAMPLES
) -> Interval:
    """Interval of the mean of ``ours - theirs`` over the same requests."""
    return bootstrap({"difference": ours - theirs}, seed=seed, clusters=clusters, resamples=resamples)["difference"]


def _per_cluster(table: Values, clusters: Clusters | None) -> tuple[Values, Values]:
    """(sum of the values, number of requests) of each cluster."""
    if clusters is None:
        return table, np.ones(len(table))
    _, number = np.unique(clusters, return_inverse=True)
    sums = np.stack([np.bincount(number, column).astype(np.float64) for column in table.T], axis=1)
    return sums, np.bincount(number).astype(np.float64)


def _resampled(sums: Values, counts: Values, seed: int, resamples: int) -> Values:
    """Means of each resample, shape (resamples, rows); NaN where nobody was drawn, as happens where there are few: a
    mean of 0 there would be the lower end of every small group."""
    rng = np.random.default_rng(seed)
    blocks = []
    for start in range(0, resamples, _BLOCK):
        draws = rng.poisson(1.0, (min(_BLOCK, resamples - start), len(sums))).astype(np.float64)
        drawn = draws @ counts
        blocks.append((draws @ sums) / np.where(drawn > 0, drawn, np.nan)[:, None])
    return np.concatenate(blocks)
