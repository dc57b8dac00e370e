"""Saying what segments are, over HTTP: checked against all others before it becomes a fact.

Only the API key itself opens this: a page session does not.
"""

from __future__ import annotations

import asyncio
from typing import Final, Literal

import msgspec

from actors.segment_definition import SEGMENTS_KEY, BadDefinition
from events.clock import Clock, millis
from events.errors import BadRequest, Conflict, NotFound, Unauthorized
from events.types import Json, SegmentDefined, SegmentDropped
from serving.access import API_KEY
from serving.backend import Backend
from serving.http import Request, explained
from serving.segment_chronicle import FACTS_MAX, Chronicle, Fact, draft_of, same, told_chronicle
from serving.token import Token
from serving.writing import Writing

BODY_BYTES_MAX: Final = 256 << 10
"""A clustering takes up to 64 kB, four times that as JSON; a rule has 4,096 characters."""
NAME_CHARS_MAX: Final = 128
RESERVED: Final = frozenset({"preview", "stream"})
"""Routes of their own below ``/v1/segments``."""
BY_SETTINGS: Final = "settings"
SEEN_MS: Final = 2_000


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a definition."""

    name: str = ""
    rule: str = ""
    stay: str = ""
    kind: Literal["rule", "cluster", "score"] = "rule"
    description: str = ""
    cluster: dict[str, Json] = {}
    by: str = "hand"

    def told(self, name: str, version: int) -> SegmentDefined:
        return SegmentDefined(
            name, self.rule, self.stay, self.kind, version, self.description, self.cluster, self.by or "hand"
        )


_WANTED: Final = msgspec.json.Decoder(Wanted)


async def wanted_in(request: Request) -> Wanted:
    """The body. Raises `Unauthorized` for a page session, `TooLarge`, `BadRequest`."""
    if not request.trusted:
        raise Unauthorized(API_KEY)
    body = await request.body(BODY_BYTES_MAX)
    try:
        wanted = _WANTED.decode(body or b"{}")
    except msgspec.ValidationError as error:
        raise BadRequest(explained(error, Wanted)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest('the body is not JSON: send {"name": "...", "rule": "..."}') from None
    if len(wanted.by) > NAME_CHARS_MAX:
        raise BadRequest(f"`by` has {len(wanted.by)} characters: the most is {NAME_CHARS_MAX}")
    if wanted.by == BY_SETTINGS:
        raise BadRequest(f"`by` may not be {BY_SETTINGS}: that is what everfold.toml says")
    return wanted


class SegmentDoor:
    """Reads and appends definitions. One event loop."""

    def __init__(self, backend: Backend, writing: Writing, clock: Clock, secret: bytes) -> None:
        """``secret`` is `Secrets.event_id`."""
        self._backend = backend
        self._writing = writing
        self._clock = clock
        self._secret = secret
        self._deciding = asyncio.Lock()
        self._known: tuple[int, Chronicle] = (-1, Chronicle())

    async def read(self) -> Chronicle:
        """What was said so far. Only what is new is read."""
        lsn, known = self._known
        limit = 1
        while True:
            told = await self._backend.history(SEGMENTS_KEY, limit)
            fresh = [one for one in told if one.record.lsn > lsn]
            if len(fresh) < limit or limit == FACTS_MAX:
                break
            limit = min(limit * 16, FACTS_MAX)
        if fresh:
            known = await asyncio.to_thread(told_chronicle, fresh, known)
            if fresh[0].record.lsn > self._known[0]:  # another call may have been faster
                self._known = fresh[0].record.lsn, known
        return known

    async def create(self, wanted: Wanted, request_id: str) -> tuple[Chronicle, Token]:
        """Raises `Conflict` for a name that is taken, `BadDefinition`, `BadRule`."""
        async with self._deciding:
            known = await self.read()
            if wanted.name in known.now.by_name:
                raise Conflict(f"there is a segment {wanted.name}: change it with PUT /v1/segments/{wanted.name}")
            return await self._define(known, wanted.told(wanted.name, known.latest(wanted.name) + 1), request_id)

    async def replace(self, name: str, wanted: Wanted, request_id: str) -> tuple[Chronicle, Token | None]:
        """Define ``name``, new or not; no fact and no token where it is defined so already. Raises `Conflict` for one
        that the settings file owns, `BadDefinition`, `BadRule`."""
        if wanted.name not in ("", name):
            raise BadRequest(f"the path says {name[:64]}, the body {wanted.name[:64]}: a segment is not renamed")
        async with self._deciding:
            known = await self.read()
            told = wanted.told(name, known.latest(name) + 1)
            current = known.now.by_name.get(name)
            if current is not None:
                _own(current.told)
                if same(current.told, told):
                    return known, None
            return await self._define(known, told, request_id)

    async def drop(self, name: str, by: str, request_id: str) -> tuple[Chronicle, Token]:
        """Raises `NotFound`, `Conflict` for one that the settings file owns, `BadDefinition` while another segment
        asks about it."""
        async with self._deciding:
            known = await self.read()
            known.now.check_drop(name)
            _own(known.now.by_name[name].told)
            return await self._say(SegmentDropped(name, by), request_id)

    async def _define(self, known: Chronicle, told: SegmentDefined, request_id: str) -> tuple[Chronicle, Token]:
        if told.name in RESERVED:
            raise BadDefinition(f"no segment may be called {told.name}: /v1/segments/{told.name} is something else")
        await asyncio.to_thread(known.now.check, told)
        said, token = await self._say(told, request_id)
        if not any(one.fact == told for one in said.versions(told.name)):
            raise Conflict(f"segment {told.name} makes no sense beside what was said meanwhile: look again")
        return said, token

    async def _say(self, fact: Fact, request_id: str) -> tuple[Chronicle, Token]:
        at = millis(self._clock.now())
        token = await self._writing.append([draft_of(fact, f"segments#{request_id}", at, self._secret)])
        await self._backend.seen(token, SEEN_MS)
        return await self.read(), token


def _own(told: SegmentDefined) -> None:
    if told.by == BY_SETTINGS:
        raise Conflict(f"segment {told.name} is defined in everfold.toml: change it there and start again")


def known_in(known: Chronicle, name: str) -> SegmentDefined:
    """Raises `NotFound`."""
    definition = known.now.by_name.get(name)
    if definition is None:
        raise NotFound(f"there is no segment {name[:64]!r}: GET /v1/segments names those there are")
    return definition.told
