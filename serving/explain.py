"""From a slate to what is sent and what is kept: reasons, the answer, the decision record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, cast

import msgspec
import numpy as np

from actors.item_view import ItemView
from events.ids import Micros
from serving.answer import Answer, AnsweredItem, RankRequest, RecommendRequest
from serving.asked import Asked
from serving.decision import FORMAT, Decision, Place, Rules, Shown, Versions
from serving.journal import Stored
from serving.moments import moment_text
from serving.ranking import Ranking
from serving.reasons import reason
from serving.slate import Sampling, Slate
from training.blend import features, position_feature
from training.learned import CONTEXT
from training.recommender import Scores
from training.segment_popularity import SEGMENTS_MAX
from training.surface import Surface

POLICY: Final = "slate-2"
"""Slot by slot from a shortlist, with the surface's temperature, floor and diversity (`serving.slate`)."""
SCORE_DIGITS: Final = 6
EXPLORED: Final = "Trying something new"


@dataclass(frozen=True, slots=True)
class Made:
    """An answer with everything it came from."""

    asked: Asked
    ranking: Ranking
    sampling: Sampling
    seed: int
    forced: Mapping[int, int]
    """Slot → shortlist column put there by the caller."""
    slate: Slate
    seen: Scores
    """`shown_features` of the slate."""
    shown: tuple[Shown, ...]
    weighed: Weighed


@dataclass(frozen=True, slots=True)
class Weighed:
    """Names of what an answer was scored with."""

    rules: str
    """Digest of the surfaces' rules and the recommenders."""
    learned: str = ""
    artefact: str = ""

    @property
    def version(self) -> str:
        """``model_version`` of the answer: equal versions, equal weights and tables.

        >>> Weighed("fixed-1a2b").version, Weighed("fixed-1a2b", "w7", "0123456789abcdef").version
        ('fixed-1a2b', 'learned-01234567-w7')
        """
        if self.learned:
            return f"learned-{self.artefact[:8] or 'none'}-{self.learned}"
        return f"{self.rules}-{self.artefact[:8]}" if self.artefact else self.rules


def rules_version(surfaces: Mapping[str, Surface], names: Iterable[str]) -> str:
    """Names the fixed weights: a digest of every surface's rules and of the recommenders, so that another configuration
    is another model."""
    text = [surfaces[name].model_dump_json() for name in sorted(surfaces)] + list(names)
    return "fixed-" + blake2b("\n".join(text).encode(), digest_size=4).hexdigest()


def shown_features(ranking: Ranking, slate: Slate) -> Scores:
    """What the blend saw of the slate's items: shape (recommenders · 4, slots)."""
    return features(ranking.blended, ranking.columns[list(slate.columns)])


def shown_items(ranking: Ranking, slate: Slate, seen: Scores) -> tuple[Shown, ...]:
    """The slate's items with sources and reason. The sources are the recommenders that speak for an item, the one that
    contributed most first, ties in the order of ``names``; the first gives the reason."""
    query, names, candidates = ranking.query, ranking.scoring.names, ranking.blended.candidates
    columns = ranking.columns[list(slate.columns)]
    said = candidates.raw[:, columns].T > 0
    loudest = np.where(said, -ranking.shares(seen), np.inf).argsort(axis=1, kind="stable").tolist()
    table = zip(
        candidates.idx[columns].tolist(),
        ranking.odds[columns].tolist(),
        slate.propensities,
        said.sum(axis=1).tolist(),
        loudest,
        candidates.because[:, columns].T.tolist(),
        strict=True,
    )
    ids, shown = query.items.ids, []
    sources: tuple[str, ...]
    for slot, (idx, score, propensity, speaking, rows, because) in enumerate(table):
        explored = slot in slate.explored
        sources, why = (), EXPLORED if explored else ""
        if speaking:  # for most of the candidates that a caller brings, nobody speaks
            sources = tuple([names[row] for row in rows[:speaking]])
            why = why or reason(sources[0], because[rows[0]], query)
        shown.append(
            Shown(ids[idx], round(score, SCORE_DIGITS), propensity, sources, why, slot in slate.forced, explored)
        )
    return tuple(shown)


