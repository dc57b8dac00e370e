"""From an envelope to the fact it states: one function per call of the Segment spec.

Properties that become fields of the fact are taken out of ``properties``; the rest is kept as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from events.consent import purposes_in
from events.envelope import Envelope, checked_id, mapping, text
from events.lines import Enrich, Rank, lines_at, number, take_label, take_number, unranked
from events.reasons import Unfit
from events.types import (
    Aliased,
    Consented,
    Event,
    Exposed,
    Grouped,
    Identified,
    Impression,
    Interaction,
    Json,
    Line,
    Tracked,
    Visited,
)
from events.vocabulary import Meaning, Vocabulary

NAME_CHARS_MAX: Final = 256
DWELL_MS_MAX: Final = 24 * 3_600_000
MONEY_MAX: Final = 1e12
RATING_SCALE: Final = 5.0
"""Stars, unless the event says another ``rating_scale``."""
_PLAIN: Final = Interaction("view")
"""Defaults are left out of the stored bytes only when they are the very objects of the declaration."""
_LIST_NAMES = ("list_id", "listId", "recommendation_id", "recommendationId")


@dataclass(frozen=True, slots=True)
class Sources:
    """What reading a fact needs besides the event: the vocabulary and the catalogue."""

    vocabulary: Vocabulary
    enrich: Enrich
    rank: Rank = unranked


def fact(kind: str, envelope: Envelope, context: dict[str, Json], sources: Sources) -> Event:
    """The fact stated by a call of type ``kind``. Takes identify's traits out of ``context``. Raises `Unfit`."""
    reader = _READERS.get(kind)
    if reader is None:
        raise Unfit("unknown_type", f"type {kind[:40]!r} must be one of {', '.join(_READERS)}")
    return reader(envelope, context, sources)


def _identified(envelope: Envelope, context: dict[str, Json], _: Sources) -> Event:
    """Segment puts traits on top, RudderStack's browser SDK into the context; the top wins where both speak."""
    deeper = mapping("context.traits", context.pop("traits", None))
    return Identified(deeper | mapping("traits", envelope.traits))


def _visited(envelope: Envelope, _: dict[str, Json], __: Sources) -> Event:
    properties = mapping("properties", envelope.properties)
    name = text("name", envelope.name) or take_label(properties, "name")
    category = text("category", envelope.category) or take_label(properties, "category")
    dwell = take_number(properties, "dwell_ms", 0, DWELL_MS_MAX) or 0.0
    scroll = take_number(properties, "scroll", 0, 1) or 0.0
    return Visited(name, category, int(dwell), scroll, properties)


def _grouped(envelope: Envelope, _: dict[str, Json], __: Sources) -> Event:
    group = checked_id("groupId", envelope.group_id)
    if not group:
        raise Unfit("missing_group", "a group call needs groupId")
    return Grouped(group, mapping("traits", envelope.traits))


def _aliased(envelope: Envelope, _: dict[str, Json], __: Sources) -> Event:
    """A browser SDK sends ``alias('u2', 'u1')`` after ``identify('u1')`` as u1 = u1: a fact that says nothing, kept
    as one, so that no merge can ever make a cycle of it."""
    previous = checked_id("previousId", envelope.previous_id)
    if not previous:
        raise Unfit("missing_previous_id", "an alias call needs previousId")
    if previous == text("userId", envelope.user_id):
        return Tracked("alias", {"previousId": previous})
    return Aliased(previous)


def _tracked(envelope: Envelope, context: dict[str, Json], sources: Sources) -> Event:
    name = text("event", envelope.event).strip()
    if not name:
        raise Unfit("missing_event", "a track call needs event, the name of what happened")
    if len(name) > NAME_CHARS_MAX:
        raise Unfit("bad_name", f"the event's name has {len(name)} characters: the most is {NAME_CHARS_MAX}")
    properties = mapping("properties", envelope.properties)
    meaning = sources.vocabulary.meaning(name)
    match meaning.kind:
        case "interaction":
            return _interaction(name, meaning, properties, sources)
        case "impression":
            lines = lines_at(properties, meaning.place, _uncatalogued) if meaning.place else ()
            return Impression(tuple(line.item for line in lines), _list_id(properties), name, properties)
        case "exposure":
            experiment = take_label(properties, "experiment_id") or take_label(properties, "experiment_name")
            variation = take_label(properties, "variation_id") or take_label(properties, "variation_name")
            if experiment and variation:
                return Exposed(experiment, variation, properties)
        case "consent":
            purposes = purposes_in(context)
            if purposes:
                return Consented(purposes, _source(context))
        case "tracked":
            pass
    return Tracked(name, properties)


