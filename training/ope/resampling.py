"""Intervals of several estimates at once, by drawing people.

Slates of one person are alike, and stable noise may show the same list twice, so people are drawn and not slates: each
gets a Poisson(1) count, which is nearly drawing as many of them with replacement (Chamandy et al., Estimating
uncertainty for massive data streams, Google 2012). All estimates share the counts, so the interval of a difference is
that of the paired difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from training.evaluation.intervals import Interval
from training.ope.estimators import Sums, combine
from training.ope.slates import Floats, Subjects
from training.ope.weights import clustered

RESAMPLES: Final = 500
"""The ends of a 95 % interval are then the 13th value from either side."""
_CELLS: Final = 4_000_000
"""Counts held at once: 32 MB."""


@dataclass(frozen=True, slots=True)
class Lift:
    """What one estimate says. ``value`` and ``gain`` are rewards per slate, ``relative`` is gain / baseline."""

    value: Interval
    gain: Interval
    relative: Interval


def lifts(
    estimates: Mapping[str, Sums], baseline: Sums, subject: Subjects, resamples: int, seed: int
) -> dict[str, Lift]:
    """95 % percentile intervals of each estimate and of its distance from ``baseline``, over the same draws."""
    every = {**estimates, "": baseline}
    drawn = resampled(every, subject, resamples, seed)
    points = {name: sums.value() for name, sums in every.items()}
    base, base_drawn = points.pop(""), drawn.pop("")
    found: dict[str, Lift] = {}
    for name, point in points.items():
        gain = drawn[name] - base_drawn
        relative = np.divide(gain, base_drawn, out=np.zeros_like(gain), where=base_drawn > 0)
        found[name] = Lift(
            value=_interval(point, drawn[name]),
            gain=_interval(point - base, gain),
            relative=_interval((point - base) / base if base > 0 else 0.0, relative),
        )
    return found


def resampled(estimates: Mapping[str, Sums], subject: Subjects, resamples: int, seed: int) -> dict[str, Floats]:
    """Each estimate's value in each resample, shape (resamples,)."""
    ones = np.ones((len(subject), 1))
    columns = [ones, *(part for sums in estimates.values() for part in (sums.top, sums.bottom, sums.share))]
    people = clustered(np.concatenate(columns, axis=1), subject)
    rng = np.random.default_rng(seed)
    block = max(1, _CELLS // max(len(people), 1))
    parts = [
        rng.poisson(1.0, (min(block, resamples - start), len(people))).astype(np.float64) @ people
        for start in range(0, resamples, block)
    ]
    totals = np.concatenate(parts)
    slates = np.maximum(totals[:, 0], 1.0)
    values: dict[str, Floats] = {}
    at = 1
    for name, sums in estimates.items():
        width = sums.top.shape[1]
        top, bottom, share = (totals[:, at + part * width : at + (part + 1) * width] for part in range(3))
        values[name] = combine(top, bottom, share, slates)
        at += 3 * width
    return values


def _interval(point: float, drawn: Floats) -> Interval:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(point, float(low), float(high))
