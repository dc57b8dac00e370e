"""Products as clients describe them, made into lines.

What a line holds is taken out of the properties; whatever else was sent stays there as it came, so nothing is stored
twice and nothing is lost. A value that cannot be used (a price of ``"on request"``) stays as well.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeAlias

from events.envelope import text
from events.errors import BadId
from events.ids import item_id
from events.reasons import Unfit
from events.types import Json, Line
from events.vocabulary import Place

Enrich: TypeAlias = Callable[[str], tuple[str, str, tuple[str, ...]] | None]
"""Item id → (category path, brand, attributes) of the catalogue, or None for an item it does not hold."""

Rank: TypeAlias = Callable[[str, float], float | None]
"""(item id, price paid for one) → the share of its category's items that are cheaper, 0..1; None when unknown."""

LABEL_CHARS_MAX: Final = 256
"""Longest category path, brand or attribute that is folded."""
PATHS_REMEMBERED: Final = 4_096
"""A shop's category paths come again and again; remembered, each costs a look-up."""
QUANTITY_MAX: Final = 1e6
PRICE_MAX: Final = 1e9


def no_enrichment(item: str) -> None:
    """For a store without a catalogue."""
    return


def unranked(item: str, price: float) -> None:
    """For a store without a catalogue."""
    return


def number(value: object, low: float, high: float) -> float | None:
    """A finite number within [low, high], also when sent as text; None for anything else.

    >>> number("2.5", 0, 10), number(float("nan"), 0, 10), number(True, 0, 10)
    (2.5, None, None)
    """
    if isinstance(value, str) and len(value) <= 32:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        return None
    return float(value)


def take_number(source: dict[str, Json], name: str, low: float, high: float) -> float | None:
    """The number under ``name``, removed from ``source`` if it is usable."""
    if name not in source:
        return None
    found = number(source[name], low, high)
    if found is not None:
        del source[name]
    return found


def take_label(source: dict[str, Json], name: str) -> str:
    """The short text (or number) under ``name``, removed from ``source`` if it is usable; empty otherwise."""
    value = source.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = repr(value)
    if not isinstance(value, str) or not 0 < len(value) <= LABEL_CHARS_MAX:
        return ""
    del source[name]
    return value


def category_path(value: object) -> str:
    """A category path from general to specific, parts joined by ``" > "``; empty when it cannot be used.

    >>> category_path("Home>Kitchen"), category_path(["Home", "Kitchen"]), category_path("Games")
    ('Home > Kitchen', 'Home > Kitchen', 'Games')
    """
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = ">".join(value)
    if not isinstance(value, str) or len(value) > LABEL_CHARS_MAX:
        return ""
    return _normal_path(value)


@lru_cache(PATHS_REMEMBERED)
def _normal_path(path: str) -> str:
    return " > ".join(part for part in map(str.strip, path.split(">")) if part)


def attributes_of(value: object) -> tuple[str, ...]:
    """Facets such as ``colour:red``: from a list of texts, or an object of names and plain values; none unless all of
    them can be used.

    >>> attributes_of({"colour": "red", "vegan": True}), attributes_of(["colour:red"])
    (('colour:red', 'vegan:true'), ('colour:red',))
    """
    if isinstance(value, dict):
        facets = [f"{name}:{_plain(one)}" for name, one in value.items()]
    elif isinstance(value, list):
        facets = [_plain(one) for one in value]
    else:
        return ()
    return tuple(facets) if all(0 < len(facet) <= LABEL_CHARS_MAX for facet in facets) else ()


def _plain(value: object) -> str:
    """A facet's value as text; overlong, hence refused, for anything that is no plain value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int, float)) else " " * (LABEL_CHARS_MAX + 1)


def lines_at(properties: dict[str, Json], place: Place, enrich: Enrich) -> tuple[Line, ...]:
    """The lines that stand at ``place``, taken out of ``properties``.

    Products without an id make no line and stay. Raises `Unfit`: ``missing_item`` if an event about one item names
    none, ``bad_id`` for an id over 256 characters or with control characters, ``bad_type`` for a list that is none.
    """
    if not place.list_at:
        line = _line(properties, place.ids, enrich)
        if line is None:
            raise Unfit("missing_item", f"no item id in the properties: send {' or '.join(place.ids[:2])}")
        return (line,)
    products = properties.pop(place.list_at, None)
    if products is None:
        return ()
    if not isinstance(products, list):
        raise Unfit("bad_type", f"properties.{place.list_at} must be a list, not {type(products).__name__}")
    lines: list[Line] = []
    rest: list[Json] = []
    for product in products:
        if not isinstance(product, dict):
            product = {place.ids[0]: product}
        line = _line(product, place.ids, enrich)
        if line is not None:
            lines.append(line)
            if product:
                product[place.ids[0]] = line.item
        if product:
            rest.append(product)
    if rest:
        properties[place.list_at] = rest
    return tuple(lines)


def _line(product: dict[str, Json], ids: tuple[str, ...], enrich: Enrich) -> Line | None:
    """A product's line, taken out of it; what it lacks comes from the catalogue. An empty ``attributes`` says that
    there are none."""
    item = _take_id(product, ids)
    if not item:
        return None
    category = brand = ""
    attributes: tuple[str, ...] = ()
    quantity, price, plain = 1.0, 0.0, False
    if product:
        category = category_path(product.get("category"))
        if category:
            del product["category"]
        brand = take_label(product, "brand")
        facets = product.get("attributes")
        attributes = attributes_of(facets)
        plain = facets == [] or facets == {}
        if attributes or plain:
            del product["attributes"]
        found = take_number(product, "quantity", 0.0, QUANTITY_MAX)
        quantity = 1.0 if found is None else found
        price = take_number(product, "price", 0.0, PRICE_MAX) or 0.0
    if not category or not brand or not (attributes or plain):
        known = enrich(item)
        if known is not None:
            category, brand = category or known[0], brand or known[1]
            attributes = () if plain else attributes or known[2]
    return Line(item, category, brand, quantity, price, attributes)


def _take_id(product: dict[str, Json], ids: tuple[str, ...]) -> str:
    for name in ids:
        value = product.get(name)
        if value is not None and value != "":
            try:
                item = item_id(text(name, value))
            except BadId as bad:
                raise Unfit("bad_id", str(bad)) from None
            del product[name]
            return item
    return ""
