"""The door: bodies of the Segment and RudderStack APIs become drafts of facts.

A body that cannot be read at all raises; a single event that cannot is a value, `Rejected`, with a reason, and costs
the events beside it nothing. The intake knows no clock: when a request came in stands in its `Origin`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import msgspec

from events import payload
from events.body import BODY_BYTES_MAX, open_body
from events.consent import purposes_in
from events.envelope import Envelope, bound, decode, mapping, message_id_of, profile_key, text
from events.errors import BadRequest, TooLarge
from events.facts import Sources, fact
from events.ids import Millis, event_id
from events.lines import Enrich, Rank, no_enrichment, unranked
from events.reasons import Reason, Unfit
from events.record import Draft
from events.skew import event_time, parse_time
from events.splitting import SPLIT_BYTES_MAX, elements, members
from events.types import Event, Json, Meta
from events.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Accepted:
    """A fact on its way to the log."""

    draft: Draft


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event for quarantine. ``raw`` is a body `Intake.batch` understands, with all that the event shared with its
    batch, so that it can be sent in again after a fix."""

    reason: Reason
    detail: str
    raw: bytes


Outcome: TypeAlias = Accepted | Rejected


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from. ``trusted``: it carried the API key, so it is no browser. ``gpc``: ``Sec-GPC: 1``."""

    write_key: str
    received_at: Millis
    gpc: bool = False
    trusted: bool = False


BLOCKED_IDS: Final = re.compile(r"[0-]*|-1|null|undefined|none|nan|anonymous|guest|\[object object\]", re.IGNORECASE)
"""Ids that stand for nobody: Segment's own list, and what JavaScript makes of a missing variable. As a userId they
would make one profile of thousands of people, so they count as not sent."""

_BOT_WORDS: Final = ("bot/", "bot;", "bot)", "bot ", "crawler", "spider", "slurp", "bingpreview", "facebookexternalhit")
"""In the user agents of crawlers that say so, lower case."""


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """Limits and defaults. Sizes are bytes of inflated JSON; ``default_consent`` holds for purposes never decided."""

    event_bytes_max: int = 32 * 1024
    body_bytes_max: int = BODY_BYTES_MAX
    events_max: int = 10_000
    default_consent: bool = True
    blocked_ids: re.Pattern[str] = field(default=BLOCKED_IDS)


class Shared(msgspec.Struct, rename="camel"):
    """What a batch says once for all its events. ``type`` and ``gpc`` are ours, see `Rejected.raw`."""

    context: object = None
    integrations: object = None
    sent_at: object = None
    type: object = None
    gpc: object = None


class _Batch(Shared, rename="camel", kw_only=True):
    batch: list[msgspec.Raw]


_BATCH = msgspec.json.Decoder(_Batch)
_SHARED = msgspec.json.Decoder(Shared)
_ENCODER = msgspec.json.Encoder()
NOTHING_SHARED: Final = Shared()


class Intake:
    """Reads bodies. ``secret`` keys the event ids (`Secrets.event_id`); ``enrich`` and ``rank`` look items up in the
    catalogue."""

    def __init__(
        self,
        secret: bytes,
        settings: IntakeSettings,
        vocabulary: Vocabulary,
        enrich: Enrich = no_enrichment,
        rank: Rank = unranked,
    ) -> None:
        self._secret = secret
        self._settings = settings
        self._sources = Sources(vocabulary, enrich, rank)

    def batch(self, body: bytes, origin: Origin, encoding: str = "") -> list[Outcome]:
        """Every event of a batch body, in order.

        Raises `BadRequest` if the body is no JSON object with a ``batch`` list, `TooLarge` for 4 MB, 10,000 events or
        a shared context that would be copied into more than four bodies' worth.
        """
        shared, events = split_batch(open_body(body, encoding, self._settings.body_bytes_max))
        self._check_size(shared, len(events))
        return [self.read(data, shared, origin) for data in events]

    def single(self, kind: str, body: bytes, origin: Origin, encoding: str = "") -> Outcome:
        """The event of a body that is one; ``kind`` is the call named by the path (identify, track, ...).

        Raises `BadRequest` if the body is no JSON object, `TooLarge` over 32 KB: there is nothing else in it to save.
        """
        data = open_body(body, encoding, self._settings.body_bytes_max)
        if len(data) > self._settings.event_bytes_max:
            raise TooLarge(f"the event has {len(data)} bytes: the most is {self._settings.event_bytes_max}")
        outcome = self.read(data, Shared(type=kind), origin)
        if isinstance(outcome, Rejected) and outcome.reason in ("not_json", "not_an_object"):
            raise BadRequest(outcome.detail)
        return outcome

    def read(self, data: bytes, shared: Shared, origin: Origin) -> Outcome:
        """One event. Never raises."""
        try:
            return Accepted(self._draft(data, shared, origin))
        except Unfit as unfit:
            return Rejected(unfit.reason, unfit.detail, _resendable(data, shared, origin))

    def _check_size(self, shared: Shared, events: int) -> None:
        if events > self._settings.events_max:
            raise TooLarge(f"the batch has {events} events: the most is {self._settings.events_max}")
        if shared.context is not None and events:
            copied = len(_ENCODER.encode(shared.context)) * events
            if copied > 4 * self._settings.body_bytes_max:
                raise TooLarge("the shared context times the number of events is too much: send smaller batches")

    def _draft(self, data: bytes, shared: Shared, origin: Origin) -> Draft:
        if len(data) > self._settings.event_bytes_max:
            raise Unfit("too_large", f"{len(data)} bytes: the most is {self._settings.event_bytes_max}")
        envelope = decode(data)
        if shared.type is not None:
            envelope.type = shared.type
        kind = text("type", envelope.type).lower()
        user_id = self._id("userId", envelope.user_id)
        anonymous_id = self._id("anonymousId", envelope.anonymous_id)
        key = profile_key(user_id, anonymous_id)
        message_id = message_id_of(envelope)
        original = parse_time(envelope.original_timestamp) or parse_time(envelope.timestamp)
        sent = _sent_at(shared, envelope)
        context = _context(envelope, shared)
        meta = Meta(
            message_id=message_id,
            user_id=user_id,
            anonymous_id=anonymous_id,
            original_at=original,
            sent_at=sent,
            received_at=origin.received_at,
            consent=purposes_in(context),
            gpc=origin.gpc or shared.gpc is True,
            default_consent=self._settings.default_consent,
            test=context.get("test") is True,
            bot=not origin.trusted and _is_bot(context),
            context=context,
        )
        event = fact(kind, envelope, context, self._sources)
        name, version = payload.type_of(event)
        return Draft(
            key=key,
            event_id=event_id(self._secret, origin.write_key, message_id),
            event_time=event_time(original, sent, origin.received_at),
            type=name,
            version=version,
            payload=_encoded(meta, event),
        )

    def _id(self, name: str, value: object) -> str:
        given = text(name, value).strip()
        return "" if not given or self._settings.blocked_ids.fullmatch(given) else given


def split_batch(body: bytes) -> tuple[Shared, list[bytes]]:
    """What the batch shares, and its events as raw JSON. Raises `BadRequest`."""
    try:
        batch = _BATCH.decode(body)
    except msgspec.ValidationError as wrong:
        raise BadRequest(f"the body must be an object with a list under 'batch': {wrong}") from None
    except (msgspec.DecodeError, ValueError, RecursionError) as broken:
        return _split_broken(body, str(broken)[:200])
    return _bounded(batch), [bytes(raw) for raw in batch.batch]


def _split_broken(body: bytes, why: str) -> tuple[Shared, list[bytes]]:
    """Saves the good events of a body that one of them makes invalid."""
    parts = members(body) if len(body) <= SPLIT_BYTES_MAX else None
    events = elements(parts.pop("batch")) if parts and "batch" in parts else None
    if parts is None or events is None:
        raise BadRequest(f"the body is not valid JSON: {why}")
    common = b",".join(b'"%s":%s' % (name.encode(), parts[name]) for name in _SHARED_NAMES if name in parts)
    try:
        return _bounded(_SHARED.decode(b"{%s}" % common)), events
    except (msgspec.MsgspecError, ValueError, RecursionError) as broken:
        raise BadRequest(f"what the batch shares is not valid JSON: {broken}"[:200]) from None


_SHARED_NAMES = tuple(field.encode_name for field in msgspec.structs.fields(Shared))


def _bounded(shared: Shared) -> Shared:
    try:
        bound(mapping("context", shared.context))
        bound(shared.integrations)
    except Unfit as unfit:
        raise BadRequest(f"what the batch shares cannot be taken: {unfit.detail}") from None
    return shared


def _resendable(data: bytes, shared: Shared, origin: Origin) -> bytes:
    gpc = True if origin.gpc or shared.gpc is True else None
    common = {
        name: value
        for name, value in (
            ("type", shared.type),
            ("context", shared.context),
            ("integrations", shared.integrations),
            ("sentAt", shared.sent_at),
            ("gpc", gpc),
        )
        if value is not None
    }
    if not common:
        return b'{"batch":[%s]}' % data
    return b'{"batch":[%s],%s' % (data, _ENCODER.encode(common)[1:])


def _sent_at(shared: Shared, envelope: Envelope) -> int:
    """The batch's before the event's, so that all events of a batch are moved alike; unreadable counts as not sent."""
    try:
        return parse_time(shared.sent_at) or parse_time(envelope.sent_at)
    except Unfit:
        return 0


def _context(envelope: Envelope, shared: Shared) -> dict[str, Json]:
    """The event's context over the batch's, with ``integrations`` where they say something."""
    context = mapping("context", envelope.context)
    if isinstance(shared.context, dict):
        context = shared.context | context
    integrations = shared.integrations if envelope.integrations is None else envelope.integrations
    if integrations:
        context["integrations"] = integrations
    return context


def _is_bot(context: dict[str, Json]) -> bool:
    """Only browsers send their user agent in the context: server SDKs are never judged by it."""
    agent = context.get("userAgent")
    if not isinstance(agent, str):
        return False
    agent = agent.lower().replace("cubot", "")  # a maker of telephones
    return any(word in agent for word in _BOT_WORDS)


def _encoded(meta: Meta, event: Event) -> bytes:
    try:
        return payload.encode(meta, event)
    except OverflowError:
        raise Unfit("bad_number", "an integer does not fit into 64 bits: send it as text") from None
