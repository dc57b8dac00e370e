"""``python -m simulate regret``: policies in the same world, one process each, and what they missed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from threadpoolctl import threadpool_limits

from events.errors import BadRequest
from simulate.drift_script import SCRIPTS, scripts
from simulate.policies import names
from simulate.regret import Run, run
from simulate.world_spec import SPECS
from training.evaluation.charts import line_chart
from training.inventory import INVENTORY

BASE: Final = "popularity"
"""What others are compared with."""
LISTS_MAX: Final = 10_000_000


def check(policies: Sequence[str], scenario: str, script: str, lists: int) -> None:
    """Raises `BadRequest` naming what there is."""
    known = names(tuple(INVENTORY))
    for given, good in ((policies, known), ([scenario], list(SPECS)), ([script], list(SCRIPTS))):
        for name in given:
            if name not in good:
                raise BadRequest(f"{name[:64]!r} is unknown: use one of {', '.join(good)}")
    if not 1 <= lists <= LISTS_MAX:
        raise BadRequest(f"{lists} lists: use 1 to {LISTS_MAX}")


def measure(
    policies: Sequence[str],
    seeds: Sequence[int],
    lists: int,
    scenario: str,
    script: str,
    change_week: float,
    folder: Path,
    processes: int,
    tell: Callable[[str], None],
) -> list[Run]:
    """Every policy with every seed; what is known of each run is written to ``folder`` while it goes on."""
    check(policies, scenario, script, lists)
    folder.mkdir(parents=True, exist_ok=True)
    work = [(name, seed, lists, scenario, script, change_week, folder) for seed in seeds for name in policies]
    found: list[Run] = []
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        for one in pool.map(_one, *zip(*work, strict=True)):
            tell(f"{one.policy}, seed {one.seed}: {one.total / one.done:.4f} a list, {one.cpu_s:.0f} s CPU")
            found.append(one)
    (folder / "regret.svg").write_text(chart(found))
    (folder / "regret.md").write_text(table(found))
    return found


def table(runs: Sequence[Run]) -> str:
    """Regret of each policy by seed, over as many lists as every run has; and as a share of popularity's."""
    done = min(one.done for one in runs)
    seeds = sorted({one.seed for one in runs})
    by = {(one.policy, one.seed): _upto(one, done) for one in runs}
    policies = list(dict.fromkeys(one.policy for one in runs))
    rows = [f"Regret a list over {done:,} lists, and its share of {BASE}'s", ""]
    rows += ["| policy | " + " | ".join(f"seed {seed}" for seed in seeds) + " |", "|---" * (len(seeds) + 1) + "|"]
    for policy in policies:
        rows.append(f"| {policy} | " + " | ".join(_cell(by, policy, seed) for seed in seeds) + " |")
    return "\n".join(rows) + "\n"


def chart(runs: Sequence[Run]) -> str:
    """Cumulative regret over lists, of the first seed."""
    first = min(one.seed for one in runs)
    return line_chart(
        {
            one.policy: [
                (number * one.step, total) for number, total in enumerate(accumulate(one.regret), 1) if number % 5 == 0
            ]
            for one in runs
            if one.seed == first
        },
        "lists",
        "clicks missed so far",
    )


def _cell(by: Mapping[tuple[str, int], float], policy: str, seed: int) -> str:
    value, base = by.get((policy, seed)), by.get((BASE, seed))
    if value is None:
        return "-"
    return f"{value:.4f}" + (f" ({value / base:.3f})" if base else "")


def _upto(one: Run, lists: int) -> float:
    steps = max(lists // one.step, 1)
    return sum(one.regret[:steps]) / (steps * one.step)


def _one(name: str, seed: int, lists: int, scenario: str, script: str, change_week: float, folder: Path) -> Run:
    path = folder / f"{name.replace(', ', '-').replace(' ', '_')}-{seed}-{script}.json"

    def tell(now: Run) -> None:
        path.write_text(json.dumps(now.json()))

    with threadpool_limits(limits=1):
        return run(name, SPECS[scenario], seed, lists, scripts(change_week)[script], tell)
