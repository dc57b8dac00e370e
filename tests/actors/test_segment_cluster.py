"""Clusters: everybody is in exactly one, the nearest, for as long as the answer says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_segment_rules import ACTS, CLOCK, DAY, HOUR, Timeline

from actors.segment_cluster import BadCluster, understand_cluster
from actors.segment_rules import Verdict
from events.types import Json

NUMBERS = st.floats(-3, 3)
FEATURES: list[Json] = [
    {"value": "count(view, 60 minutes)", "centre": 1.0, "scale": 2.0, "low": 0.0, "high": 3.0},
    {"value": "since(cart)", "centre": float(HOUR), "scale": float(HOUR), "low": 0.0, "high": 4.0 * HOUR},
    {"value": 'decayed(view, "day")', "centre": 1.0, "scale": 0.5, "low": 0.5, "high": 2.5},
]
CENTROIDS = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=5)


def answers(centroids: list[tuple[float, float, float]], subject: Timeline) -> list[Verdict]:
    return [
        understand_cluster({"number": n, "features": FEATURES, "centroids": [list(c) for c in centroids]}).holds(
            subject
        )
        for n in range(len(centroids))
    ]


@given(CENTROIDS, ACTS, CLOCK, st.floats(0, 1))
def test_the_nearest_centroid_has_the_profile_and_it_stands_for_as_long_as_it_says(
    centroids: list[tuple[float, float, float]], acts: dict[str, list[int]], now: int, share: float
) -> None:
    found = answers(centroids, Timeline(now, acts))
    z = _measured(acts, now)
    distances = [sum((a - b) ** 2 for a, b in zip(z, c, strict=True)) for c in centroids]
    nearest = min(distances)
    for verdict, distance in zip(found, distances, strict=True):
        if distance > nearest + 1e-6:
            assert not verdict.holds
    close = [verdict for verdict, distance in zip(found, distances, strict=True) if distance <= nearest + 1e-6]
    assert len(close) > 1 or close[0].holds
    stands = min(each.stands for each in found)
    later = now + int(share * (min(stands, 10 * DAY) - 1))
    assert [each.holds for each in answers(centroids, Timeline(later, acts))] == [each.holds for each in found]


def _measured(acts: dict[str, list[int]], now: int) -> list[float]:
    views = acts["view"]
    count = sum(now - HOUR < at <= now for at in views)
    since = now - max(acts["cart"]) if acts["cart"] else HOUR
    decayed = sum(2.0 ** ((at - now) / DAY) for at in views)
    return [
        (min(count, 3) - 1) / 2,
        (min(max(since, 0), 4 * HOUR) - HOUR) / HOUR,
        (min(max(decayed, 0.5), 2.5) - 1) / 0.5,
    ]


def test_of_equally_near_centroids_the_first_has_it() -> None:
    assert [each.holds for each in answers([(0, 0, 0), (0, 0, 0), (9, 9, 9)], Timeline())] == [True, False, False]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"number": 2}, "cluster 2 has no centroid"),
        ({"centroids": [[1.0]]}, "one number for each"),
        ({"centroids": []}, "1 to 64 centroids"),
        ({"centroids": [[float("nan")] * 3] * 2}, "within 1e15"),
        ({"features": [{**FEATURES[0], "scale": 0.0}] * 3}, "scale > 0"),  # type: ignore[dict-item]
        ({"colour": "red"}, "cannot be read"),
    ],
)
def test_a_cluster_that_makes_no_sense_is_refused(change: dict[str, Json], says: str) -> None:
    told: dict[str, Json] = {"number": 0, "features": FEATURES, "centroids": [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]}
    understand_cluster(told)
    with pytest.raises(BadCluster, match=says):
        understand_cluster({**told, **change})
