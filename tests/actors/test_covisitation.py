from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.catalogue import Catalogue
from actors.covisitation import Basket, Covisitation, Level, sampled
from actors.recency import QUARTER_MS, weight
from actors.state import MemoryState
from actors.steps import Transition
from events.types import ItemUpserted

NOW = 1_760_000_000_000
DAY = 86_400_000
CATEGORY = ["A > X", "A > X", "A > Y", "B > Z", "B > Z", ""]
"""Of items 0..5."""

BASKETS = st.lists(
    st.builds(
        Basket,
        st.sets(st.integers(0, 5), min_size=2).map(lambda items: tuple(sorted(items))),
        st.integers(0, 300).map(lambda days: NOW - days * DAY),
    ),
    max_size=12,
)
SETS = st.sets(st.integers(0, 5), min_size=1, max_size=3).map(lambda items: tuple(sorted(items)))
TRANSITIONS = st.lists(st.builds(Transition, SETS, SETS, st.just(NOW), st.sampled_from([1.0, 0.6, 0.36])), max_size=12)


def shop() -> tuple[MemoryState, Covisitation, Catalogue]:
    store = MemoryState()
    catalogue = Catalogue(store)
    for number, category in enumerate(CATEGORY):
        catalogue.upsert(ItemUpserted(str(number), category=category))
    return store, Covisitation(store, catalogue), catalogue


def by_hand(baskets: Sequence[Basket], transitions: Sequence[Transition]) -> dict[tuple[int, int], float]:
    sums: dict[tuple[int, int], float] = defaultdict(float)
    for basket in baskets:
        for left in basket.items:
            for right in basket.items:
                if left != right:
                    sums[left, right] += 2 ** ((basket.at - NOW) / QUARTER_MS) / (len(basket.items) - 1)
    for step in transitions:
        for left in step.earlier:
            for right in step.later:
                if left != right:
                    sums[left, right] += step.weight / len(step.later)
    return sums


def counts(level: Level, size: int) -> dict[tuple[int, int], float]:
    pairs = level.rows.rows(np.arange(size))
    now = pairs.sums / weight(NOW, QUARTER_MS)
    return dict(zip(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True), now.tolist(), strict=True))


@settings(max_examples=60)
@given(BASKETS, TRANSITIONS, st.integers(0, 12))
def test_counts_equal_counting_by_hand_at_every_level_however_batched(
    baskets: list[Basket], transitions: list[Transition], cut: int
) -> None:
    store, counters, catalogue = shop()
    for part in (slice(0, cut), slice(cut, None)):
        store.commit(counters.learn(baskets[part], transitions[part])[1])
    items = by_hand(baskets, transitions)
    assert counts(counters.items, 6) == pytest.approx(items)
    leaf = catalogue.leaf
    parent = catalogue.categories.parent
    for level, number in (
        (counters.types, lambda item: int(leaf[item])),
        (counters.categories, lambda item: int(parent[leaf[item]])),
    ):
        coarse: dict[tuple[int, int], float] = defaultdict(float)
        for (left, right), sum_ in items.items():
            if CATEGORY[left] and CATEGORY[right]:
                coarse[number(left), number(right)] += sum_
        assert counts(level, 8) == pytest.approx(coarse)
        assert level.total / weight(NOW, QUARTER_MS) == pytest.approx(sum(coarse.values()))


@given(BASKETS)
def test_masses_are_the_margins_of_the_counts_and_outlive_a_restart(baskets: list[Basket]) -> None:
    store, counters, _ = shop()
    store.commit(counters.learn(baskets, [])[1])
    for level in (counters.items, Level(store, "item", 200)):
        level.grow(6)
        sums = counts(level, 6)
        for item in range(6):
            out = sum(sum_ for (left, _), sum_ in sums.items() if left == item)
            assert level.out[item] / weight(NOW, QUARTER_MS) == pytest.approx(out)
            into = sum(sum_ for (_, right), sum_ in sums.items() if right == item)
            assert level.into[item] / weight(NOW, QUARTER_MS) == pytest.approx(into)


def test_every_item_of_a_basket_gives_one_whatever_the_basket_s_size() -> None:
    for items in ((0, 1), (0, 1, 2, 3, 4, 5)):
        _, counters, _ = shop()
        counters.learn([Basket(items, NOW)], [])
        assert counters.items.out[list(items)] / weight(NOW, QUARTER_MS) == pytest.approx(np.ones(len(items)))


def test_a_quarter_later_a_basket_counts_half() -> None:
    store, counters, _ = shop()
    store.commit(counters.learn([Basket((0, 1), NOW - 90 * DAY), Basket((2, 3), NOW)], [])[1])
    sums = counts(counters.items, 6)
    assert sums[0, 1] == pytest.approx(0.5)
    assert sums[2, 3] == pytest.approx(1.0)


def test_a_transition_has_a_direction_and_a_basket_has_none() -> None:
    store, counters, _ = shop()
    store.commit(counters.learn([Basket((2, 3), NOW)], [Transition((0,), (1,), NOW, 1.0)])[1])
    assert set(counts(counters.items, 6)) == {(0, 1), (2, 3), (3, 2)}


def test_a_huge_basket_is_sampled_by_its_event_alone() -> None:
    items = list(range(300))
    first = sampled(items, b"event", 64)
    assert len(first) == 64
    assert sampled(items[::-1], b"event", 64) == first
    assert sampled(items, b"other", 64) != first
    assert all(a < b for a, b in pairwise(first))
