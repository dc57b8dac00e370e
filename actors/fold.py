"""The fold: profile, fact → profile. Pure: no clock, no I/O, no randomness, and the profile given is not touched.

Facts may arrive late and in any order; each layer says in its own module what that can change (nothing, within its
bounds). What depends on the order of arrival: decayed interests beyond 256 keys of one half-life, purchases beyond 256
items and impressions beyond 200 (what was known of a dropped item is gone), experiments beyond 64, facts around a
change of consent (`actors.consent`), `Profile.default_consent`. Folding in log order is the truth and bit-reproducible.

Any fact that decodes folds: numbers out of range are cut, overlong names and values are left to the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final, assert_never

import msgspec
from msgspec.structs import replace

from actors.consent import decide
from actors.decay import DecayTable, bounded
from actors.engagement import counted, engaged
from actors.impressions import shown
from actors.profile import (
    EXPERIMENTS_MAX,
    GROUPS_MAX,
    IDS_MAX,
    SEGMENTS_MAX,
    TRAITS_MAX,
    Exposure,
    Membership,
    Profile,
    Recent,
    Trait,
    allowed,
)
from actors.purchases import bought
from actors.recents import remembered
from actors.registers import Moment, moment, newest_of, noted, wins
from actors.sessions import walked
from actors.signals import SIGNALS, facets
from actors.spending import spent
from actors.touchpoint import touchpoint
from events.types import (
    Aliased,
    Consented,
    ContentAlerted,
    DriftDetected,
    Exposed,
    Grouped,
    Identified,
    ImportCompleted,
    ImportStarted,
    Impression,
    Interaction,
    ItemDeleted,
    ItemUpserted,
    Json,
    Line,
    Meta,
    ModelPromoted,
    Payload,
    SegmentChanged,
    SegmentDefined,
    SegmentDropped,
    SubjectErased,
    Tracked,
    Visited,
)

FOLD_VERSION: Final = 2
"""Raised whenever the same facts would fold into another profile: states of another version are folded again."""

QUANTITY_MAX: Final = 1e6
NAME_CHARS_MAX: Final = 256
"""Longer trait names, segments, experiments and group ids are not folded."""
TRAIT_BYTES_MAX: Final = 1024
"""A larger trait counts as removed in the profile: every answer reads all of it."""

_SIZE: Final = msgspec.msgpack.Encoder()


def fold(profile: Profile, lsn: int, event_time: int, event_id: bytes, payload: Payload) -> Profile:
    """The profile after one more fact.

    ``event_time`` is in ms, any int64; ``event_id`` orders facts of the same millisecond. `SubjectErased` leaves a
    profile of which nothing is known.
    """
    meta, event = payload.meta, payload.event
    if isinstance(event, SubjectErased):
        return Profile(version=profile.version + 1, lsn=max(lsn, profile.lsn))
    profile = _identified(profile, lsn, event_time, meta)
    if meta.consent or meta.gpc or isinstance(event, Consented):
        profile = decide(profile, moment(event_time, event_id), meta, event)
    if isinstance(event, Aliased):
        return _linked(profile, event_time, meta, event)
    if event_time < profile.since or not allowed(profile):
        return profile
    if not isinstance(event, SegmentChanged | ContentAlerted):  # what we conclude and tell is no sign of life
        profile = _dated(profile, event_time)
    if meta.bot:
        return replace(profile, engagement=counted(profile.engagement, "bot"))
    if meta.test:
        profile = replace(profile, engagement=counted(profile.engagement, "test"))
    return _folded(profile, event_time, event_id, payload)


def _identified(profile: Profile, lsn: int, at: int, meta: Meta) -> Profile:
    """Whose fact it is: what changes with or without consent."""
    anonymous = profile.anonymous
    if meta.anonymous_id:
        anonymous = noted(anonymous, meta.anonymous_id, at, IDS_MAX)
    return replace(
        profile,
        version=profile.version + 1,
        lsn=max(lsn, profile.lsn),
        user_id=max(profile.user_id, meta.user_id),  # the facts of one key agree on it, or one of them has none
        anonymous=anonymous,
        default_consent=meta.default_consent,
    )


def _linked(profile: Profile, at: int, meta: Meta, event: Aliased) -> Profile:
    """SDKs alias a person to itself after ``identify``: no link."""
    if event.previous_id in ("", meta.user_id, profile.user_id):
        return profile
    return replace(profile, previous=noted(profile.previous, event.previous_id, at, IDS_MAX))


def _dated(profile: Profile, at: int) -> Profile:
    first, last = profile.first_at, profile.last_at
    if first is None or last is None:
        return replace(profile, first_at=at, last_at=at)
    if first <= at <= last:
        return profile
    return replace(profile, first_at=min(first, at), last_at=max(last, at))


def _folded(profile: Profile, at: int, event_id: bytes, payload: Payload) -> Profile:
    """The layers after a fact that consent lets in."""
    event = payload.event
    match event:
        case Interaction():
            return _interacted(profile, at, event, payload.meta)
        case Impression():
            return replace(
                profile,
                impressions=shown(profile.impressions, event.items, at),
                engagement=engaged(profile.engagement, "impression", at),
            )
        case Visited():
            attention = (event.dwell_ms, event.scroll, 0.0)
            return replace(
                profile,
                engagement=engaged(profile.engagement, "visit", at, attention),
                steps=walked(profile.steps, at, event, touchpoint(payload.meta.context)),
            )
        case Tracked():
            return replace(
                profile,
                engagement=engaged(profile.engagement, "tracked", at),
                steps=walked(profile.steps, at, event, touchpoint(payload.meta.context)),
            )
        case Identified(traits):
            return replace(profile, traits=_traits(profile.traits, traits, moment(at, event_id)))
        case Grouped(group_id):
            return replace(profile, groups=_grouped(profile.groups, group_id, at))
        case Exposed():
            return replace(profile, experiments=_exposed(profile.experiments, event, moment(at, event_id)))
        case SegmentChanged():
            return replace(profile, segments=_segments(profile.segments, event, moment(at, event_id)))
        case Consented() | Aliased() | SubjectErased():
            return profile  # done above: they do not wait for consent
        case ItemUpserted() | ItemDeleted() | ImportStarted() | ImportCompleted() | ModelPromoted() | DriftDetected():
            return profile  # facts of items and of the store own a chain, not a person's layers
        case SegmentDefined() | SegmentDropped() | ContentAlerted():
            return profile  # what somebody was told of stands in the log alone
        case _:
            assert_never(event)


def _interacted(profile: Profile, at: int, event: Interaction, meta: Meta) -> Profile:
    strength = SIGNALS[event.signal]
    value = strength.weight * bounded(event.weight)
    if event.signal == "watch" and event.watched > 0.0:
        value *= min(event.watched, 1.0)
    attention = (event.dwell_ms, 0.0, event.watched if event.signal == "watch" else 0.0)
    engagement = engaged(profile.engagement, event.signal, at, attention)
    steps = walked(profile.steps, at, event, touchpoint(meta.context))
    purchases, spending = profile.purchases, profile.spending
    lines = _distinct(event.lines)
    if event.signal == "purchase" or event.signal == "refund":
        spending = spent(spending, event)
        if lines:
            purchases = bought(purchases, lines, at, 1 if event.signal == "purchase" else -1)
    if not lines:
        return replace(profile, engagement=engagement, steps=steps, spending=spending)
    recent = [Recent(line.item, at, event.signal, value) for line in lines]
    return replace(
        profile,
        steps=steps,
        spending=spending,
        interests=_interests(profile.interests, lines, at, value, strength.half_life),
        recent=remembered(profile.recent, recent),
        purchases=purchases,
        engagement=engagement,
    )


def _distinct(lines: Sequence[Line]) -> Sequence[Line]:
    """One line per item, quantities added: ten lines of one thing are one choice."""
    if len(lines) == 1 and lines[0].item and 0.0 <= lines[0].quantity <= QUANTITY_MAX:
        return lines
    by_item: dict[str, Line] = {}
    for line in lines:
        held = by_item.get(line.item)
        quantity = max(bounded(line.quantity, QUANTITY_MAX), 0.0)
        if held is not None:
            by_item[line.item] = replace(held, quantity=min(held.quantity + quantity, QUANTITY_MAX))
        elif line.item:
            by_item[line.item] = line if quantity == line.quantity else replace(line, quantity=quantity)
    return tuple(by_item.values())


def _interests(
    interests: dict[str, DecayTable], lines: Sequence[Line], at: int, value: float, half_life: str
) -> dict[str, DecayTable]:
    """Every line speaks for its facets once, whatever its quantity."""
    if len(lines) == 1:
        keys: Sequence[str] = facets(lines[0].category, lines[0].brand, lines[0].attributes)
    else:
        keys = list(chain.from_iterable([facets(line.category, line.brand, line.attributes) for line in lines]))
    if not keys:
        return interests
    table = interests.get(half_life) or DecayTable(half_life)
    return {**interests, half_life: table.add(at, keys, value)}


def _traits(held: dict[str, Trait], sent: dict[str, Json], now: Moment) -> dict[str, Trait]:
    traits = held.copy()
    for name, value in sent.items():
        trait = Trait(value if _small(value) else None, *now)
        if len(name) <= NAME_CHARS_MAX and wins(trait, traits.get(name)):
            traits[name] = trait
    return newest_of(traits, TRAITS_MAX)


def _small(value: Json) -> bool:
    if value is None or isinstance(value, bool | int | float):
        return True
    return len(_SIZE.encode(value)) <= TRAIT_BYTES_MAX


def _grouped(held: dict[str, int], group: str, at: int) -> dict[str, int]:
    return noted(held, group, at, GROUPS_MAX) if 0 < len(group) <= NAME_CHARS_MAX else held


def _exposed(held: dict[str, Exposure], event: Exposed, now: Moment) -> dict[str, Exposure]:
    """The first variation shown counts: what came later was shown to somebody already influenced."""
    new, first = Exposure(event.variation[:NAME_CHARS_MAX], *now), held.get(event.experiment)
    if len(event.experiment) > NAME_CHARS_MAX or (first is not None and wins(new, first)):
        return held
    return newest_of({**held, event.experiment: new}, EXPERIMENTS_MAX)


def _segments(held: dict[str, Membership], event: SegmentChanged, now: Moment) -> dict[str, Membership]:
    new = Membership(event.entered, *now)
    if len(event.segment) > NAME_CHARS_MAX or not wins(new, held.get(event.segment)):
        return held
    return newest_of({**held, event.segment: new}, SEGMENTS_MAX)
