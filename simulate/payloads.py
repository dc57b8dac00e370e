"""What a client of the world sends: Segment messages and catalogue entries, made of what a client can see. No truth
stands in them; a test reads every one. Ids of messages follow from the visit, so sending again is a duplicate."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, TypeAlias

from events.types import Json
from simulate.shelf import Shelf
from simulate.world import Act, Organic, Outcome, Visit

Message: TypeAlias = "dict[str, Json]"

_LIBRARY: Final = {"name": "analytics.js", "version": "2.11.1"}
_AGENTS: Final = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
)
_NAMES: Final = {"view": "Product Viewed", "click": "Product Clicked", "cart": "Product Added"}


def stamp(at: int) -> str:
    """ms as ISO 8601.

    >>> stamp(0)
    '1970-01-01T00:00:00.000Z'
    """
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03d}Z"


def entries(shelf: Shelf, at: int) -> list[dict[str, Json]]:
    """The catalogue of this moment, as ``POST /v1/items`` takes it."""
    return [entry(shelf, item) for item in range(len(shelf.ids)) if shelf.born[item] <= at < shelf.dies[item]]


def entry(shelf: Shelf, item: int) -> dict[str, Json]:
    """One catalogue entry."""
    return {
        "item_id": shelf.ids[item],
        "title": f"Item {item}",
        "category": shelf.path(item),
        "brand": shelf.provider_name(item),
        "price": round(float(shelf.price[item]), 2),
    }


def opening(visit: Visit) -> list[Message]:
    """What is sent before anything else: who it is, if that is just told, and the page."""
    messages: list[Message] = []
    if visit.logs_in:
        messages.append(_message(visit, "identify", "identify", 0, traits={"plan": "member"}))
    messages.append(_message(visit, "page", "page", 0, name=visit.surface, properties={"path": f"/{visit.surface}"}))
    return messages


def impression(visit: Visit, outcome: Outcome, list_id: str) -> Message:
    """The slots that came into view."""
    products: list[Json] = [
        {"product_id": item, "position": place + 1} for place, item in enumerate(outcome.slate[: outcome.seen])
    ]
    properties: dict[str, Json] = {"list_id": list_id, "products": products}
    return _message(visit, "track", f"seen-{list_id}", 1_000, event="Product List Viewed", properties=properties)


def acts(visit: Visit, outcome: Outcome, list_id: str) -> list[tuple[int, Message]]:
    """What came of a list, with when it is sent (ms)."""
    return [(visit.at + act.delay, _act(visit, act, list_id)) for act in outcome.acts]


def organic(visit: Visit, done: Organic) -> list[tuple[int, Message]]:
    """What came without one, with when it is sent (ms)."""
    found = [(visit.at + act.delay, _act(visit, act, "")) for act in done.views]
    if done.order:
        found.append((visit.at + done.order[0].delay, _order(visit, done.order, "own", "")))
    return found


def batch(messages: Sequence[Message], sent_at: int) -> dict[str, Json]:
    """A body of ``POST /v1/batch``."""
    return {"batch": list(messages), "sentAt": stamp(sent_at)}


def _act(visit: Visit, act: Act, list_id: str) -> Message:
    if act.deed == "purchase":
        return _order(visit, (act,), act.item, list_id)
    properties: dict[str, Json] = {"product_id": act.item}
    if list_id:
        properties |= {"list_id": list_id, "position": act.slot}
    return _message(visit, "track", f"{act.deed}-{act.item}", act.delay, event=_NAMES[act.deed], properties=properties)


def _order(visit: Visit, lines: Sequence[Act], name: str, list_id: str) -> Message:
    products: list[Json] = [{"product_id": line.item, "quantity": line.quantity} for line in lines]
    properties: dict[str, Json] = {"order_id": f"{visit.key:016x}-{name}", "products": products}
    if list_id:
        properties["list_id"] = list_id
    return _message(visit, "track", f"order-{name}", lines[0].delay, event="Order Completed", properties=properties)


def _message(visit: Visit, kind: str, tag: str, delay: int, **fields: Json) -> Message:
    message: Message = {
        "type": kind,
        "messageId": f"{visit.key:016x}-{tag}",
        "anonymousId": visit.anonymous_id,
        "timestamp": stamp(visit.at + delay),
        "context": {"library": dict(_LIBRARY), "userAgent": _AGENTS[visit.device % len(_AGENTS)]},
        **fields,
    }
    if visit.user_id:
        message["userId"] = visit.user_id
    return message
