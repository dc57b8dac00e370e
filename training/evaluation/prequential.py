"""Prequential evaluation over the log: before each sampled act a policy makes its list, then the act is folded.

    walk      facts → one `Answer` per request, through the recommenders that serve
    measured  answers → metrics per request, and whose they are

What a policy is asked with is what it would have been given in service: the profile folded up to the act, and an item
table that lags, never leads (`training.window`). A policy is any function from a `Situation` to a list; `served` makes
one of recommenders and weights. Retraining judges two of them on the same window (`training.gate`); this is the same
walk for one, outside of any gate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from actors.follower import Fact
from events.ids import Millis
from training.evaluation.metrics import Relevant, Values, accuracy
from training.initial_blend import Vector
from training.pseudo_requests import Asking, Situation, best_of, situations
from training.recommender import Indices
from training.surface import Surface
from training.window import Window, moments

Ranked: TypeAlias = tuple[Indices, Values]
"""Item indices, best first, and their scores."""
Policy: TypeAlias = Callable[[Situation, int], Ranked]
"""What to show in a situation, and in how many slots at most. Changes nothing."""

K: Final = 10


@dataclass(frozen=True, slots=True)
class Answer:
    """One request and what came of it. Item numbers are those of the walk's own table, the same in all its answers."""

    subject: int
    """A number for the person: what intervals are clustered by."""
    at: Millis
    judging: bool
    """Whether it lies in the window's later part."""
    ranked: Indices
    score: Values
    wanted: tuple[int, ...]
    """Items taken next, those named by the request left out; never empty."""
    new: tuple[int, ...]
    """Those of ``wanted`` that the person had never bought, as far as the profile remembers."""
    known: Indices
    """Items bought before, likewise."""


def walk(facts: Iterable[Fact], policy: Policy, surface: Surface, window: Window, slots: int = K) -> Iterator[Answer]:
    """The answers of ``policy`` on ``surface`` before the acts that ``window`` samples (by its seed), in log order.

    Equal facts, window and policy, equal answers.
    """
    for moment in moments(facts, window):
        known = moment.history.purchases.idx
        bought = set(known.tolist())
        for situation in situations(surface, moment.items, moment.history, moment.at, moment.taken):
            ranked, score = policy(situation, slots)
            new = tuple(item for item in situation.wanted if item not in bought)
            yield Answer(moment.subject, moment.at, moment.judging, ranked, score, situation.wanted, new, known)


def served(asking: Asking, weights: Vector | None = None) -> Policy:
    """The list as it is served: one item per label, ties by lower item. ``weights``: of a learned blend, shape
    (recommenders · 4,), such as `initial_blend.fit_blend` finds; without them the surface's fixed ones."""

    def policy(situation: Situation, slots: int) -> Ranked:
        answered = asking.answer(situation)
        score = answered.fixed if weights is None else answered.features.astype(np.float64) @ weights
        chosen = best_of(answered, score, slots)
        return answered.idx[chosen], np.asarray(score[chosen], np.float64)

    return policy


@dataclass(frozen=True, slots=True)
class Measured:
    """Metrics of many answers."""

    values: dict[str, Values]
    """Name (``ndcg@10``) → one value per request."""
    subjects: npt.NDArray[np.int64]
    """Shape (requests,): for intervals over people."""


def measured(answers: Sequence[Answer], *, new_only: bool = False) -> Measured:
    """Full-ranking metrics at 10. ``new_only``: what had been bought before is taken out of the lists as well as of
    what is wanted, and only requests that wanted something new count; lists shorter than 10 then stay shorter, so ask
    for more slots in `walk`."""
    kept = [answer for answer in answers if answer.new or not new_only]
    ranked = np.full((len(kept), K), -1, np.int32)
    for row, answer in zip(ranked, kept, strict=True):
        shown = answer.ranked[~np.isin(answer.ranked, answer.known)] if new_only else answer.ranked
        row[: len(shown[:K])] = shown[:K]
    relevant = Relevant.of([answer.new if new_only else answer.wanted for answer in kept])
    values = accuracy(ranked, relevant, K) if kept else {}
    return Measured(values, np.array([answer.subject for answer in kept], np.int64))
