"""Segments over HTTP: what they are, and how many are in them.

A definition is one fact in the log (`events.types.SegmentDefined`), so it has versions, and can be looked at as of any
moment. Before it is appended it is parsed, typed and held against all others; what makes no sense is refused with the
position and the nearest name, and nothing else is disturbed.
"""

from __future__ import annotations

from typing import Final

import msgspec

from events.clock import Clock, millis
from events.errors import NotFound, Unavailable
from events.ids import Micros
from events.types import SegmentDefined
from serving.http import Reply, Request, json_reply
from serving.items import AFTER
from serving.moments import moment_text, parse_moment
from serving.query import number_in
from serving.router import Doc, Field, Route
from serving.segment_chronicle import Chronicle, Said
from serving.segment_door import SegmentDoor, known_in, wanted_in
from serving.segment_figures import HOURS_MAX, Figures, figures_of
from serving.segment_people import Aside
from serving.waiting import Waiting
from serving.writing import token_header


class Segments:
    """Routes about definitions."""

    def __init__(self, door: SegmentDoor, aside: Aside, waiting: Waiting, clock: Clock) -> None:
        self._door = door
        self._aside = aside
        self._waiting = waiting
        self._clock = clock

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(("GET",), "/v1/segments", self.listed, doc=LISTED),
            Route(("POST",), "/v1/segments", self.create, doc=CREATE),
            Route(("GET",), "/v1/segments/{name}", self.show, doc=SHOW),
            Route(("PUT",), "/v1/segments/{name}", self.replace, doc=REPLACE),
            Route(("DELETE",), "/v1/segments/{name}", self.drop, doc=DROP),
        )

    async def listed(self, request: Request) -> Reply:
        """All definitions in order of evaluation, with who is in them in figures."""
        known, at = await self._known(request)
        figures = await self._figures(request, at)
        segments = [{**_shown(known, each.told), **figures.of(each.name)} for each in known.now.order]
        return json_reply({"segments": segments, "as_of": moment_text(at)})

    async def show(self, request: Request) -> Reply:
        """One definition with its figures, their history, and its versions, newest first."""
        known, at = await self._known(request)
        told = known_in(known, request.params[0])
        hours = number_in(request.query(), "hours", 24, 1, HOURS_MAX)
        figures = await self._figures(request, at, told.name, hours)
        versions = [_version(one) for one in reversed(known.versions(told.name))]
        shown = {**_shown(known, told), **figures.of(told.name), "history": figures.history}
        return json_reply({**shown, "versions": versions, "as_of": moment_text(at)})

    async def create(self, request: Request) -> Reply:
        known, token = await self._door.create(wanted := await wanted_in(request), request.own_id)
        return json_reply(_applied(known, wanted.name), headers=(token_header(token),))

    async def replace(self, request: Request) -> Reply:
        name = request.params[0]
        known, token = await self._door.replace(name, await wanted_in(request), request.own_id)
        if token is None:
            return json_reply({**_applied(known, name), "applied": False})
        return json_reply(_applied(known, name), headers=(token_header(token),))

    async def drop(self, request: Request) -> Reply:
        wanted = await wanted_in(request)
        known, token = await self._door.drop(request.params[0], wanted.by or "hand", request.own_id)
        return json_reply({"applied": True, "segments": len(known.now)}, headers=(token_header(token),))

    async def _figures(self, request: Request, at: Micros, name: str = "", hours: int = 0) -> Figures:
        past = at if "as_of" in request.query() else None
        now = self._clock.now()
        try:
            return await self._aside.ask(lambda people: figures_of(people.segments, millis(now), past, name, hours))
        except (NotFound, Unavailable):  # nobody evaluates segments here (yet): definitions stand all the same
            return Figures()

    async def _known(self, request: Request) -> tuple[Chronicle, Micros]:
        query, now = request.query(), self._clock.now()
        await self._waiting.until_seen(request)
        known = await self._door.read()
        if "as_of" not in query:
            return known, now
        at = parse_moment("as_of", query["as_of"], now)
        return known.at(at), at


