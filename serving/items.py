"""The catalogue over HTTP: ``/v1/items``.

A write answers after the item follower has applied it, so that the next answer, on any replica, already obeys it: an
item hidden here is not shown again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from actors.item_view import CatalogueItem, ItemSource, ItemView
from events.catalogue_intake import CatalogueIntake
from events.clock import Clock, millis
from events.errors import BadRequest, NotFound
from events.ids import item_id
from events.intake import Accepted, Rejected
from events.record import Draft
from events.types import ItemUpserted
from serving.catalogue_lookup import listed
from serving.http import Reply, Request, json_reply
from serving.item_search import ItemSearch
from serving.query import flag_in, number_in
from serving.router import Doc, Field, Route
from serving.waiting import Waiting
from serving.writing import Writing, token_header

LIMIT_MAX: Final = 200


class Items:
    """Routes of the catalogue."""

    def __init__(
        self,
        intake: CatalogueIntake,
        items: ItemSource,
        writing: Writing,
        waiting: Waiting,
        clock: Clock,
        body_max: int,
    ) -> None:
        self._intake = intake
        self._items = items
        self._writing = writing
        self._waiting = waiting
        self._clock = clock
        self._body_max = body_max
        self._search = ItemSearch()

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(("POST",), "/v1/items", self.upsert, doc=UPSERT),
            Route(("GET",), "/v1/items", self.list, doc=LIST),
            Route(("GET",), "/v1/items/{item_id}", self.show, doc=SHOW),
            Route(("DELETE",), "/v1/items/{item_id}", self.delete, doc=DELETE),
        )

    async def upsert(self, request: Request) -> Reply:
        body = await request.body(self._body_max)
        encoding = request.header(b"content-encoding")
        outcomes = self._intake.batch(body, _name_of(request), millis(self._clock.now()), encoding)
        drafts = [one.draft for one in outcomes if isinstance(one, Accepted)]
        rejected = [
            {"index": at, "code": one.reason, "message": one.detail}
            for at, one in enumerate(outcomes)
            if isinstance(one, Rejected)
        ]
        if rejected and not drafts:
            raise BadRequest(f"no item could be taken; the first: {rejected[0]['message']}")
        return await self._written(drafts, {"accepted": len(drafts), "rejected": rejected})

    async def delete(self, request: Request) -> Reply:
        entry_named(self._items.snapshot(), request.params[0])
        gone = self._intake.deleted(request.params[0], _name_of(request), millis(self._clock.now()))
        return await self._written([gone.draft], {"accepted": 1, "rejected": []})

    async def _written(self, drafts: list[Draft], answer: dict[str, object]) -> Reply:
        if not drafts:
            return json_reply(answer)
        token = await self._writing.append(drafts, items=True)
        applied = await self._waiting.is_seen(token)
        answer |= {"applied": applied, "token": token.text()}
        return json_reply(answer, 200 if applied else 202, (token_header(token),))

    async def show(self, request: Request) -> Reply:
        await self._waiting.until_seen(request)
        return json_reply(item_json(entry_named(self._items.snapshot(), request.params[0])))

    async def list(self, request: Request) -> Reply:
        query = request.query()
        await self._waiting.until_seen(request)
        limit = number_in(query, "limit", 20, 1, LIMIT_MAX)
        cursor = number_in(query, "cursor", 0, 0, 1 << 31)
        blocked_too = flag_in(query, "hidden")
        view = self._items.snapshot()
        allowed = _filter(view, query.get("category", ""), blocked_too)
        if query.get("q", "").strip():
            await self._search.update(view, self._clock.now())
            found = [idx for idx in self._search.find(query["q"][:256], view) if allowed(idx)]
            page, more = found[cursor : cursor + limit], cursor + limit if len(found) > cursor + limit else None
        else:
            page, more = _page(view, allowed, cursor, limit)
        answer: dict[str, object] = {"items": [item_json(view.item(idx)) for idx in page]}
        if more is not None:
            answer["cursor"] = more
        return json_reply(answer)


def entry_named(view: ItemView, raw: str) -> CatalogueItem:
    """The catalogue's entry. Raises `BadId`, `NotFound`."""
    entry = listed(view, item_id(raw))
    if entry is None:
        raise NotFound(f"item {raw[:64]!r} is not in the catalogue")
    return entry


