"""A period of the log under another policy: what it would have earned, as far as the log can tell.

    lists      every decision of the period, joined with what became of it      (`serving.decision_rows`)
    past       item table and profiles as they were known at each decision       (`serving.what_if_replay`)
    target     the other policy's chances in every slot                          (`serving.what_if_target`)
    estimate   `training.ope`, surface by surface

The other policy is anything that ranks: these rules with other settings, or another model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import xxhash

from actors.item_view import ItemView
from events.types import NAME_OF
from serving.asked import Asked
from serving.decision_period import Answered, DecisionPeriod, Period
from serving.decision_rows import JoinedList, what_became
from serving.ranking import Ranking
from serving.what_if_replay import Past
from serving.what_if_target import WIDTH, Aim, aim, asked_again
from training.attribution import DEFAULT_WINDOWS, Windows
from training.learned import OUTCOMES
from training.ope.evaluation import Evaluation, Options, Refusal, evaluate, refused, unanswerable
from training.ope.slates import NO_ITEM, LoggedSlates, TargetSlates
from training.surface import Surface, Values

Ranks: TypeAlias = Callable[[Asked, ItemView], Ranking]
"""The policy to be judged: scores the candidates of a question; how slots are drawn from them its surface says."""

LISTS_MAX: Final = 20_000
"""Lists judged, about 6 kB and 2 ms each. Of more, people are left out whole, by a hash of their id."""
SLOTS_MAX: Final = 24
"""Slots looked at: the weights of a prefix as long as that hardly ever have an effective sample size to speak of."""
ALL_TYPES: Final = frozenset(name for name, _ in NAME_OF.values())


@dataclass(frozen=True, slots=True)
class Asking:
    """What is to be judged."""

    surfaces: Mapping[str, Surface]
    """By name: the rules to be tried. Lists of other surfaces are passed over."""
    ranks: Ranks
    seed: int = 0
    lists_max: int = LISTS_MAX
    windows: Windows = DEFAULT_WINDOWS


@dataclass(frozen=True, slots=True)
class Judged:
    """One surface."""

    surface: str
    lists: int
    """Answered in the period, of the people looked at."""
    seen: int
    """Of those, lists of which anything was reported as seen."""
    lost: int
    """Of those, lists whose profile can no longer be made again as it was: left out."""
    share: float
    """Of the people, looked at."""
    evaluation: Evaluation


@dataclass(slots=True)
class _List:
    """One list, as small as it can be kept until it is judged."""

    subject: bytes
    items: tuple[str, ...]
    propensity: npt.NDArray[np.float64]
    forced: npt.NDArray[np.bool_]
    outcome: npt.NDArray[np.bool_]
    """(slots, outcomes)"""
    test: bool
    seen: bool
    aim: Aim | None = None


@dataclass(slots=True)
class _Surface:
    lists: dict[bytes, _List] = field(default_factory=dict)
    """By decision id, in the order of time."""

    @property
    def judged(self) -> list[_List]:
        """With test traffic, which is left out, and counted, where estimates are made."""
        return [one for one in self.lists.values() if one.aim is not None or one.test]


def what_if(reading: DecisionPeriod, period: Period, now: int, asking: Asking) -> list[Judged]:
    """Judge every surface asked about, by name. ``now``: facts appended later (us) are not looked at."""
    share = _share(reading.count(period), asking.lists_max)
    found: dict[str, _Surface] = {name: _Surface() for name in sorted(asking.surfaces)}
    for joined in what_became(reading, period, now, asking.windows):
        surface = found.get(joined.answered.decision.rules.surface)
        if surface is not None and _looked_at(joined.answered.subject, share):
            surface.lists[joined.answered.place.id] = _kept(joined)
    hopeless = {name: _hopeless(surface) for name, surface in found.items()}
    worth_it = {
        place: one for name, surface in found.items() if hopeless[name] is None for place, one in surface.lists.items()
    }
    if worth_it:
        _aim_at(worth_it, reading, period, asking)
    return [_judge(name, surface, hopeless[name], share, asking) for name, surface in found.items()]


def _share(decisions: int, most: int) -> float:
    return min(1.0, most / decisions) if decisions else 1.0


def _looked_at(subject: bytes, share: float) -> bool:
    return share >= 1.0 or xxhash.xxh3_64_intdigest(subject) < share * 2**64


def _kept(joined: JoinedList) -> _List:
    slate = joined.answered.decision.slate[:SLOTS_MAX]
    outcome = np.zeros((len(slate), len(OUTCOMES)), np.bool_)
    for slot, row in enumerate(joined.rows[:SLOTS_MAX]):
        if row is not None:
            outcome[slot] = [name in row.outcome_at for name in OUTCOMES]
    return _List(
        subject=joined.answered.subject,
        items=tuple(shown.item for shown in slate),
        propensity=np.array([shown.propensity for shown in slate]),
        forced=np.array([shown.forced for shown in slate], np.bool_),
        outcome=outcome,
        test=joined.answered.decision.test,
        seen=any(row is not None for row in joined.rows),
    )


def _hopeless(surface: _Surface) -> Refusal | None:
    """Whatever can be said before the past is made again, which is what takes long."""
    lists = list(surface.lists.values())
    nothing = unanswerable(_logged(lists))
    if nothing is None and not any(one.seen for one in lists):
        return Refusal(
            "nothing seen",
            "no list was reported as seen, so what became of them is unknown: send `Product List Viewed` with "
            "`list_id`, or declare `impression = assumed` for this surface",
        )
    return nothing


def _aim_at(lists: Mapping[bytes, _List], reading: DecisionPeriod, period: Period, asking: Asking) -> None:
    """Fill in what the other policy would have done, decision by decision in the order of time."""
    past = Past(reading.facts(0, period.until, ALL_TYPES), {one.subject for one in lists.values()})
    for answered in reading.decisions(period):
        one = lists.get(answered.place.id)
        if one is not None and not one.test:
            one.aim = _aimed(answered, past, asking)


def _aimed(answered: Answered, past: Past, asking: Asking) -> Aim | None:
    moment = past.at(answered)
    if moment is None:
        return None
    surface = asking.surfaces[answered.decision.rules.surface]
    question = asked_again(answered, moment.profile, surface, moment.items)
    return aim(answered.decision, asking.ranks(question, moment.items), SLOTS_MAX)


def _judge(name: str, surface: _Surface, why: Refusal | None, share: float, asking: Asking) -> Judged:
    everything = list(surface.lists.values())
    if why is not None:
        evaluation, lost = refused(_logged(everything), why), 0
    else:
        lists = surface.judged
        values = _worth(asking.surfaces[name].values)
        evaluation, lost = (
            evaluate(_logged(lists), _target(lists), Options(values, asking.seed)),
            len(everything) - len(lists),
        )
    return Judged(name, len(everything), sum(one.seen for one in everything), lost, share, evaluation)


def _worth(values: Values) -> tuple[float, ...]:
    return tuple(float(getattr(values, outcome)) for outcome in OUTCOMES)


def _logged(lists: list[_List]) -> LoggedSlates:
    slots = max((len(one.items) for one in lists), default=0)
    people: dict[bytes, int] = {}
    numbers: dict[str, int] = {}
    slates = LoggedSlates(
        subject=np.array([people.setdefault(one.subject, len(people)) for one in lists], np.int64),
        item=np.full((len(lists), slots), NO_ITEM, np.int64),
        propensity=np.ones((len(lists), slots)),
        outcome=np.zeros((len(lists), slots, len(OUTCOMES))),
        forced=np.zeros((len(lists), slots), np.bool_),
        features=np.zeros((len(lists), slots, WIDTH)),
        test=np.array([one.test for one in lists], np.bool_),
        logged=np.ones(len(lists), np.bool_),
    )
    for row, one in enumerate(lists):
        own = slice(0, len(one.items))
        slates.item[row, own] = [numbers.setdefault(item, len(numbers)) for item in one.items]
        slates.propensity[row, own] = one.propensity
        slates.outcome[row, own] = one.outcome
        slates.forced[row, own] = one.forced
        if one.aim is not None:
            slates.features[row, own] = one.aim.shown
    return slates


def _target(lists: list[_List]) -> TargetSlates:
    slots = max((len(one.items) for one in lists), default=0)
    target = TargetSlates(
        np.zeros((len(lists), slots)), np.zeros((len(lists), slots, WIDTH)), np.zeros((len(lists), slots))
    )
    for row, one in enumerate(lists):
        if one.aim is not None:
            own = slice(0, len(one.items))
            target.propensity[row, own] = one.aim.propensity
            target.features[row, own] = one.aim.expected
            target.unsupported[row, own] = one.aim.unsupported
    return target
