"""Trending, exploration, segment popularity and rating: what others keep for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from recommender_contract import SHOP, names, query
from small_shop import DAY, NOW, Facts, described, did, small_shop

from actors.item_reader import MemoryItems
from training.exploration import Exploration
from training.rating_recommender import RatingRecommender
from training.segment_popularity import SegmentPopularity
from training.trending import Trending

ITEMS = SHOP.snapshot()


def booming() -> MemoryItems:
    facts = Facts()
    for item in ("nachos", "tea", "mint tea"):
        facts.add(described(item), NOW - 90 * DAY)
    for day in range(60, -1, -1):
        facts.add(did("purchase", "nachos"), NOW - day * DAY)
        if day < 5:
            facts.add(did("purchase", "tea"), NOW - day * DAY)
    items = MemoryItems()
    items.fold(facts.made)
    return items


def test_what_booms_leads_the_trends() -> None:
    assert names(Trending().recommend(query(booming().snapshot())), booming().snapshot())[0] == "tea"


def test_under_a_category_only_its_own_trend_or_are_tried() -> None:
    items = booming().snapshot()
    for recommender in (Trending(), Exploration()):
        drinks = recommender.recommend(replace(query(items), category=items.category_id("Drinks")))
        assert set(names(drinks, items)) <= {"tea", "mint tea"}
        assert len(drinks.idx)
        assert len(recommender.recommend(replace(query(items), category=-1)).idx) == 0


def test_new_items_are_tried_first_and_hidden_ones_never() -> None:
    items = small_shop([described("vinegar"), described("secret", hidden=True)]).snapshot()
    found = names(Exploration().recommend(query(items)), items)
    assert "vinegar" in found
    assert "secret" not in found


class Rows:
    """Segment → row."""

    ROWS = {
        "a": (np.array([1, 2], np.int32), np.array([10, 5], np.float32)),
        "b": (np.array([2], np.int32), np.array([3], np.float32)),
        "empty": (np.empty(0, np.int32), np.empty(0, np.float32)),
    }

    def popular_in(self, segment: str, limit: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
        return self.ROWS.get(segment, self.ROWS["empty"])


def test_segments_count_alike_and_people_without_any_get_nothing() -> None:
    asked = replace(query(ITEMS), segments=("b", "a", "empty", "unheard of"), segment_rows=Rows())
    scored = SegmentPopularity().recommend(asked)
    sums = {int(idx): float(scored.score[scored.idx == idx].sum()) for idx in scored.idx}
    assert sums == {1: 1.0, 2: 1.5}
    assert len(SegmentPopularity().recommend(replace(asked, segments=())).idx) == 0
    assert len(SegmentPopularity().recommend(replace(asked, segment_rows=None)).idx) == 0


def test_what_a_person_would_rate_highly_comes_first_and_who_never_rated_gets_nothing() -> None:
    found = names(RatingRecommender().recommend(query(ITEMS)), ITEMS)
    assert set(found[:2]) == {"tea", "mint tea"}
    assert "nachos" not in found
    for changes in ({"rater_key": "newcomer"}, {"rater_key": ""}, {"rater": None}):
        assert len(RatingRecommender().recommend(replace(query(ITEMS), **changes)).idx) == 0