def item_json(item: CatalogueItem) -> dict[str, object]:
    """An item as the API shows it: the fields of an upsert."""
    return {"item_id": item.item, **{name: getattr(item, name) for name in _SHOWN_FIELDS}}


_SHOWN_FIELDS = tuple(field.name for field in msgspec.structs.fields(ItemUpserted) if field.name != "item")


def _name_of(request: Request) -> str:
    """What makes a repeated write the same write: the caller's ``Idempotency-Key``, else nothing is repeated."""
    return request.header(b"idempotency-key")[:256] or request.own_id


def _filter(view: ItemView, category: str, blocked_too: bool) -> Callable[[int], bool]:
    """Which indices a listing may hold: known to the catalogue, and of the category."""
    blocked, leaves = view.blocked, view.category
    number = view.category_id(category) if category else -1
    if category and number < 0:
        return lambda idx: False
    within = view.within(number) if category else None

    def allowed(idx: int) -> bool:
        if blocked[idx] and not (blocked_too and listed(view, view.ids[idx])):
            return False
        return within is None or (leaves[idx] >= 0 and bool(within[leaves[idx]]))

    return allowed


def _page(view: ItemView, allowed: Callable[[int], bool], cursor: int, limit: int) -> tuple[list[int], int | None]:
    page: list[int] = []
    for idx in range(cursor, view.size):
        if len(page) == limit:
            return page, idx
        if allowed(idx):
            page.append(idx)
    return page, None


_ITEM = {
    "item_id": "1029743",
    "title": "Milk, white, 1 gal",
    "category": "GROCERY > FLUID MILK PRODUCTS > FLUID MILK WHITE ONLY",
    "brand": "PRIVATE",
    "item_group": "FLUID MILK WHITE ONLY",
    "price": 2.69,
    "stock": -1,
    "hidden": False,
}
_SHOWN = {**_ITEM, "recommendable": True, "attributes": [], "text": "", "url": "", "image": ""}
_ITEM_ID = Field("item_id", "The item's id", "1029743", required=True)
_WRITTEN = {"accepted": 1, "rejected": [], "applied": True, "token": "ksKRkgAD"}
AFTER = Field("after", "A write's token: wait until it is seen", None)
UPSERT: Final = Doc(
    "Add items or change some of their fields; fields left out stay, null resets. Answers once every replica obeys it, "
    "202 when that takes more than 2 s. Header `Idempotency-Key` makes a repetition harmless",
    "Catalogue",
    body=(
        Field(
            "items",
            "Up to 10,000 of: `item_id`, `title`, `category` (path with ` > `), `brand`, `item_group` (the label "
            "people see; two of one group never stand in one row), `price`, `stock` (-1: not tracked, 0: not shown), "
            "`hidden`, `recommendable`, `attributes`, `text`, `url`, `image`",
            [],
            required=True,
        ),
    ),
    example={"items": [_ITEM]},
    answer=_WRITTEN,
    statuses=(200, 202, 413, 503),
)
LIST: Final = Doc(
    "Find items by words, or page through them",
    "Catalogue",
    query=(
        Field("q", "Words that must all occur in title, category, brand or id", "milk"),
        Field("category", "Only items of this category or below it", "GROCERY"),
        Field("limit", f"At most {LIMIT_MAX}, 20 when left out", 1),
        Field("cursor", "The previous page's `cursor`", 0),
        Field("hidden", "Also hidden, sold out and not recommendable ones", "false"),
        AFTER,
    ),
    answer={"items": [_SHOWN], "cursor": 1},
    statuses=(200, 503),
)
SHOW: Final = Doc("One item", "Catalogue", path=(_ITEM_ID,), query=(AFTER,), answer=_SHOWN, statuses=(200, 404, 503))
DELETE: Final = Doc(
    "Remove an item; its history stays", "Catalogue", path=(_ITEM_ID,), answer=_WRITTEN, statuses=(200, 202, 404, 503)
)
