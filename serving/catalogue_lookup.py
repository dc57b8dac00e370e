"""The catalogue as the doors need it: what an event's item is, and what a partial update starts from."""

from __future__ import annotations

from typing import Final

import msgspec

from actors.item_view import CatalogueItem, ItemSource, ItemView
from events.clock import Clock
from events.ids import ItemId, Micros
from events.types import ItemUpserted

FRESH_US: Final = 1_000_000
"""How long a looked-up entry is used for enriching events: an event may carry the category of a second ago, and reading
a row per event would cost more than folding it."""
KEPT_MAX: Final = 50_000

Enrichment = tuple[str, str, tuple[str, ...]]


class CatalogueLookup:
    """Looks items up in the newest snapshot. One per process, not shared between threads."""

    def __init__(self, items: ItemSource, clock: Clock) -> None:
        self._items = items
        self._clock = clock
        self._view: ItemView | None = None
        self._taken = Micros(0)
        self._known: dict[str, Enrichment | None] = {}

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


def listed(view: ItemView, item: str) -> CatalogueItem | None:
    """The entry of an item that somebody put into the catalogue and nobody took out; None for any other."""
    idx = view.index(item)
    if idx < 0:
        return None
    entry = view.item(idx)
    return None if entry.provisional or entry.deleted else entry


_FIELDS = tuple(field.name for field in msgspec.structs.fields(ItemUpserted))
