"""The next-item protocols on made-up histories in which what follows can be known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from training.evaluation import next_item
from training.evaluation.history_table import HistoryTable, table
from training.evaluation.next_item import BASELINES, Asked, Protocol, asked, evaluate, scored
from training.evaluation.next_item_columns import (
    Column,
    Histories,
    Linear,
    Past,
    Positions,
    lagged_pairs,
    ridge_matrix,
    transitions,
)
from training.evaluation.next_item_recipes import few_but_long, many_but_short
from training.evaluation.protocols import silent
from training.evaluation.report import ENSEMBLE, Report, as_json
from training.evaluation.splits import leave_last_out

USERS, ITEMS, LENGTH = 40, 20, 7


def walkers(seed: int) -> HistoryTable:
    """Everybody walks upwards through the items, by one most of the time: what follows is known."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(USERS):
        at = int(rng.integers(ITEMS))
        for _ in range(LENGTH):
            rows.append((user, at))
            at = (at + 1 + int(rng.random() < 0.3)) % ITEMS
    made = table([f"{user:03d}" for user, _ in rows], [f"{item:03d}" for _, item in rows])
    return replace(made, groups={"side": ["left" if user % 3 else "right" for user in range(USERS)]})


def run(of: HistoryTable, seed: int = 0, recipe: object = few_but_long) -> Report:
    assert recipe in (few_but_long, many_but_short)
    protocol = Protocol("test", few_but_long if recipe is few_but_long else many_but_short)
    return evaluate(of, [leave_last_out(of)], protocol, seed, silent)


@pytest.fixture(scope="module")
def report() -> Report:
    return run(walkers(1))


def test_the_table_has_all_baselines_and_the_blend_with_intervals(report: Report) -> None:
    assert {*BASELINES, ENSEMBLE} < set(report.models)
    for scores in report.models.values():
        found = scores.test["ndcg@10"]
        assert found.low - 1e-9 <= found.value <= found.high + 1e-9
        assert "hr@10" in scores.validation


def test_order_is_learned_where_popularity_knows_nothing(report: Report) -> None:
    assert report.models["markov"].test["ndcg@10"].value > 0.7
    assert report.models["popularity"].test["ndcg@10"].value < 0.4
    assert report.differences[f"{ENSEMBLE} - popularity: ndcg@10"].low > 0


def test_the_blend_is_never_worse_than_its_best_member_on_validation(report: Report) -> None:
    single = max(s.validation["ndcg@10"].value for name, s in report.models.items() if name != ENSEMBLE)
    assert report.models[ENSEMBLE].validation["ndcg@10"].value >= single - 1e-12


def test_groups_curve_calibration_and_weights_are_in_the_report(report: Report) -> None:
    history, side = report.groups
    assert list(history.groups) == ["5-19"]  # six rows before everybody's last one
    assert set(side.groups) == {"left", "right"}
    for group in report.groups:
        assert sum(people for _, people in group.groups.values()) == USERS
    assert report.curves[0].lines[ENSEMBLE][-1][0] == USERS
    assert report.calibration[ENSEMBLE]
    assert len(report.chosen) == 2 * (len(report.models) - 1)


def test_the_same_seed_gives_the_same_report() -> None:
    first, second = (replace(run(walkers(2), 7, many_but_short), seconds=0.0) for _ in range(2))
    assert as_json(first) == as_json(second)


def test_items_of_the_history_are_not_listed_again() -> None:
    data = walkers(3)
    split = leave_last_out(data)
    past = Past.of(data, split.fit)
    test = asked(data, split.test, split)
    found = scored(few_but_long(past), test, repeats=False)
    for row, user in enumerate(test.user):
        had = set(data.item[data.user == user][:-1].tolist()) - {int(test.target[row])}
        assert not had & set(found.candidates[row].tolist())
        assert not had & set(found.lists["item_knn"][row].tolist())


