"""``everfold``: the command line. Every command imports what it needs when it runs, so that help is instant."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(
    help="Everfold: real-time personalization from one event log.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Data = Annotated[Path, typer.Option("--data", help="The data folder.", show_default=True)]
DEFAULT_DATA = Path(".everfold")
export = typer.Typer(help="Write files for notebooks.", no_args_is_help=True)
app.add_typer(export, name="export")


@app.command()
def up(
    data: Data = DEFAULT_DATA,
    port: Annotated[Optional[int], typer.Option(help="Port to listen on; 0: any free one. [default: 8000]")] = None,  # noqa: UP045
    host: Annotated[Optional[str], typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,  # noqa: UP045
    demo: Annotated[
        bool, typer.Option(help="Import The Complete Journey once, open the page on this machine.")
    ] = False,
) -> None:
    """Start a service in the foreground, over a new store or the one in the data folder."""
    import os

    from rich.console import Console

    from events.clock import SystemClock
    from serving.up import UpOptions, run_up

    run_up(UpOptions(data, host, port, demo), os.environ, SystemClock(), Console(highlight=False))


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(help="'journey', or a file of events: JSON lines or CSV.")],
    data: Data = DEFAULT_DATA,
    address: Annotated[str, typer.Option(help="The running service.")] = "http://127.0.0.1:8000",
    mapping: Annotated[
        str, typer.Option(help="Columns of a file: user=customer,item=sku,event='Product Viewed'.")
    ] = "",
    keep_times: Annotated[
        bool, typer.Option("--keep-times", help="Do not shift the journey's times to today.")
    ] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Pass over rows that cannot be read.")] = False,
    quiet_when_done: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Take a history into a running service; one that was interrupted goes on where it stopped."""
    from serving.commands import Importing, import_history

    import_history(Importing(source, data, address, mapping, keep_times, skip_bad, quiet_when_done))


@app.command()
def verify(data: Data = DEFAULT_DATA) -> None:
    """Fold the log again and compare with the live state; beside a running service or on a stopped folder."""
    from serving.commands import verify_store

    if not verify_store(data):
        raise typer.Exit(1)


@app.command()
def backup(dest: Annotated[Path, typer.Argument(help="A new folder.")], data: Data = DEFAULT_DATA) -> None:
    """Copy the data, without the master key, beside a running service or from a stopped folder."""
    from serving.commands import back_up

    back_up(data, dest)


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A backup.")],
    master_key: Annotated[Path, typer.Option(help="The master key, kept elsewhere.")],
    data: Data = DEFAULT_DATA,
) -> None:
    """Make a store out of a backup and its master key."""
    from serving.commands import restore_store

    restore_store(source, data, master_key)


@app.command()
def repartition(
    dest: Annotated[Path, typer.Argument(help="A new folder.")],
    partitions: Annotated[int, typer.Option(min=1, max=4096)],
    data: Data = DEFAULT_DATA,
) -> None:
    """Write a stopped store again with another number of partitions."""
    from serving.commands import repartition_store

    repartition_store(data, dest, partitions)


@app.command()
def log(
    data: Data = DEFAULT_DATA,
    partition: Annotated[int, typer.Option(min=0, help="Which partition's log.")] = 0,
    start: Annotated[Optional[int], typer.Option(help="First LSN. [default: the newest records]")] = None,  # noqa: UP045
    limit: Annotated[int, typer.Option(min=1)] = 20,
    payloads: Annotated[bool, typer.Option("--payloads", help="Unseal what the records say (personal data).")] = False,
) -> None:
    """Show records of the log, one JSON object a line."""
    from serving.commands import Looking, show_log

    show_log(Looking(data, partition, start, limit, payloads))


@export.command()
def decisions(
    out: Annotated[Path, typer.Option("--out", help="The Parquet file to write.")],
    since: Annotated[str, typer.Option(help="How far back: 7d, 36h, 90m, or a moment in ISO 8601.")] = "7d",
    data: Data = DEFAULT_DATA,
) -> None:
    """Shown items with features, propensities, impressions and outcomes, one row each (personal data)."""
    import os

    from rich.console import Console

    from events.clock import SystemClock
    from serving.export_command import Exporting, export_decisions, print_exported
    from serving.settings import Settings

    what, windows = Exporting(data, since, out), Settings.load(data, os.environ).learning.learner().windows
    print_exported(what, export_decisions(what, SystemClock(), windows), Console(highlight=False))


@app.command("evaluate")
def evaluate(
    report: Annotated[Path, typer.Option("--report", help="Folder for report.json and report.html.")],
    format_name: Annotated[str, typer.Option("--format", help="ml-1m, s3rec, csv, ...: see docs/evaluation.md.")],
    data: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--data", help="Folder (or file) of the data. Journey: left out, the installed package's."),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            help="leave-last-out, tuning, timeline, per-session, cross-validation; journey: every-line, recommendable. "
            "[default: the format's]"
        ),
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of sampling and intervals.")] = 0,
    encoding: Annotated[str, typer.Option(help="Of event files.")] = "utf-8-sig",
    refit: Annotated[bool, typer.Option(help="Let columns learn from the validation rows before the test.")] = True,
) -> None:
    """Measure recommenders and their blend on a data set: full ranking, splits that respect time, intervals."""
    from rich.console import Console

    from serving.evaluate_command import data_of, run
    from training.evaluation.protocols import Evaluation

    console = Console(highlight=False)
    what = Evaluation(data_of(format_name, data), split, seed, encoding, refit, console.print)
    run(format_name, what, report, console)


