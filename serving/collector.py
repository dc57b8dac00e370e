"""Taking events in, at the paths and with the manners of Segment's and RudderStack's tracking APIs.

What clients were seen to do decides: the body is read raw whatever its Content-Type says; success is exactly 200 with
``{"success": true}``; an overload is 503 with Retry-After, never 400 or 404, on which SDKs drop events for good; one
bad event never fails the batch it came in, but goes to quarantine with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from events.body import open_body
from events.clock import Clock, millis
from events.errors import EverfoldError
from events.intake import Accepted, Intake, Origin, Outcome, Rejected
from serving.access import Doors
from serving.http import Handler, Reply, Request, json_reply, problem
from serving.keys import Keys
from serving.pixel import GIF, event_of
from serving.router import Doc, Field, Route
from serving.sdk_config import rudder_source, segment_settings
from serving.writing import Writing, token_header

SUCCESS: Final = Reply(b'{"success":true}')
SHORT: Final = {"identify": "i", "track": "t", "page": "p", "screen": "s", "group": "g", "alias": "a"}
"""Calls of the tracking API, and the letter browser SDKs shorten them to."""


class Collector:
    """Routes that take events. ``body_bytes_max`` bounds a body as sent and again once inflated."""

    def __init__(
        self, intake: Intake, writing: Writing, doors: Doors, keys: Keys, clock: Clock, body_bytes_max: int
    ) -> None:
        self._intake = intake
        self._writing = writing
        self._doors = doors
        self._write_key = keys.write_key
        self._clock = clock
        self._body_bytes_max = body_bytes_max

    def routes(self) -> tuple[Route, ...]:
        singles = [
            _taking(path, partial(self.single, kind), DOCS.get(path))
            for kind, letter in SHORT.items()
            for path in (f"/v1/{kind}", f"/v1/{letter}")
        ]
        batches = [_taking(path, self.batch, DOCS.get(path)) for path in ("/v1/batch", "/v1/b", "/beacon/v1/batch")]
        return (
            *singles,
            *batches,
            _taking("/v1/m", self.drop, None),
            *(_getting(f"/pixel/v1/{kind}", partial(self.pixel, kind), PIXEL) for kind in ("track", "page")),
            _getting("/v1/projects/{write_key}/settings", self.segment_settings, SEGMENT_SETTINGS),
            _getting("/sourceConfig", self.rudder_source, RUDDER_SOURCE),
        )

    async def single(self, kind: str, request: Request) -> Reply:
        """One call. An event that cannot be a fact is set aside *and* answered 400 with the reason: there is nothing
        beside it to lose, and its sender is most likely a person trying things out."""
        body = await self._opened(request)
        outcome = self._intake.single(kind, body, self._origin(request))
        reply = await self._take([outcome])
        if isinstance(outcome, Rejected):
            return problem(400, outcome.reason, outcome.detail)
        return reply

    async def batch(self, request: Request) -> Reply:
        """A batch. Bad events in it are set aside; the rest is taken."""
        body = await self._opened(request)
        return await self._take(self._intake.batch(body, self._origin(request)))

    async def drop(self, request: Request) -> Reply:
        """The SDK's own telemetry: accepted without a key, since it carries none, and thrown away."""
        await request.body(self._body_bytes_max)
        return SUCCESS

    async def pixel(self, kind: str, request: Request) -> Reply:
        try:
            self._doors.writer(request)
            outcome = self._intake.single(kind, event_of(request.query()), self._origin(request))
            await self._take([outcome])
        except EverfoldError:
            pass
        return GIF

    async def segment_settings(self, request: Request) -> Reply:
        self._doors.writer_with(request.params[0])
        return json_reply(segment_settings(request, self._write_key))

    async def rudder_source(self, request: Request) -> Reply:
        self._doors.writer(request)
        return json_reply(rudder_source(self._write_key))

    async def _opened(self, request: Request) -> bytes:
        raw = await request.body(self._body_bytes_max)
        body = open_body(raw, request.header(b"content-encoding"), self._body_bytes_max)
        self._doors.writer(request, body)
        return body

    def _origin(self, request: Request) -> Origin:
        gpc = request.header(b"sec-gpc") == "1"
        return Origin(self._write_key, millis(self._clock.now()), gpc, request.trusted)

    async def _take(self, outcomes: Sequence[Outcome]) -> Reply:
        """Append what can be a fact, then set the rest aside: in this order, because a client that is told 503 sends
        everything again, and only facts are known by their id."""
        drafts = [one.draft for one in outcomes if isinstance(one, Accepted)]
        token = await self._writing.append(drafts) if drafts else None
        if len(drafts) < len(outcomes):
            await self._writing.set_aside([one for one in outcomes if isinstance(one, Rejected)])
        return SUCCESS if token is None else SUCCESS.with_headers((token_header(token),))


