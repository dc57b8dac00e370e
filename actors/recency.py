"""Forward decay of the item follower's counters: exponential, base 2, about one fixed landmark.

A sum is stored as S = Σ v · 2^((t - L)/H) and read at time T as S · 2^(-(T - L)/H). Order of arrival does not matter,
late events are exact, and the order of two sums never changes by time alone, so ranked lists need no refresh.
(Cormode, Shkapenyuk, Srivastava, Xu: Forward Decay, ICDE 2009.)

The landmark is fixed (2030-01-01) where profiles move theirs: float64 holds 2^±1000 about it, which for the shortest
half-life used here (a week) is 19 years either way, so stored rows never need rescaling before 2049.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from actors.ranked import Floats, Ints

WEEK_MS: Final = 7 * 86_400_000
MONTH_MS: Final = 30 * 86_400_000
QUARTER_MS: Final = 90 * 86_400_000
LANDMARK_MS: Final = 1_893_456_000_000
EXPONENT_MAX: Final = 1000.0


def weight(at: int, half_life: int) -> float:
    """2^((at - L)/H): what an event at ``at`` (ms) adds per unit, and what a sum is divided by to be read at ``at``.

    >>> weight(LANDMARK_MS, MONTH_MS), weight(LANDMARK_MS - MONTH_MS, MONTH_MS)
    (1.0, 0.5)
    """
    return float(weights(np.array([at], np.int64), half_life)[0])


def weights(at: Ints, half_life: int) -> Floats:
    """`weight` of many. Times beyond the range above count as its end."""
    exponent = np.clip((at.astype(np.float64) - LANDMARK_MS) / half_life, -EXPONENT_MAX, EXPONENT_MAX)
    whole = np.floor(exponent)
    return np.ldexp(np.exp2(exponent - whole), whole.astype(np.int32))
