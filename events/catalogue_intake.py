"""The door for the catalogue: ``POST /v1/items`` bodies become drafts of item facts.

Callers are programs of the store itself, so this door is strict: an unknown field is an error that names the nearest
valid one. An upsert may be partial: fields left out keep what the item has now, fields sent as null go back to their
default. The fact written is always the whole entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Final, TypeAlias

import msgspec

from events import payload
from events.body import BODY_BYTES_MAX, open_body
from events.envelope import text
from events.errors import BadId, BadRequest, TooLarge
from events.ids import ItemId, Millis, event_id, item_id, item_key
from events.intake import Accepted, Outcome, Rejected
from events.lines import LABEL_CHARS_MAX, PRICE_MAX, attributes_of, category_path
from events.reasons import Unfit
from events.record import Draft
from events.types import Event, ItemDeleted, ItemUpserted, Meta

Current: TypeAlias = Callable[[ItemId], ItemUpserted | None]
"""The catalogue's entry as of now, or None for an item it does not hold."""

ITEMS_MAX: Final = 10_000
ITEM_BYTES_MAX: Final = 32 * 1024
TEXT_CHARS_MAX: Final = 16_384
URL_CHARS_MAX: Final = 2_048
ATTRIBUTES_MAX: Final = 64
STOCK_MAX: Final = 1_000_000_000

_WRITER = "items"
"""Stands for the write key in the event ids of item facts."""


class _Items(msgspec.Struct):
    items: list[msgspec.Raw]


_ITEMS = msgspec.json.Decoder(_Items)
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_ITEM = msgspec.json.Decoder(dict[str, object])


def no_catalogue(item: ItemId) -> None:
    """For an empty catalogue: every upsert is a whole one."""
    return


class CatalogueIntake:
    """Reads catalogue bodies. ``current`` resolves partial updates; ``secret`` keys the event ids."""

    def __init__(self, secret: bytes, current: Current = no_catalogue) -> None:
        self._secret = secret
        self._current = current

    def batch(self, body: bytes, request: str, received_at: Millis, encoding: str = "") -> list[Outcome]:
        """One outcome per item of ``{"items": [...]}`` (or a plain list), in order.

        ``request`` names this request (the caller's idempotency key, or a fresh one): the same request sent twice is
        applied once, while the same *content* in two requests is two facts, as a price may go back to what it was.
        Items named twice in one body see each other. Raises `BadRequest` and `TooLarge` for the body as a whole.
        """
        raws = split_items(open_body(body, encoding, BODY_BYTES_MAX))
        written: dict[ItemId, ItemUpserted] = {}
        outcomes: list[Outcome] = []
        for number, raw in enumerate(raws):
            try:
                entry = self.upsert(read_item(raw), written)
            except Unfit as unfit:
                outcomes.append(Rejected(unfit.reason, unfit.detail, b'{"items":[%s]}' % raw))
                continue
            outcomes.append(
                Accepted(self.draft(ItemId(entry.item), entry, f"{request}#{number}", received_at, received_at))
            )
        return outcomes

    def deleted(self, raw_item: str, request: str, received_at: Millis) -> Accepted:
        """The fact that an item is gone. Raises `BadId`."""
        item = item_id(raw_item)
        return Accepted(self.draft(item, ItemDeleted(item), request, received_at, received_at))

    def upsert(self, fields: Mapping[str, object], written: dict[ItemId, ItemUpserted]) -> ItemUpserted:
        """The whole entry after a partial update; remembered in ``written``, which goes before the catalogue.

        Raises `Unfit` for a missing id, an unknown field or a value of the wrong type.
        """
        item = _item_of(fields)
        known = written.get(item) or self._current(item) or ItemUpserted(item)
        changes: dict[str, object] = {}
        for name, value in fields.items():
            if name in _ID_NAMES:
                continue
            field, read = _field(name)
            changes[field] = _DEFAULTS[field] if value is None else read(name, value)
        entry = msgspec.structs.replace(known, **changes)
        written[item] = entry
        return entry

    def draft(self, item: ItemId, event: Event, message_id: str, at: Millis, received_at: Millis) -> Draft:
        """An item fact of the moment ``at``, known once by (items, ``message_id``)."""
        name, version = payload.type_of(event)
        return Draft(
            key=item_key(item),
            event_id=event_id(self._secret, _WRITER, message_id),
            event_time=at,
            type=name,
            version=version,
            payload=payload.encode(Meta(message_id=message_id, received_at=received_at), event),
        )


