"""Coverage of off-policy intervals on generated logs: ``python -m benchmarks.off_policy --logs 2000``. About 25 ms of
CPU a log and world. Ends with exit code 1 where an unbiased estimator's coverage is out of bounds."""

from __future__ import annotations

import argparse
import sys
import time

from scipy.stats import binom

from training.ope.coverage import coverage
from training.ope.estimators import UNBIASED
from training.ope.generated import World

WORLDS = {"one slot": 1, "three slots": 3}
NIGHTLY = (0.93, 0.97)
"""Asked of 2,000 logs; a correct 95 % interval is outside of it once in 25,000 runs."""


def bounds(logs: int) -> tuple[float, float]:
    """The 99.9 % band of a correct 95 % interval over ``logs`` logs, and never less than `NIGHTLY` over 2,000."""
    if logs >= 2000:
        return NIGHTLY
    low, high = binom.interval(0.999, logs, 0.95)
    return float(low) / logs, float(high) / logs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=int, default=2000)
    parser.add_argument("--people", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    low, high = bounds(asked.logs)
    outside = []
    print(f"{asked.logs} logs of {asked.people} people, seed {asked.seed}; bounds {low:.3f} to {high:.3f}")
    for name, slots in WORLDS.items():
        began = time.process_time()
        world = World.of(asked.seed, slots)
        truth = world.truth(world.target)
        print(f"\n{name}: truth {truth:.4f}, logged {world.truth(world.logging):.4f}")
        print("| weights | estimator | coverage | bias | RMSE |\n|---|---|---|---|---|")
        for (structure, estimator), found in coverage(world, asked.logs, asked.people, asked.seed).items():
            print(f"| {structure} | {estimator} | {found.share:.3f} | {found.bias:+.4f} | {found.rmse:.4f} |")
            if estimator in UNBIASED and not low <= found.share <= high:
                outside.append(f"{name} {structure} {estimator}")
        print(f"{time.process_time() - began:.0f} s of CPU")
    if outside:
        sys.exit(f"coverage out of bounds: {', '.join(outside)}")


if __name__ == "__main__":
    main()
