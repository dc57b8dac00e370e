"""Payload codec: (meta, body) to and from msgpack, lifting old bodies on the way in.

The wire form is the msgpack array ``[meta map, body map]``; the body's type and version stand in the record's
envelope, not here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from events.errors import UnknownEventType
from events.types import EVENTS, NAME_OF, UPCASTS, Body, Event, Meta, Payload

_ENCODER = msgspec.msgpack.Encoder()
_RAW = msgspec.msgpack.Decoder(tuple[Meta, dict[str, Any]])


def _decoder(kind: type[Event]) -> msgspec.msgpack.Decoder[tuple[Meta, Event]]:
    return msgspec.msgpack.Decoder(tuple[Meta, kind])  # type: ignore[valid-type]


_DECODERS = {name: _decoder(kind) for name, kind in EVENTS.items()}
_NEWEST = dict(EVENTS.keys())


def encode(meta: Meta, event: Event) -> bytes:
    """The bytes to seal.

    >>> from events.types import Identified
    >>> decode("identified", 1, encode(Meta(user_id="u"), Identified({"a": 1}))).event
    Identified(traits={'a': 1})
    """
    assert isinstance(event, Body)
    return _ENCODER.encode((meta, event))


def type_of(event: Event) -> tuple[str, int]:
    """``(name, version)`` of an event as it is written today."""
    return NAME_OF[type(event)]


def decode(name: str, version: int, data: bytes) -> Payload:
    """The payload of a record of type ``name`` at ``version``.

    Raises `UnknownEventType` for a type or version not in the table, `msgspec.ValidationError` for bytes that are not
    such a body (impossible for a record that was written by `encode` and unsealed with its key).
    """
    decoder = _DECODERS.get((name, version))
    if decoder is not None:
        meta, event = decoder.decode(data)
        return Payload(meta, event)
    newest = _NEWEST.get(name)
    if newest is None or version > newest:
        raise UnknownEventType(f"event type {name!r} version {version} is unknown here: run a newer Everfold")
    meta, body = _RAW.decode(data)
    while version < newest:
        body = UPCASTS[name, version](body)
        version += 1
    return Payload(meta, msgspec.convert(body, EVENTS[name, newest]))
