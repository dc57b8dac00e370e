"""The answer path. Read this first: it is what Everfold does, in the order it does it.

    request → who, which surface, may it be personal → profile → candidates from every recommender → filters
            → blend → shortlist → slate, drawn slot by slot → reasons → answer + decision record

An answer is a function of the request, the profile, the item table, the weights and the clock; asking changes none of
them, and chance is a hash of who asks, where, and of the half hour. The
profile may lie in another process, so the caller reads it, and only where `Answerer.reads` names one:

    key = answerer.reads(request)
    answer = answerer.recommend(request, profile_of(key) if key else None)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Final

from actors.item_view import ItemSource, ItemView
from actors.profile import Glance
from events.clock import Clock
from events.errors import BadSettings
from events.ids import Key
from serving.answer import Answer, RankRequest, RecommendRequest
from serving.asked import Asked, ask, denied_by_request
from serving.explain import Made, Weighed, again, answer_of, decision_of, rules_version, shown_features, shown_items
from serving.filters import among, eligible, may_stand, with_items
from serving.journal import Journal
from serving.metrics import Counter, Numbers
from serving.prediction_cache import PredictionCache, Question
from serving.ranking import Ranking, Scoring, ranking_of
from serving.slate import STILL, Sampling, fill, sampling_of
from serving.weights import FixedWeights, Pair, PairSource
from training.anchors import choose_anchors
from training.blend import merge, restricted
from training.guard import Failed, Guard
from training.history import NO_HISTORY, HistoryCache
from training.inventory import INVENTORY
from training.learned import Learned
from training.memo import MemoCache, remembering
from training.rating_journal import key_of
from training.recommender import Memo, Query, Recommender, whole_minute
from training.surface import SURFACES, Surface

DEPTH_PER_ITEM: Final = 4
"""Popular items looked at per item wanted: labels repeat and filters take their share."""
DEPTH_MIN: Final = 64
_MINUTE_US: Final = 60_000_000


@dataclass(frozen=True, slots=True)
class AnswerRules:
    """What stays the same from answer to answer."""

    default_consent: bool = True
    surfaces: Mapping[str, Surface] = field(default_factory=lambda: SURFACES)
    recommenders: Mapping[str, Recommender] = field(default_factory=lambda: INVENTORY)
    n_max: int = 100
    candidates_logged: float = 1.0
    """Share of decisions that log the shortlist with its gains; shown items are logged always."""
    noise_secret: bytes = bytes(32)
    """Keys the hash that the noise of sampling is made from, so that a seed leads to nobody."""


class Answerer:
    """Answers requests; one per replica, not shared between threads."""

    def __init__(
        self,
        items: ItemSource,
        journal: Journal | None,
        clock: Clock,
        rules: AnswerRules,
        weights: PairSource | None = None,
        numbers: Numbers | None = None,
    ) -> None:
        """``journal`` of None keeps nothing: then only `ranked` and questions with ``as_of`` are answered. Raises
        `BadSettings` for a surface that weighs a recommender nobody has."""
        for surface in rules.surfaces.values():
            unknown = sorted(set(surface.weights) - set(rules.recommenders))
            if unknown:
                known = ", ".join(rules.recommenders)
                raise BadSettings(f"`surfaces.{surface.name}.weights.{unknown[0]}`: use recommenders among {known}")
        self._items = items
        self._journal = journal
        self._clock = clock
        self._rules = rules
        self._weights = weights or FixedWeights()
        self._numbers = numbers
        self._guard = Guard(lambda: clock.now() / 1e6)
        self._histories = HistoryCache()
        self._memos = MemoCache()
        self._recommenders = {name: remembering(one) for name, one in rules.recommenders.items()}
        self._cache = PredictionCache()
        self._scorings: dict[tuple[str, str], Scoring] = {}
        self._cached = {name: _counter(numbers, outcome=name) for name in ("hit", "miss")}
        self._version = rules_version(rules.surfaces, rules.recommenders)

    def reads(self, request: RecommendRequest) -> Key | None:
        """Whose profile this answer needs; None where it must not read any. Raises `BadRequest`."""
        return None if denied_by_request(request) else request.key()

    def recommend(self, request: RecommendRequest, profile: Glance | None, *, fresh: bool = False) -> Answer:
        """The list for one request; its decision is logged. A `RankRequest` brings its own candidates.

        Args:
            profile: what was read for `reads`; with ``as_of``, the profile of that moment.
            fresh: the caller waited to see a write of its own: nothing older may be answered.

        Raises `BadRequest`, or `Unavailable` while the same request id is being answered elsewhere.
        """
        rules = self._rules
        request.check(rules.n_max)
        at = self._clock.now() if request.as_of is None else request.as_of
        asked = ask(request, profile, at, rules.surfaces, rules.default_consent)
        items = self._items.snapshot()
        pair = self._weights.snapshot(items, asked.now)
        if request.as_of is not None:
            return answer_of(self._make(asked, items, pair, fresh=True), None)
        assert self._journal is not None, "an answer that is to be logged needs a journal"
        with self._journal.claim(asked.stored_for, request.request_id) as (request_hash, stored):
            if stored is not None:
                return again(stored, request, items)
            made = self._make(asked, items, pair, fresh=fresh)
            decision = decision_of(made, rules.candidates_logged)
            place = self._journal.keep(decision, asked, request_hash)
            return answer_of(made if place is not None else _still(made), place)

    def ranked(self, asked: Asked, items: ItemView) -> Ranking:
        """The scored candidates of a question over any item table, never from the cache: what these rules would draw
        from (`serving.what_if`)."""
        pair = self._weights.snapshot(items, asked.now)
        return self._ranked(asked, self._query(asked, items, pair), self._scoring(asked.surface, pair.learned))

    def _make(self, asked: Asked, items: ItemView, pair: Pair, *, fresh: bool) -> Made:
        """Ranking, slate, reasons."""
        ranking = self._ranking(asked, items, pair, fresh=fresh)
        sampling = sampling_of(asked.surface)
        seed = seed_of(asked, self._rules.noise_secret) if sampling.draws else 0
        forced = _forced(asked.request, ranking)
        weighed = Weighed(
            self._version,
            pair.learned.version if pair.learned is not None and ranking.scoring.learned is not None else "",
            pair.model.model.id if pair.model is not None else "",
        )
        return _drawn(asked, ranking, sampling, seed, forced, weighed)

    def _ranking(self, asked: Asked, items: ItemView, pair: Pair, *, fresh: bool) -> Ranking:
        """The scored candidates; those of a question about nobody may be a moment old."""
        query = self._query(asked, items, pair)
        scoring = self._scoring(asked.surface, pair.learned)
        question = _question(asked.request, query)
        if question is None or asked.request.as_of is not None:
            return self._ranked(asked, query, scoring)
        known = self._cache.find(question, pair, items, asked.now, fresh=fresh)
        counter = self._cached["hit" if known is not None else "miss"]
        if counter is not None:
            counter.add()
        if known is None:
            known = self._ranked(asked, query, scoring)
            if not known.failed:
                self._cache.keep(question, pair, items, known, asked.now)
        return known

    def _ranked(self, asked: Asked, query: Query, scoring: Scoring) -> Ranking:
        """Candidates from every recommender, filters, blend, shortlist."""
        request, items = asked.request, query.items
        evidence, failed = self._guard.ask([self._recommenders[name] for name in scoring.names], query)
        for fault in failed:
            self._count(fault)
        if isinstance(request, RankRequest):
            candidates = among(merge(evidence, items.size), request, items)
        else:
            candidates = merge(evidence.keep(eligible(evidence.idx, query, request)), items.size)
            candidates = with_items(candidates, may_stand(request.pinned, query, request))
        dropped = tuple([fault.name for fault in failed if fault.reason != "slow"])
        return ranking_of(candidates, query, scoring, asked, dropped)

    def _count(self, fault: Failed) -> None:
        if self._numbers is not None:
            name = "everfold_recommender_failures_total"
            self._numbers.counter(name, recommender=fault.name, reason=fault.reason).add()

    def _scoring(self, surface: Surface, learned: Learned | None) -> Scoring:
        """How a surface is scored: made once per version of the weights."""
        known = self._scorings.get((surface.name, learned.version if learned is not None else ""))
        if known is None:
            names = tuple(name for name in self._rules.recommenders if name in surface.weights)
            weights = learned.surfaces.get(surface.name) if learned is not None else None
            if weights is not None and learned is not None:
                weights = restricted(weights, learned.names, names)
            self._scorings = {key: one for key, one in self._scorings.items() if key[0] != surface.name}
            known = Scoring(surface, names, weights)
            self._scorings[surface.name, learned.version if learned is not None else ""] = known
        return known

    def _query(self, asked: Asked, items: ItemView, pair: Pair) -> Query:
        """What the recommenders are asked."""
        request = asked.request
        given = [idx for item in request.items if (idx := items.index(item)) >= 0]
        share, now = asked.surface.history_share, whole_minute(asked.now)
        if asked.profile is not None and asked.who is not None:
            history = self._histories.of(asked.who, asked.profile, items)
            anchors, memo = self._memos.of(asked.who, given, history, now, share, pair.model)
        else:
            history, memo = NO_HISTORY, Memo()
            anchors = choose_anchors(given, history, now, share)
        return Query(
            items=items,
            now=now,
            surface=asked.surface,
            history=history,
            anchors=anchors,
            category=items.category_id(request.category) if request.category else None,
            depth=max(DEPTH_MIN, DEPTH_PER_ITEM * request.n),
            model=pair.model,
            memo=memo,
            segments=history.segments,
            segment_rows=items,
            rater=pair.rater,
            rater_key=key_of(asked.profile.subject) if pair.rater is not None and asked.profile is not None else "",
        )


def _counter(numbers: Numbers | None, outcome: str) -> Counter | None:
    return numbers.counter("everfold_prediction_cache_total", outcome=outcome) if numbers is not None else None


def seed_of(asked: Asked, secret: bytes) -> int:
    """64 bits for the noise of an answer: a keyed hash of who asks, on which surface, in which rotation epoch. For
    nobody, and without consent, of the moment instead of a name: such a seed leads to nobody and returns never."""
    epoch = asked.at // (asked.surface.rotation_minutes * _MINUTE_US)
    who = f"{asked.who}\x00{epoch}" if asked.who is not None else f"\x00{asked.at}"
    text = f"{asked.surface.name}\x00{who}".encode(errors="surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8, key=secret[:32], person=b"everfold-noise").digest(), "little")


def _drawn(
    asked: Asked, ranking: Ranking, sampling: Sampling, seed: int, forced: Mapping[int, int], weighed: Weighed
) -> Made:
    slate = fill(ranking.shortlist, sampling, seed, asked.request.n, forced)
    seen = shown_features(ranking, slate)
    return Made(asked, ranking, sampling, seed, forced, slate, seen, shown_items(ranking, slate, seen), weighed)


def _still(made: Made) -> Made:
    """The same answer without chance: of one that could not be logged nobody will ever know the propensities."""
    if not made.sampling.draws:
        return made
    still = replace(STILL, diversity=made.sampling.diversity)
    return _drawn(made.asked, made.ranking, still, 0, made.forced, made.weighed)


def _forced(request: RecommendRequest, ranking: Ranking) -> Mapping[int, int]:
    """Slot → column of the pinned items that may stand there, in the order given, one of each label."""
    if not request.pinned:
        return {}
    items, short = ranking.query.items, ranking.shortlist
    place = {idx: at for at, idx in enumerate(ranking.blended.candidates.idx[ranking.columns].tolist())}
    columns: list[int] = []
    labels: set[int] = set()
    for item in dict.fromkeys(request.pinned):
        column = place.get(items.index(item))
        if column is not None and int(short.kinds[0, column]) not in labels:
            columns.append(column)
            labels |= {int(short.kinds[0, column])} - {-1}
    return dict(enumerate(columns[: request.n]))


def _question(request: RecommendRequest, query: Query) -> Question | None:
    """What a ranking depends on besides weights and items; None where it is somebody's own. The request's context is
    not in it: no recommender looks at it, and its consent was honoured before."""
    if query.history is not NO_HISTORY or isinstance(request, RankRequest):
        return None
    return (
        query.surface.name,
        query.depth,
        request.items,
        request.exclude,
        request.pinned,
        request.category,
        query.segments,
    )
