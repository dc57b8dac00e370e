"""What load runs are about."""

from __future__ import annotations

from itertools import islice

import pytest

from events.errors import BadSettings
from simulate.load import Plan, offered
from simulate.scenario import CROWD_FACTOR, SCENARIOS, scenario
from simulate.visitors import comers
from simulate.world_spec import WEEK_MS

PLAN = Plan(users=200, rate=50, duration_s=60, processes=2, seed=3)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_has_people_who_come(name: str) -> None:
    world = scenario(name).world(PLAN, 0)
    assert len(list(islice(comers(world), 20))) == 20


def test_processes_share_one_world_and_nobody_twice() -> None:
    one, other = (scenario("shop").world(PLAN, number) for number in range(2))
    assert one.shelf.ids == other.shelf.ids
    assert one.shelf.price.tolist() == other.shelf.price.tolist()
    mine, theirs = ({visit.person for visit in islice(comers(world), 400)} for world in (one, other))
    assert mine
    assert theirs
    assert not mine & theirs


@pytest.mark.parametrize("name", ["taste-swap", "rotation", "trend", "covariate"])
def test_what_changes_changes_half_way_through_what_is_lived(name: str) -> None:
    """A run asks for as many lists as it takes to get to the change, twice."""
    chosen = scenario(name)
    world = chosen.world(PLAN, 0)
    (change,) = world.drift.script
    lists = round(PLAN.rate * PLAN.duration_s * (1 - chosen.events_share)) // PLAN.processes
    visits = list(islice(comers(world), lists))
    middle = (visits[lists // 2].at - world.spec.start_ms) / WEEK_MS
    assert change.at == pytest.approx(middle, rel=0.35)


def test_a_flash_crowd_is_part_of_what_is_offered() -> None:
    assert offered(PLAN, scenario("flash-crowd").mix()) == pytest.approx(PLAN.rate * (0.9 + 0.1 * CROWD_FACTOR))


def test_an_unknown_scenario_is_refused_with_the_nearest_or_all_there_are() -> None:
    with pytest.raises(BadSettings, match="did you mean 'taste-swap'"):
        scenario("taste_swap")
    with pytest.raises(BadSettings, match="cold-start"):
        scenario("xyzzy")
