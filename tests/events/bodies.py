"""Bodies as the official SDKs put them on the wire, and an intake to read them."""

from __future__ import annotations

import json
from typing import Any

from events.ids import Millis
from events.intake import Accepted, Intake, IntakeSettings, Origin, Outcome, Rejected
from events.payload import decode
from events.record import Draft
from events.types import Event, Meta, Payload
from events.vocabulary import Vocabulary

SECRET = b"k" * 32
NOW = Millis(1_714_557_600_000)  # 2024-05-01T10:00:00Z
ORIGIN = Origin("wk", NOW)
DEFAULTS = IntakeSettings()

CATALOGUE = {"p1": ("Games > Board", "Hasbro", ("players:4",)), "p2": ("Books", "", ())}


def intake(settings: IntakeSettings = DEFAULTS) -> Intake:
    return Intake(SECRET, settings, Vocabulary(), CATALOGUE.get)


def body(*events: object, **shared: object) -> bytes:
    return json.dumps({"batch": events, **shared}).encode()


def accepted(outcome: Outcome) -> Draft:
    assert isinstance(outcome, Accepted), outcome
    return outcome.draft


def rejected(outcome: Outcome) -> Rejected:
    assert isinstance(outcome, Rejected), outcome
    return outcome


def payload_of(outcome: Outcome) -> Payload:
    draft = accepted(outcome)
    return decode(draft.type, draft.version, draft.payload)


def read(event: dict[str, Any], **shared: object) -> Payload:
    """The payload of one event sent in a batch of one."""
    return payload_of(intake().batch(body(event, **shared), ORIGIN)[0])


def fact(event: dict[str, Any], **shared: object) -> Event:
    return read(event, **shared).event


def meta(event: dict[str, Any], **shared: object) -> Meta:
    return read(event, **shared).meta


def reason(event: object, **shared: object) -> str:
    return rejected(intake().batch(body(event, **shared), ORIGIN)[0]).reason


def track(name: str, /, user: str = "u1", **properties: object) -> dict[str, Any]:
    return {"type": "track", "event": name, "userId": user, "properties": properties}