@app.command("what-if")
def what_if(
    config: Annotated[Path, typer.Option("--config", help="An everfold.toml to be tried.")],
    since: Annotated[str, typer.Option(help="How far back: 7d, 36h, 90m, or a moment in ISO 8601.")] = "7d",
    profile: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="A user id (a:ID for an anonymous one) whose lists are shown before and after. Repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of folds and intervals.")] = 0,
    data: Data = DEFAULT_DATA,
) -> None:
    """Judge another configuration by the log: estimated lift with its interval. Exit code 1 where it cannot say."""
    import os

    from rich.console import Console

    from events.clock import SystemClock
    from serving.what_if_command import Supposing, suppose

    what = Supposing(config, data, since, tuple(profile or ()), seed)
    if not suppose(what, os.environ, SystemClock(), Console(highlight=False)):
        raise typer.Exit(1)


@app.command()
def retrain(
    data: Data = DEFAULT_DATA,
    address: Annotated[
        str, typer.Option(help="A Ray cluster: auto, host:port, ray://host:port. [default: a Ray of its own]")
    ] = "",
    service: Annotated[str, typer.Option(help="The running service. [default: the one over the data folder]")] = "",
    seed: Annotated[Optional[int], typer.Option(min=0, help="Of fits and samples. [default: the settings']")] = None,  # noqa: UP045
    cpus: Annotated[Optional[int], typer.Option(min=1, help="Of a Ray of its own. [default: all]")] = None,  # noqa: UP045
    promote: Annotated[bool, typer.Option(help="Have the service promote what the gate lets pass.")] = True,
    shadow_hours: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0, help="Shadow period without off-policy evidence. [default: the settings']"),
    ] = None,
    by: Annotated[str, typer.Option(hidden=True)] = "hand",
) -> None:
    """Fit models on the log, judge them against what serves, and promote what is not worse."""
    import os

    from rich.console import Console

    from events.clock import SystemClock
    from serving.retrain_command import Retraining, run_retrain

    what = Retraining(data.resolve(), address, service, by, seed, cpus, promote, shadow_hours)
    run_retrain(what, os.environ, SystemClock(), Console(highlight=False))


models = typer.Typer(help="Fitted models: list, compare, promote, roll back.", invoke_without_command=True)
app.add_typer(models, name="models")
Address = Annotated[str, typer.Option("--service", help="The running service. [default: the one over the data folder]")]


@models.callback()
def models_(context: typer.Context, data: Data = DEFAULT_DATA, service: Address = "") -> None:
    """List the models with the gate's verdicts."""
    context.default_map = {name: {"data": data, "service": service} for name in ("compare", "promote", "rollback")}
    if context.invoked_subcommand is None:
        from serving.models_command import list_models

        list_models(data, service)


@models.command("compare")
def models_compare(one: str, other: str, data: Data = DEFAULT_DATA, service: Address = "") -> None:
    """What two models reached, recommender by recommender."""
    from serving.models_command import compare_models

    compare_models(data, service, one, other)


@models.command("promote")
def models_promote(
    model: Annotated[str, typer.Argument(help="An id, or its beginning.")],
    reason: Annotated[str, typer.Option(help="For the record.")] = "",
    data: Data = DEFAULT_DATA,
    service: Address = "",
) -> None:
    """Have a model serve."""
    from serving.models_command import promote_model

    promote_model(data, service, model, reason)


@models.command("rollback")
def models_rollback(
    reason: Annotated[str, typer.Option(help="For the record.")] = "", data: Data = DEFAULT_DATA, service: Address = ""
) -> None:
    """Have the model before serve again."""
    from serving.models_command import roll_back

    roll_back(data, service, reason)


segments = typer.Typer(help="Segments: fit clusters of people, describe who is in which segment.")
app.add_typer(segments, name="segments", no_args_is_help=True)


@segments.command("fit")
def segments_fit(
    data: Data = DEFAULT_DATA,
    address: Annotated[
        str, typer.Option(help="A Ray cluster: auto, host:port, ray://host:port. [default: a Ray of its own]")
    ] = "",
    service: Annotated[str, typer.Option(help="The running service. [default: the one over the data folder]")] = "",
    seed: Annotated[Optional[int], typer.Option(min=0, help="Of the fit. [default: the settings']")] = None,  # noqa: UP045
    cpus: Annotated[Optional[int], typer.Option(min=1, help="Of a Ray of its own. [default: all]")] = None,  # noqa: UP045
    keep: Annotated[bool, typer.Option(help="Have the service go by what was found.")] = True,
) -> None:
    """Cluster everybody by what they do and are; names survive where the people do."""
    import os

    from rich.console import Console

    from events.clock import SystemClock
    from serving.segments_command import Fitting, fit_clusters

    what = Fitting(data.resolve(), address, service, seed, cpus, keep)
    fit_clusters(what, os.environ, SystemClock(), Console(highlight=False))


