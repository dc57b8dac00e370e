"""What clusters measure by: numbers, durations, conditions, and what is unknown of somebody."""

from __future__ import annotations

import pytest
from test_segment_rules import HOUR, MINUTE, Timeline

from actors.segment_cluster import understand_cluster
from actors.segment_feature import understand_feature
from actors.segment_syntax import BadRule


def test_a_condition_counts_as_one_for_as_long_as_it_stands() -> None:
    viewed = understand_feature("count(view, 60 minutes) >= 1").read
    found = viewed(Timeline(10 * MINUTE, {"view": [0]}))
    assert found is not None
    assert (found.now, found.until) == (1.0, 50 * MINUTE)
    later = viewed(Timeline(HOUR, {"view": [0]}))
    assert later is not None
    assert later.now == 0.0


def test_of_whom_it_is_not_known_there_is_no_value() -> None:
    read = understand_feature('trait("age") >= 45', 'trait("age") > 0').read
    assert read(Timeline()) is None
    young, old = read(Timeline(traits={"age": 20})), read(Timeline(traits={"age": 50}))
    assert young is not None
    assert old is not None
    assert (young.now, old.now) == (0.0, 1.0)


def test_what_moves_with_time_cannot_decide_whether_a_feature_is_known() -> None:
    with pytest.raises(BadRule, match="traits and groups only"):
        understand_feature("spent", "count(view, 60 minutes) >= 1")


@pytest.mark.parametrize("text", ["spend", "count(view", "'tea'"])
def test_what_is_neither_a_number_nor_a_condition_is_refused(text: str) -> None:
    with pytest.raises(BadRule):
        understand_feature(text)


def test_clusters_may_measure_by_conditions_and_whoever_is_unknown_stands_in_the_middle() -> None:
    age = {
        "value": 'trait("age") >= 45',
        "centre": 0.5,
        "scale": 0.5,
        "low": 0.0,
        "high": 1.0,
        "known": 'trait("age") > 0',
    }
    clusters = [
        understand_cluster({"number": n, "features": [age], "centroids": [[-1.0], [0.0], [1.0]]}) for n in range(3)
    ]
    for traits, number in (({"age": 20}, 0), ({}, 1), ({"age": 50}, 2)):
        assert [each.holds(Timeline(traits=traits)).holds for each in clusters] == [n == number for n in range(3)]  # type: ignore[arg-type]
