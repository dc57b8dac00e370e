"""Trending: more than its own month suggests, not merely much."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from item_shop import DAY, NOW, Shop

from actors.catalogue import Catalogue
from actors.item_view import ItemView
from actors.popularity import ALL, COUNTS, HALF_LIFE_MS, LATELY_MS, Popularity
from actors.recency import weights
from actors.state import MemoryState
from actors.trending import TRENDING, Trending, excess, served
from events.types import ItemUpserted, Meta

CATALOGUE = {"staple": "A", "boom": "A", "old hit": "B", "rare": "B"}


def trending(view: ItemView) -> list[str]:
    return [view.ids[idx] for idx in view.trending(10)[0].tolist()]


def shop() -> Shop:
    """A staple bought twice a day for three months; something that began to boom three days ago; a past hit."""
    made = Shop(CATALOGUE)
    for day in range(90, -1, -1):
        at = NOW - day * DAY
        for _ in range(2):
            made.did("purchase", "staple", at=at)
        if day > 60:
            made.did("purchase", "old hit", at=at)
        if day <= 3:
            made.did("purchase", "boom", at=at)
    made.fold()
    return made


def test_a_boom_trends_and_a_steady_staple_that_sells_more_does_not_lead() -> None:
    made = shop()
    assert made.popular()[0] == "staple"
    assert trending(made.view())[0] == "boom"
    assert "old hit" not in trending(made.view())


def test_a_steady_pace_is_no_trend_however_fast() -> None:
    at = NOW - np.arange(0, 365 * DAY, DAY // 4)
    total = weights(at, HALF_LIFE_MS).sum()
    lately = weights(at, LATELY_MS).sum()
    how = excess(np.array([total, 50 * total]), np.array([lately, 50 * lately]), NOW)
    assert np.abs(how).max() < 0.5


def test_a_trend_that_is_left_alone_passes() -> None:
    made = shop()
    for day in range(1, 60):
        for _ in range(2):
            made.did("purchase", "staple", at=NOW + day * DAY)
    made.fold()
    assert "boom" not in trending(made.view())


def test_bots_and_tests_make_no_trend_and_what_was_recommended_counts_less() -> None:
    made = Shop(CATALOGUE)
    for _ in range(9):
        made.did("purchase", "rare", meta=Meta(bot=True))
        made.did("purchase", "old hit", meta=Meta(test=True))
        made.did("purchase", "boom", list_id="r1")
        made.did("purchase", "staple")
    made.fold()
    assert trending(made.view()) == ["staple", "boom"]


ACTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(st.lists(ACTS, min_size=1, max_size=5))
def test_the_list_is_what_a_look_at_all_items_gives(batches: list[list[tuple[int, int]]]) -> None:
    """As long as all batches are learned at one time of reading: each kept list has then missed nothing."""
    store = MemoryState()
    catalogue = Catalogue(store)
    for number in range(10):
        catalogue.upsert(ItemUpserted(str(number)))
    popularity = Popularity(store, catalogue)
    kept = Trending(store, popularity)
    for batch in batches:
        items = np.array([item for item, _ in batch])
        at = np.array([NOW - days * DAY for _, days in batch])
        popularity.learn(items, weights(at, HALF_LIFE_MS), False, weights(at, LATELY_MS))
        store.commit(popularity.changes() + kept.changes(items.tolist(), NOW))
    row = store.get(TRENDING, ALL.to_bytes(4, "big"))
    assert row is not None
    total, lately = popularity.sums(np.arange(10))
    how = excess(total, lately, NOW)
    expected = [idx for idx in sorted(range(10), key=lambda idx: (-how[idx], idx)) if how[idx] > 0]
    assert served(row, NOW)[0].tolist() == expected


def test_rows_of_older_stores_are_read_as_if_nothing_happened_lately() -> None:
    store = MemoryState()
    catalogue = Catalogue(store)
    catalogue.upsert(ItemUpserted("a"))
    store.commit([*catalogue.changes(1), (COUNTS, (0).to_bytes(4, "big"), np.array([3.0, 1.0]).tobytes())])
    popularity = Popularity(store, catalogue)
    total, lately = popularity.sums(np.array([0]))
    assert (total.tolist(), lately.tolist()) == ([3.25], [0.0])


@pytest.mark.parametrize("clock", [NOW - 4000 * DAY, NOW, NOW + 4000 * DAY])
def test_no_clock_makes_an_excess_that_is_not_a_number(clock: int) -> None:
    at = np.array([NOW])
    how = excess(weights(at, HALF_LIFE_MS), weights(at, LATELY_MS), clock)
    assert np.isfinite(how).all()
