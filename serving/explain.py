"""From a slate to what is sent and what is kept: reasons, the answer, the decision record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, cast

import msgspec

from actors.item_view import ItemView
from events.ids import Micros
from serving.answer import Answer, AnsweredItem, RankRequest, RecommendRequest
from serving.asked import Asked
from serving.decision import FORMAT, Decision, Place, Rules, Shown, Versions
from serving.journal import Stored
from serving.moments import moment_text
from serving.reasons import reason
from serving.slate import Slate
from training.blend import Blended, features
from training.recommender import Query
from training.surface import Surface

POLICY: Final = "fixed-1"
"""Fixed weights, no sampling: the best candidate gets the slot, with propensity 1."""
SCORE_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Made:
    """An answer with everything it came from."""

    asked: Asked
    query: Query
    names: tuple[str, ...]
    blended: Blended
    slate: Slate
    shown: tuple[Shown, ...]
    model: str


def model_version(surfaces: Mapping[str, Surface], names: Iterable[str]) -> str:
    """Names the weights: a digest of every surface's rules and of the recommenders, so that another configuration is
    another model."""
    text = [surfaces[name].model_dump_json() for name in sorted(surfaces)] + list(names)
    return "fixed-" + blake2b("\n".join(text).encode(), digest_size=4).hexdigest()


def shown_items(blended: Blended, slate: Slate, names: Sequence[str], query: Query) -> tuple[Shown, ...]:
    """The slate's items with sources and reason. The sources are the recommenders that speak for an item, the one that
    contributed most first, ties in the order of ``names``; the first gives the reason."""
    ids, candidates, columns = query.items.ids, blended.candidates, list(slate.columns)
    table = zip(
        candidates.idx[columns].tolist(),
        blended.score[columns].tolist(),
        slate.propensities,
        candidates.raw[:, columns].T.tolist(),
        (blended.log_z[:, columns].T * blended.weights).tolist(),
        candidates.because[:, columns].T.tolist(),
        strict=True,
    )
    shown = []
    for idx, score, propensity, raw, share, because in table:
        speaking = sorted([row for row, said in enumerate(raw) if said > 0], key=share.__getitem__, reverse=True)
        why = reason(names[speaking[0]], because[speaking[0]], query) if speaking else ""
        sources = tuple([names[row] for row in speaking])
        shown.append(Shown(ids[idx], round(score, SCORE_DIGITS), propensity, sources, why))
    return tuple(shown)


def decision_of(made: Made, candidates_logged: float) -> Decision:
    """The record of an answer."""
    asked, blended, columns = made.asked, made.blended, list(made.slate.columns)
    request, profile, surface = asked.request, asked.profile, asked.surface
    scores = blended.score
    whole = _share(asked.at) < candidates_logged
    return Decision(
        format=FORMAT,
        versions=Versions(
            policy=POLICY,
            model=made.model,
            items=made.query.items.version,
            profile=profile.version if profile is not None else None,
            profile_lsn=profile.lsn if profile is not None else None,
        ),
        consent=asked.consent,
        rules=_rules(surface),
        read_at=asked.at,
        asked=request.n,
        anchors=request.items,
        exclude=request.exclude,
        category=request.category,
        context=request.context,
        recommenders=made.names,
        weights=blended.weights,
        candidates=_packed(made) if whole else (),
        scores=scores.tobytes() if whole else b"",
        features=features(blended, columns).tobytes(),
        gains=scores[columns].tobytes(),
        seed=0,
        slate=made.shown,
        test=request.test,
    )


def _packed(made: Made) -> tuple[str, ...]:
    """The candidates' ids, as the encoder puts them into the record: they are only ever read from there."""
    return cast("tuple[str, ...]", msgspec.Raw(made.query.items.packed_ids(made.blended.candidates.idx)))


def answer_of(made: Made, place: Place | None) -> Answer:
    """The answer, logged at ``place``; with None nothing was kept of it."""
    asked = made.asked
    return _answer(
        asked.request,
        made.query.items,
        made.shown,
        place,
        model=made.model,
        profile_version=asked.profile.version if asked.profile is not None else None,
        read_at=asked.at,
    )


def again(stored: Stored, request: RecommendRequest, items: ItemView) -> Answer:
    """A stored answer, as it was given."""
    place, decision = stored
    versions = decision.versions
    return _answer(
        request,
        items,
        decision.slate,
        place,
        model=versions.model,
        profile_version=versions.profile,
        read_at=Micros(decision.read_at),
    )


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
    answered = [
        AnsweredItem(one.item, one.score, one.sources, one.reason, one.propensity, _details(one.item, items, request))
        for one in shown
    ]
    if isinstance(request, RankRequest):
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


def _details(item: str, items: ItemView, request: RecommendRequest) -> dict[str, object] | None:
    """The catalogue's entry without what only the service needs."""
    idx = items.index(item) if request.details else -1
    if idx < 0:
        return None
    entry = items.item(idx)
    return {name: getattr(entry, name) for name in DETAILS}


DETAILS: Final = ("title", "category", "brand", "item_group", "price", "stock", "attributes", "url", "image")


def _rules(surface: Surface) -> Rules:
    values = surface.values
    return Rules(
        surface=surface.name,
        repeats=surface.repeats,
        values=(values.click, values.cart, values.purchase),
        impression=surface.impression,
        tau=surface.tau,
        floor=surface.floor,
    )


def _share(at: Micros) -> float:
    """A number in [0, 1) that is as good as random over decisions: Fibonacci hashing of the microsecond."""
    return ((at * 0x9E3779B97F4A7C15) & 0xFFFF_FFFF_FFFF_FFFF) / 2**64
