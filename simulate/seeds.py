"""Many seeds of the deterministic runtime, told in lines."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from events.errors import BadRequest
from simulate.coverage import LEAST, SEEDS, Coverage
from simulate.runtime import Ran, run


def span(text: str) -> range:
    """The seeds of ``A..B``, both included.

    >>> span("0..199")
    range(0, 200)
    """
    first, dots, last = text.partition("..")
    if not (dots and first.isdigit() and last.isdigit() and int(first) <= int(last)):
        raise BadRequest(f"--seeds {text!r}: give two numbers, the lower first, as in 0..199")
    return range(int(first), int(last) + 1)


def many(seeds: range, processes: int) -> bool:
    """Run all, print what failed and the table; whether everything held and, from `SEEDS` seeds on, everything struck
    often enough."""
    coverage, failed, steps = Coverage(), [], 0
    for ran in _ran(seeds, processes):
        coverage.add(ran.coverage)
        steps += ran.steps
        if ran.broken:
            failed.append(ran.seed)
            say("\n".join([*ran.trace, told(ran)]))
    lacking = coverage.lacking() if len(seeds) >= SEEDS else []
    say(coverage.table())
    say(f"{len(seeds)} seeds, {steps} steps, {coverage.faults} faults, {len(failed)} failed")
    for name in lacking:
        say(f"struck fewer than {LEAST} times: {name}")
    if failed:
        say(f"failed: {' '.join(map(str, failed))}; repeat one with python -m simulate --seed {failed[0]} --trace")
    return not failed and not lacking


def told(ran: Ran) -> str:
    """A run in one line.

    >>> told(Ran(7, 2000, Coverage(), 5, 4, 3, "ab12", []))
    'seed 7: 2000 steps, 0 faults, 5 facts, 4 answers, 3 with chance; digest ab12; all invariants hold'
    """
    held = f"BROKEN: {ran.broken}" if ran.broken else "all invariants hold"
    return (
        f"seed {ran.seed}: {ran.steps} steps, {ran.faults} faults, {ran.facts} facts, {ran.answers} answers, "
        f"{ran.explored} with chance; digest {ran.digest}; {held}"
    )


def _ran(seeds: Iterable[int], processes: int) -> Iterator[Ran]:
    if processes == 1:
        gc.freeze()  # or the collector looks again and again at all that was imported: a tenth of the time
        yield from map(run, seeds)
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), gc.freeze) as pool:
        yield from pool.map(run, seeds, chunksize=8)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
