from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.catalogue import Catalogue
from actors.popularity import ALL, FEEDBACK, HALF_LIFE_MS, Popularity
from actors.recency import weight
from actors.state import MemoryState
from events.types import ItemUpserted

NOW = 1_760_000_000_000
DAY = 86_400_000
PATHS = ["", "A", "A > X", "A > Y", "B > Z > W"]
Act = tuple[int, int, bool]

ACTS = st.lists(st.tuples(st.integers(0, 29), st.integers(0, 90), st.booleans()), max_size=15)


class Shop:
    def __init__(self, items: int = 30) -> None:
        self.store = MemoryState()
        self.catalogue = Catalogue(self.store)
        for number in range(items):
            self.catalogue.upsert(ItemUpserted(str(number), category=PATHS[number % len(PATHS)]))
        self.popularity = Popularity(self.store, self.catalogue)

    def learn(self, acts: list[Act]) -> None:
        for item, days, recommended in acts:
            at = np.array([weight(NOW - days * DAY, HALF_LIFE_MS)])
            self.popularity.learn(np.array([item]), at, recommended)
        self.store.commit(self.popularity.changes())

    def move(self, item: int, path: str) -> None:
        was = int(self.catalogue.leaf[item])
        self.catalogue.upsert(ItemUpserted(str(item), category=path))
        self.popularity.moved(item, was)
        self.store.commit(self.popularity.changes())

    def paths(self) -> dict[int, str]:
        return {item: self.catalogue.entry(item).category for item in range(self.catalogue.size)}


def ranked(shop: Shop, acts: list[Act], path: str | None) -> list[int]:
    score: dict[int, float] = {}
    for item, days, recommended in acts:
        mine = shop.paths()[item]
        if path is None or mine == path or mine.startswith(path + " > "):
            score[item] = score.get(item, 0) + (FEEDBACK if recommended else 1) * 2 ** (-days / 30)
    return sorted(score, key=lambda item: (-round(score[item], 9), item))


@settings(max_examples=50)
@given(st.lists(ACTS, max_size=4), st.lists(st.tuples(st.integers(0, 29), st.sampled_from(PATHS)), max_size=3))
def test_lists_are_what_a_full_sort_gives_also_after_items_moved(
    batches: list[list[Act]], moves: list[tuple[int, str]]
) -> None:
    shop = Shop()
    for batch in batches:
        shop.learn(batch)
    for item, path in moves:
        shop.move(item, path)
    acts = [act for batch in batches for act in batch]
    assert shop.popularity.top(ALL, 200).tolist() == ranked(shop, acts, None)
    for path in ("A", "A > X", "B", "B > Z", "B > Z > W"):
        number = shop.catalogue.categories.number(path)
        assert shop.popularity.top(number, 200).tolist() == ranked(shop, acts, path)


def test_what_a_recommendation_led_to_counts_apart_and_less() -> None:
    shop = Shop()
    shop.learn([(1, 0, True), (1, 0, True), (1, 0, True), (2, 0, False)])
    assert shop.popularity.top(ALL, 10).tolist() == [2, 1]


def test_an_old_hit_gives_way_to_what_is_done_now() -> None:
    shop = Shop()
    shop.learn([(1, 90, False)] * 7)
    assert shop.popularity.top(ALL, 10).tolist() == [1]
    shop.learn([(2, 0, False)])
    assert shop.popularity.top(ALL, 10).tolist() == [2, 1]


def test_counts_outlive_a_restart() -> None:
    shop = Shop()
    shop.learn([(1, 0, False), (1, 0, False), (2, 0, False)])
    again = Popularity(shop.store, shop.catalogue)
    again.learn(np.array([2]), np.array([2 * weight(NOW, HALF_LIFE_MS)]), recommended=False)
    shop.store.commit(again.changes())
    assert again.top(ALL, 10).tolist() == [2, 1]


def test_an_item_may_move_into_a_category_together_with_one_that_is_new_there() -> None:
    shop = Shop()
    shop.learn([(0, 0, False)])
    was = int(shop.catalogue.leaf[0])
    shop.catalogue.upsert(ItemUpserted("0", category="A"))
    shop.popularity.moved(0, was)
    shop.catalogue.upsert(ItemUpserted("new", category="A"))
    shop.store.commit(shop.popularity.changes())
    assert shop.popularity.top(shop.catalogue.categories.number("A"), 10).tolist() == [0]


def test_a_list_is_bounded() -> None:
    shop = Shop(items=300)
    shop.learn([(item, 0, False) for item in range(300)])
    assert shop.popularity.top(ALL, 1000).tolist() == list(range(200))


@pytest.mark.parametrize("at", [-(2**63), 0, NOW, 2**63 - 1])
def test_no_time_makes_a_weight_that_is_not_a_number(at: int) -> None:
    assert 0 < weight(at, HALF_LIFE_MS) < float("inf")
