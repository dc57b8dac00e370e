"""The catalogue as the doors need it: what an event's item is, and what a partial update starts from."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from actors.item_view import CatalogueItem, ItemSource, ItemView
from events.clock import Clock
from events.ids import ItemId, Micros
from events.types import ItemUpserted

FRESH_US: Final = 1_000_000
"""How long a looked-up entry is used for enriching events: an event may carry the category of a second ago, and reading
a row per event would cost more than folding it."""
KEPT_MAX: Final = 50_000
PRICES_FRESH_US: Final = 3_600_000_000
"""An hour: what is dear in a category changes slowly, and looking costs a row per item."""
PRICES_MAX: Final = 256
"""Items of a category whose prices are looked at: a rank among them is off by a thirtieth (one standard error)."""
PRICES_MIN: Final = 5
"""With fewer priced items, none is cheap or dear."""

Enrichment = tuple[str, str, tuple[str, ...]]


class CatalogueLookup:
    """Looks items up in the newest snapshot. One per process, not shared between threads."""

    def __init__(self, items: ItemSource, clock: Clock) -> None:
        self._items = items
        self._clock = clock
        self._view: ItemView | None = None
        self._taken = Micros(0)
        self._known: dict[str, Enrichment | None] = {}
        self._prices: dict[tuple[str, int], tuple[Micros, npt.NDArray[np.float64]]] = {}

    def enrich(self, item: str) -> Enrichment | None:
        """(category path, brand, attributes), None for an item the catalogue does not hold."""
        view = self._recent()
        try:
            return self._known[item]
        except KeyError:
            pass
        entry = listed(view, item)
        found = None if entry is None else (entry.category, entry.brand, entry.attributes)
        if len(self._known) < KEPT_MAX:
            self._known[item] = found
        return found

    def rank(self, item: str, price: float) -> float | None:
        """The share of the items of the same most specific category that are cheaper, ties counting half, 0..1. By the
        catalogue's price, without one by ``price``; None for an item not listed, without category or price, or in a
        category of fewer than `PRICES_MIN` priced items."""
        view = self._recent()
        entry = listed(view, item)
        price = entry.price or price if entry is not None else 0.0
        category = int(view.category[view.index(item)]) if price > 0.0 else -1
        prices = self._prices_of(view, category) if category >= 0 else _NO_PRICES
        if len(prices) < PRICES_MIN:
            return None
        below, upto = np.searchsorted(prices, price, "left"), np.searchsorted(prices, price, "right")
        return float(below + upto) / (2 * len(prices))

    def _prices_of(self, view: ItemView, category: int) -> npt.NDArray[np.float64]:
        """Prices of items of a category, evenly spaced by index, ascending."""
        name = (view.numbering, category)
        taken, prices = self._prices.get(name, (Micros(0), _NO_PRICES))
        if taken and 0 <= self._taken - taken < PRICES_FRESH_US:
            return prices
        of_it = np.flatnonzero(view.category == category)
        looked = of_it[:: -(-len(of_it) // PRICES_MAX)] if len(of_it) else of_it
        entries = (view.item(int(idx)) for idx in looked)
        prices = np.sort(np.array([one.price for one in entries if one.price > 0.0 and not one.deleted]))
        if len(self._prices) >= KEPT_MAX:
            self._prices.clear()
        self._prices[name] = (self._taken, prices)
        return prices

    def current(self, item: ItemId) -> ItemUpserted | None:
        """The whole entry as of now."""
        entry = listed(self._items.snapshot(), item)
        if entry is None:
            return None
        return ItemUpserted(**{name: getattr(entry, name) for name in _FIELDS})

    def _recent(self) -> ItemView:
        now = self._clock.now()
        if self._view is None or not 0 <= now - self._taken < FRESH_US:
            self._view, self._taken = self._items.snapshot(), now
            self._known.clear()
        return self._view


_NO_PRICES: Final = np.zeros(0)


def listed(view: ItemView, item: str) -> CatalogueItem | None:
    """The entry of an item that somebody put into the catalogue and nobody took out; None for any other."""
    idx = view.index(item)
    if idx < 0:
        return None
    entry = view.item(idx)
    return None if entry.provisional or entry.deleted else entry


_FIELDS = tuple(field.name for field in msgspec.structs.fields(ItemUpserted))
