"""Intervals by bootstrap over people."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.intervals import bootstrap, paired_difference


def test_the_interval_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(1).normal(5, 2, 2000)
    found = bootstrap({"x": values}, seed=3)["x"]
    error = values.std() / np.sqrt(len(values))
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert found.low < found.value < found.high


def test_the_same_seed_gives_the_same_bounds_and_names_share_the_draws() -> None:
    values = np.random.default_rng(1).random(300)
    first = bootstrap({"a": values, "b": values}, seed=3)
    assert first == bootstrap({"a": values, "b": values}, seed=3)
    assert first["a"] == first["b"]
    assert first != bootstrap({"a": values, "b": values}, seed=4)


def test_requests_of_one_person_count_as_one_draw() -> None:
    """100 people of 20 equal requests each know no more than 100 requests."""
    person = np.random.default_rng(1).random(100)
    clusters = np.repeat(np.arange(100), 20)
    alone = bootstrap({"x": person}, seed=3)["x"]
    repeated = bootstrap({"x": np.repeat(person, 20)}, seed=3, clusters=clusters)["x"]
    assert repeated.low == pytest.approx(alone.low)
    assert repeated.high == pytest.approx(alone.high)


def test_a_difference_of_pairs_is_narrower_than_either_alone() -> None:
    rng = np.random.default_rng(1)
    theirs = rng.random(500)
    ours = theirs + 0.02 + 0.01 * rng.random(500)
    found = paired_difference(ours, theirs, seed=3)
    assert found.excludes_zero
    assert found.high - found.low < 0.002


def test_no_requests_have_no_interval() -> None:
    assert np.isnan(bootstrap({"x": np.empty(0)}, seed=1)["x"].value)


@pytest.mark.parametrize("people", [1, 2, 3])
def test_few_people_do_not_pull_the_lower_end_to_zero(people: int) -> None:
    found = bootstrap({"": np.full(people, 0.4)}, seed=0)[""]
    assert found.low == pytest.approx(0.4)
    assert found.high == pytest.approx(0.4)
