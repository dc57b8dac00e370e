"""The guard: one recommender that fails, dawdles or talks nonsense drops out of the answer, is counted, and the answer
still comes.

    raised    it threw: its evidence is missing
    nonsense  unequal lengths, other types, items out of range, scores that are negative or no numbers: dropped
    slow      it took longer than its budget: what it said is used, it is counted
    resting   it failed or was slow `Rules.strikes` times in a row, or once longer than `Rules.hang_s`: not asked for
              `Rules.rest_s`; then one call decides whether it is back
    late      the answer's time was used up before its turn: not asked

A recommender is a synchronous function of arrays in the answering thread, so a call under way cannot be interrupted: a
call that never returned would hold its replica until Serve's health check replaces it. What is bounded is how often
that can happen to an answer, and what one hang costs: after it the recommender rests, and the others of that answer are
not asked any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from training.blend import Evidence, pool
from training.recommender import ABSTAIN, Query, Recommender, Scored

Reason: TypeAlias = Literal["raised", "nonsense", "slow", "resting", "late"]
REASONS: Final[tuple[Reason, ...]] = ("raised", "nonsense", "slow", "resting", "late")

_INFINITE: Final = 0x7F80_0000
"""Bits of the float32 +inf: as unsigned numbers, the bits of finite floats from +0 on lie below, all others above."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How patient the guard is, in seconds of the clock it is given."""

    budget_s: float = 0.05
    """A thousand times what one costs: slower only by a fault, or by a machine that is not given its turn."""
    hang_s: float = 0.25
    answer_s: float = 0.1
    """Once this much went by since the first was asked, the rest is not asked."""
    strikes: int = 3
    rest_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Failed:
    """A recommender that fell short in one answer."""

    name: str
    reason: Reason
    detail: str = ""
    """What a log line should say beyond the reason."""


class Guard:
    """Asks recommenders for one replica; not shared between threads."""

    def __init__(self, clock: Callable[[], float], rules: Rules = Rules()) -> None:
        """``clock``: seconds, monotonic, read once per recommender and answer."""
        self._clock = clock
        self._rules = rules
        self._strikes: dict[str, int] = {}
        self._resting: dict[str, float] = {}
        """Name → when it may be tried again."""

    def ask(self, recommenders: Sequence[Recommender], query: Query) -> tuple[Evidence, list[Failed]]:
        """What they said, a row each, empty for those that fell out; and who fell short."""
        said: list[Scored] = []
        failed: list[Failed] = []
        well: list[str] = []
        began = before = self._clock()
        for recommender in recommenders:
            name = recommender.name
            if before - began > self._rules.answer_s:
                said.append(ABSTAIN)
                failed.append(Failed(name, "late"))
                continue
            if self._resting and before < self._resting.get(name, before):
                said.append(ABSTAIN)
                failed.append(Failed(name, "resting"))
                continue
            fault: Failed | None = None
            try:
                scored = recommender.recommend(query)
            except Exception as error:
                scored, fault = ABSTAIN, Failed(name, "raised", f"{type(error).__name__}: {error}")
            after = self._clock()
            took = after - before
            if fault is None and took > self._rules.budget_s:
                fault = Failed(name, "slow", f"{1000 * took:.0f} ms")
            if fault is not None:
                failed.append(fault)
                self._strike(name, after, took)
            else:
                well.append(name)
            said.append(scored)
            before = after
        evidence = pooled(said, query.items.size)
        if evidence is None:
            self._drop_nonsense(recommenders, said, failed, query.items.size, before)
            evidence = pool(said)
        if self._strikes:
            self._forgive(set(well) - {each.name for each in failed})
        return evidence, failed

    def _strike(self, name: str, now: float, took: float) -> None:
        strikes = self._strikes.get(name, 0) + 1
        self._strikes[name] = strikes
        if strikes >= self._rules.strikes or took > self._rules.hang_s:
            self._strikes[name] = self._rules.strikes  # one more after its rest, and it rests again
            self._resting[name] = now + self._rules.rest_s

    def _forgive(self, names: set[str]) -> None:
        for name in names:
            self._strikes.pop(name, None)
            self._resting.pop(name, None)

    def _drop_nonsense(
        self, recommenders: Sequence[Recommender], said: list[Scored], failed: list[Failed], size: int, now: float
    ) -> None:
        for at, recommender in enumerate(recommenders):
            what = nonsense(said[at], size)
            if what:
                said[at] = ABSTAIN
                failed.append(Failed(recommender.name, "nonsense", what))
                self._strike(recommender.name, now, 0.0)


def pooled(said: Sequence[Scored], size: int) -> Evidence | None:
    """All that was said in one, None where any of it is `nonsense`: looked at together, because a check of each would
    cost as much as three more recommenders. May be None for a negative zero."""
    try:
        evidence = pool(said)
    except (TypeError, ValueError, AttributeError):
        return None
    if not len(evidence.idx):
        return evidence
    sound = evidence.idx.view(np.uint32).max() < size and evidence.score.view(np.uint32).max() < _INFINITE
    return evidence if sound else None


def nonsense(scored: Scored, size: int) -> str:
    """What is wrong with the evidence; empty when it can be used.

    >>> nonsense(ABSTAIN, 3)
    ''
    >>> one = np.array([7], np.int32)
    >>> nonsense(Scored(one, np.array([1], np.float32), one), 3)
    'item 7 of 3'
    """
    if not _well_formed(scored):
        return "arrays of unequal length or other types"
    if not len(scored.idx):
        return ""
    low, high = int(scored.idx.min()), int(scored.idx.max())
    if low < 0 or high >= size:
        return f"item {low if low < 0 else high} of {size}"
    least, most = float(scored.score.min()), float(scored.score.max())
    return "" if least >= 0.0 and most < np.inf else f"scores from {least} to {most}"


_INDEX: Final = np.dtype(np.int32)
_SCORE: Final = np.dtype(np.float32)


def _well_formed(scored: object) -> bool:
    if scored is ABSTAIN:
        return True
    if not isinstance(scored, Scored):
        return False
    idx, score, because = scored.idx, scored.score, scored.because
    arrays: tuple[object, ...] = (idx, score, because)
    for array in arrays:
        if not isinstance(array, np.ndarray):
            return False
    shape = idx.shape
    return (  # dtype objects, not types: comparing with a type makes a dtype of it every time
        idx.dtype == _INDEX
        and score.dtype == _SCORE
        and because.dtype == _INDEX
        and len(shape) == 1
        and shape == score.shape == because.shape
    )
