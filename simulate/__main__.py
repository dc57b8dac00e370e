"""``python -m simulate``: runs of the deterministic runtime, by seed.

python -m simulate --seed 17            one run, the same bytes every time
python -m simulate --seed 17 --trace    with everything that happened
python -m simulate --seeds 0..199       many, with the table of what struck where
python -m simulate --seeds 0..9999 --processes 2
python -m simulate calibrate            the world beside a grocer's year, into docs/world.md
python -m simulate drift --scripts "taste_swap;none" --seeds 1..5
python -m simulate regret --policies "ensemble;popularity" --seeds 1..5 --lists 200000
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Final

import typer

from events.errors import BadRequest, EverfoldError
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


@app.command()
def calibrate(
    docs: Annotated[Path, typer.Option(help="The project's docs folder.")] = Path("docs"),
    seed: Annotated[int, typer.Option(help="Of the world.")] = 1,
) -> None:
    """Measure the world and The Complete Journey side by side; write the table and plots into the docs."""
    try:
        say(import_module("simulate.calibrate_command").calibrate(docs, seed))
    except EverfoldError as error:
        raise typer.BadParameter(str(error)) from None


@app.command()
def regret(
    policies: Annotated[str, typer.Option(help="Separated by ;, as in 'ensemble;popularity'.")] = "ensemble;popularity",
    seeds: Annotated[str, typer.Option(help="As in 1..5.")] = "1..1",
    lists: Annotated[int, typer.Option(help="By each.")] = 20_000,
    scenario: Annotated[str, typer.Option(help="The world.")] = "calibrated",
    script: Annotated[str, typer.Option(help="What changes in it.")] = "none",
    change_week: Annotated[float, typer.Option(help="When it does; lists begin at week 6.")] = 8.0,
    report: Annotated[Path, typer.Option(help="Where runs, table and plot go.")] = Path("regret"),
    processes: Annotated[int, typer.Option(min=1, max=64)] = 1,
) -> None:
    """Let policies fill lists in the same world, in process, and count what they missed."""
    command = import_module("simulate.regret_command")
    names = [name.strip() for name in policies.split(";") if name.strip()]
    try:
        runs = command.measure(names, span(seeds), lists, scenario, script, change_week, report, processes, say)
    except EverfoldError as error:
        raise typer.BadParameter(str(error)) from None
    say(command.table(runs))


@app.command()
def drift(
    scripts: Annotated[str, typer.Option(help="Separated by ;.")] = "taste_swap;none",
    seeds: Annotated[str, typer.Option(help="As in 1..5.")] = "1..2",
    calm_weeks: Annotated[float, typer.Option(help="Before the change.")] = 2.3,
    weeks: Annotated[float, typer.Option(help="In all.")] = 3.6,
) -> None:
    """Let the drift monitor watch worlds that change at a known moment: delay and false alarms."""
    delay, known = import_module("simulate.drift_delay"), import_module("simulate.drift_script").SCRIPTS
    names = [name.strip() for name in scripts.split(";") if name.strip()]
    if wrong := [name for name in names if name not in known]:
        raise typer.BadParameter(f"{wrong[0]!r} is unknown: use one of {', '.join(known)}")
    spec = import_module("simulate.world_spec").CALIBRATED
    try:
        say(delay.told([delay.watch(spec, seed, name, calm_weeks, weeks) for name in names for seed in span(seeds)]))
    except EverfoldError as error:
        raise typer.BadParameter(str(error)) from None


if __name__ == "__main__":
    app()
