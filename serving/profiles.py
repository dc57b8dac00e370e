"""Looking at somebody: ``/v1/profiles/{user_id}`` and its chain of facts.

A profile nobody ever heard of is an empty one of version 0, not an error: every address has an actor.
"""

from __future__ import annotations

from typing import Final

import msgspec

from actors.history import Told
from actors.item_view import ItemSource, ItemView
from actors.profile import EMPTY
from actors.sessions import POLICY, SessionPolicy
from actors.view import view
from events.clock import Clock, millis
from events.ids import Key, Micros, anonymous_key, user_key
from serving.backend import Reader
from serving.http import Reply, Request, json_reply
from serving.items import AFTER
from serving.moments import moment_text, parse_moment
from serving.query import flag_in, number_in
from serving.router import Doc, Field, Route
from serving.waiting import Waiting

EVENTS_MAX: Final = 1000


class Profiles:
    """Routes about profiles."""

    def __init__(
        self, reader: Reader, items: ItemSource, waiting: Waiting, clock: Clock, policy: SessionPolicy = POLICY
    ) -> None:
        self._reader = reader
        self._items = items
        self._waiting = waiting
        self._clock = clock
        self._policy = policy

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(("GET",), "/v1/profiles/{user_id}", self.show, doc=SHOW),
            Route(("GET",), "/v1/profiles/{user_id}/events", self.events, doc=EVENTS),
        )

    async def show(self, request: Request) -> Reply:
        query = request.query()
        key = key_in(request)
        now = self._clock.now()
        as_of = parse_moment("as_of", query["as_of"], now) if "as_of" in query else None
        await self._waiting.until_seen(request)
        seen = await self._reader.profile(key, as_of)
        at = as_of if as_of is not None else self._clock.now()
        shown = view(seen.profile.whole() if seen.profile else EMPTY, millis(at), self._policy)
        answer = {**shown, **_name(key), "as_of": moment_text(at), "state_age_ms": seen.age_ms}
        if flag_in(query, "details"):
            _add_titles(answer, self._items.snapshot())
        return json_reply(answer)

    async def events(self, request: Request) -> Reply:
        key = key_in(request)
        limit = number_in(request.query(), "limit", 100, 1, EVENTS_MAX)
        await self._waiting.until_seen(request)
        facts = await self._reader.history(key, limit)
        return json_reply({**_name(key), "events": [event_json(fact) for fact in facts]})


def event_json(fact: Told) -> dict[str, object]:
    """A fact of the chain. ``event_id`` is the messageId the client sent."""
    record, meta = fact.record, fact.payload.meta
    body = msgspec.to_builtins(fact.payload.event)
    assert isinstance(body, dict)
    surroundings = msgspec.to_builtins(meta)
    assert isinstance(surroundings, dict)
    surroundings.pop("message_id", None)
    return {
        "event_id": meta.message_id,
        "type": record.type,
        "event_time": moment_text(Micros(record.event_time * 1000)),
        "appended": moment_text(Micros(record.appended)),
        "body": body,
        "meta": surroundings,
    }


def key_in(request: Request) -> Key:
    if flag_in(request.query(), "anonymous"):
        return anonymous_key(request.params[0])
    return user_key(request.params[0])


def _name(key: Key) -> dict[str, object]:
    return {"user_id" if key[0] == "u" else "anonymous_id": key[2:]}


def _add_titles(answer: dict[str, object], items: ItemView) -> None:
    """Put the catalogue's title beside every item id of the lists people look at."""
    for layer in ("recent", "purchases"):
        entries = answer.get(layer)
        assert isinstance(entries, list)
        for entry in entries:
            idx = items.index(entry["item"])
            if idx >= 0:
                entry["title"] = items.item(idx).title


WHO = Field("user_id", "The user's id; with `anonymous=true` the anonymous id", "900")
ANONYMOUS = Field("anonymous", "Whether the id is an anonymous one", "false")
SHOW: Final = Doc(
    "What is known of somebody now, or was at an earlier moment",
    "Profiles",
    path=(WHO,),
    query=(
        Field("as_of", "The profile as the system knew it then: ISO 8601 or ms", None),
        ANONYMOUS,
        Field("details", "Add the titles of items", "false"),
        AFTER,
    ),
    statuses=(200, 503),
)
EVENTS: Final = Doc(
    "The facts of somebody, newest first, each with its id as the client sent it",
    "Profiles",
    path=(WHO,),
    query=(Field("limit", f"At most {EVENTS_MAX}, 100 when left out", 10), ANONYMOUS, AFTER),
    statuses=(200, 503),
)
