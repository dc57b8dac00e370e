"""Lists of requests that lie under each other."""

from __future__ import annotations

import numpy as np

from training.evaluation.basket_columns import Batch, batch
from training.evaluation.basket_facts import FACTS, Asked
from training.evaluation.basket_lists import filled_up, first_ten, listed_shares, wanted
from training.evaluation.basket_log import BasketLog
from training.evaluation.journey_findings import platt


def requests() -> Batch:
    def one(basket: int, items: list[int]) -> Asked:
        count = len(items)
        facts = np.zeros((count, len(FACTS)), np.float32)
        own = (np.array(items[:1], np.int32), np.ones(min(count, 1), np.float32))
        return Asked(basket, np.array(items, np.int32), facts, np.zeros(count, bool), own, np.array([7, 8], np.int32))

    return batch([one(0, [4, 2, 9]), one(1, [1, 3])], 2)


LOG = BasketLog(
    day=np.array([0.0, 1.0]),
    household=np.zeros(2, np.int32),
    week=np.ones(2, np.int32),
    store=np.zeros(2, np.int32),
    start=np.array([0, 3, 4], np.int64),
    item=np.array([4, 5, 9, 1], np.int32),
    kind=np.zeros(10, np.int32),
    households=1,
)


def test_the_best_come_first_and_ties_go_to_the_lower_item() -> None:
    ranked = first_ten(requests(), np.array([1.0, 1.0, 2.0, 0.0, 3.0]))
    assert ranked[0, :4].tolist() == [9, 2, 4, -1]
    assert ranked[1, :3].tolist() == [3, 1, -1]


def test_only_candidates_that_are_kept_are_listed() -> None:
    ranked = first_ten(requests(), np.arange(5.0), np.array([True, False, True, False, False]))
    assert ranked[0, :3].tolist() == [9, 4, -1]
    assert ranked[1, 0] == -1


def test_all_lines_are_wanted_whether_they_are_candidates_or_not_and_new_ones_apart() -> None:
    want = wanted(LOG, requests())
    assert [want.all_items.sizes.tolist(), want.new_items.item.tolist()] == [[3, 1], [5, 9]]
    assert want.has_new.tolist() == [0]


def test_empty_slots_are_filled_without_doubles() -> None:
    ranked = np.full((1, 10), -1, np.int32)
    ranked[0, :2] = [5, 7]
    rest = np.full((1, 10), -1, np.int32)
    rest[0, :3] = [7, 8, 9]
    assert filled_up(ranked, rest)[0, :5].tolist() == [5, 7, 8, 9, -1]


def test_listed_shares_are_those_of_the_softmax_over_the_request() -> None:
    given, score = requests(), np.array([1.0, 2.0, 3.0, 0.5, 0.0])
    ranked = first_ten(given, score)
    share = np.exp(listed_shares(given, score, ranked))
    assert np.allclose(share[0, :3], np.exp([3.0, 2.0, 1.0]) / np.exp([1.0, 2.0, 3.0]).sum())
    assert share[0, 3] == 0
    assert np.allclose(share.sum(axis=1), 1)


def test_platt_finds_the_slope_and_level_that_made_the_outcomes() -> None:
    random = np.random.default_rng(0)
    score = random.standard_normal(40_000)
    outcome = random.random(40_000) < 1 / (1 + np.exp(-(1.5 * score - 1.0)))
    slope, level = platt(score, outcome)
    assert abs(slope - 1.5) < 0.06
    assert abs(level + 1.0) < 0.06
