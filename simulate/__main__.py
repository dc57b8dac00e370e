"""``python -m simulate``: runs of the deterministic runtime, by seed.

python -m simulate --seed 17            one run, the same bytes every time
python -m simulate --seed 17 --trace    with everything that happened
python -m simulate --seeds 0..199       many, with the table of what struck where
python -m simulate --seeds 0..9999 --processes 2
"""

from __future__ import annotations

from typing import Annotated, Final

import typer

from events.errors import BadRequest
from simulate.runtime import run
from simulate.seeds import many, say, span, told

LATEST: Final = 40
"""Lines of the trace that a failing seed is printed with."""

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    seed: Annotated[int | None, typer.Option(min=0, help="Run this one.")] = None,
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
        say("\n".join([*(ran.trace if trace or ran.broken else ()), told(ran)]))
        good = not ran.broken
    else:
        try:
            wanted = span(seeds)
        except BadRequest as error:
            raise typer.BadParameter(str(error)) from None
        good = many(wanted, processes)
    raise typer.Exit(0 if good else 1)


if __name__ == "__main__":
    app()
