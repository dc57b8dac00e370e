"""Item-kNN: cosine with shrinkage, from the counters of co-visitation.

    sim(i → j) = n_ij / (√(out_i · in_j) + shrink)

n_ij is the decayed pair weight, out_i and in_j the decayed weight i gives and j receives. For orders n is symmetric and
this is the cosine of basket-normalised vectors; between events it keeps their direction. Shrinkage keeps pairs seen
once or twice from reaching 1 (Bell, Koren: Improved neighborhood-based collaborative filtering, KDD Cup 2007).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from actors.ranked import Floats

SUPPORT_MIN: Final = 0.3
"""Pair weight below which two items are not called similar: about three common baskets of ten. Of an item sold a few
times all cosines are chance, and a blend that standardises scores would take the largest chance for certainty."""
SHRINK: Final = 5.0
"""Baskets' worth of weight at the time of the newest event; 5 ranked better than 1 on The Complete Journey."""


def cosine(n: Floats, out: Floats, into: Floats, shrink: float) -> Floats:
    """Shrunk cosine, 0..1; 0 / 0 with no shrinkage is 0.

    >>> cosine(np.array([2.0]), np.array([4.0]), np.array([1.0]), 2.0).tolist()
    [0.5]
    """
    norm = np.sqrt(out * into) + shrink
    return np.divide(n, norm, out=np.zeros(len(norm)), where=norm > 0)
