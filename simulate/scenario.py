"""What a load run is about: which world its people live in, what changes in it, and how much of what they send is what.
By name, for ``everfold simulate --scenario``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import ceil
from typing import Final

from events.errors import BadSettings
from simulate.drift_script import Script, scripts
from simulate.load import Mix, Plan
from simulate.shelf import Shelf
from simulate.shopper import People
from simulate.world import World
from simulate.world_spec import CALIBRATED, SPECS, WorldSpec

CROWD: Final = (0.4, 0.5)
"""The part of a run in which a flash crowd comes."""
CROWD_FACTOR: Final = 4.0


@dataclass(frozen=True)
class Scenario:
    """``doc``: one line for people. ``drift``: a script of `simulate.drift_script`, whose change comes half-way."""

    name: str
    doc: str
    spec: WorldSpec = CALIBRATED
    drift: str = "none"
    events_share: float = 0.2
    """Of requests that are batches of events; the others ask for lists."""
    crowd: bool = False
    besides: bool = True
    """Whether people also look and buy without lists."""
    dirt: bool = False

    @property
    def lists(self) -> bool:
        return self.events_share < 1.0

    @property
    def tells(self) -> bool:
        return self.events_share > 0.0

    def mix(self) -> Mix:
        return Mix(self.events_share, _crowd) if self.crowd else Mix(self.events_share)

    def world(self, plan: Plan, number: int) -> World:
        """The world of process ``number`` of the plan's: the same for all, each with people of its own."""
        spec = replace(self.spec, people=plan.users)
        weeks = self.weeks(plan, spec)
        spec = replace(spec, weeks=max(4, ceil(weeks)))
        return World(spec, plan.seed, self.script(plan, weeks), (number, plan.processes))

    def weeks(self, plan: Plan, spec: WorldSpec) -> float:
        """How long the world lives in this run: lists asked for over visits in a week."""
        people = People.of(spec, Shelf.of(spec, plan.seed), plan.seed)
        a_week = float(people.rate.sum()) * 168 * spec.pages
        return plan.rate * plan.duration_s * max(1 - self.events_share, 0.1) / a_week

    def script(self, plan: Plan, weeks: float) -> Script:
        """What changes, half-way through the run."""
        return scripts(weeks / 2)[self.drift]


def _crowd(share: float) -> float:
    return CROWD_FACTOR if CROWD[0] <= share < CROWD[1] else 1.0


_ALL: Final = (
    Scenario("shop", "The calibrated world: four lists asked for per batch of events"),
    Scenario("lists", "The same, and nobody does anything but what comes of lists", besides=False),
    Scenario("cascade", "The same, where people look from the top and stop", SPECS["cascade"]),
    Scenario("trust", "The same, where people click on what stands high whatever it is", SPECS["trust"]),
    Scenario(
        "cold-start",
        "Nearly everybody, and a third of the shelf, comes during the run",
        replace(CALIBRATED, new_people_per_week=1.0, new_items_per_week=0.1),
    ),
    Scenario("recommend", "Lists only, and nothing comes back", events_share=0.0),
    Scenario("organic", "Events only: people look and buy, and nobody asks for a list", events_share=1.0),
    Scenario(
        "dirty", "Duplicates, retries, late and misdated events, bots and malformed ones among the rest", dirt=True
    ),
    Scenario(
        "flash-crowd",
        "Four times the rate for a tenth of the run, all after one item",
        drift="popularity_shock",
        crowd=True,
    ),
    Scenario("taste-swap", "Half-way, a segment likes what it did not", drift="taste_swap"),
    Scenario("rotation", "From half-way on, a segment's tastes turn slowly", drift="gradual_rotation"),
    Scenario("trend", "Half-way, a category comes into fashion", drift="new_trend"),
    Scenario(
        "covariate", "Half-way, a segment comes three times as often; nobody's taste changes", drift="covariate_only"
    ),
)
SCENARIOS: Final[Mapping[str, Scenario]] = {one.name: one for one in _ALL}


def scenario(name: str) -> Scenario:
    """Raises `BadSettings` naming those there are.

    >>> scenario("shop").events_share
    0.2
    """
    found = SCENARIOS.get(name)
    if found is None:
        near = get_close_matches(name, SCENARIOS, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(SCENARIOS)}"
        raise BadSettings(f"--scenario {name!r} is unknown: {hint}")
    return found
