"""Finding items by words."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from actors.follower import Fact
from actors.item_reader import MemoryItems
from events.ids import Micros
from events.record import Record
from events.types import Event, Interaction, ItemUpserted, Line, Meta, Payload
from serving.item_search import REFRESH_US, ItemSearch

TITLES = {"1": "Nacho Chips", "2": "Salsa\nDip", "3": "Chips, Potato", "4": "Crème brûlée"}


def facts(events: Sequence[Event], start: int = 0) -> list[Fact]:
    return [
        Fact(0, Record(lsn, (), lsn + 1, 1_700_000_000_000, "", 1, b"s" * 16, b"", b""), Payload(Meta(), event))
        for lsn, event in enumerate(events, start)
    ]


def catalogue() -> MemoryItems:
    items = MemoryItems()
    items.fold(facts([ItemUpserted(item, title=title, category="Snacks") for item, title in TITLES.items()]))
    return items


def found(search: ItemSearch, items: MemoryItems, words: str, now: int = REFRESH_US + 1) -> list[str]:
    view = items.snapshot()
    asyncio.run(search.update(view, Micros(now)))
    return [view.ids[idx] for idx in search.find(words, view)]


def test_every_word_must_occur_somewhere() -> None:
    items, search = catalogue(), ItemSearch()
    assert found(search, items, "chips") == ["1", "3"]
    assert found(search, items, "SNACKS chips potato") == ["3"]
    assert found(search, items, "chips salsa") == []


def test_words_do_not_match_across_items() -> None:
    items, search = catalogue(), ItemSearch()
    assert found(search, items, "salsa dip") == ["2"]
    assert found(search, items, "chips\nsalsa") == []


def test_accents_and_case_are_kept_apart_from_nothing_else() -> None:
    items, search = catalogue(), ItemSearch()
    assert found(search, items, "CRÈME") == ["4"]


def test_popular_items_come_first() -> None:
    items, search = catalogue(), ItemSearch()
    items.fold(facts([Interaction("purchase", (Line("3", category="Snacks"),))] * 3, start=4))
    assert found(search, items, "chips") == ["3", "1"]


def test_no_words_find_nothing() -> None:
    assert found(ItemSearch(), catalogue(), "  ") == []
    assert found(ItemSearch(), MemoryItems(), "chips") == []


def test_new_items_are_found_at_once_and_new_words_after_a_while() -> None:
    items, search = catalogue(), ItemSearch()
    assert found(search, items, "guacamole") == []
    items.fold(facts([ItemUpserted("5", title="Guacamole"), ItemUpserted("1", title="Nacho Guacamole")], start=4))
    assert found(search, items, "guacamole", REFRESH_US + 2) == ["5"]
    items.fold(facts([ItemUpserted("6", title="Bread")], start=6))
    assert found(search, items, "guacamole", 3 * REFRESH_US) == ["1", "5"]
