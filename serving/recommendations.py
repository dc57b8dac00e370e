"""Asking for items: ``/v1/recommend``, ``/v1/rank``, ``/v1/recommendations/{id}``, ``/v1/similar/{item_id}``,
``/v1/popular``. What an answer is made of stands in `serving.recommend`; this is its HTTP side."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec
import orjson

from actors.item_view import ItemSource, ItemView
from actors.ranked import Row
from events.body import open_body
from events.clock import Clock
from events.errors import BadRequest, NotFound
from events.ids import item_id
from serving.answer import Answer, RankRequest, RecommendRequest
from serving.answered import BeingAnswered
from serving.backend import Reader, Seen
from serving.decisions import Decisions
from serving.http import Reply, Request, explained, json_reply
from serving.items import AFTER, item_json
from serving.metrics import Counter, Numbers
from serving.moments import parse_moment
from serving.query import flag_in, number_in
from serving.recommend import Answerer
from serving.router import Doc, Field, Route
from serving.waiting import Waiting
from serving.why import explanation

Asking = TypeVar("Asking", bound=RecommendRequest)

BODY_BYTES_MAX: Final = 256 << 10
"""A question is small: 200 anchors, 200 exclusions, 500 candidates and 8 kB of context fit in."""
NEIGHBOURS_MAX: Final = 64
_LOOK_AGAIN_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
LISTS: Final = ("items", "exclude", "pinned", "candidates")
NOBODY: Final = Seen(None)


@dataclass(frozen=True, slots=True)
class Sources:
    """What answers are made from."""

    answerer: Answerer
    decisions: Decisions
    items: ItemSource
    reader: Reader


class Recommendations:
    """Routes that answer with items."""

    def __init__(self, sources: Sources, waiting: Waiting, clock: Clock, numbers: Numbers) -> None:
        self._answerer = sources.answerer
        self._decisions = sources.decisions
        self._items = sources.items
        self._reader = sources.reader
        self._waiting = waiting
        self._clock = clock
        self._numbers = numbers
        self._answered: dict[str, Counter] = {}
        self._unlogged = numbers.counter("everfold_answers_unlogged_total")
        self._age = numbers.gauge("everfold_state_age_seconds")

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(("GET", "POST"), "/v1/recommend", self.recommend, doc=RECOMMEND),
            Route(("POST",), "/v1/rank", self.rank, doc=RANK),
            Route(("GET",), "/v1/recommendations/{recommendation_id}", self.explain, doc=EXPLAIN),
            Route(("GET",), "/v1/similar/{item_id}", self.similar, doc=SIMILAR),
            Route(("GET",), "/v1/popular", self.popular, doc=POPULAR),
        )

    async def recommend(self, request: Request) -> Reply:
        if request.method == "POST":
            return await self._answer(await self._posted(request, RecommendRequest))
        return await self._answer(self._asked(_from_query(request.query()), RecommendRequest, strict=False))

    async def rank(self, request: Request) -> Reply:
        return await self._answer(await self._posted(request, RankRequest))

    async def _posted(self, request: Request, kind: type[Asking]) -> tuple[Asking, str]:
        raw = await request.body(BODY_BYTES_MAX)
        body = open_body(raw, request.header(b"content-encoding"), BODY_BYTES_MAX)
        try:
            fields = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise BadRequest(f"the body is not valid JSON: {error}") from error
        if not isinstance(fields, dict):
            raise BadRequest('the body must be a JSON object such as {"user_id": "900"}')
        return self._asked(fields, kind, strict=True)

    def _asked(self, fields: dict[str, object], kind: type[Asking], *, strict: bool) -> tuple[Asking, str]:
        """The question, and the token it waits for. Raises `BadRequest`."""
        after = fields.pop("after", "")
        if not isinstance(after, str):
            raise BadRequest("`after` must be a token as a write returned it")
        as_of = fields.get("as_of")
        if as_of is not None:
            if isinstance(as_of, bool) or not isinstance(as_of, str | int):
                raise BadRequest("`as_of` must be ISO 8601 or milliseconds since 1970")
            fields["as_of"] = parse_moment("as_of", str(as_of), self._clock.now())
        try:
            return msgspec.convert(fields, kind, strict=strict), after
        except msgspec.ValidationError as error:
            raise BadRequest(explained(error, kind, ("after",))) from error

    async def _answer(self, question: tuple[RecommendRequest, str]) -> Reply:
        asked, after = question
        if after:
            await self._waiting.until(after)
        key = self._answerer.reads(asked)
        seen = await self._reader.profile(key, asked.as_of) if key is not None else NOBODY
        answer = await self._made(asked, seen, fresh=bool(after))
        self._count(answer, asked, seen)
        return Reply(answer.json() if not seen.age_ms else _with_age(answer.json(), seen.age_ms))

    async def _made(self, asked: RecommendRequest, seen: Seen, *, fresh: bool) -> Answer:
        """The answer. Where another replica is answering the same request id, which takes it a millisecond, this one
        looks again instead of sending the client away. Raises `BeingAnswered` when that goes on."""
        for pause_s in _LOOK_AGAIN_S:
            try:
                return self._answerer.recommend(asked, seen.profile, fresh=fresh)
            except BeingAnswered:
                await asyncio.sleep(pause_s)
        return self._answerer.recommend(asked, seen.profile, fresh=fresh)

    def _count(self, answer: Answer, asked: RecommendRequest, seen: Seen) -> None:
        answered = self._answered.get(answer.surface)
        if answered is None:
            answered = self._numbers.counter("everfold_answers_total", surface=answer.surface)
            self._answered[answer.surface] = answered
        answered.add()
        if not answer.logged and asked.as_of is None:
            self._unlogged.add()
        self._age.set(seen.age_ms / 1000)

    async def explain(self, request: Request) -> Reply:
        return json_reply(explanation(request.params[0], self._decisions.lookup(request.params[0])))

    async def similar(self, request: Request) -> Reply:
        await self._waiting.until_seen(request)
        query = request.query()
        limit = number_in(query, "n", 12, 1, NEIGHBOURS_MAX)
        kind = query.get("by", "covisited")
        view = self._items.snapshot()
        idx = view.index(item_id(request.params[0]))
        if idx < 0:
            raise NotFound(f"item {request.params[0][:64]!r} is not in the catalogue")
        rows = {"covisited": view.covisited, "similar": view.similar, "content": view.content}
        if kind not in rows:
            raise BadRequest("`by` must be covisited, similar or content")
        items = _rows(view, rows[kind]((idx,), NEIGHBOURS_MAX)[0], limit, details=flag_in(query, "details"))
        return json_reply({"item_id": view.ids[idx], "by": kind, "items": items})

    async def popular(self, request: Request) -> Reply:
        await self._waiting.until_seen(request)
        query = request.query()
        limit = number_in(query, "n", 12, 1, NEIGHBOURS_MAX)
        path = query.get("category", "")
        view = self._items.snapshot()
        category = view.category_id(path) if path else None
        if category == -1:
            raise NotFound(f"category {path[:64]!r} is unknown")
        items = _rows(view, view.popular(category, 4 * limit), limit, details=flag_in(query, "details"))
        return json_reply({"category": path, "items": items})


def _from_query(query: Mapping[str, str]) -> dict[str, object]:
    """Query fields as a body would say them: lists separated by commas, ``context`` as JSON. Raises `BadRequest`."""
    fields: dict[str, object] = dict(query)
    for name in LISTS:
        if name in fields:
            fields[name] = [one for one in query[name].split(",") if one]
    if "context" in fields:
        try:
            fields["context"] = orjson.loads(query["context"])
        except orjson.JSONDecodeError as error:
            raise BadRequest(f"`context` must be a JSON object: {error}") from error
    return fields


def _with_age(body: bytes, age_ms: int) -> bytes:
    """Says that the host is away and how old the state is that was answered from."""
    return body[:-1] + b',"state_age_ms":%d}' % age_ms


def _rows(view: ItemView, row: Row, limit: int, *, details: bool) -> list[dict[str, object]]:
    """What of a row may be shown, as JSON."""
    items: list[dict[str, object]] = []
    for idx, score in zip(row[0].tolist(), row[1].tolist(), strict=True):
        if len(items) < limit and not view.blocked[idx]:
            shown: dict[str, object] = {"item_id": view.ids[idx], "score": round(score, 6)}
            if details:
                shown["item"] = item_json(view.item(idx))
            items.append(shown)
    return items


_FIELDS = (
    Field("user_id", "Who asks; without it and `anonymous_id` the answer is for nobody in particular", "900"),
    Field("anonymous_id", "The visitor, before they are known", "b-7"),
    Field("n", "How many items, 12 when left out", 2),
    Field("surface", "Where it is shown: `home`, `buy_again`, `discover`, `product`, `cart`, or your own", "home"),
    Field(
        "items", "Anchors: the product looked at, what lies in the cart (in a query separated by commas)", ["1029743"]
    ),
    Field("exclude", "Items not to show", ["1029744"]),
    Field("pinned", "Items that take the first slots, where they may be shown: forced, never estimated with", []),
    Field("category", "Only items of this category or below it", "GROCERY"),
    Field("context", "Logged with the decision; its consent is honoured for this answer", {"page": "home"}),
    Field("request_id", "The same id for the same person gets the same stored answer", "req-1"),
    AFTER,
    Field(
        "as_of", "The answer of an earlier moment: ISO 8601 or ms. Approximate, and not logged", "2026-01-31T12:00:00Z"
    ),
    Field("test", "Answer, but teach nothing", False),
    Field("details", "Send each item's catalogue entry along", False),
)
_ANSWER = {
    "recommendation_id": "reonw64aaaaaaaeaaojqw4zdpnu",
    "user_id": "900",
    "items": [
        {
            "item_id": "1029744",
            "score": 1.482,
            "sources": ["covisitation", "popularity"],
            "reason": "Goes with Milk, white, 1 gal",
            "propensity": 0.83,
        }
    ],
    "surface": "product",
    "model_version": "fixed-1a2b3c4d",
    "profile_version": 12,
    "as_of": "2026-01-31T12:00:00.000000Z",
    "logged": True,
}
RECOMMEND: Final = Doc(
    "What to show to somebody, and why",
    "Answers",
    query=_FIELDS,
    body=_FIELDS,
    example={"user_id": "900", "n": 2, "surface": "product", "items": ["1029743"]},
    answer=_ANSWER,
    statuses=(200, 413, 503),
)
RANK: Final = Doc(
    "Order candidates of your own for somebody",
    "Answers",
    body=(Field("candidates", "Items to order, at most 500", ["1029743"], required=True), *_FIELDS),
    example={"user_id": "900", "candidates": ["1029743", "1029744"]},
    answer=_ANSWER,
    statuses=(200, 413, 503),
)
EXPLAIN: Final = Doc(
    "What was answered under an id, and why; kept for 30 days",
    "Answers",
    path=(Field("recommendation_id", "As the answer gave it", "reonw64aaaaaaaeaaojqw4zdpnu"),),
    statuses=(200, 404, 503),
)
_COUNT = Field("n", f"How many, at most {NEIGHBOURS_MAX}", 2)
_DETAILS = Field("details", "Send each item's catalogue entry along", False)
SIMILAR: Final = Doc(
    "Neighbours of an item",
    "Answers",
    path=(Field("item_id", "The item", "1029743"),),
    query=(
        _COUNT,
        Field("by", "`covisited` (done together or next), `similar` (by the same people), `content`", "covisited"),
        _DETAILS,
        AFTER,
    ),
    answer={"item_id": "1029743", "by": "covisited", "items": [{"item_id": "1029744", "score": 3.1}]},
    statuses=(200, 404, 503),
)
POPULAR: Final = Doc(
    "What is popular, overall or in a category",
    "Answers",
    query=(_COUNT, Field("category", "A category of any level", "GROCERY"), _DETAILS, AFTER),
    answer={"category": "GROCERY", "items": [{"item_id": "1029743", "score": 12.5}]},
    statuses=(200, 404, 503),
)
