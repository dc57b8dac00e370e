"""Transitions as the segment follower would write them: facts in the log of a running service."""

from __future__ import annotations

from service import Service

from events import payload
from events.clock import millis
from events.ids import event_id, user_key
from events.record import Draft
from events.types import Meta, SegmentChanged


def moved(service: Service, user: str, segment: str, entered: bool = True, **evidence: object) -> str:
    """Append one; the id it will be told under."""
    return moved_all(service, [(user, segment, entered)], **evidence)[0]


def moved_all(service: Service, moves: list[tuple[str, str, bool]], **evidence: object) -> list[str]:
    at = millis(service.clock.now())
    drafts = []
    for user, segment, entered in moves:
        fact = SegmentChanged(segment, entered, dict(evidence))
        name, version = payload.type_of(fact)
        number = service.__dict__.setdefault("moves", 0)
        service.__dict__["moves"] = number + 1
        identity = event_id(b"moving", "segments", f"{user}/{segment}/{number}")
        drafts.append(
            Draft(user_key(user), identity, at, name, version, payload.encode(Meta(user_id=user, received_at=at), fact))
        )
    placed = service.run(service.embedded.backend.append(drafts))
    assert all(one.status == "ok" for one in placed), placed
    return [draft.event_id.hex() for draft in drafts]
