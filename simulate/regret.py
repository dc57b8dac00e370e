"""Regret: what a policy's lists miss of the best there are, list by list, in a world whose truth is known.

    run("ensemble", CALIBRATED, seed=1, lists=200_000)

Some weeks pass first in which people do what they do without lists; policies see it. Then every visit gets a list, and
its expected clicks are compared with those of the oracle's list for the same visit, in the state the policy's own lists
have brought people to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from simulate.drift_script import Script
from simulate.policies import Policy, Served, policy
from simulate.truth import Truth
from simulate.world import Visit, World
from simulate.world_spec import WEEK_MS, WorldSpec

WARM_UP_WEEKS = 6
POINTS = 100


@dataclass
class Run:
    """What came of one policy in one world. Lists of numbers have one entry per step of ``step`` lists: its sum."""

    policy: str
    seed: int
    lists: int
    step: int
    regret: list[float] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    """Expected clicks."""
    clicks: list[int] = field(default_factory=list)
    at_ms: list[int] = field(default_factory=list)
    """When the step ended."""
    cold: dict[str, list[float]] = field(default_factory=dict)
    """By number of sessions before (0, 1, 2, 3-5, 6-10, 11+): lists, expected clicks, oracle's."""
    segments: dict[str, list[float]] = field(default_factory=dict)
    """By true segment: lists, expected clicks, oracle's."""
    providers: dict[str, list[float]] = field(default_factory=dict)
    """By true provider: attention (chance to be looked at) given, and in the oracle's lists."""
    detections: list[tuple[str, str, int]] = field(default_factory=list)
    """(model, segment, ms)."""
    cpu_s: float = 0.0

    @property
    def done(self) -> int:
        """Lists so far, in whole steps."""
        return len(self.regret) * self.step

    @property
    def total(self) -> float:
        """Cumulative regret."""
        return sum(self.regret)

    def json(self) -> dict[str, object]:
        return asdict(self)


def run(
    name: str,
    spec: WorldSpec,
    seed: int,
    lists: int,
    script: Script = (),
    tell: Callable[[Run], None] = lambda run: None,
    warm_up_weeks: float = WARM_UP_WEEKS,
) -> Run:
    """Let the policy of this name fill ``lists`` lists. ``tell`` hears of every step."""
    world = World(spec, seed, script)
    asked = policy(name, world)
    truth = Truth(world)
    found = Run(name, seed, lists, max(lists // POINTS, 1))
    began = time.process_time()
    warm = spec.start_ms + round(warm_up_weeks * WEEK_MS)
    for visit in world.visits(spec.start_ms, warm):
        asked.organic(visit, world.organic(visit))
    step = _Step()
    for number, visit in enumerate(world.visits(warm, spec.start_ms + spec.weeks * WEEK_MS), 1):
        list_id, slate = asked.slate(visit, spec.slots)
        best, worth = truth.oracle(visit, spec.slots)
        value = truth.value(visit, slate)
        _note(found, truth, visit, slate, best, value, worth)
        outcome = world.answer(visit, slate)
        step.add(worth - value, value, outcome.clicks)
        asked.told(visit, outcome, list_id)
        asked.organic(visit, world.organic(visit))
        if number % found.step == 0:
            step.close(found, visit.at)
            found.cpu_s = time.process_time() - began
            found.detections = _detected(asked)
            tell(found)
        if number == lists:
            break
    return found


class _Step:
    """Sums of one step."""

    def __init__(self) -> None:
        self.regret = self.value = 0.0
        self.clicks = 0

    def add(self, regret: float, value: float, clicks: int) -> None:
        self.regret += regret
        self.value += value
        self.clicks += clicks

    def close(self, found: Run, at: int) -> None:
        found.regret.append(self.regret)
        found.value.append(self.value)
        found.clicks.append(self.clicks)
        found.at_ms.append(at)
        self.regret = self.value = 0.0
        self.clicks = 0


def _note(
    found: Run, truth: Truth, visit: Visit, slate: Sequence[str], best: Sequence[str], value: float, worth: float
) -> None:
    before = truth.visits_before(visit)
    for table, name in ((found.cold, _stage(before)), (found.segments, str(truth.segment(visit)))):
        row = table.setdefault(name, [0.0, 0.0, 0.0])
        row[0] += 1
        row[1] += value
        row[2] += worth
    for column, items in enumerate((slate, best)):
        for item, look in zip(items, truth.looks(len(items)).tolist(), strict=True):
            found.providers.setdefault(str(truth.provider(item)), [0.0, 0.0])[column] += look


def _stage(before: int) -> str:
    for most, name in ((0, "0"), (1, "1"), (2, "2"), (5, "3-5"), (10, "6-10")):
        if before <= most:
            return name
    return "11+"


def _detected(asked: Policy) -> list[tuple[str, str, int]]:
    if not isinstance(asked, Served):
        return []
    return [(one.model, one.segment, one.at_ms) for one in asked.service.detections]
