"""Asking every recommender: one that fails or returns nonsense drops out of the answer, and is counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from events.clock import Clock
from serving.metrics import Numbers
from training.recommender import ABSTAIN, Query, Recommender, Scored


class Panel:
    """All recommenders of a replica."""

    def __init__(self, recommenders: Mapping[str, Recommender], clock: Clock, numbers: Numbers | None) -> None:
        self._recommenders = recommenders
        self._numbers = numbers

    def ask(self, names: Sequence[str], query: Query) -> tuple[list[Scored], tuple[str, ...]]:
        """What each of ``names`` said, and which of them dropped out (having said nothing)."""
        said: list[Scored] = []
        failed: list[str] = []
        for name in names:
            try:
                scored = self._recommenders[name].recommend(query)
                reason = _wrong(scored, query.items.size)
            except Exception:  # whatever a recommender does, the answer comes
                reason = "raised"
            if reason:
                failed.append(name)
                self._count(name, reason)
                scored = ABSTAIN
            said.append(scored)
        return said, tuple(failed)

    def _count(self, name: str, reason: str) -> None:
        if self._numbers is not None:
            self._numbers.counter("everfold_recommender_failures_total", recommender=name, reason=reason).add()


def _wrong(scored: Scored, size: int) -> str:
    """What is wrong with an answer; empty when nothing is."""
    count = len(scored.idx)
    if len(scored.score) != count or len(scored.because) != count:
        return "lengths"
    if count and not (int(scored.idx.min()) >= 0 and int(scored.idx.max()) < size):
        return "items"
    if count and not (float(scored.score.min()) >= 0 and np.isfinite(scored.score.max())):
        return "scores"
    return ""
