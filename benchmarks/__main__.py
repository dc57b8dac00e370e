"""``make bench``: measures every figure of the README on the machine at hand, prints a table, writes JSON.

Everything is measured in one run, so that ratios hold on a noisy machine. Load is bounded and stays on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import endpoints, fold, ingest_core, learner, memory, noop, recommend_core, retrain, segments, swap, wrk
from benchmarks.figures import table
from benchmarks.service import Service, running, start, stop

FOLDER = Path(__file__).parent.parent / "build" / "bench"
BENCH_USERS = 2_000
WARM_EVENTS = 40
"""Per user, before ingest is measured: profiles are then above 2 kB."""


def machine() -> str:
    """The processor, its cores and the memory."""
    processors = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in processors if "model name" in line), "?")
    total = int(Path("/proc/meminfo").read_text().split()[1])
    return f"{model}, {os.cpu_count()} cores, {total / 1048576:.0f} GB, Python {platform.python_version()}"


def imported(data: Path, say: Console) -> Path:
    """A folder that holds the whole Complete Journey, imported through the real path at the first run."""
    if (data / "imported").exists():
        return data
    service = start(data, log=data.parent / "demo.log")
    try:
        begun = time.perf_counter()
        command = [sys.executable, "-m", "serving.cli", "import", "journey", "--data", str(data)]
        subprocess.run([*command, "--address", f"http://127.0.0.1:{service.port}"], check=True)
        say.print(f"imported in {time.perf_counter() - begun:.0f} s")
        settle(service, 600)
        (data / "imported").touch()
    finally:
        stop(service)
    return data


def settle(service: Service, seconds: float) -> None:
    """Wait until the followers have read everything and made their rows."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        text = str(service.call("GET", "/metrics")[1].get("text"))
        names = ("everfold_follower_lag_records{", "everfold_follower_deferred{")
        values = [float(line.split()[-1]) for line in text.splitlines() if line.startswith(names)]
        if values and not any(values):
            return
        time.sleep(0.5)
    raise RuntimeError(f"the followers did not catch up within {seconds:.0f} s")


def households() -> list[str]:
    from serving.journey import Journey

    return sorted({str(one) for one in Journey.installed().baskets.household.tolist()}, key=int)


def shelf(count: int) -> list[tuple[str, str]]:
    """(item, category) of things really sold."""
    from serving.journey import Journey

    products = [(one.item, one.category) for one in Journey.installed().products if one.category]
    return random.Random(5).sample(products, count)


def over_http(data: Path, scale: float) -> dict[str, float]:
    """Everything that is seen from outside."""
    figures: dict[str, float] = {}
    users, items = households(), shelf(5_000)
    seconds, bench = max(3, int(8 * scale)), [f"bench-{time.time_ns():x}-{n}" for n in range(BENCH_USERS)]
    begun = time.perf_counter()
    with running(data, FOLDER / "service.log") as service:
        figures["start_s"] = time.perf_counter() - begun
        settle(service, 300)
        time.sleep(3)
        figures["rest_memory_mb"] = memory.pss([service.process.pid, *memory.stamped(service.run)]) / 1e6
        figures |= endpoints.recommend_latency(service, users, int(5000 * scale))
        with noop.running(FOLDER / "noop") as floor:
            figures |= endpoints.recommend_share(service, floor, users, seconds, 3)
        figures |= endpoints.freshness(service, users, items, int(100 * scale))
        figures |= endpoints.single_events(service, users, items, int(1500 * scale))
        endpoints.ingest(service, bench, items, BENCH_USERS * WARM_EVENTS, 1)
        rounds = [endpoints.ingest(service, bench, items, int(60_000 * scale), seed) for seed in (2, 3, 4)]
        figures |= {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
        figures["ingest_profile_bytes"] = endpoints.profile_bytes(service, bench)
        settle(service, 300)
        ended = time.perf_counter()
    figures["stop_s"] = time.perf_counter() - ended
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="everfold bench", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="how long each figure is measured")
    parser.add_argument("--million", action="store_true", help="also fill and measure 1,000,000 profiles (10 minutes)")
    parser.add_argument("--chart", action="store_true", help="also the chart of one Ray actor per user (10 minutes)")
    parser.add_argument("--json", type=Path, default=FOLDER / "bench.json")
    asked = parser.parse_args(arguments)
    say = Console()
    FOLDER.mkdir(parents=True, exist_ok=True)
    say.print(f"load by {wrk.name()}; scale {asked.scale:g}")
    values: dict[str, float] = {}
    parts = {"fold": fold, "ingest and refold in process": ingest_core, "answer": recommend_core, "learner": learner}
    for name, part in parts.items():
        say.print(f"measuring {name} ...")
        values |= {name.replace("ingest_", "core_ingest_"): value for name, value in part.run(asked.scale).items()}
    say.print("measuring the service ...")
    values |= over_http(imported(FOLDER / "demo", say), asked.scale)
    say.print("retraining ...")
    values |= retrain.measure(FOLDER / "demo")
    say.print("swapping models under load ...")
    values |= swap.measure(int(swap.REQUESTS * asked.scale))
    say.print("following segments ...")
    values |= segments.changes(asked.scale) | segments.timers(100_000) | segments.served(asked.scale)
    if asked.million:
        from benchmarks import clusters, million

        say.print("measuring a million profiles ...")
        values |= million.run(FOLDER / "million", 1_000_000)
        say.print("filling a segment from a million profiles ...")
        values |= segments.membership(1_000_000) | segments.backfill(1_000_000)
        say.print("clustering a million profiles ...")
        values |= clusters.run(1_000_000, on_ray=True)
    if asked.chart:
        from benchmarks import ray_actors

        say.print("starting one Ray actor per user ...")
        values |= ray_actors.run()
    asked.json.write_text(json.dumps({"machine": machine(), "load": wrk.name(), "figures": values}, indent=1))
    say.print(table(values, machine()))
    say.print(f"JSON: {asked.json}")


if __name__ == "__main__":
    main()
