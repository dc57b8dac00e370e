"""The deterministic runtime: seeds in which every invariant holds, and engines with one fault each, all found out."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from planted import PLANTED

from simulate.coverage import LEAST, SEEDS, Coverage
from simulate.faults import Fault
from simulate.runtime import FAULTS_MIN, STEPS, Ran, run

FEW = range(6)
"""Seeds of the fast suite."""
CHUNK = 20
TRIES = range(20)

FOUND = {
    20: "a key whose sync had failed was used",
    28: "a category that was new stopped the item follower",
}
"""Seeds that break an invariant where what they once found is not mended. They stay."""


def ensure_good(ran: Ran) -> None:
    assert not ran.broken, "\n".join([*ran.trace, f"{ran.broken}: python -m simulate --seed {ran.seed} --trace"])
    assert ran.steps >= STEPS
    assert ran.faults >= FAULTS_MIN
    assert ran.facts > 50
    assert ran.explored > 5


@pytest.mark.parametrize("seed", FEW)
def test_every_invariant_holds_after_every_step(seed: int) -> None:
    ensure_good(run(seed))


@pytest.mark.parametrize("seed", FOUND, ids=lambda seed: f"{seed}: {FOUND[seed]}")
def test_what_a_seed_once_found_stays_mended(seed: int) -> None:
    ensure_good(run(seed))


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found_out(name: str) -> None:
    engine, invariant = PLANTED[name]
    tripped = next((ran for ran in (run(seed, engine) for seed in TRIES) if ran.broken), None)
    assert tripped is not None, f"{len(TRIES)} seeds saw nothing wrong with {name}"
    assert tripped.invariant is invariant, tripped.broken
    assert run(tripped.seed, engine).digest == tripped.digest


def test_a_seed_gives_the_same_bytes_in_any_process() -> None:
    command = [sys.executable, "-m", "simulate", "--seed", "1", "--trace"]
    printed = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": "4711"}, capture_output=True, text=True, check=True
    )
    ran = run(1, kept=None)
    assert printed.stdout.splitlines()[:-1] == ran.trace
    assert ran.digest in printed.stdout.splitlines()[-1]


def test_another_seed_is_another_run() -> None:
    assert run(1).digest != run(2).digest


def test_what_struck_too_seldom_is_named() -> None:
    coverage = Coverage()
    for _ in range(LEAST):
        coverage.note(Fault.KILLED, "owner: folded")
    lacking = coverage.lacking()
    assert not [name for name in lacking if name.startswith(("killed (", "owner: folded"))]
    assert "power lost (0)" in lacking
    assert "owner: appended (0)" in lacking


@pytest.fixture(scope="module")
def met() -> Iterator[Coverage]:
    """What the seeds of the whole suite have met so far."""
    gc.freeze()  # or the collector looks again and again at all that was imported: a tenth of the time
    yield Coverage()
    gc.unfreeze()


@pytest.mark.simulation
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_invariant_holds_in_every_seed(first: int, met: Coverage) -> None:
    for seed in range(first, first + CHUNK):
        ran = run(seed)
        ensure_good(ran)
        met.add(ran.coverage)


@pytest.mark.simulation
def test_every_fault_struck_and_processes_ended_everywhere(met: Coverage) -> None:
    assert met.lacking() == [], met.table()
