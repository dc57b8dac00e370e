"""Clusters: found where there are any, the same for the same seed, with names that survive refits."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_segment_rules import Timeline

from actors.segment_cluster import Clustering, Feature, understand_cluster
from actors.segment_definition import understood
from events.types import SegmentDefined
from training.cluster_features import Matrix, Measure, features_of, measured, scaled
from training.clusters import (
    AS_GOOD,
    Apart,
    Crowd,
    Described,
    Labels,
    Tried,
    best_of,
    by_size,
    definitions_of,
    description_of,
    matched,
    named,
    nearest,
    try_k,
)

CENTRES = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0], [6.0, 6.0]])


def crowd(seed: int, sizes: tuple[int, ...] = (400, 300, 200, 100)) -> Matrix:
    random = np.random.default_rng(seed)
    return np.concatenate([centre + random.normal(0, 0.5, (size, 2)) for centre, size in zip(CENTRES, sizes)])  # noqa: B905


def ints(*values: int) -> Labels:
    return np.array(values, np.int32)


def test_as_many_clusters_are_found_as_there_are() -> None:
    people = crowd(1)
    tried = [try_k(people, k, seed=3) for k in range(2, 8)]
    best = best_of(tried)
    assert best.k == 4
    labels, centroids = by_size(nearest(people, best.centroids), best.centroids)
    assert np.bincount(labels).tolist() == [400, 300, 200, 100]
    assert np.abs(centroids - CENTRES).max() < 0.2


def test_equal_seeds_give_equal_centroids_to_the_bit() -> None:
    people = crowd(1)
    one, again, other = (try_k(people, 5, seed) for seed in (3, 3, 4))
    assert one.centroids.tobytes() == again.centroids.tobytes()
    assert one.centroids.tobytes() != other.centroids.tobytes()


def test_everybody_alike_is_no_clustering_at_all() -> None:
    assert try_k(np.zeros((50, 2)), 3, seed=1).silhouette == -1.0


def test_as_many_as_before_where_it_is_nearly_as_good() -> None:
    def tried(k: int, silhouette: float) -> Tried:
        return Tried(k, np.zeros((k, 1)), silhouette)

    some = [tried(3, 0.5), tried(4, 0.5), tried(5, 0.5 - AS_GOOD / 2), tried(6, 0.5 - 2 * AS_GOOD)]
    assert [best_of(some, before).k for before in (0, 5, 6, 9)] == [3, 5, 3, 3]


@given(st.integers(0, 99), st.permutations(range(4)))
def test_clusters_keep_their_names_whatever_their_numbers(seed: int, order: list[int]) -> None:
    people, later = crowd(seed), crowd(seed + 100)
    before = nearest(people, CENTRES)
    assert matched(before, nearest(people, CENTRES[order])) == dict(enumerate(order))
    moved = nearest(people, np.array([later[nearest(later, CENTRES) == n].mean(axis=0) for n in order]))
    assert matched(before, moved) == dict(enumerate(order))


def test_a_cluster_of_other_people_is_another_one() -> None:
    before = ints(0, 0, 0, 0, 1, 1, 1, 1)
    assert matched(before, ints(1, 1, 1, 1, 0, 0, 2, 2)) == {1: 0, 0: 1}
    assert matched(before, ints(0, 1, 2, 3, 0, 1, 2, 3)) == {}
    assert matched(ints(-1, -1), ints(0, 1)) == {}
    assert matched(ints(), ints()) == {}


def test_a_name_is_never_given_to_somebody_else() -> None:
    assert named({}, 2, {"cluster-9", "cluster-x", "cluster-"}) == ["cluster-10", "cluster-11"]


def test_what_sets_a_cluster_apart_is_named_with_numbers() -> None:
    random = np.random.default_rng(5)
    labels = (np.arange(1_000) < 250).astype(np.int32)
    spent = np.where(labels == 1, 500.0, 100.0) + random.normal(0, 10, 1_000)
    matrix = np.column_stack((spent, random.normal(size=1_000)))
    matrix[::3, 1] = np.nan
    measures = [Measure("spent", says="money spent"), Measure("age", says="time since the first act")]
    crowd = Crowd(matrix, measures, [feature for _, feature in features_of(matrix, measures)])
    (spending,), poor = crowd.apart(labels == 1), crowd.apart(labels == 0)
    assert spending.value == "spent"
    assert spending.here == pytest.approx(500, rel=0.02)
    assert spending.overall == pytest.approx(200, rel=0.02)
    assert spending.deviations > 1 > -0.3 > poor[0].deviations
    assert description_of(0.25, [spending], ()).startswith("25 % of people. Set apart by: money spent 49")


def test_a_description_says_times_as_times_and_conditions_as_shares() -> None:
    apart = [
        Apart("time since the last act", "idle", 2 * 86_400_000.0, 86_400_000.0 / 2, 1.0),
        Apart("age 45 or more", 'trait("age") >= 45', 0.82, 0.51, 0.7, 0.4),
    ]
    assert description_of(0.1, apart, {"idle"}) == (
        "10 % of people. Set apart by: time since the last act 2 days (overall 12 hours); "
        "age 45 or more 82 % of those known (overall 51 %)."
    )
    assert description_of(1.0, (), ()) == "100 % of people, near the middle in everything."


def described(name: str, number: int) -> Described:
    return Described(name, number, 1, 0.5, (), False, "words")


def test_only_what_changed_is_defined_again_and_counts_on() -> None:
    clustering = Clustering(0, (Feature("spent", 0, 1, 0, 9), Feature("idle", 0, 1, 0, 9)), ((0.0, 0.0), (1.0, 2.0)))
    found = [described("cluster-1", 0), described("cluster-2", 1)]
    first = definitions_of(clustering, found, {})
    assert [(each.name, each.version) for each in first] == [("cluster-1", 1), ("cluster-2", 1)]
    for each in first:
        assert understood(each).reads == {"spent", "idle"}
    assert definitions_of(clustering, found, {each.name: each for each in first}) == ()
    moved = msgspec.structs.replace(clustering, centroids=((0.0, 0.0), (1.0, 3.0)))
    again = definitions_of(moved, found, {each.name: each for each in first})
    assert [(each.name, each.version) for each in again] == [("cluster-1", 2), ("cluster-2", 2)]


@given(st.integers(0, 50))
def test_the_service_puts_everybody_where_the_fit_did(seed: int) -> None:
    random = np.random.default_rng(seed)
    people = [
        Timeline(acts={"view": [0] * int(n), "cart": [0] * int(m)}, traits={"age": int(age)} if age > 30 else {})
        for n, m, age in random.integers(0, (9, 5, 80), (60, 3))
    ]
    measures = [Measure("count(view)"), Measure("count(cart)"), Measure('trait("age") >= 55', 'trait("age") > 0')]
    matrix = measured(people, measures)
    columns = features_of(matrix, measures)
    features = tuple(feature for _, feature in columns)
    z = scaled(matrix[:, [column for column, _ in columns]], features)
    centroids = try_k(z, 3, seed).centroids
    labels = nearest(z, centroids)
    told = Clustering(0, features, tuple(map(tuple, centroids.tolist())))
    for number in range(3):
        fact = SegmentDefined(
            "c", kind="cluster", cluster=msgspec.to_builtins(msgspec.structs.replace(told, number=number))
        )
        rule = understand_cluster(fact.cluster)
        assert [rule.holds(each).holds for each in people] == (labels == number).tolist()
