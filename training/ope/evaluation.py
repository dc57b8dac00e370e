"""What a log says about another policy: every estimate with its interval, or the reasons why it cannot say.

An answer that should not be believed is refused, not decorated: each refusal says what is missing and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

import numpy as np

from training.evaluation.intervals import Interval
from training.ope.estimators import ESTIMATORS, MODEL_FREE, Case, Sums, logged_value
from training.ope.resampling import RESAMPLES, Lift, lifts
from training.ope.reward_model import Predicted, immediate, to_come
from training.ope.slates import NO_ITEM, Bools, Floats, LoggedSlates, TargetSlates, rewards
from training.ope.weights import STRUCTURES, MeanWeight, Structure, effective_size, mean_weight, ratios, weigh

EFFECTIVE_MIN: Final = 200.0
"""Effective sample size below which nothing is said: the interval of a mean of so few, with weights as skewed as these,
is no longer what it says it is."""
PEOPLE_MIN: Final = 30
"""People needed: intervals by drawing clusters are too narrow with fewer than 20 to 50 of them (Cameron, Gelbach,
Miller, The Review of Economics and Statistics 90, 2008)."""
UNSUPPORTED_MAX: Final = 0.02
"""Share of the judged policy's choices that the log may be unable to tell of. They count as earning nothing, so a lift
may be understated by up to this share of the value."""
CERTAIN: Final = 1.0 - 1e-9

Reason: TypeAlias = Literal[
    "nothing logged",
    "test traffic",
    "unlogged",
    "forced slots",
    "deterministic logging",
    "too few people",
    "no support",
    "effective sample size",
    "mean weight",
    "nothing seen",
]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the log cannot answer, in a word and in a sentence."""

    reason: Reason
    text: str


@dataclass(frozen=True, slots=True)
class Options:
    """``values``: what a click, a cart and a purchase are worth."""

    values: tuple[float, ...] = (1.0, 3.0, 10.0)
    seed: int = 0
    resamples: int = RESAMPLES


DEFAULTS: Final = Options()


@dataclass(frozen=True, slots=True)
class Support:
    """How much of the log speaks about the judged policy, for one structure."""

    effective: tuple[float, ...]
    """Effective sample size of each slot."""
    largest: float
    """The largest weight of the slots judged."""
    mean: MeanWeight


@dataclass(frozen=True, slots=True)
class Left:
    """Slates and slots left out before anything was estimated."""

    test: int = 0
    unlogged: int = 0
    forced: int = 0
    """Slots."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """``refusals`` empty: ``headline`` may be believed as far as its interval goes."""

    slates: int
    people: int
    left: Left
    slots: int
    """Of the longest list."""
    depth: int
    """Slots judged, counted from the first: those where the cascade's effective sample size is large enough."""
    unsupported: float
    """Mean share of the judged policy's choices, in those slots, that the log cannot tell of."""
    support: Mapping[Structure, Support]
    baseline: Interval | None
    """What was earned in the slots judged, per slate."""
    estimates: Mapping[tuple[Structure, str], Lift]
    refusals: tuple[Refusal, ...]

    @property
    def effective(self) -> float:
        """The smallest effective sample size that `headline` stands on."""
        return min(self.support["cascade"].effective[: max(self.depth, 1)], default=0.0) if self.support else 0.0

    @property
    def headline(self) -> Lift | None:
        """Self-normalised doubly robust under cascade weights; None where the log cannot answer."""
        return None if self.refusals else self.estimates[HEADLINE]


HEADLINE: Final[tuple[Structure, str]] = ("cascade", "sndr")


def evaluate(slates: LoggedSlates, target: TargetSlates, options: Options = DEFAULTS) -> Evaluation:
    """Judge ``target`` by the log. Deterministic: equal input and seed, equal output.

    Test traffic, unlogged answers and forced slots are left out first. Estimates are made also where something is
    refused later on (``support`` says why); `Evaluation.headline` is not. Raises `BadRequest` for propensities that are
    none.
    """
    slates.rows(slates.logged).check()
    hopeless = unanswerable(slates)
    if hopeless is not None:
        return refused(slates, hopeless)
    kept = ~slates.test & slates.logged
    return _judged(slates.rows(kept), target.rows(kept), options, _counted(slates))


def refused(slates: LoggedSlates, why: Refusal) -> Evaluation:
    """No estimate at all."""
    return replace(_counted(slates), refusals=(why,))


def _counted(slates: LoggedSlates) -> Evaluation:
    """How much there is, before anything is estimated."""
    free = slates.rows(~slates.test & slates.logged)
    left = Left(int(slates.test.sum()), int((~slates.logged).sum()), int(free.forced.sum()))
    return Evaluation(len(free), len(np.unique(free.subject)), left, slates.slots, 0, 0.0, {}, None, {}, ())


def unanswerable(slates: LoggedSlates) -> Refusal | None:
    """What can be said without knowing the policy to be judged. None: go on."""
    free = slates.rows(~slates.test & slates.logged)
    if not len(slates) or not (slates.item != NO_ITEM).any():
        return Refusal("nothing logged", "there is no decision in this period: choose a longer one")
    if not len(free):
        if slates.logged.any():
            return Refusal("test traffic", "all decisions of this period are test traffic: it enters no estimate")
        return Refusal("unlogged", "no decision of this period was logged: there are no propensities to go by")
    if not free.free.any():
        return Refusal("forced slots", "every slot of this period was forced: nothing was left to chance")
    if (free.propensity[free.free] >= CERTAIN).all():
        return Refusal(
            "deterministic logging",
            "every item was shown with propensity 1: a log that never tried anything else cannot say what something "
            "else would have earned. Set `tau` or `exploration_slots` of the surface and come back with a week of it",
        )
    return None


