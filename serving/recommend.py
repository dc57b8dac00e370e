"""The answer path. Read this first: it is what Everfold does, in the order it does it.

    request → who, which surface, may it be personal → profile → candidates from every recommender → filters
            → blend → slate → reasons → answer + decision record

An answer is a function of the request, the profile, the item table and the clock; asking changes none of them. The
profile may lie in another process, so the caller reads it, and only where `Answerer.reads` names one:

    key = answerer.reads(request)
    answer = answerer.recommend(request, profile_of(key) if key else None)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from actors.item_view import ItemSource, ItemView
from actors.profile import Glance
from events.clock import Clock
from events.errors import BadSettings
from events.ids import Key
from serving.answer import Answer, RankRequest, RecommendRequest
from serving.asked import Asked, ask, denied_by_request
from serving.explain import Made, again, answer_of, decision_of, model_version, shown_items
from serving.filters import among, eligible
from serving.journal import Journal
from serving.slate import fill
from training.anchors import choose_anchors
from training.blend import blend, merge, pool
from training.history import NO_HISTORY, HistoryCache
from training.inventory import INVENTORY
from training.recommender import Query, Recommender
from training.surface import SURFACES, Surface

DEPTH_PER_ITEM: Final = 4
"""Popular items looked at per item wanted: labels repeat and filters take their share."""
DEPTH_MIN: Final = 64


@dataclass(frozen=True, slots=True)
class AnswerRules:
    """What stays the same from answer to answer."""

    default_consent: bool = True
    surfaces: Mapping[str, Surface] = field(default_factory=lambda: SURFACES)
    recommenders: Mapping[str, Recommender] = field(default_factory=lambda: INVENTORY)
    n_max: int = 100
    candidates_logged: float = 1.0
    """Share of decisions that log all candidates with their scores; shown items are logged always."""


class Answerer:
    """Answers requests; one per replica, not shared between threads."""

    def __init__(self, items: ItemSource, journal: Journal, clock: Clock, rules: AnswerRules) -> None:
        """Raises `BadSettings` for a surface that weighs a recommender nobody has."""
        for surface in rules.surfaces.values():
            unknown = sorted(set(surface.weights) - set(rules.recommenders))
            if unknown:
                known = ", ".join(rules.recommenders)
                raise BadSettings(f"`surfaces.{surface.name}.weights.{unknown[0]}`: use recommenders among {known}")
        self._items = items
        self._journal = journal
        self._clock = clock
        self._rules = rules
        self._histories = HistoryCache()
        self._model = model_version(rules.surfaces, rules.recommenders)

    def reads(self, request: RecommendRequest) -> Key | None:
        """Whose profile this answer needs; None where it must not read any. Raises `BadRequest`."""
        return None if denied_by_request(request) else request.key()

    def recommend(self, request: RecommendRequest, profile: Glance | None) -> Answer:
        """The list for one request; its decision is logged. A `RankRequest` brings its own candidates.

        Args:
            profile: what was read for `reads`; with ``as_of``, the profile of that moment.

        Raises `BadRequest`, or `Unavailable` while the same request id is being answered elsewhere.
        """
        rules = self._rules
        request.check(rules.n_max)
        at = self._clock.now() if request.as_of is None else request.as_of
        asked = ask(request, profile, at, rules.surfaces, rules.default_consent)
        items = self._items.snapshot()
        if request.as_of is not None:
            return answer_of(self._make(asked, items), None)
        with self._journal.claim(asked.stored_for, request.request_id) as (request_hash, stored):
            if stored is not None:
                return again(stored, request, items)
            made = self._make(asked, items)
            decision = decision_of(made, rules.candidates_logged)
            return answer_of(made, self._journal.keep(decision, asked, request_hash))

    def _make(self, asked: Asked, items: ItemView) -> Made:
        """Candidates, filters, blend, slate, reasons."""
        request = asked.request
        query = self._query(asked, items)
        names = tuple(name for name in self._rules.recommenders if asked.surface.weights.get(name, 0.0) > 0)
        evidence = pool([self._rules.recommenders[name].recommend(query) for name in names])
        if isinstance(request, RankRequest):
            candidates = among(merge(evidence, items.size), request.candidates, items)
            labels = np.full(len(candidates.idx), -1, np.int32)
        else:
            candidates = merge(evidence.keep(eligible(evidence.idx, query, request)), items.size)
            labels = items.group[candidates.idx]
        blended = blend(candidates, [asked.surface.weights[name] for name in names])
        slate = fill(blended.score, candidates.idx, labels, request.n)
        shown = shown_items(blended, slate, names, query)
        return Made(asked, query, names, blended, slate, shown, self._model)

    def _query(self, asked: Asked, items: ItemView) -> Query:
        """What the recommenders are asked."""
        request = asked.request
        history = NO_HISTORY
        if asked.profile is not None and asked.who is not None:
            history = self._histories.of(asked.who, asked.profile, items)
        given = [idx for item in request.items if (idx := items.index(item)) >= 0]
        return Query(
            items=items,
            now=asked.now,
            surface=asked.surface,
            history=history,
            anchors=choose_anchors(given, history, asked.now, asked.surface.history_share),
            category=items.category_id(request.category) if request.category else None,
            depth=max(DEPTH_MIN, DEPTH_PER_ITEM * request.n),
        )
