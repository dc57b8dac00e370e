"""Who is in a segment, or was: ``GET /v1/segments/{name}/members``, in pages or whole, as lines of JSON.

Now, members come from the segment follower's sets, in the order in which people were first heard of. Of an earlier
moment nobody kept a set, so everybody who was ever told to be in the segment is asked what their own facts said then;
they come in the order of their key hashes. Either way pages are read aside, each within a bounded time: a page may hold
fewer than were asked for, or none, and is the last one only when it has no ``cursor``.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import orjson

from actors.segment_definition import Definitions
from actors.segment_reader import Live
from actors.segment_rules import Rule, understand
from actors.segment_tables import Membership
from events.clock import Clock, millis
from events.errors import BadRequest
from events.ids import Micros
from events.types import Json
from serving.http import Reply, Request, Streamed, json_reply
from serving.items import AFTER
from serving.moments import moment_text, parse_moment
from serving.query import number_in
from serving.router import Doc, Field, Route
from serving.segment_door import SegmentDoor, known_in
from serving.segment_people import Aside, Held, People, Row
from serving.segments import AS_OF, NAME
from serving.transitions import named
from serving.waiting import Waiting
from training.people import Population

LIMIT_MAX: Final = 1_000
PAGE_S: Final = 0.25
"""For reading one page; of an export, one chunk."""
NAMES_MAX: Final = 32
_PLACE: Final = re.compile(r"([0-9]{1,10})(?:\.([0-9a-f]{0,64}))?")


@dataclass(frozen=True)
class Filter:
    """Who of the members is wanted."""

    where: Rule | None = None
    also: tuple[str, ...] = ()
    """In all of these segments as well."""
    without: tuple[str, ...] = ()
    """In none of these."""
    after: int = 0
    """Entered at this moment or later, ms."""
    before: int = 1 << 62
    """Entered earlier than this."""

    def wants(self, since: int) -> bool:
        return self.after <= since < self.before

    def fits(self, inside: Collection[str]) -> bool:
        """Whether somebody who is in the segments ``inside`` is wanted."""
        return all(name in inside for name in self.also) and not any(name in inside for name in self.without)


@dataclass(frozen=True)
class Place:
    """Where a page begins: a partition and a key hash, or after a profile's number."""

    number: int = -1
    name: bytes = b""

    def text(self) -> str:
        return f"{self.number}.{self.name.hex()}" if self.name else str(self.number)


@dataclass(frozen=True)
class Page:
    members: list[dict[str, object]]
    then: Place | None
    """None: this was the last one."""