def _taking(path: str, handler: Handler, doc: Doc | None) -> Route:
    return Route(("POST",), path, handler, "write", doc, strict_query=False, cors=True)


def _getting(path: str, handler: Handler, doc: Doc | None) -> Route:
    return Route(("GET",), path, handler, "write", doc, strict_query=False, cors=True)


_TRACK = {
    "userId": "900",
    "messageId": "m-1",
    "event": "Product Viewed",
    "properties": {"product_id": "1029743", "category": "GROCERY > FLUID MILK PRODUCTS", "price": 2.5},
}
_FIELDS = (
    Field("userId", "Who; this or `anonymousId` is needed, both are kept", "900"),
    Field("anonymousId", "The visitor's id before they are known", "b-7"),
    Field("messageId", "The event's own id: sent again, it is counted once", "m-1"),
    Field("timestamp", "When it happened, ISO 8601; left out: now", "2026-01-31T12:00:00Z"),
    Field("context", "Locale, page, consent and so on; `consent.categoryPreferences` is stored as a decision", {}),
)
_SUCCESS = {"success": True}
_WRITTEN = (200, 413, 503)
DOCS: Final[Mapping[str, Doc]] = {
    "/v1/track": Doc(
        "Something happened",
        "Events",
        body=(
            *_FIELDS,
            Field(
                "event", "Its name; Segment's e-commerce and video names have meaning", "Product Viewed", required=True
            ),
            Field("properties", "What belongs to it: `product_id`, `products`, `list_id`, ...", {}),
        ),
        example=_TRACK,
        answer=_SUCCESS,
        statuses=_WRITTEN,
    ),
    "/v1/identify": Doc(
        "Who somebody is",
        "Events",
        body=(*_FIELDS, Field("traits", "What is known of them; a trait sent as null is removed", {})),
        example={"userId": "900", "messageId": "m-2", "traits": {"household_size": "2"}},
        answer=_SUCCESS,
        statuses=_WRITTEN,
    ),
    "/v1/page": Doc(
        "A page was shown",
        "Events",
        body=(*_FIELDS, Field("name", "The page's name", "Home"), Field("properties", "url, title, ...", {})),
        example={"anonymousId": "b-7", "messageId": "m-3", "name": "Home"},
        answer=_SUCCESS,
        statuses=_WRITTEN,
    ),
    "/v1/batch": Doc(
        "Many events at once, up to 4 MB, gzip or not; bad ones are set aside and the rest is taken",
        "Events",
        body=(
            Field(
                "batch", "Events, each with its `type`: identify, track, page, screen, group, alias", [], required=True
            ),
            Field("context", "Merged into each event's", {}),
            Field("sentAt", "The client's clock when it sent this, to correct its skew", "2026-01-31T12:00:00Z"),
            Field("writeKey", "The write key, where it is not sent as HTTP Basic", "wk_..."),
        ),
        example={"batch": [{"type": "track", **_TRACK}]},
        answer=_SUCCESS,
        statuses=_WRITTEN,
    ),
}
PIXEL: Final = Doc(
    "An event as an image: always a 1x1 GIF",
    "Events",
    query=(
        Field("writeKey", "The write key", "wk_..."),
        Field("event", "The event's name", "Mail Opened"),
        Field("anonymousId", "Who; or `userId`", "b-7"),
        Field("data", "Instead of the fields: base64 of the event's JSON", None),
    ),
)
SEGMENT_SETTINGS: Final = Doc(
    "What analytics-next fetches when it starts",
    "SDK configuration",
    path=(Field("write_key", "The write key", "wk_..."),),
)
RUDDER_SOURCE: Final = Doc(
    "What RudderStack's browser SDK fetches when it starts",
    "SDK configuration",
    query=(Field("writeKey", "The write key, where it is not sent as HTTP Basic", "wk_..."),),
)
