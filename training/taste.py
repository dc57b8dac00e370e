"""Taste: what stands for a person before a fitted model, as item numbers of that model with weights.

What they did lately (the anchors) and what they keep buying, both relative to their strongest. Made once per request;
fold-in, served rows and neighbours all start from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from training.anchors import Anchors
from training.history import History

PURCHASES_MAX: Final = 24
"""Strongest purchases that count. With 12 anchors a fold-in has at most 36 items: beyond, weights are small."""


@dataclass(frozen=True, slots=True)
class Taste:
    """Items with weights in (0, 1]: anchors first, heaviest first, then purchases. One item may stand here twice, its
    weights then add up."""

    number: npt.NDArray[np.int32]
    """The model's item numbers."""
    idx: npt.NDArray[np.int32]
    """The same items' indices in the request's item table."""
    weight: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.number)


_NONE: Final = np.empty(0, np.int32)
NO_TASTE: Final = Taste(_NONE, _NONE, np.empty(0, np.float32))


def taste_of(anchors: Anchors, history: History, to_model: npt.NDArray[np.int32], history_share: float) -> Taste:
    """Anchors with their weights, and the purchases at 2^(log2 count - log2 of the largest count), times
    ``history_share`` where the request names items itself. All purchases share one half-life, so the time of reading
    changes nothing. Items the model does not know are left out."""
    sums = history.purchases.log2_sum
    share = history_share if anchors.given else 1.0
    if len(sums) and share > 0:
        order = np.argsort(-sums, kind="stable")[:PURCHASES_MAX]
        idx = np.concatenate((np.array(anchors.idx, np.int32), history.purchases.idx[order]))
        bought = np.exp2(sums[order] - sums[order[0]]) * share
        weight = np.concatenate((np.array(anchors.weight), bought)).astype(np.float32)
    elif anchors.idx:
        idx, weight = np.array(anchors.idx, np.int32), np.array(anchors.weight, np.float32)
    else:
        return NO_TASTE
    number = to_model[idx]
    known = np.flatnonzero((number >= 0) & (weight > 0))
    if len(known) == len(number):
        return Taste(number, idx, weight)
    return Taste(number[known], idx[known], weight[known])
