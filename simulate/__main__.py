"""``python -m simulate``: runs of the deterministic runtime, by seed.

python -m simulate --seed 17            one run, the same bytes every time
python -m simulate --seed 17 --trace    with everything that happened
python -m simulate --seeds 0..199       many, with the table of what struck where
python -m simulate --seeds 0..9999 --processes 2
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Annotated, Final

import typer

from simulate.coverage import LEAST, SEEDS, Coverage
from simulate.runtime import Ran, run

LATEST: Final = 40
"""Lines of the trace that a failing seed is printed with."""

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    seed: Annotated[int | None, typer.Option(help="Run this one.")] = None,
    seeds: Annotated[str, typer.Option(help="Run these, as in 0..199.")] = "",
    trace: Annotated[bool, typer.Option(help="With --seed: print everything that happened.")] = False,
    processes: Annotated[int, typer.Option(min=1, max=64, help="With --seeds: how many to use.")] = 1,
) -> None:
    """Run the engine in a simulation, under faults, and judge what must hold after every step."""
    if context.invoked_subcommand is not None:
        return
    if (seed is None) == (not seeds):
        raise typer.BadParameter("give --seed N or --seeds A..B")
    if seed is not None:
        ran = run(seed, kept=None if trace else LATEST)
        _say("\n".join([*(ran.trace if trace or ran.broken else ()), told(ran)]))
        good = not ran.broken
    else:
        good = many(span(seeds), processes)
    raise typer.Exit(0 if good else 1)


def span(text: str) -> range:
    """The seeds of ``A..B``, both included.

    >>> span("0..199")
    range(0, 200)
    """
    first, dots, last = text.partition("..")
    if not (dots and first.isdigit() and last.isdigit() and int(first) <= int(last)):
        raise typer.BadParameter(f"--seeds {text!r}: give two numbers, the lower first, as in 0..199")
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
            _say("\n".join([*ran.trace, told(ran)]))
    lacking = coverage.lacking() if len(seeds) >= SEEDS else []
    _say(coverage.table())
    _say(f"{len(seeds)} seeds, {steps} steps, {coverage.faults} faults, {len(failed)} failed")
    for name in lacking:
        _say(f"struck fewer than {LEAST} times: {name}")
    if failed:
        _say(f"failed: {' '.join(map(str, failed))}; repeat one with python -m simulate --seed {failed[0]} --trace")
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
        yield from map(run, seeds)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield from pool.map(run, seeds, chunksize=8)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    app()
