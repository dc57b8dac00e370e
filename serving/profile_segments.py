"""The segments of one profile: since when, and why. Read from the profile and its facts alone, so any earlier moment is
exact, and what is told here is what answers and everybody else see.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from actors.history import Told
from actors.profile import EMPTY
from events.clock import Clock
from events.ids import Micros
from events.types import SegmentChanged
from serving.backend import Reader
from serving.http import Reply, Request, json_reply
from serving.items import AFTER
from serving.moments import moment_text, parse_moment
from serving.profiles import ANONYMOUS, WHO, key_in
from serving.router import Doc, Field, Route
from serving.transitions import named
from serving.waiting import Waiting

FACTS_MAX: Final = 1_000
"""Facts of the person looked through for evidence; of what was said before these, only since when is told."""


class ProfileSegments:
    """The route."""

    def __init__(self, reader: Reader, waiting: Waiting, clock: Clock) -> None:
        self._reader = reader
        self._waiting = waiting
        self._clock = clock

    def routes(self) -> tuple[Route, ...]:
        return (Route(("GET",), "/v1/profiles/{user_id}/segments", self.show, doc=SHOW),)

    async def show(self, request: Request) -> Reply:
        query, key, now = request.query(), key_in(request), self._clock.now()
        as_of = parse_moment("as_of", query["as_of"], now) if "as_of" in query else None
        await self._waiting.until_seen(request)
        seen = await self._reader.profile(key, as_of)
        held = (seen.profile.whole() if seen.profile else EMPTY).segments
        inside = sorted(name for name, membership in held.items() if membership.entered)
        facts = await self._reader.history(key, FACTS_MAX) if inside else ()
        at = self._clock.now() if as_of is None else as_of
        told = _latest(facts, at)
        segments = [
            {"name": name, "since": _text(held[name].at), "evidence": told[name].evidence if name in told else None}
            for name in inside
        ]
        return json_reply({**named(key), "segments": segments, "as_of": moment_text(at), "state_age_ms": seen.age_ms})


def _latest(facts: Sequence[Told], at: Micros) -> dict[str, SegmentChanged]:
    """Of each segment the newest entry the profile stands by; ``facts`` are newest first."""
    latest: dict[str, SegmentChanged] = {}
    for fact in sorted(facts, key=lambda one: (one.record.event_time, one.record.event_id), reverse=True):
        event = fact.payload.event
        if isinstance(event, SegmentChanged) and event.entered and fact.record.appended <= at:
            latest.setdefault(event.segment, event)
    return latest


def _text(at_ms: int) -> str:
    return moment_text(Micros(at_ms * 1000))


SHOW: Final = Doc(
    "The segments somebody is in, since when, and why",
    "Segments",
    path=(WHO,),
    query=(
        Field("as_of", "As the system knew it then: ISO 8601 or ms", None),
        ANONYMOUS,
        AFTER,
    ),
    statuses=(200, 503),
)
