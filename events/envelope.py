"""One event as a client sends it: what surrounds the fact, read leniently in form and strictly in kind.

The fields are declared as plain JSON values, so a wrong type is met here, by name, and not as a decoding error of the
whole batch. What Segment and RudderStack do differently (number ids, ``"anonymousId": null``, traits in the context)
ends in this file.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import msgspec

from events.errors import BadId
from events.ids import Key, anonymous_key, external_id, user_key
from events.reasons import Unfit
from events.types import Json

DEPTH_MAX: Final = 16
"""Deepest nesting of lists and objects inside one field of an event."""
NAMES_MAX: Final = 512
"""Most property names in one object."""
_NUMBER_DIGITS_MAX = 40


class Envelope(msgspec.Struct, rename="camel"):
    """The fields of the Segment spec; others are dropped. `object` until looked at."""

    type: object = None
    event: object = None
    name: object = None
    category: object = None
    user_id: object = None
    anonymous_id: object = None
    previous_id: object = None
    group_id: object = None
    message_id: object = None
    timestamp: object = None
    original_timestamp: object = None
    sent_at: object = None
    properties: object = None
    traits: object = None
    context: object = None
    integrations: object = None


_DECODER = msgspec.json.Decoder(Envelope)
_STABLE = msgspec.json.Encoder(order="deterministic")


def decode(data: bytes) -> Envelope:
    """The envelope of one event's JSON. Raises `Unfit` for bytes that are no JSON object, or too deep, or too wide."""
    try:
        envelope = _DECODER.decode(data)
    except RecursionError:
        raise Unfit("too_deep", f"nested deeper than {DEPTH_MAX} levels") from None
    except msgspec.ValidationError as wrong:
        raise Unfit("bad_number" if data[:1] == b"{" else "not_an_object", str(wrong)[:200]) from None
    except (msgspec.DecodeError, ValueError) as broken:
        raise Unfit("not_json", f"not valid JSON (NaN, Infinity and lone surrogates are not): {broken}"[:200]) from None
    if data.count(b"{") + data.count(b"[") > DEPTH_MAX or data.count(b":") > NAMES_MAX:
        for part in (envelope.properties, envelope.traits, envelope.context, envelope.integrations):
            bound(part)
    return envelope


def bound(value: Json) -> None:
    """Raises `Unfit` if ``value`` is nested deeper than `DEPTH_MAX` or holds an object of over `NAMES_MAX` names."""
    level, depth = [value], 0
    while level:
        below: list[object] = []
        for one in level:
            if isinstance(one, dict):
                if len(one) > NAMES_MAX:
                    raise Unfit("too_wide", f"an object has {len(one)} property names: the most is {NAMES_MAX}")
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
        level, depth = [one for one in below if isinstance(one, (dict, list))], depth + 1
        if depth > DEPTH_MAX:
            raise Unfit("too_deep", f"nested deeper than {DEPTH_MAX} levels")


def mapping(name: str, value: object) -> dict[str, Json]:
    """An object, or an empty one for null. Raises `Unfit` for another type."""
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    raise Unfit("bad_type", f"{name} must be an object, not {type(value).__name__}")


def text(name: str, value: object) -> str:
    """An id or name: text as it is, a number as JavaScript would print it, null as empty.

    >>> text("userId", 42), text("userId", 42.0), text("userId", None)
    ('42', '42', '')
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) >= 10**_NUMBER_DIGITS_MAX:
        raise Unfit("bad_type", f"{name} must be text or a number, not {type(value).__name__}")
    return str(int(value)) if value == int(value) else repr(value)


def profile_key(user_id: str, anonymous_id: str) -> Key:
    """The profile an event belongs to: the user's, else the anonymous one's; both are checked.

    Raises `Unfit`: ``bad_id``, or ``not_identifiable`` if both are empty.
    """
    try:
        anonymous = anonymous_key(anonymous_id) if anonymous_id else None
        if user_id:
            return user_key(user_id)
    except BadId as bad:
        raise Unfit("bad_id", str(bad)) from None
    if anonymous is None:
        raise Unfit("not_identifiable", "neither a usable userId nor an anonymousId: send one of them")
    return anonymous


def message_id_of(envelope: Envelope) -> str:
    """The client's messageId; where it sent none, one derived from the content.

    Derived, it is the same for every retry of the same bytes (``sentAt``, which a retry stamps anew, is left out), so
    two events without messageId *and* timestamp that are equal in everything else count once.
    Raises `Unfit` ``bad_id`` for more than 256 characters or control characters.
    """
    given = checked_id("messageId", envelope.message_id)
    if given:
        return given
    content = _STABLE.encode(msgspec.structs.replace(envelope, sent_at=None))
    return "derived-" + blake2b(content, digest_size=16).hexdigest()


def checked_id(name: str, value: object) -> str:
    """An optional id; empty when it was not sent. Raises `Unfit` ``bad_id`` or ``bad_type``."""
    given = text(name, value)
    try:
        return external_id(name, given) if given else ""
    except BadId as bad:
        raise Unfit("bad_id", str(bad)) from None
