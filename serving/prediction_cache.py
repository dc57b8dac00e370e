"""Rankings of answers that are about nobody in particular, kept for a moment: what thousands of visitors ask alike is
scored once. Chance comes after: every answer draws its own slate and has its own decision record.

A ranking is a function of the weights, the item table and the question. So it is dropped with another pair of weights
and model (promotion), with any change of the catalogue (at once: what was hidden must be gone from the next answer),
and after `KEPT_MS`, because popularity and neighbours move with every commit of the item follower.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from actors.item_view import ItemView
from events.ids import Millis
from serving.ranking import Ranking
from serving.weights import Pair

KEPT_MS: Final = 1_000
"""Popularity has a half-life of a month and trends of a day: a second changes no list anybody could tell apart."""
RANKINGS_MAX: Final = 256
"""About 150 kB each."""

Question: TypeAlias = Hashable
"""Everything of a request that a ranking depends on."""


@dataclass(frozen=True, slots=True)
class _Kept:
    ranking: Ranking
    pair: Pair
    blocked: npt.NDArray[np.bool_]
    """The view's array: another object after any change of the catalogue."""
    version: str
    until: Millis


class PredictionCache:
    """Least recently used out first. One per replica, not shared between threads."""

    def __init__(self, most: int = RANKINGS_MAX, kept_ms: int = KEPT_MS) -> None:
        self._most = most
        self._kept_ms = kept_ms
        self._rankings: OrderedDict[Question, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rankings)

    def find(self, question: Question, pair: Pair, items: ItemView, now: Millis, *, fresh: bool) -> Ranking | None:
        """The ranking of ``question``, if it still holds. ``fresh``: only one made from this very state of the items,
        for somebody who waits to see a write of theirs."""
        kept = self._rankings.get(question)
        if kept is None:
            return None
        same = kept.pair.learned is pair.learned and kept.pair.model is pair.model
        if not same or kept.blocked is not items.blocked or not kept.until - self._kept_ms <= now < kept.until:
            del self._rankings[question]
            return None
        if fresh and kept.version != items.version:
            return None
        self._rankings.move_to_end(question)
        return kept.ranking

    def keep(self, question: Question, pair: Pair, items: ItemView, ranking: Ranking, now: Millis) -> None:
        kept = _Kept(ranking, pair, items.blocked, items.version, Millis(now + self._kept_ms))
        self._rankings[question] = kept
        self._rankings.move_to_end(question)
        if len(self._rankings) > self._most:
            self._rankings.popitem(last=False)