def decision_of(made: Made, candidates_logged: float) -> Decision:
    """The record of an answer."""
    asked, ranking, slate = made.asked, made.ranking, made.slate
    request, profile = asked.request, asked.profile
    columns = ranking.columns[list(slate.columns)]
    context = ranking.context[:, columns].T.copy()
    context[:, CONTEXT.index("position")] = position_feature(len(columns))
    whole = _share(asked.at) < candidates_logged
    return Decision(
        format=FORMAT,
        versions=Versions(
            policy=POLICY,
            model=made.weighed.rules,
            items=ranking.query.items.version,
            profile=profile.version if profile is not None else None,
            profile_lsn=profile.lsn if profile is not None else None,
            learned=made.weighed.learned,
            artefact=made.weighed.artefact,
        ),
        consent=asked.consent,
        rules=_rules(asked.surface, made.sampling),
        read_at=asked.at,
        asked=request.n,
        anchors=request.items,
        exclude=request.exclude,
        category=request.category,
        context=request.context,
        recommenders=ranking.scoring.names,
        weights=ranking.applied,
        candidates=_packed(ranking) if whole else (),
        scores=ranking.shortlist.gains.tobytes() if whole else b"",
        features=made.seen.T.tobytes(),
        gains=np.array(slate.gains, "<f4").tobytes(),
        seed=made.seed,
        slate=made.shown,
        test=request.test,
        kinds=ranking.shortlist.kinds.tobytes() if whole else b"",
        context_features=context.tobytes(),
        standard=ranking.standard,
        scored_at=ranking.at if ranking.at != asked.at else 0,
        failed=ranking.failed,
        segments=ranking.query.segments[:SEGMENTS_MAX],
    )


def _packed(ranking: Ranking) -> tuple[str, ...]:
    """The candidates' ids, as the encoder puts them into the record: they are only ever read from there."""
    idx = ranking.blended.candidates.idx[ranking.columns]
    return cast("tuple[str, ...]", msgspec.Raw(ranking.query.items.packed_ids(idx)))


def answer_of(made: Made, place: Place | None) -> Answer:
    """The answer, logged at ``place``; with None nothing was kept of it."""
    asked = made.asked
    return _answer(
        asked.request,
        made.ranking.query.items,
        made.shown,
        place,
        model=made.weighed.version,
        profile_version=asked.profile.version if asked.profile is not None else None,
        read_at=asked.at,
    )


def again(stored: Stored, request: RecommendRequest, items: ItemView) -> Answer:
    """A stored answer, as it was given, but for items that have been hidden since."""
    place, decision = stored
    versions = decision.versions
    return _answer(
        request,
        items,
        tuple([one for one in decision.slate if not _hidden(one.item, items)]),
        place,
        model=Weighed(versions.model, versions.learned, versions.artefact).version,
        profile_version=versions.profile,
        read_at=Micros(decision.read_at),
    )


def _hidden(item: str, items: ItemView) -> bool:
    idx = items.index(item)
    return idx < 0 or bool(items.blocked[idx])


def _answer(
    request: RecommendRequest,
    items: ItemView,
    shown: tuple[Shown, ...],
    place: Place | None,
    *,
    model: str,
    profile_version: int | None,
    read_at: Micros,
) -> Answer:
    if request.details:
        answered = [
            AnsweredItem(one.item, one.score, one.sources, one.reason, one.propensity, _details(one.item, items))
            for one in shown
        ]
    else:
        answered = [AnsweredItem(one.item, one.score, one.sources, one.reason, one.propensity) for one in shown]
    if isinstance(request, RankRequest) and len(answered) < min(request.n, len(request.candidates)):
        answered += [
            AnsweredItem(item, 0.0, (), "Not in the catalogue", 1.0)
            for item in dict.fromkeys(request.candidates)
            if items.index(item) < 0
        ][: request.n - len(answered)]
    return Answer(
        recommendation_id=place.text if place is not None else None,
        user_id=request.user_id or None,
        items=answered,
        surface=request.surface,
        model_version=model,
        profile_version=profile_version,
        as_of=moment_text(read_at),
        logged=place is not None,
        approximate=request.as_of is not None,
    )


def _details(item: str, items: ItemView) -> dict[str, object] | None:
    """The catalogue's entry without what only the service needs."""
    idx = items.index(item)
    if idx < 0:
        return None
    entry = items.item(idx)
    return {name: getattr(entry, name) for name in DETAILS}


DETAILS: Final = ("title", "category", "brand", "item_group", "price", "stock", "attributes", "url", "image")


def _rules(surface: Surface, sampling: Sampling) -> Rules:
    values = surface.values
    return Rules(
        surface=surface.name,
        repeats=surface.repeats,
        values=(values.click, values.cart, values.purchase),
        impression=surface.impression,
        tau=sampling.tau,
        floor=sampling.floor,
        exploration_slots=sampling.exploration_slots,
        diversity=sampling.diversity,
        fatigue=surface.fatigue,
        fairness=surface.fairness,
    )


def _share(at: Micros) -> float:
    """A number in [0, 1) that is as good as random over decisions: Fibonacci hashing of the microsecond."""
    return ((at * 0x9E3779B97F4A7C15) & 0xFFFF_FFFF_FFFF_FFFF) / 2**64
