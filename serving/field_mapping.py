"""Which column of somebody's data is what: ``user=customer_id,item=sku,event='Product Viewed',time=ts``.

On the left a field of ours, on the right a column (for JSON lines also a path such as ``actor.id``) or, in quotes, one
value for every row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from events.errors import BadSettings

FIELDS: Final = (
    "user",
    "anonymous",
    "item",
    "event",
    "time",
    "message_id",
    "category",
    "brand",
    "price",
    "quantity",
    "rating",
    "rating_scale",
    "order_id",
    "revenue",
    "query",
)

_PAIR = re.compile(r"\s*(?P<field>\w+)\s*=\s*(?:'(?P<one>[^']*)'|\"(?P<two>[^\"]*)\"|(?P<column>[^,'\"]+?))\s*(?:,|$)")


@dataclass(frozen=True, slots=True)
class Column:
    """Where a field's value stands: in the named column (or under the path), unless it is ``constant``."""

    name: str
    constant: str | None = None

    def of(self, row: Mapping[str, object]) -> object:
        """The value in ``row``; None where the row has none."""
        if self.constant is not None:
            return self.constant
        if self.name in row:
            return row[self.name]
        value: object = row
        for part in self.name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value


def read_mapping(text: str) -> dict[str, Column]:
    """The mapping written in ``text``.

    Raises `BadSettings` for a field we do not know (with the nearest one), a mapping that cannot be read, or one that
    lacks an event, or both user and anonymous.

    >>> read_mapping("user=uid, item=sku, event='Product Viewed'")["event"]
    Column(name='', constant='Product Viewed')
    """
    mapping: dict[str, Column] = {}
    at = 0
    while at < len(text):
        pair = _PAIR.match(text, at)
        if pair is None:
            raise BadSettings(f"mapping: cannot read {text[at : at + 40]!r}; write field=column or field='value'")
        field = pair["field"]
        if field not in FIELDS:
            near = get_close_matches(field, FIELDS, 1, 0)[0]
            raise BadSettings(f"mapping: unknown field {field!r}, did you mean {near!r}?")
        constant = pair["one"] if pair["one"] is not None else pair["two"]
        mapping[field] = Column(pair["column"] or "", constant)
        at = pair.end()
    if "event" not in mapping:
        raise BadSettings("mapping: event is missing; name its column or write event='Product Viewed'")
    if "user" not in mapping and "anonymous" not in mapping:
        raise BadSettings("mapping: user or anonymous is missing; events belong to somebody")
    return mapping
