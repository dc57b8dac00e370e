"""Retraining on the whole journey: ``python -m benchmarks.retrain [FOLDER]``.

From reading the log to a judged model, on a Ray of its own, its start included. Nothing is written into the folder.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from training.on_ray import RayCluster
from training.replay import offsets_now
from training.retraining import RetrainPlan, retrain


def measure(data: Path) -> dict[str, float]:
    """The figure; the verdict and when each task ended go to the terminal."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    begun = time.perf_counter()

    def tell(name: str, done: int, count: int) -> None:
        print(f"{time.perf_counter() - begun:6.1f} s  {done}/{count} {name}")

    with RayCluster() as cluster:
        made = retrain(RetrainPlan(data, offsets_now(data)), cluster, tell)
        seconds = time.perf_counter() - begun
    print(f"model {made.model.id}: {made.verdict.decision}; " + "; ".join(made.verdict.reasons))
    return {"retrain_s": seconds, "retrain_requests": float(made.verdict.requests)}


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("build/bench/demo")
    print(json.dumps(measure(folder), indent=1))