def test_a_planted_item_from_the_future_reaches_no_column() -> None:
    """Every user's last row is one item nobody had before: nothing but its column of zeros can be known of it."""
    data = walkers(4)
    planted = data.item.copy()
    planted[data.start[1:] - 1] = ITEMS - 1
    planted[np.isin(np.arange(len(data)), data.start[1:] - 1, invert=True) & (planted == ITEMS - 1)] = 0
    future = replace(data, item=planted)
    split = leave_last_out(future)
    columns = few_but_long(Past.of(future, np.union1d(split.fit, split.validation)))
    test = asked(future, split.test, split)
    for name, column in columns.items():
        tell = column.scores(test.histories)[:, ITEMS - 1]
        assert np.abs(tell).max() == 0, name


def histories(*of: list[int], items: int) -> Histories:
    lengths = np.array([len(row) for row in of], np.int64)
    flat = np.array([item for row in of for item in row], np.int32)
    return Histories(flat, np.cumsum(lengths) - lengths, lengths, items)


def test_a_decayed_history_halves_with_every_half_life() -> None:
    found = histories([4, 2, 1], [], items=5).decayed(1.0).toarray()
    assert found.tolist() == [[0, 1, 0.5, 0, 0.25], [0, 0, 0, 0, 0]]


def test_pairs_are_counted_by_their_distance_within_one_user() -> None:
    past = Past(np.array([0, 0, 0, 1, 1], np.int32), np.array([0, 1, 2, 2, 0], np.int32), 3)
    assert lagged_pairs(past, [1.0, 0.5]).toarray().tolist() == [[0, 1, 0.5], [0, 0, 1], [1, 0, 0]]


def test_ridge_from_lagged_pairs_is_the_regression_it_stands_for() -> None:
    """On one endless user the closed form and the rows of the regression agree."""
    rng = np.random.default_rng(0)
    items, count, decay = 6, 4000, 0.6
    taken = rng.integers(0, items, count).astype(np.int32)
    past = Past(np.zeros(count, np.int32), taken, items)
    before = np.zeros((count, items))
    for row in range(1, count):
        before[row] = decay * before[row - 1]
        before[row, taken[row - 1]] += 1
    after = np.eye(items)[taken]
    direct = np.linalg.solve(before.T @ before + 50 * np.eye(items), before.T @ after)
    assert np.abs(ridge_matrix(past, 50.0, 40, decay) - direct).max() < 2e-3


def test_nearest_moments_see_what_stands_together() -> None:
    """After a and b together comes c; after either alone comes d more often."""
    a, b, c, d, x = range(5)
    told = [[a, b, c], [a, b, c], *([[a, x, d], [x, b, d]] * 3)]
    user = np.repeat(np.arange(len(told)), 3).astype(np.int32)
    past = Past(user, np.array(told, np.int32).ravel(), 5)
    together = Positions.of(past).scores(histories([a, b], items=5))[0]
    alone = Linear(3.0, transitions(lagged_pairs(past, [1.0, 0.75]), past.popularity, 0.0))
    assert together[c] > together[d]
    assert alone.scores(histories([a, b], items=5))[0][d] > 0


def test_a_column_of_nonsense_does_not_hurt_the_blend() -> None:
    class Noise:
        def scores(self, of: Histories) -> np.ndarray:
            return np.random.default_rng(0).random((len(of), of.items)).astype(np.float32)

    def with_noise(past: Past) -> Mapping[str, Column]:
        return {**many_but_short(past), "noise": Noise()}

    data = walkers(5)
    split = leave_last_out(data)
    found = evaluate(data, [split], Protocol("test", with_noise), 0, silent)
    best = max(s.test["ndcg@10"].value for name, s in found.models.items() if name != ENSEMBLE)
    assert found.models[ENSEMBLE].test["ndcg@10"].value > best - 0.1


def test_requests_are_sampled_by_the_seed() -> None:
    rows = np.arange(100)
    first = next_item.sampled(rows, 10, np.random.default_rng(1))
    assert first.tolist() == next_item.sampled(rows, 10, np.random.default_rng(1)).tolist()
    assert len(np.unique(first)) == 10
    assert next_item.sampled(rows, 100, np.random.default_rng(1)).tolist() == rows.tolist()


def test_asked_histories_end_before_the_request() -> None:
    data = walkers(6)
    split = leave_last_out(data)
    found: Asked = asked(data, split.test, split)
    for row in range(len(found)):
        begin, length = int(found.histories.begin[row]), int(found.histories.length[row])
        assert split.test[row] == begin + length
