"""The chart behind "a user is not a process": one Ray actor per user against hosted actors, on the machine at hand.

For 100, 300 and 1,000 users: how long until every one of them answered, and what memory that took. The run stops where
the machine's free memory falls under a floor and says how far it got; the hosted side is `benchmarks.million`.
"""

from __future__ import annotations

import os
import time

import ray

FREE_FLOOR = 3 << 30
SECONDS_MAX = 600.0


class Counter:
    """The least an actor per user can be: a process that folds one number."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, value: int) -> int:
        self.total += value
        return self.total


def available() -> int:
    """Bytes the machine could still give out."""
    with open("/proc/meminfo") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def run(sizes: tuple[int, ...] = (100, 300, 1000)) -> dict[str, float]:
    """Figures per size: seconds until all answered, MB per actor, calls per second to all of them in turn."""
    os.environ["EVERFOLD_RUN"] = "bench-actors"
    ray.init(num_cpus=1, include_dashboard=False, object_store_memory=256 << 20, log_to_driver=False)
    figures: dict[str, float] = {}
    try:
        actor = ray.remote(num_cpus=0)(Counter)
        actors: list[object] = []
        before, begun = available(), time.perf_counter()
        for size in sizes:
            while len(actors) < size and available() > FREE_FLOOR and time.perf_counter() - begun < SECONDS_MAX:
                more = [actor.remote() for _ in range(min(20, size - len(actors)))]
                ray.get([one.add.remote(1) for one in more])
                actors += more
            figures[f"ray_actors_{size}_started"] = float(len(actors))
            figures[f"ray_actors_{size}_seconds"] = time.perf_counter() - begun
            figures[f"ray_actors_{size}_mb_each"] = (before - available()) / len(actors) / 1e6
            calls = time.perf_counter()
            ray.get([one.add.remote(1) for one in actors])  # type: ignore[attr-defined]
            figures[f"ray_actors_{size}_calls_per_s"] = len(actors) / (time.perf_counter() - calls)
            if len(actors) < size:
                break
    finally:
        ray.shutdown()
    return figures
