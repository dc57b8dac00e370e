"""What the simulated world costs: ``python -m benchmarks.world``. CPU time of one thread.

A week of the calibrated world: visits, what becomes of a list of ten, what people do besides, and every message of it;
then the same with the oracle and the list's regret. And a million people: making them, and an hour of their visits.
"""

from __future__ import annotations

import json
import resource
import sys
import time

from threadpoolctl import threadpool_limits

from simulate.payloads import acts, impression, opening, organic
from simulate.truth import Truth
from simulate.world import World
from simulate.world_spec import HOUR_MS, SPECS, START_MS, WEEK_MS


def week(name: str, judged: bool, scale: float) -> dict[str, float]:
    """Impressions and messages a second."""
    world = World(SPECS[name], 1)
    truth, slate = Truth(world), world.shelf.ids[: SPECS[name].slots]
    began, lists, messages = time.process_time(), 0, 0
    for visit in world.visits(START_MS, START_MS + round(scale * WEEK_MS)):
        if judged:
            truth.regret(visit, slate)
        outcome = world.answer(visit, slate)
        sent = [*opening(visit), impression(visit, outcome, "list"), *acts(visit, outcome, "list")]
        messages += len(sent) + len(organic(visit, world.organic(visit)))
        lists += 1
    spent = time.process_time() - began
    suffix = "_judged" if judged else ""
    return {
        f"world_impressions_per_s{suffix}": lists * len(slate) / spent,
        f"world_messages_per_s{suffix}": messages / spent,
    }


def million() -> dict[str, float]:
    """Seconds to make a million people, seconds per hour of theirs, lists in it, memory at most (MB)."""
    began = time.process_time()
    world = World(SPECS["million"], 1)
    made = time.process_time() - began
    began = time.process_time()
    lists = sum(1 for _ in world.visits(START_MS + 20 * HOUR_MS, START_MS + 21 * HOUR_MS))
    return {
        "world_million_made_s": made,
        "world_million_hour_s": time.process_time() - began,
        "world_million_hour_lists": lists,
        "world_million_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def run(scale: float = 1.0) -> dict[str, float]:
    with threadpool_limits(limits=1):
        return week("calibrated", False, scale) | week("calibrated", True, scale) | million()


if __name__ == "__main__":
    print(json.dumps(run(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0), indent=1))
