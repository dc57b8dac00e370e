from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.ope.weights import clustered, effective_size, mean_weight, weigh


def test_weights_are_products_of_what_the_reward_may_depend_on() -> None:
    ratio = np.array([[2.0, 0.5, 3.0]])
    assert weigh(ratio, "independent").tolist() == [[2.0, 0.5, 3.0]]
    assert weigh(ratio, "cascade").tolist() == [[2.0, 1.0, 3.0]]
    assert weigh(ratio, "slate").tolist() == [[3.0, 3.0, 3.0]]


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=50))
def test_the_effective_size_is_between_one_and_the_size(weights: list[float]) -> None:
    assert 1.0 - 1e-9 <= effective_size(np.array(weights)) <= len(weights) + 1e-9


def test_no_weight_at_all_is_worth_no_slate() -> None:
    assert effective_size(np.zeros(5)) == 0.0


def test_the_mean_weight_knows_its_doubt_by_person() -> None:
    """Two people, each with the same slate twice: two observations and not four."""
    weight = np.array([[2.0], [2.0], [0.0], [0.0]])
    found = mean_weight(weight, np.ones((4, 1), np.bool_), np.array([5, 5, 9, 9]))
    assert found.value == 1.0
    assert found.standard_error == pytest.approx(np.sqrt(2.0**2 + 2.0**2) / 4)
    assert found.is_one


def test_a_mean_weight_far_from_one_is_noticed() -> None:
    rng = np.random.default_rng(0)
    weight = rng.uniform(0.5, 1.3, (2000, 1))
    assert not mean_weight(weight, np.ones((2000, 1), np.bool_), np.arange(2000)).is_one


def test_slates_are_summed_by_person() -> None:
    assert clustered(np.array([[1.0], [2.0], [4.0]]), np.array([7, 3, 7])).tolist() == [[2.0], [5.0]]
