"""Anchors: the items a request starts from. Those it names itself, and those the profile dealt with lately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from events.ids import Millis
from training.history import History

ANCHORS_MAX = 12
"""Most anchors of one request. Each costs a few row look-ups; with moments halving every 4, the 13th weighs little."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """Items to start from, heaviest first; ``weight`` is in (0, 1], relative to the heaviest."""

    idx: tuple[int, ...]
    weight: tuple[float, ...]
    given: int = 0
    """How many of them, the first, the request itself named."""


NO_ANCHORS: Final = Anchors((), ())


def choose_anchors(given: Sequence[int], history: History, now: Millis, history_share: float) -> Anchors:
    """The items of the request, each with weight 1, then the strongest recent ones; these are scaled by
    ``history_share`` where the request names any. Ties by lower item index.
    """
    given = tuple(dict.fromkeys(given))[:ANCHORS_MAX]
    room = ANCHORS_MAX - len(given)
    if not len(history.recent) or room == 0 or (given and history_share == 0):
        return Anchors(given, (1.0,) * len(given), len(given))
    strengths = history.strengths(now)
    order = np.lexsort((history.recent, -strengths))[: room + len(given)]
    strongest = float(strengths[order[0]])
    share = history_share if given else 1.0
    recent = [
        (idx, strength / strongest * share)
        for idx, strength in zip(history.recent[order].tolist(), strengths[order].tolist(), strict=True)
        if strength > 0 and idx not in given
    ][:room]
    weights = (1.0,) * len(given) + tuple(weight for _, weight in recent)
    return Anchors(given + tuple(idx for idx, _ in recent), weights, len(given))
