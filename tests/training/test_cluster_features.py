"""Features of clusters: what is measured, what is left out, and that the service computes the same numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_segment_rules import Timeline

from actors.segment_feature import understand_feature
from events.errors import BadSettings
from training.cluster_features import (
    BEHAVIOUR,
    TRAITS_MAX,
    Matrix,
    Measure,
    features_of,
    measured,
    measures_of,
    scaled,
    trait_measures,
)

ONE = Measure("spent", says="money spent")


def column(*values: float) -> Matrix:
    return np.array(values, np.float64)[:, None]


def test_every_shipped_feature_is_understood() -> None:
    assert measures_of([measure.value for measure in BEHAVIOUR]) == BEHAVIOUR


@pytest.mark.parametrize("text", ['segment("vip")', "spent - quantile(spent, 0.5)"])
def test_a_feature_that_depends_on_others_is_refused(text: str) -> None:
    with pytest.raises(BadSettings, match="asks about segments or quantiles"):
        measures_of([text])


def test_one_enormous_order_does_not_decide_who_is_near_whom() -> None:
    ordinary = [float(each) for each in range(100)]
    ((_, feature),) = features_of(column(*ordinary, 1e9), [ONE])
    assert feature.high < 100
    assert scaled(column(1e9), [feature])[0, 0] < 3


def test_what_nobody_knows_is_the_middle() -> None:
    ((_, feature),) = features_of(column(1.0, 2.0, 3.0, math.nan), [ONE])
    assert scaled(column(math.nan, 2.0), [feature]).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("values", [(3.0,) * 50, (math.nan,) * 50, (math.nan,) * 999 + (1.0,)])
def test_what_tells_nobody_apart_is_left_out(values: tuple[float, ...]) -> None:
    assert features_of(column(*values), [ONE]) == ()


def test_of_two_features_that_tell_the_same_the_first_stays() -> None:
    random = np.random.default_rng(7)
    first, third = random.normal(size=500), random.normal(size=500)
    found = features_of(np.column_stack((first, 3 * first + 1, third)), [ONE, Measure("age"), Measure("idle")])
    assert [number for number, _ in found] == [0, 2]


def test_all_demographics_together_weigh_as_much_as_two_features() -> None:
    random = np.random.default_rng(7)
    told = [Measure(f'trait("t{n}") == true', f'trait("t{n}") in (true, false)') for n in range(8)]
    matrix = (random.random((4_000, 8)) < 0.5).astype(np.float64)
    found = features_of(matrix, told)
    spread = scaled(matrix, [feature for _, feature in found]).var(axis=0).sum()
    assert spread == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize(
    ("values", "value", "says"),
    [
        ({"65+": 2, "19-24": 3, "25-34": 4}, 'trait("x") in ("25-34", "65+")', "x 25-34 or above"),
        ({"Under 15K": 5, "15-24K": 4, "250K+": 1}, 'trait("x") in ("15-24K", "250K+")', "x 15-24K or above"),
        ({"Owner": 5, "Renter": 3, "Unknown": 90}, 'trait("x") in ("Owner")', "x Owner"),
        ({"2 Adults": 5, "1 Adult": 9}, 'trait("x") in ("1 Adult")', "x 1 Adult"),
        ({True: 5, False: 9}, 'trait("x") == true', "x"),
        ({20: 9, 30: 9, 40: 9, 50: 9}, 'trait("x") >= 40', "x 40 or more"),
    ],
)
def test_a_trait_becomes_one_condition(values: dict[str, int], value: str, says: str) -> None:
    (measure,) = trait_measures({"x": values}, 100)  # type: ignore[dict-item]
    assert (measure.value, measure.says) == (value, says)
    understand_feature(measure.value, measure.known)


@pytest.mark.parametrize(
    "values",
    [
        {f"person {n}@example.org": 1 for n in range(90)},
        {"only one": 90},
        {20: 1},
        {'a"b': 9, "c\\d": 9},
        {"Unknown": 50, "": 3},
        {"some": 1, "few": 1},
        {"x": 40, 3: 40},
    ],
)
def test_names_rare_traits_and_what_cannot_be_written_are_left_out(values: dict[str, int]) -> None:
    assert trait_measures({"x": values}, 100) == ()  # type: ignore[dict-item]


def test_traits_known_of_most_people_come_first_and_only_wanted_ones() -> None:
    counts = {f"t{n:02}": {True: 50 + n, False: 1} for n in range(12)}
    assert [each.says for each in trait_measures(counts, 100)] == [f"t{11 - n:02}" for n in range(TRAITS_MAX)]  # type: ignore[arg-type]
    assert [each.says for each in trait_measures(counts, 100, ("t03",))] == ["t03"]  # type: ignore[arg-type]
    assert trait_measures(counts, 100, ()) == ()  # type: ignore[arg-type]


def test_people_are_measured_as_the_language_says_and_unknown_where_it_says_nothing() -> None:
    measures = [Measure("count(view)"), Measure('trait("age") >= 40', 'trait("age") > 0'), Measure("idle")]
    matrix = measured([Timeline(acts={"view": [1, 2]}, traits={"age": 41}), Timeline()], measures)
    assert matrix[0, :2].tolist() == [2.0, 1.0]
    assert np.isnan(matrix).tolist() == [[False, False, True], [False, True, True]]
    assert measured([], measures).shape == (0, 3)


@given(st.lists(st.floats(-1e12, 1e12), min_size=2, max_size=60))
def test_a_stored_feature_always_makes_sense(values: list[float]) -> None:
    for _, feature in features_of(column(*values), [ONE]):
        assert feature.low <= feature.centre <= feature.high
        assert feature.scale > 0
        assert np.isfinite(scaled(column(*values), [feature])).all()
