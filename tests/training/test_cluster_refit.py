"""Refitting the clusters of a store: groups are found, names survive, who refuses is not measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest

from actors.fold import fold
from actors.lmdb_state import LmdbState
from actors.profile import EMPTY, Profile, encode
from actors.recovery import STATE
from actors.segment_cluster import understand_cluster
from actors.segment_subject import ProfileSubject
from actors.store import Store
from actors.working_set import PROFILES
from events.ids import Key, key_hash
from events.types import Consented, Event, Identified, Interaction, Line, Meta, Payload, SegmentDefined, Signal
from training.cluster_features import measures_of
from training.cluster_refit import PEOPLE_MIN, ClusterPlan, is_duration, refit
from training.clusters import Clusters
from training.retraining import Inline, NothingToLearn

NOW = 1_760_000_000_000
DAY = 86_400_000
MEASURES = measures_of(("count(view)", "count(cart)", "count(purchase)"))
GROUPS: Mapping[str, tuple[int, int, int, str]] = {
    "lookers": (30, 1, 0, "19-24"),
    "hesitant": (10, 12, 1, "35-44"),
    "buyers": (8, 8, 8, "65+"),
    "rare": (1, 0, 0, "35-44"),
}
SIZES = {"lookers": 100, "hesitant": 80, "buyers": 60, "rare": 40}


def person(rng: np.random.Generator, group: str) -> Profile:
    views, carts, orders, age = GROUPS[group]
    acts: list[Event] = [Identified({"age": age, "email": f"{rng.integers(1 << 40)}@example.org"})]
    counts: dict[Signal, int] = {"view": views, "cart": carts, "purchase": orders}
    for signal, count in counts.items():
        acts += [Interaction(signal, (Line("tea"),))] * max(0, count + int(rng.integers(-1, 2)))
    profile = EMPTY
    for lsn, event in enumerate(acts):
        at = NOW - int(rng.integers(30 * DAY))
        profile = fold(profile, lsn, at, rng.bytes(16), Payload(Meta(), event))
    return profile


def stored(folder: Path, people: Mapping[str, Profile]) -> Path:
    store = Store.create(folder, 2, NOW)
    for number in store.numbers():
        state = LmdbState(store.folder(number) / STATE)
        own = [name for name in people if store.partition(Key(name)) == number]
        state.commit([(PROFILES, key_hash(store.secrets.key_hash, Key(n)), encode(people[n])) for n in own])
        state.close()
    return folder


@pytest.fixture(scope="module")
def people() -> dict[str, Profile]:
    rng = np.random.default_rng(1)
    return {f"u:{group}{n}": person(rng, group) for group, size in SIZES.items() for n in range(size)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, people: dict[str, Profile]) -> Path:
    return stored(tmp_path_factory.mktemp("clusters") / "store", people)


def plan(data: Path, **changes: object) -> ClusterPlan:
    return ClusterPlan(data, NOW, **{"k": (3, 6), "measures": MEASURES, **changes})  # type: ignore[arg-type]


def fitted(data: Path, **changes: object) -> Clusters:
    return refit(plan(data, **changes), Inline(), lambda name, done, count: None)


def members(found: Clusters, people: Mapping[str, Profile]) -> dict[str, set[str]]:
    """Cluster → the groups of the people that the service would put into it."""
    return {
        told.name: {
            name[2:].rstrip("0123456789")
            for name, profile in people.items()
            if understand_cluster(told.cluster).holds(ProfileSubject.of(profile, NOW)).holds
        }
        for told in found.defined
    }


def test_groups_are_found_and_the_service_puts_their_people_there(data: Path, people: dict[str, Profile]) -> None:
    found = fitted(data)
    assert (found.people, len(found.found)) == (sum(SIZES.values()), 4)
    groups = members(found, people)
    assert sorted(map(len, groups.values())) == [1, 1, 1, 1]
    for one in found.found:
        (group,) = groups[one.name]
        assert one.members == SIZES[group]
    assert [one.name for one in found.found] == ["cluster-1", "cluster-2", "cluster-3", "cluster-4"]
    (buyers,) = [one for one in found.found if groups[one.name] == {"buyers"}]
    assert {"count(purchase)", 'trait("age") in ("65+")'} & {apart.value for apart in buyers.apart}
    assert "email" not in str(found)


def test_the_same_profiles_plan_and_moment_give_the_same_clusters(data: Path) -> None:
    assert msgspec.json.encode(fitted(data)) == msgspec.json.encode(fitted(data))


def test_the_same_people_in_another_store_are_clustered_alike(
    tmp_path: Path, data: Path, people: dict[str, Profile]
) -> None:
    other = stored(tmp_path / "other", people)
    assert msgspec.json.encode(fitted(other)) == msgspec.json.encode(fitted(data))


def test_names_survive_a_refit_by_other_features_with_another_seed(data: Path, people: dict[str, Profile]) -> None:
    first = fitted(data)
    known = {told.name: told for told in first.defined}
    again = fitted(data, seed=9, traits=(), before=known, taken=frozenset(known))
    assert all(one.survived for one in again.found)
    assert members(again, people) == members(first, people)
    assert {told.version for told in again.defined} == {2}
    assert again.dropped == ()


def test_a_cluster_nobody_is_left_of_is_dropped_and_its_name_is_not_used_again(
    tmp_path: Path, data: Path, people: dict[str, Profile]
) -> None:
    first = fitted(data)
    (gone,) = [name for name, groups in members(first, people).items() if groups == {"rare"}]
    known = {told.name: told for told in first.defined}
    left = {name: profile for name, profile in people.items() if "rare" not in name}
    later = fitted(stored(tmp_path / "later", left), before=known, taken=frozenset(known))
    assert later.dropped == (gone,)
    assert {one.name for one in later.found} == set(known) - {gone}
    back = {told.name: told for told in later.defined}
    again = fitted(data, before={**known, **back, gone: known[gone]}, taken=frozenset(known))
    assert len({one.name for one in again.found}) == len(again.found)


def test_who_refuses_is_not_measured(tmp_path: Path, people: dict[str, Profile]) -> None:
    refused = {
        name: fold(profile, 99, NOW, bytes(16), Payload(Meta(), Consented({"personalization": False})))
        for name, profile in people.items()
        if "buyers" in name
    }
    assert fitted(stored(tmp_path / "store", {**people, **refused})).people == len(people) - len(refused)


def test_a_handful_of_people_is_not_clustered(tmp_path: Path, people: dict[str, Profile]) -> None:
    few = dict(list(people.items())[: PEOPLE_MIN - 1])
    with pytest.raises(NothingToLearn, match=f"{PEOPLE_MIN - 1} people"):
        fitted(stored(tmp_path / "few", few))


def test_an_empty_store_has_no_clusters(tmp_path: Path) -> None:
    with pytest.raises(NothingToLearn):
        fitted(stored(tmp_path / "none", {}))


def test_times_are_told_from_numbers() -> None:
    assert [is_duration(text) for text in ("idle", "since(view)", "count(view)", 'trait("age") == 1')] == [
        True,
        True,
        False,
        False,
    ]


def test_one_of_several_clusters_may_have_been_left(data: Path) -> None:
    first = fitted(data)
    other = SegmentDefined("cluster-9", kind="cluster", cluster=first.defined[0].cluster)
    again = fitted(data, before={other.name: other}, taken=frozenset({other.name}))
    assert [one.survived for one in again.found].count(True) <= 1