class Pages:
    """The members of one segment that a filter wants, page after page."""

    def __init__(
        self,
        segment: str,
        wanted: Filter,
        now: int,
        as_of: Micros | None,
        page_s: float = PAGE_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """At ``now`` (ms), or as was known at ``as_of``."""
        self._segment = segment
        self._wanted = wanted
        self._now = now
        self._as_of = as_of
        self._page_s = page_s
        self._monotonic = monotonic
        self._population: Population | None = None
        self._asked = False

    def read(self, people: People, place: Place, limit: int) -> Page:
        """The page from ``place`` on. Raises `Unavailable` while there is nothing to read."""
        if not self._asked:
            self._population = people.population(self._wanted.where, self._now) if self._wanted.where else None
            self._asked = True
        found: list[dict[str, object]] = []
        ends = self._monotonic() + self._page_s
        looks = self._now_members(people, place) if self._as_of is None else self._members_then(people, place)
        for then, row, held in looks:
            if held is not None and self._wanted.wants(held.at) and self._holds(people, row):
                key = people.key_of(row)
                if key:
                    found.append(_shown(key, held))
            if len(found) >= limit or self._monotonic() >= ends:
                return Page(found, then)
        return Page(found, None)

    def _now_members(self, people: People, place: Place) -> Iterator[tuple[Place, Row, Held | None]]:
        wanted = self._wanted
        for member in people.segments.actor(self._segment).members(place.number):
            row = people.row(member.number % len(people.files), member.name)
            if row is None:
                continue
            fits = not (wanted.also or wanted.without) or wanted.fits(people.segments.of(member.number))
            yield Place(member.number), row, _held(member.membership) if fits else None

    def _members_then(self, people: People, place: Place) -> Iterator[tuple[Place, Row, Held | None]]:
        """Everybody from ``place`` on: who was not in, too, so that time is looked at."""
        assert self._as_of is not None
        names = {self._segment, *self._wanted.also, *self._wanted.without}
        for partition in range(max(0, place.number), len(people.files)):
            for row in people.rows(partition, place.name if partition == place.number else b""):
                held = people.held_at(row, names, self._as_of)
                inside = {name for name, one in held.items() if one.entered}
                member = self._segment in inside and self._wanted.fits(inside)
                yield Place(partition, row.name + b"\0"), row, held[self._segment] if member else None

    def _holds(self, people: People, row: Row) -> bool:
        rule = self._wanted.where
        if rule is None:
            return True
        person = people.person(row, self._now, self._as_of, self._population)
        return person is not None and rule.holds(person).holds


def _held(membership: Membership) -> Held:
    return Held(True, membership.since, membership.evidence)


def _shown(key: str, held: Held) -> dict[str, object]:
    evidence: Mapping[str, Json] = held.evidence
    return {**named(key), "since": moment_text(Micros(held.at * 1000)), "evidence": evidence}


class SegmentMembers:
    """The route."""

    def __init__(self, door: SegmentDoor, aside: Aside, waiting: Waiting, clock: Clock) -> None:
        self._door = door
        self._aside = aside
        self._waiting = waiting
        self._clock = clock

    def routes(self) -> tuple[Route, ...]:
        return (Route(("GET",), "/v1/segments/{name}/members", self.members, doc=MEMBERS),)

    async def members(self, request: Request) -> Reply:
        query, name, now = request.query(), request.params[0], self._clock.now()
        as_of = parse_moment("as_of", query["as_of"], now) if "as_of" in query else None
        limit = number_in(query, "limit", 100, 1, LIMIT_MAX)
        place = _place(query.get("cursor", ""), as_of)
        await self._waiting.until_seen(request)
        known = await self._door.read()
        definitions = (known if as_of is None else known.at(as_of)).now
        known_in(known if as_of is None else known.at(as_of), name)
        wanted = _filter(query, definitions, now)
        at = now if as_of is None else as_of
        pages = Pages(name, wanted, millis(at), as_of)
        form = query.get("format", "json")
        if form == "ndjson":
            chunks = self._lines(pages, place)
            return Streamed(b"", 200, b"application/x-ndjson", chunks=chunks, gone=request.gone)
        if form != "json":
            raise BadRequest("`format` must be json or ndjson")
        page = await self._aside.ask(lambda people: pages.read(people, place, limit))
        live = await self._aside.ask(lambda people: _standing(people, name, at, None if as_of is None else now))
        answer: dict[str, object] = {"segment": name, **live, "members": page.members, "as_of": moment_text(at)}
        if page.then is not None:
            answer["cursor"] = page.then.text()
        return json_reply(answer)

    async def _lines(self, pages: Pages, place: Place) -> AsyncGenerator[bytes]:
        then: Place | None = place
        while then is not None:
            page = await self._aside.ask(partial(pages.read, place=then, limit=LIMIT_MAX))
            if page.members:
                yield b"".join(orjson.dumps(member) + b"\n" for member in page.members)
            then = page.then


def _standing(people: People, name: str, at: Micros, now: Micros | None) -> dict[str, object]:
    """How many there are in all, and whether that is exact yet."""
    actor = people.segments.actor(name)
    live: Live | None = actor.live()
    if live is None:
        return {"count": 0, "phase": "waiting", "progress": 0.0}
    if now is not None:
        return {"count": actor.count_at(millis(at), millis(now)), "phase": live.phase, "progress": live.progress}
    return {"count": live.members, "phase": live.phase, "progress": live.progress}


def _place(text: str, as_of: Micros | None) -> Place:
    if not text:
        return Place(-1 if as_of is None else 0)
    found = _PLACE.fullmatch(text)
    if found is None or (found[2] is not None) != (as_of is not None) or int(found[1]) >= 1 << 32:
        raise BadRequest("`cursor` is no page's: send the one of the answer before, with everything else as it was")
    if found[2] is not None and len(found[2]) % 2:
        raise BadRequest("`cursor` is cut: send the one of the answer before")
    return Place(int(found[1]), bytes.fromhex(found[2] or ""))


def _filter(query: Mapping[str, str], definitions: Definitions, now: Micros) -> Filter:
    where = understand(query["where"]) if query.get("where", "").strip() else None
    also, without = (_names(query, name, definitions) for name in ("also", "without"))
    if where is not None:
        for name in sorted(where.segments - set(definitions.by_name)):
            raise BadRequest(f"`where` asks about segment {name[:64]!r}, which is unknown")
    after, before = (_moment(query, name, now) for name in ("entered_after", "entered_before"))
    return Filter(where, also, without, 0 if after is None else after, 1 << 62 if before is None else before)


def _moment(query: Mapping[str, str], name: str, now: Micros) -> int | None:
    return millis(parse_moment(name, query[name], now)) if name in query else None


def _names(query: Mapping[str, str], field: str, definitions: Definitions) -> tuple[str, ...]:
    names = tuple(filter(None, query.get(field, "").split(",")))
    if len(names) > NAMES_MAX:
        raise BadRequest(f"`{field}` names {len(names)} segments: the most is {NAMES_MAX}")
    for name in names:
        if name not in definitions.by_name:
            raise BadRequest(f"`{field}` names segment {name[:64]!r}, which is unknown")
    return names


MEMBERS: Final = Doc(
    "Who is in a segment, since when, and why; in pages, or all of them as lines of JSON",
    "Segments",
    path=(NAME,),
    query=(
        Field("where", "Only those for whom this rule holds", "did(view)"),
        Field("also", "Only those who are in all of these segments too, separated by commas", None),
        Field("without", "Only those who are in none of these", None),
        Field("entered_after", "Only those who entered at this moment or later: ISO 8601 or ms", None),
        Field("entered_before", "Only those who entered earlier", None),
        Field("limit", f"At most {LIMIT_MAX}, 100 when left out; a page may hold fewer and not be the last", 2),
        Field("cursor", "The previous page's `cursor`; the last page has none", None),
        Field("format", "`ndjson`: all of them, a line each, whatever the limit", "json"),
        AS_OF,
        AFTER,
    ),
    statuses=(200, 404, 503),
)
