"""What another policy would have done in the place of a logged decision: its chances in every slot, given the items
that were really shown above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from msgspec.structs import replace as with_fields

from actors.item_view import ItemView
from actors.profile import Profile
from events.ids import Key, Micros, Millis
from serving.answer import CANDIDATES_MAX, RankRequest, RecommendRequest
from serving.asked import Asked
from serving.decision import Decision
from serving.decision_period import Answered
from serving.ranking import Ranking
from serving.slate import Floats, Shortlist, chances, sampling_of
from serving.why import sampling_in, shortlist_of
from training.blend import FEATURES
from training.inventory import INVENTORY
from training.recommender import Scores
from training.surface import Surface

FEATURE_NAMES: Final = ("log_z", "reciprocal_rank")
"""What the reward model predicts from, of every recommender there is; of those a surface does not ask it is 0."""
WIDTH: Final = len(INVENTORY) * len(FEATURE_NAMES)
LEAST_CHANCE: Final = 1e-9
"""Below this the logging policy would not have shown an item in the life of the service."""
_GUEST: Final = np.float32(-1e6)


@dataclass(frozen=True, slots=True)
class Aim:
    """Of one decision with k slots, as `training.ope.slates.TargetSlates` and `LoggedSlates.features` want it."""

    propensity: Floats
    """(k,)"""
    expected: Scores
    """(k, WIDTH): of what it would show."""
    shown: Scores
    """(k, WIDTH): of what was shown, as the judged policy sees it; 0 where it is no candidate of its own."""
    unsupported: Floats
    """(k,)"""


def asked_again(answered: Answered, profile: Profile | None, surface: Surface, items: ItemView) -> Asked:
    """The question a decision answered, to be answered by the rules of ``surface``."""
    decision = answered.decision
    who = Key(f"u:{answered.subject.hex()}") if profile is not None else None
    at = Micros(decision.read_at)
    return Asked(_request(decision, items), who, profile, decision.consent, surface, at, Millis(at // 1000))


def _request(decision: Decision, items: ItemView) -> RecommendRequest:
    """Candidates of the caller's own are recognised by having no labels where the catalogue gives them some."""
    pinned = tuple(shown.item for shown in decision.slate if shown.forced)
    ranked = bool(decision.kinds) and bool((np.frombuffer(decision.kinds, "<i4").reshape(4, -1)[0] < 0).all())
    if ranked and len(decision.candidates) <= CANDIDATES_MAX:
        idx = np.array([at for item in decision.candidates if (at := items.index(item)) >= 0], np.int32)
        if len(idx) and bool((items.group[idx] >= 0).any()):
            return RankRequest(
                n=min(decision.asked, CANDIDATES_MAX),
                surface=decision.rules.surface,
                items=decision.anchors,
                exclude=decision.exclude,
                candidates=decision.candidates,
            )
    return RecommendRequest(
        n=decision.asked,
        surface=decision.rules.surface,
        items=decision.anchors,
        exclude=decision.exclude,
        pinned=pinned,
        category=decision.category,
    )


def aim(decision: Decision, ranking: Ranking, slots_max: int) -> Aim:
    """The chances of the policy that made ``ranking`` in the first ``slots_max`` slots of ``decision``."""
    decision = with_fields(decision, slate=decision.slate[:slots_max])
    idx = ranking.blended.candidates.idx[ranking.columns]
    names = ranking.query.items.ids
    place = {names[number]: column for column, number in enumerate(idx.tolist())}
    slots = [one.item for one in decision.slate]
    guests = [item for item in slots if item not in place]
    place |= {item: len(idx) + number for number, item in enumerate(guests)}
    columns = [place[item] for item in slots]
    forced = {slot: columns[slot] for slot, one in enumerate(decision.slate) if one.forced}
    short = _with_guests(ranking.shortlist, guests, ranking.query.items)
    rows = chances(short, sampling_of(ranking.scoring.surface), columns, forced, len(guests))
    described = np.zeros((len(short), WIDTH))
    described[: len(idx)] = _described(ranking)
    return Aim(
        propensity=rows[np.arange(len(slots)), columns],
        expected=(rows @ described).astype(np.float32),
        shown=described[columns].astype(np.float32),
        unsupported=_unsupported(decision, rows, place, forced),
    )


def _with_guests(short: Shortlist, guests: list[str], items: ItemView) -> Shortlist:
    """Items that were shown and are no candidates, in the last columns."""
    if not guests:
        return short
    kinds = np.full((4, len(guests)), -1, np.int32)
    known = [(column, at) for column, item in enumerate(guests) if (at := items.index(item)) >= 0]
    if known:
        kinds[:, [column for column, _ in known]] = items.kinds(np.array([at for _, at in known], np.int32))
    return Shortlist(
        np.concatenate((short.gains, np.full(len(guests), _GUEST, np.float32))),
        np.concatenate((short.kinds, kinds), axis=1),
        np.concatenate((short.hashes, np.zeros(len(guests), np.uint64))),
    )


def _described(ranking: Ranking) -> Floats:
    """(shortlist, WIDTH): features of every candidate, recommender by recommender of the inventory."""
    table = ranking.features[:, ranking.columns].reshape(len(ranking.scoring.names), len(FEATURES), -1)
    described = np.zeros((len(ranking.columns), len(INVENTORY), len(FEATURE_NAMES)))
    rows = {name: row for row, name in enumerate(INVENTORY)}
    for own, name in enumerate(ranking.scoring.names):
        for number, feature in enumerate(FEATURE_NAMES):
            described[:, rows[name], number] = table[own, FEATURES.index(feature)]
    return described.reshape(len(ranking.columns), WIDTH)


def _unsupported(decision: Decision, rows: Floats, place: dict[str, int], forced: dict[int, int]) -> Floats:
    """Of each slot, how much of ``rows`` lies on items that the logging policy could not have shown there. 0 where its
    candidates were not logged: then the mean weight is what notices."""
    missing = np.zeros(len(decision.slate))
    if not decision.candidates or decision.format < 2:
        return missing
    there = {item: column for column, item in enumerate(decision.candidates)}
    if any(one.item not in there for one in decision.slate):
        return missing
    columns = [there[one.item] for one in decision.slate]
    logged = chances(shortlist_of(decision), sampling_in(decision), columns, {slot: columns[slot] for slot in forced})
    ours = np.full(rows.shape[1], -1, np.intp)
    for item, column in place.items():
        ours[column] = there.get(item, -1)
    could = np.where(ours >= 0, logged[:, ours] > LEAST_CHANCE, False)
    beyond: Floats = np.where(could, 0.0, rows).sum(axis=1)
    beyond[list(forced)] = 0.0
    return beyond
