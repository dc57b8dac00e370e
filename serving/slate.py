"""The slate: which candidate gets which slot.

Slots are filled one after another, each from the candidates that are left: those taken above, and those whose visible
label (`item_group`) already stands in the list, are not. The fixed policy gives each slot to the best candidate left,
in a total order (highest gain, then lowest item index), so the probability of what is shown is 1. A sampling policy
draws at the same place, in `fill`, and nothing may reorder the list after it: that would make the logged probabilities
lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.recommender import Indices, Scores


@dataclass(frozen=True, slots=True)
class Slate:
    """``columns`` are positions in the candidates, slot by slot."""

    columns: tuple[int, ...]
    propensities: tuple[float, ...]


def fill(gains: Scores, idx: Indices, group: Indices, slots: int) -> Slate:
    """The slate of at most ``slots`` items, no two of one group.

    Args:
        gains: by what a slot is decided, higher is better.
        idx: item index of each candidate.
        group: label number of each candidate; negative stands alone.
    """
    columns: list[int] = []
    taken: set[int] = set()
    for column, label in _in_order(gains, idx, group, slots):
        if label not in taken:
            columns.append(column)
            if len(columns) == slots:
                break
            if label >= 0:
                taken.add(label)
    return Slate(tuple(columns), (1.0,) * len(columns))


HEAD_SLOTS = 6
"""Candidates ordered at first, per slot: the rest is ordered only when labels use these up."""


def _in_order(gains: Scores, idx: Indices, group: Indices, slots: int) -> list[tuple[int, int]]:
    """(column, label) in the total order, as many as can be needed."""
    head = _head(gains, slots * HEAD_SLOTS)
    order = head[np.lexsort((idx[head], -gains[head]))]
    labels = group[order].tolist()
    if len(head) < len(gains) and len(set(labels)) < slots:
        order = np.lexsort((idx, -gains))
        labels = group[order].tolist()
    return list(zip(order.tolist(), labels, strict=True))


def _head(gains: Scores, wanted: int) -> npt.NDArray[np.intp]:
    """Columns of the ``wanted`` highest gains and of all that tie with the last of them."""
    if wanted >= len(gains):
        return np.arange(len(gains), dtype=np.intp)
    least = np.partition(gains, len(gains) - wanted)[len(gains) - wanted]
    best: npt.NDArray[np.intp] = (gains >= least).nonzero()[0]
    return best
