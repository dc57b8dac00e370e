"""How soon drift is found, and how often there is none: ``python -m benchmarks.drift --seeds 10``.

Tastes of 20 % of people swap at once, at a click rate of 5 %, lists of ten, one of five segments; the model knows
neither hours nor days, which swing the rate by 60 %. About 3 s of CPU for each week of 20,000 lists.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator

from simulate.drifting import HOUR_MS, MONDAY_MS, Traffic
from training.drift import Detection, Monitor
from training.drift_residuals import DEFAULT_WATCH, WEEK_HOURS

SWAP_HOUR = 2 * WEEK_HOURS + 50
LISTS_PER_WEEK = (5_000, 20_000)
SWAPPED = (0.4, 0.6)
"""What is left of the segment's click rate."""
CALM_WEEKS = 5
WATCHED_WEEKS = CALM_WEEKS - DEFAULT_WATCH.warm_up_hours / WEEK_HOURS


def detections(traffic: Traffic) -> Iterator[tuple[int, Detection]]:
    """(lists since the swap, or since the start where there is none; detection)."""
    monitor, lists = Monitor(), 0
    changed_at = MONDAY_MS + (traffic.swap_hour or 0) * HOUR_MS
    for rows in traffic.lists():
        lists += rows[0].at_ms >= changed_at
        for row in rows:
            for detection in monitor.observe(row):
                yield lists, detection


def calm(lists_per_week: int, seeds: int) -> str:
    """False alarms in traffic without drift."""
    alarms = [sum(1 for _ in detections(Traffic(CALM_WEEKS, lists_per_week, seed))) for seed in range(seeds)]
    return f"{sum(alarms) / (seeds * WATCHED_WEEKS):.2f} false alarms a week ({sum(alarms)} in {seeds} runs)"


def swap(lists_per_week: int, swapped: float, seeds: int) -> str:
    """Lists until the swapped segment is named."""
    delays = []
    for seed in range(seeds):
        weeks = 4 if lists_per_week < 10_000 else 3
        found = detections(Traffic(weeks, lists_per_week, seed, swap_hour=SWAP_HOUR, swapped=swapped))
        delays.append(next((lists for lists, one in found if lists > 0 and one.segment == "s0"), None))
    seen = sorted(delay for delay in delays if delay is not None)
    middle = f"median {statistics.median(seen):,.0f}, latest {seen[-1]:,}" if seen else "never"
    return f"found in {len(seen)} of {seeds} runs, {middle} lists"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    seeds = parser.parse_args().seeds
    began = time.process_time()
    for lists_per_week in LISTS_PER_WEEK:
        print(f"{lists_per_week:,} lists a week, no drift: {calm(lists_per_week, seeds)}")
        for swapped in SWAPPED:
            print(
                f"{lists_per_week:,} lists a week, rate x {swapped}: {swap(lists_per_week, swapped, seeds)}", flush=True
            )
    print(f"{time.process_time() - began:.0f} s CPU")


if __name__ == "__main__":
    main()
