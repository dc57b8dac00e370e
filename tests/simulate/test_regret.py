"""Policies in a world: what each misses is what it must miss, and the service in process is the service."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from events.errors import BadRequest
from simulate.in_process import ITEMS_MS, KeptLists, Mode, Service
from simulate.policies import WHOLE, Chance, Oracle, Popularity, alone, names, policy
from simulate.regret import run
from simulate.regret_command import chart, check, table
from simulate.world import World
from simulate.world_spec import DAY_MS, SPECS, START_MS
from training.inventory import INVENTORY

TINY = replace(SPECS["tiny"], base=-4.0)


def test_the_oracle_misses_nothing_and_chance_misses_more_than_popularity() -> None:
    oracle, chance, popularity = (
        run(name, TINY, 1, 150, warm_up_weeks=0.5).total for name in ("oracle", "chance", "popularity")
    )
    assert oracle == pytest.approx(0.0, abs=1e-9)
    assert chance > popularity > 0.0


def test_a_run_is_a_function_of_its_seed() -> None:
    first, again, other = (run("ensemble", TINY, seed, 40, warm_up_weeks=0.1) for seed in (1, 1, 2))
    assert (first.regret, first.clicks, first.providers) == (again.regret, again.clicks, again.providers)
    assert first.regret != other.regret


def test_clicks_are_those_that_were_expected() -> None:
    found = run("popularity", replace(TINY, base=-2.0), 3, 500, warm_up_weeks=0.2)
    error = float(np.std(found.clicks)) * len(found.clicks) ** 0.5
    assert abs(sum(found.clicks) - sum(found.value)) < 4 * error


def test_the_service_learns_from_what_the_world_does() -> None:
    world = World(TINY, 4)
    service = Service(world.shelf, START_MS, 4, Mode())
    for visit in world.visits(START_MS, START_MS + DAY_MS):
        list_id, slate = service.ask(visit, 8)
        assert len(set(slate)) == len(slate)
        assert not set(slate) & set(visit.items)
        service.told(visit, world.answer(visit, slate), list_id)
        service.organic(visit, world.organic(visit))
    assert service.learner is not None
    assert service.learner.counts["learned_click"] > 300
    assert service.learner.counts["positive_click"] > 5
    assert service.learner.counts["publications"] > 0
    assert len(service.profiles) > 30


def test_models_are_fitted_when_it_is_time_and_serve_at_once() -> None:
    world = World(TINY, 4)
    service = Service(world.shelf, START_MS, 4, Mode(fits_every_ms=DAY_MS, learns=False))
    said: set[str] = set()
    for visit in world.visits(START_MS, START_MS + 3 * DAY_MS // 2):
        list_id, _ = service.ask(visit, 8)
        shown = service.lists.shown(list_id)
        assert shown is not None
        ranks = shown.features.reshape(len(shown.items), len(shown.names), -1)[:, :, 2]
        said |= {name for name, spoke in zip(shown.names, ranks.any(axis=0).tolist(), strict=True) if spoke}
        service.organic(visit, world.organic(visit))
    assert {"ials", "user_knn", "repeat_purchase", "popularity"} <= said


def test_items_come_and_go_with_the_shelf() -> None:
    world = World(replace(TINY, new_items_per_week=0.1, item_life_weeks=0.5), 4)
    service = Service(world.shelf, START_MS, 4, Mode(learns=False))
    for visit in world.visits(START_MS, START_MS + 2 * DAY_MS):
        for item in service.ask(visit, 10)[1]:
            number = world.shelf.numbers[item]
            assert world.shelf.born[number] <= visit.at
            assert visit.at < world.shelf.dies[number] + ITEMS_MS + 3_600_000, "items follow by rounds"
        service.organic(visit, world.organic(visit))


def test_answered_lists_are_kept_as_long_as_a_window_may_be_open() -> None:
    world = World(TINY, 4)
    service = Service(world.shelf, START_MS, 4, Mode(learns=False))
    comers = world.visits(START_MS, START_MS + 10 * DAY_MS)
    asked = [(visit.at, service.ask(visit, 5)[0]) for number, visit in enumerate(comers) if number % 12 == 0]
    lists: KeptLists = service.lists
    last = asked[-1][0]
    assert all((lists.shown(name) is not None) == (at >= last - 8 * DAY_MS) for at, name in asked)


@pytest.mark.parametrize("name", [name for name in names(tuple(INVENTORY)) if name not in WHOLE])
def test_a_recommender_alone_fills_lists(name: str) -> None:
    world = World(TINY, 2)
    served = policy(name, world)
    assert set(alone(name)["home"].weights) == {name}
    for number, visit in enumerate(world.visits(START_MS, START_MS + DAY_MS)):
        served.organic(visit, world.organic(visit))
        if number > 60 and number % 20 == 0:
            assert len(set(served.slate(visit, 10)[1])) == 10


def test_simple_policies_show_what_is_there_and_not_what_the_page_is_about() -> None:
    world = World(replace(TINY, new_items_per_week=0.1), 2)
    policies = (Oracle(world), Chance(world), Popularity(world))
    for visit in world.visits(START_MS, START_MS + 2 * DAY_MS):
        for one in policies:
            slate = one.slate(visit, 10)[1]
            assert len(set(slate)) == 10
            assert all(world.shelf.born[world.shelf.numbers[item]] <= visit.at for item in slate)
            if not isinstance(one, Chance):
                assert not set(slate) & set(visit.items)
        policies[2].organic(visit, world.organic(visit))


def test_many_runs_make_a_table_of_shares_and_a_plot() -> None:
    runs = [run(name, TINY, 1, 100, warm_up_weeks=0.2) for name in ("popularity", "chance")]
    assert "| popularity | " in table(runs)
    assert "(1.000)" in table(runs)
    assert "| chance | " in table(runs)
    assert chart(runs).startswith("<svg")


@pytest.mark.parametrize(
    ("policies", "scenario", "script", "lists"),
    [
        (["nobody"], "tiny", "none", 5),
        (["oracle"], "huge", "none", 5),
        (["oracle"], "tiny", "chaos", 5),
        (["oracle"], "tiny", "none", 0),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(
    policies: list[str], scenario: str, script: str, lists: int
) -> None:
    with pytest.raises(BadRequest, match="use"):
        check(policies, scenario, script, lists)