def _uncatalogued(_: str) -> None:
    return


def _source(context: Mapping[str, Json]) -> str:
    """Who asked: the consent platform's name where the client gave it."""
    for field in ("consent", "consentManagement"):
        stated = context.get(field)
        provider = stated.get("provider") if isinstance(stated, dict) else None
        if isinstance(provider, str) and provider:
            return provider[:64]
    return ""


def _list_id(properties: dict[str, Json]) -> str:
    for name in _LIST_NAMES:
        if name in properties:
            found = take_label(properties, name)
            if found:
                return found
    return ""


def _interaction(name: str, meaning: Meaning, properties: dict[str, Json], sources: Sources) -> Interaction:
    lines = lines_at(properties, meaning.place, sources.enrich) if meaning.place else ()
    weight, watched, revenue, query = _PLAIN.weight, _PLAIN.watched, _PLAIN.revenue, ""
    discount, coupon, price_rank = _PLAIN.discount, False, _PLAIN.price_rank
    if meaning.weight != weight:
        weight = meaning.weight
    match meaning.signal:
        case "rate":
            weight = meaning.weight * _centred_rating(properties)
        case "watch":
            watched = _share_watched(name, properties)
        case "purchase" | "refund":
            revenue = _revenue(properties) or revenue
            discount = take_number(properties, "discount", 0, MONEY_MAX) or discount
            coupon = _with_coupon(properties)
            price_rank = _price_rank(properties, lines, sources.rank, price_rank)
        case "search":
            query = take_label(properties, "query")
        case _:
            pass
    return Interaction(
        signal=meaning.signal,
        lines=lines,
        name=name,
        weight=weight,
        list_id=_list_id(properties),
        order_id=take_label(properties, "order_id"),
        revenue=revenue,
        discount=discount,
        coupon=coupon,
        price_rank=price_rank,
        dwell_ms=int(take_number(properties, "dwell_ms", 0, DWELL_MS_MAX) or 0),
        watched=watched,
        query=query,
        properties=properties,
    )


def _centred_rating(properties: Mapping[str, Json]) -> float:
    """(rating − middle) / half the span of the scale 1..rating_scale, in [-1, 1]; 0 without a usable rating.

    >>> _centred_rating({"rating": 5}), _centred_rating({"rating": 1, "rating_scale": 10})
    (1.0, -1.0)
    """
    scale = number(properties.get("rating_scale"), 2, 1e6) or RATING_SCALE
    rating = number(properties.get("rating"), 0, scale)
    if rating is None:
        return 0.0
    return max(-1.0, (2 * rating - scale - 1) / (scale - 1))


def _share_watched(name: str, properties: Mapping[str, Json]) -> float:
    """position / total_length (both in seconds) within 0..1; the whole of it where the name says it was completed."""
    if name.casefold().endswith("completed"):
        return 1.0
    position = number(properties.get("position"), 0, 1e9)
    length = number(properties.get("total_length"), 1e-9, 1e9)
    return min(1.0, position / length) if position is not None and length is not None else 0.0


def _revenue(properties: dict[str, Json]) -> float:
    for name in ("revenue", "total", "value"):
        found = take_number(properties, name, -MONEY_MAX, MONEY_MAX)
        if found is not None:
            return found
    return 0.0


def _with_coupon(properties: Mapping[str, Json]) -> bool:
    """Of the order or of a product in it; a coupon's name stays where it was sent.

    >>> _with_coupon({"coupon": "SPRING"}), _with_coupon({"products": [{"coupon": ""}]})
    (True, False)
    """
    products = properties.get("products")
    parts = [properties, *(products if isinstance(products, list) else ())]
    return any(isinstance(part, dict) and part.get("coupon") not in (None, "", False) for part in parts)


def _price_rank(properties: dict[str, Json], lines: tuple[Line, ...], rank: Rank, unknown: float) -> float:
    """As sent, else the mean over the lines that have one; ``unknown`` where none has."""
    sent = take_number(properties, "price_rank", 0, 1)
    if sent is not None:
        return sent
    ranks = [found for line in lines if (found := rank(line.item, line.price)) is not None]
    return sum(ranks) / len(ranks) if ranks else unknown


_Reader: TypeAlias = Callable[[Envelope, dict[str, Json], Sources], Event]
_READERS: Final[Mapping[str, _Reader]] = {
    "identify": _identified,
    "track": _tracked,
    "page": _visited,
    "screen": _visited,
    "group": _grouped,
    "alias": _aliased,
}