def _judged(slates: LoggedSlates, target: TargetSlates, options: Options, empty: Evaluation) -> Evaluation:
    ratio, counted = ratios(slates, target), slates.free
    weights: dict[Structure, Floats] = {structure: weigh(ratio, structure) for structure in STRUCTURES}
    effective = {name: _effective(weight, counted) for name, weight in weights.items()}
    depth = _depth(effective["cascade"])
    judged = max(depth, 1)
    reward = rewards(slates, options.values)[:, :judged]
    support = {
        name: Support(
            effective[name],
            float(np.where(counted, weight, 0.0)[:, :judged].max()),
            mean_weight(weight[:, :judged], counted[:, :judged], slates.subject),
        )
        for name, weight in weights.items()
    }
    found = lifts(
        _estimates(slates, target, reward, weights, options.seed),
        logged_value(reward),
        slates.subject,
        options.resamples,
        options.seed,
    )
    named = {key: found[_name(*key)] for key in _keys()}
    unsupported = _unsupported(slates, target, judged)
    return replace(
        empty,
        depth=depth,
        unsupported=unsupported,
        support=support,
        baseline=found[_BASELINE].value,
        estimates=named,
        refusals=tuple(_refusals(empty.people, depth, unsupported, support["cascade"])),
    )


def _effective(weight: Floats, counted: Bools) -> tuple[float, ...]:
    return tuple(effective_size(weight[counted[:, slot], slot]) for slot in range(weight.shape[1]))


def _depth(effective: tuple[float, ...]) -> int:
    """Leading slots with enough to go by. Weights alone decide, never rewards, so this chooses no result."""
    for slot, size in enumerate(effective):
        if size < EFFECTIVE_MIN:
            return slot
    return len(effective)


def _unsupported(slates: LoggedSlates, target: TargetSlates, depth: int) -> float:
    """Where the log was certain, everything but the item shown is beyond it."""
    free = slates.free[:, :depth]
    certain = slates.propensity[:, :depth] >= CERTAIN
    beyond = np.where(certain, 1.0 - target.propensity[:, :depth], target.unsupported[:, :depth])
    return float(beyond[free].mean()) if free.any() else 0.0


_BASELINE: Final = "logged"


def _keys() -> list[tuple[Structure, str]]:
    return [(s, e) for s in STRUCTURES for e in (MODEL_FREE if s == "slate" else ESTIMATORS)]


def _name(structure: Structure, estimator: str) -> str:
    return f"{structure}/{estimator}"


def _estimates(
    slates: LoggedSlates, target: TargetSlates, reward: Floats, weights: Mapping[Structure, Floats], seed: int
) -> dict[str, Sums]:
    """Every estimate of the slots that ``reward`` covers."""
    depth = reward.shape[1]
    top, aim = _first(slates, depth), _first_of_target(target, depth)
    model: dict[Structure, Callable[[LoggedSlates, TargetSlates, Floats, int], Predicted]] = {
        "cascade": to_come,
        "independent": immediate,
    }
    cases = {
        name: Case(
            name,
            weight[:, :depth],
            top.free,
            reward,
            model[name](top, aim, reward, seed) if name in model else None,
        )
        for name, weight in weights.items()
    }
    made = {_name(*key): ESTIMATORS[key[1]](cases[key[0]]) for key in _keys()}
    return {**made, _BASELINE: logged_value(reward)}


def _first(slates: LoggedSlates, depth: int) -> LoggedSlates:
    return replace(
        slates,
        item=slates.item[:, :depth],
        propensity=slates.propensity[:, :depth],
        outcome=slates.outcome[:, :depth],
        forced=slates.forced[:, :depth],
        features=slates.features[:, :depth],
    )


def _first_of_target(target: TargetSlates, depth: int) -> TargetSlates:
    return TargetSlates(target.propensity[:, :depth], target.features[:, :depth], target.unsupported[:, :depth])


def _refusals(people: int, depth: int, unsupported: float, cascade: Support) -> list[Refusal]:
    found: list[Refusal] = []
    if people < PEOPLE_MIN:
        found.append(
            Refusal("too few people", f"{people} people were answered: intervals over people need {PEOPLE_MIN}")
        )
    if unsupported > UNSUPPORTED_MAX:
        found.append(
            Refusal(
                "no support",
                f"{unsupported:.0%} of what it would show could not have been shown by the policy that logged "
                f"(at most {UNSUPPORTED_MAX:.0%}): log with a higher `tau` or `floor`, or judge a smaller change",
            )
        )
    if depth == 0:
        found.append(
            Refusal(
                "effective sample size",
                f"the log tells as much as {cascade.effective[0]:.0f} lists of the new policy, {EFFECTIVE_MIN:.0f} "
                "are needed: take a longer period, or judge a smaller change",
            )
        )
    if not cascade.mean.is_one:
        found.append(
            Refusal(
                "mean weight",
                f"the mean importance weight is {cascade.mean.value:.3f} ± {cascade.mean.standard_error:.3f} and must "
                "be 1 within 3 standard errors: the logged propensities are not those it was drawn with, or it could "
                "not have shown what the new policy shows",
            )
        )
    return found
