"""What each metric says of lists small enough to count by hand, and what holds of it for any list."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.metrics import (
    Relevant,
    accuracy,
    accuracy_at_ranks,
    calibration_bins,
    category_divergence,
    coverage,
    expected_calibration_error,
    exposures,
    gini,
    group_gap,
    group_means,
    hits,
    intra_list_diversity,
    mean_absolute_error,
    mean_ranks,
    novelty,
    popularity_bias,
    root_mean_squared_error,
    serendipity,
    top,
)

LISTS = np.array([[4, 2, 7], [1, 0, -1]])
WANTED = Relevant.of([{2, 7, 9, 11}, {5}])


def test_accuracy_counts_what_was_wanted() -> None:
    found = accuracy(LISTS, WANTED, 3)
    gained, ideal = 1 / math.log2(3) + 1 / 2, 1 + 1 / math.log2(3) + 1 / 2
    assert found["ndcg@3"].tolist() == pytest.approx([gained / ideal, 0])
    assert found["hr@3"].tolist() == [1, 0]
    assert found["recall@3"].tolist() == [0.5, 0]
    assert found["precision@3"].tolist() == pytest.approx([2 / 3, 0])
    assert found["mrr@3"].tolist() == [0.5, 0]
    assert found["map@3"].tolist() == pytest.approx([(1 / 2 + 2 / 3) / 3, 0])


def test_an_item_wanted_by_somebody_else_is_no_hit() -> None:
    assert not hits(np.array([[5, 9]]), Relevant.of([{1}, {5, 9}]).rows(np.array([0]))).any()


@given(
    st.lists(
        st.tuples(st.permutations(range(8)), st.sets(st.integers(0, 9), min_size=1)),
        min_size=1,
        max_size=6,
    ),
    st.integers(1, 8),
)
def test_every_accuracy_metric_stays_between_0_and_1_and_is_1_for_the_ideal_list(
    requests: list[tuple[list[int], set[int]]], k: int
) -> None:
    lists, sets = np.array([ranked for ranked, _ in requests]), [wanted for _, wanted in requests]
    for values in accuracy(lists, Relevant.of(sets), k).values():
        assert (values >= 0).all()
        assert (values <= 1 + 1e-12).all()
    ideal = np.array([(sorted(wanted) + sorted(set(range(10)) - wanted))[:k] for wanted in sets])
    best = accuracy(ideal, Relevant.of(sets), k)
    for name in ("ndcg", "hr", "mrr", "map"):
        assert best[f"{name}@{k}"].tolist() == pytest.approx([1.0] * len(sets))


@given(st.permutations(range(9)), st.integers(0, 8))
def test_ranks_and_lists_agree_where_nothing_ties(order: list[int], wanted: int) -> None:
    scores = np.array([order], np.float64)
    target = np.array([wanted])
    by_list = accuracy(top(scores, 5), Relevant.single(target), 5)
    by_rank = accuracy_at_ranks(mean_ranks(scores, target), 5)
    for name, values in by_list.items():
        assert values.tolist() == pytest.approx(by_rank[name].tolist()), name


def test_ties_share_their_mean_rank_and_lists_break_them_by_index() -> None:
    scores = np.array([[1.0, 3.0, 1.0, 1.0, -np.inf]])
    assert mean_ranks(scores, np.array([3])).tolist() == [3.0]
    assert top(scores, 5).tolist() == [[1, 0, 2, 3, -1]]


def test_coverage_and_exposure_tell_the_whole_catalogue() -> None:
    assert coverage(LISTS, 10) == 0.5
    seen = exposures(LISTS, 10)
    assert seen[[4, 1]].tolist() == [1, 1]
    assert seen[7] == 0.5
    assert gini(np.array([3.0, 3.0, 3.0])) == 0
    assert gini(np.array([0.0] * 99 + [1.0])) == pytest.approx(0.99)


def test_a_rare_item_is_news_and_a_popular_one_is_not() -> None:
    popularity = np.array([98.0, 0.0])
    assert novelty(np.array([[1]]), popularity)[0] == pytest.approx(-math.log2(1 / 100))
    assert popularity_bias(np.array([[0], [1]]), popularity).tolist() == [0.75, 0.25]


def test_diversity_is_one_minus_the_mean_cosine_of_pairs() -> None:
    vectors = np.array([[1.0, 0], [0, 2.0], [3.0, 0], [0, 0]])
    assert intra_list_diversity(np.array([[0, 2, 1]]), vectors)[0] == pytest.approx(2 / 3)
    assert intra_list_diversity(np.array([[0, 3, -1]]), vectors)[0] == 1
    assert intra_list_diversity(np.array([[0, -1, -1]]), vectors)[0] == 0


def test_serendipity_leaves_out_what_is_popular_anyway() -> None:
    assert serendipity(LISTS, WANTED, np.array([[2, 3], [0, 1]]), 3).tolist() == pytest.approx([1 / 3, 0])


def test_a_list_like_the_taste_is_calibrated() -> None:
    categories = np.array([[1.0, 0], [0, 1.0]])
    taste = np.array([[0.5, 0.5]])
    assert category_divergence(np.array([[0, 1]]), categories, taste)[0] == pytest.approx(0)
    one_sided = category_divergence(np.array([[0, -1]]), categories, taste)[0]
    assert one_sided == pytest.approx(0.5 * math.log(0.5 / 0.995) + 0.5 * math.log(0.5 / 0.005))


def test_probabilities_that_come_true_have_no_calibration_error() -> None:
    predicted = np.repeat([0.2, 0.8], 50)
    outcome = np.concatenate([np.arange(50) < 10, np.arange(50) < 40])
    assert expected_calibration_error(calibration_bins(predicted, outcome, 2)) == pytest.approx(0)
    assert expected_calibration_error(calibration_bins(predicted, ~outcome, 2)) == pytest.approx(0.6)


def test_rating_errors() -> None:
    predicted, actual = np.array([1.0, 2.0]), np.array([2.0, 4.0])
    assert root_mean_squared_error(predicted, actual) == pytest.approx(math.sqrt(2.5))
    assert mean_absolute_error(predicted, actual) == 1.5


def test_groups_are_compared_by_their_means() -> None:
    means = group_means(np.array([1.0, 0.0, 1.0]), ["b", "a", "a"])
    assert means == {"a": 0.5, "b": 1.0}
    assert group_gap(means) == 0.5
    assert group_gap({}) == 0