@segments.command("describe")
def segments_describe(
    source: Annotated[
        str, typer.Argument(help="`store`: the data folder; `journey`: The Complete Journey, without any store.")
    ] = "store",
    out: Annotated[Path, typer.Option("--out", help="Folder of segments.md and its plots.")] = Path("docs"),
    seed: Annotated[int, typer.Option(min=0, help="Of the journey's clusters.")] = 1,
    data: Data = DEFAULT_DATA,
) -> None:
    """Write how many people are in which segment and what sets them apart, as a page with plots."""
    from rich.console import Console

    from events.clock import SystemClock
    from serving.segments_page import Describing, describe_segments

    describe_segments(Describing(source, data.resolve(), out, seed), SystemClock(), Console(highlight=False))


@app.command()
def batch(
    out: Annotated[Path, typer.Option("--out", help="The Parquet file to write.")],
    surface: Annotated[str, typer.Option(help="Whose lists.")] = "home",
    n: Annotated[int, typer.Option(min=1, max=1000, help="Items per list.")] = 12,
    log_decisions: Annotated[
        bool, typer.Option("--log-decisions", help="Log each list as an answer, to be learned from and explained.")
    ] = False,
    address: Annotated[str, typer.Option(help="A Ray cluster of this machine: auto. [default: a Ray of its own]")] = "",
    cpus: Annotated[Optional[int], typer.Option(min=1, help="Of a Ray of its own. [default: all]")] = None,  # noqa: UP045
    data: Data = DEFAULT_DATA,
) -> None:
    """Write lists for everybody who allows it: large mailings, large catalogues."""
    import os

    from rich.console import Console

    from events.clock import SystemClock
    from serving.batch_command import Batch, run_batch

    what = Batch(data.resolve(), out, surface, n, log_decisions, address, cpus)
    run_batch(what, os.environ, SystemClock(), Console(highlight=False))


@app.command()
def simulate(
    target: Annotated[str, typer.Option(help="The one address that load goes to: http://host:port.")],
    report: Annotated[Path, typer.Option("--report", help="Folder for report.json and report.html.")],
    users: Annotated[int, typer.Option(help="People of the world.")] = 2_500,
    rate: Annotated[float, typer.Option(help="Requests per second, of all processes together.")] = 100.0,
    duration: Annotated[str, typer.Option(help="Seconds, or 90s, 10m, 1h.")] = "30s",
    scenario: Annotated[str, typer.Option(help="What people do, and what changes: see docs/load.md.")] = "shop",
    processes: Annotated[int, typer.Option(help="Processes that send.")] = 1,
    connections: Annotated[int, typer.Option(help="Per process, at most.")] = 64,
    closed: Annotated[
        bool, typer.Option("--closed", help="As fast as --connections go, one request after another: no --rate.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds after which a request is given up.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the world and of arrivals.")] = 0,
    judged: Annotated[int, typer.Option(min=1, help="Every how manieth list is held against the truth.")] = 4,
    probe: Annotated[bool, typer.Option(help="Measure freshness, by one event a second more.")] = True,
    anyway: Annotated[bool, typer.Option("--anyway", help="Also into a store that holds other items.")] = False,
    data: Annotated[
        Path, typer.Option("--data", help="The target's data folder: its keys, and its memory if it runs here.")
    ] = DEFAULT_DATA,
) -> None:
    """Let a simulated world use a running service; report latency, errors, freshness, and what lists were worth."""
    from importlib import import_module  # it stands above this room

    from rich.console import Console

    from events.clock import SystemClock

    load, command = import_module("simulate.load"), import_module("simulate.load_command")
    plan = load.Plan(
        users=users,
        rate=rate,
        duration_s=command.seconds_in(duration),
        processes=processes,
        closed=closed,
        connections=connections,
        timeout_s=timeout,
        seed=seed,
    )
    what = command.Simulating(target, data.resolve(), scenario, plan, report, judged, probe, anyway)
    if not command.simulate(what, SystemClock(), Console(highlight=False)):
        raise typer.Exit(1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(context: typer.Context) -> None:
    """Measure this machine: every figure of the README beside its floor (needs a source checkout)."""
    from importlib import import_module

    sys.path.insert(0, str(Path(__file__).parent.parent))
    try:
        module = import_module("benchmarks.__main__")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("benchmarks"):
            raise
        typer.echo("error: benchmarks are part of the source checkout: run this there", err=True)
        raise typer.Exit(1) from None
    module.main(context.args)


def main() -> None:
    """Entry point: expected failures become one line on standard error and exit code 1."""
    from events.errors import EverfoldError

    try:
        app()
    except EverfoldError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