def _shown(known: Chronicle, told: SegmentDefined) -> dict[str, object]:
    return {**_definition(told), "defined": moment_text(known.since(told.name))}


def _definition(told: SegmentDefined) -> dict[str, object]:
    shown: dict[str, object] = {
        "name": told.name,
        "version": told.version,
        "kind": told.kind,
        "rule": told.rule,
        "stay": told.stay,
        "description": told.description,
        "by": told.by,
    }
    return shown | ({"cluster": msgspec.to_builtins(told.cluster)} if told.cluster else {})


def _version(said: Said) -> dict[str, object]:
    at = {"at": moment_text(said.at)}
    if isinstance(said.fact, SegmentDefined):
        return at | _definition(said.fact)
    return at | {"dropped": True, "by": said.fact.by}


def _applied(known: Chronicle, name: str) -> dict[str, object]:
    definition = known.now.by_name.get(name)
    if definition is None:
        raise NotFound(f"segment {name} was dropped meanwhile")
    return {"applied": True, **_shown(known, definition.told)}


NAME: Final = Field("name", "The segment's name: a-z, 0-9, underscore and hyphen", "fans")
AS_OF: Final = Field("as_of", "As it stood at that moment: ISO 8601 or ms", None)
_BODY: Final = (
    Field("name", "1 to 64 of a-z, 0-9, underscore, hyphen", "fans", required=True),
    Field("rule", "Who enters", "count(view, 7 days) >= 3", required=True),
    Field("stay", "Who stays once in; left out: whoever enters", "count(view, 7 days) >= 2"),
    Field("kind", "`rule`, `score` or `cluster`", "rule"),
    Field("description", "For people, at most 2,000 characters", "Look at something several times a week"),
    Field("cluster", "Of a cluster: what its membership is computed from, instead of a rule", {}),
    Field("by", "Who says so, for the record", "hand"),
)
_EXAMPLE: Final = {
    "name": "fans",
    "rule": "count(view, 7 days) >= 3",
    "stay": "count(view, 7 days) >= 2",
    "description": "Look at something several times a week",
    "by": "docs",
}
_ANSWER: Final = {
    **_EXAMPLE,
    "applied": True,
    "version": 1,
    "kind": "rule",
    "defined": "2026-01-31T12:00:00.000001Z",
}
LISTED: Final = Doc(
    "Every segment with its definition, in order of evaluation: how many are in it, what the last hour, day and week "
    "brought, and how far a new definition has come",
    "Segments",
    query=(AS_OF, AFTER),
    statuses=(200, 503),
)
CREATE: Final = Doc(
    "Define a segment; refused with the position in the rule and the nearest name where it makes no sense",
    "Segments",
    body=_BODY,
    example=_EXAMPLE,
    answer=_ANSWER,
    statuses=(200, 409, 413, 503),
)
SHOW: Final = Doc(
    "A segment's definition and its versions, its figures and their history",
    "Segments",
    path=(NAME,),
    query=(
        Field("hours", f"Of history, up to {HOURS_MAX}: by the minute up to 6, by the hour beyond", 24),
        AS_OF,
        AFTER,
    ),
    statuses=(200, 404, 503),
)
REPLACE: Final = Doc(
    "Define a segment, new or not; `applied` is false where it is defined so already",
    "Segments",
    path=(NAME,),
    body=_BODY[1:],
    example={name: value for name, value in _EXAMPLE.items() if name != "name"},
    answer=_ANSWER,
    statuses=(200, 409, 413, 503),
)
DROP: Final = Doc(
    "Drop a segment: whoever is in it leaves; refused while another one asks about it",
    "Segments",
    path=(NAME,),
    statuses=(200, 404, 409, 503),
)