def split_items(body: bytes) -> list[bytes]:
    """The items of a body as raw JSON. Raises `BadRequest`, `TooLarge`."""
    try:
        raws = _LIST.decode(body) if body.lstrip()[:1] == b"[" else _ITEMS.decode(body).items
    except (msgspec.MsgspecError, ValueError, RecursionError) as wrong:
        raise BadRequest(f'the body must be {{"items": [...]}}: {wrong}'[:300]) from None
    if len(raws) > ITEMS_MAX:
        raise TooLarge(f"the body has {len(raws)} items: the most is {ITEMS_MAX}")
    return [bytes(raw) for raw in raws]


def read_item(raw: bytes) -> dict[str, object]:
    """The fields of one item. Raises `Unfit`."""
    if len(raw) > ITEM_BYTES_MAX:
        raise Unfit("too_large", f"{len(raw)} bytes: the most is {ITEM_BYTES_MAX}")
    try:
        return _ITEM.decode(raw)
    except RecursionError:
        raise Unfit("too_deep", "an item is an object of plain values") from None
    except msgspec.ValidationError as wrong:
        raise Unfit("bad_number" if raw[:1] == b"{" else "not_an_object", str(wrong)[:200]) from None
    except (msgspec.DecodeError, ValueError) as broken:
        raise Unfit("not_json", f"not valid JSON: {broken}"[:200]) from None


_ID_NAMES = ("item_id", "item", "id")


def _item_of(fields: Mapping[str, object]) -> ItemId:
    for name in _ID_NAMES:
        if name in fields:
            given = text(name, fields[name])
            try:
                return item_id(given)
            except BadId as bad:
                raise Unfit("bad_id", str(bad)) from None
    raise Unfit("missing_item", "an item needs item_id")


def _label(name: str, value: object) -> str:
    return _bounded(name, value, LABEL_CHARS_MAX)


def _text(name: str, value: object) -> str:
    return _bounded(name, value, TEXT_CHARS_MAX)


def _url(name: str, value: object) -> str:
    return _bounded(name, value, URL_CHARS_MAX)


def _bounded(name: str, value: object, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise Unfit("bad_type", f"{name} must be text of at most {most} characters")
    return value


def _category(name: str, value: object) -> str:
    path = category_path(value)
    if not path and value not in ("", []):
        raise Unfit(
            "bad_type", f"{name} must be a path such as 'Food > Fruit', of at most {LABEL_CHARS_MAX} characters"
        )
    return path


def _price(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= PRICE_MAX:
        raise Unfit("bad_type", f"{name} must be a number from 0 to {PRICE_MAX:g}")
    return float(value)


def _stock(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1:
        raise Unfit("bad_type", f"{name} must be a whole number; -1 means not tracked")
    return int(min(max(value, -1), STOCK_MAX))


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise Unfit("bad_type", f"{name} must be true or false")
    return value


def _attributes(name: str, value: object) -> tuple[str, ...]:
    facets = attributes_of(value)
    if (not facets and value not in ({}, [])) or len(facets) > ATTRIBUTES_MAX:
        raise Unfit(
            "bad_type", f"{name} must be at most {ATTRIBUTES_MAX} texts such as 'colour:red', or an object of them"
        )
    return facets


_Read: TypeAlias = Callable[[str, object], object]
_FIELDS: Final[Mapping[str, _Read]] = {
    "title": _label,
    "category": _category,
    "brand": _label,
    "item_group": _label,
    "price": _price,
    "stock": _stock,
    "hidden": _flag,
    "recommendable": _flag,
    "attributes": _attributes,
    "text": _text,
    "url": _url,
    "image": _url,
}
_ALIASES: Final[Mapping[str, str]] = {"name": "title", "description": "text", "image_url": "image"}
"""As Segment's product objects call them."""
_DEFAULTS: Final[Mapping[str, object]] = {
    field.name: field.default for field in msgspec.structs.fields(ItemUpserted) if field.name in _FIELDS
}


def _field(name: str) -> tuple[str, _Read]:
    field = _ALIASES.get(name, name)
    read = _FIELDS.get(field)
    if read is None:
        near = get_close_matches(name[:64], [*_FIELDS, *_ALIASES, "item_id"], 1, 0)
        raise Unfit("unknown_field", f"unknown field {name[:64]!r}: did you mean {near[0]!r}?")
    return field, read
