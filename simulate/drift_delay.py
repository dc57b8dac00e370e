"""How soon drift in a world is found, and how often where there is none.

The monitor is the service's own (`training.drift`), watching per segment. The model it watches is the world itself as
it would be without the change, but blind to the hour of the day; lists are what it ranks 41st to 50th for each person,
which gives a click rate near 5 % and lists that are the person's own. So what is measured is the monitor, not how well
something was learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulate.attention import click_given_look, looked_at
from simulate.drift_script import scripts
from simulate.world import Visit, World
from simulate.world_spec import WEEK_MS, WorldSpec
from training.drift import Monitor, Observed

MODEL = "home/click"
SKIPPED = 40
"""Best items that are left out of lists."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One detection. ``lists``: since the change, negative before; ``segment`` is empty for everybody."""

    segment: str
    lists: int
    weeks: float
    """Since the lists began."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What a monitor said of one world."""

    script: str
    seed: int
    weeks: float
    lists: int
    lists_after: int
    rate: float
    """Clicks per slot."""
    kept: float
    """Clicks of the changed segment after, as a share of what the model said, divided by the same before."""
    alarms: tuple[Alarm, ...]

    def delay(self, segment: str) -> int | None:
        """Lists of everybody from the change until this segment was named; None: never."""
        return min((one.lists for one in self.alarms if one.segment == segment and one.lists >= 0), default=None)


def watch(spec: WorldSpec, seed: int, script: str, calm_weeks: float, weeks: float) -> Watched:
    """Let the monitor watch a world whose script changes it after ``calm_weeks`` of ``weeks``."""
    change = scripts(calm_weeks)[script]
    world, still = World(spec, seed, change), World(spec, seed)
    still.share_moods(world)
    changed = change[0].segment if change else 0
    at = spec.start_ms + round(calm_weeks * WEEK_MS)
    monitor, alarms = Monitor(), list[tuple[str, int, int]]()
    lists = after = total = 0
    clicks, slots = np.zeros((2, 2)), 0
    for visit in world.visits(spec.start_ms, spec.start_ms + round(weeks * WEEK_MS)):
        slate, said = _guess(still, visit)
        outcome = world.answer(visit, slate)
        lists += 1
        after += visit.at >= at
        segment = int(world.people.segment[visit.person])
        slots += len(slate)
        if segment == changed:
            clicks[int(visit.at >= at)] += (outcome.clicks, said.sum())
        total += outcome.clicks
        for row in _rows(visit, segment, said, [act.slot for act in outcome.acts if act.deed == "click"]):
            alarms += [(one.segment, after if visit.at >= at else -1, visit.at) for one in monitor.observe(row)]
        world.organic(visit)
    rates = clicks[:, 0] / np.maximum(clicks[:, 1], 1e-9)
    told = [Alarm(name, since, (when - spec.start_ms) / WEEK_MS) for name, since, when in alarms]
    kept = float(rates[1] / max(rates[0], 1e-9))
    return Watched(script, seed, weeks, lists, after, total / max(slots, 1), kept, tuple(told))


def _guess(still: World, visit: Visit) -> tuple[tuple[str, ...], np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """The model's list, and the chance of a click it gives each slot."""
    spec = still.spec
    level = still.utilities(visit) - still.season(visit)
    best = np.argsort(-level, kind="stable")[SKIPPED : SKIPPED + spec.slots]
    likes = 1 / (1 + np.exp(-level[best]))
    said = looked_at(spec, spec.slots) * click_given_look(spec, likes)
    return tuple(still.shelf.ids[item] for item in best.tolist()), np.clip(said, 1e-4, 0.99)


def _rows(
    visit: Visit, segment: int, said: np.ndarray[tuple[int], np.dtype[np.float64]], clicked: Sequence[int]
) -> list[Observed]:
    return [
        Observed(MODEL, (f"s{segment}",), visit.at, chance, float(slot in clicked))
        for slot, chance in enumerate(said.tolist(), 1)
    ]


def told(found: Sequence[Watched]) -> str:
    """Runs as a Markdown table."""
    rows = [
        "| script | seed | clicks a slot | lists (after the change) | segment's clicks after | its delay, lists "
        "| alarms before | others after |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        segment = f"s{scripts(0.0)[one.script][0].segment}" if one.script != "none" else ""
        delay = one.delay(segment) if segment else None
        before = sum(alarm.lists < 0 for alarm in one.alarms)
        others = sum(alarm.lists >= 0 and alarm.segment != segment for alarm in one.alarms)
        rows.append(
            f"| {one.script} | {one.seed} | {one.rate:.3f} | {one.lists:,} ({one.lists_after:,}) | {one.kept:.2f} "
            f"| {'-' if not segment else 'not found' if delay is None else f'{delay:,}'} | {before} | {others} |"
        )
    return "\n".join(rows)
