"""``everfold evaluate``: an offline evaluation, its report on disk and its table on the terminal."""

from __future__ import annotations

import math
import time
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from events.errors import BadRequest
from training.evaluation.intervals import Interval
from training.evaluation.journey import PACKAGE
from training.evaluation.protocols import Evaluation, evaluate
from training.evaluation.report import Report, write


def data_of(format_name: str, given: Path | None) -> Path:
    """What to read: what was ``given``, or the installed package for The Complete Journey.

    Raises `BadRequest` for another format without data.
    """
    if given is not None:
        return given
    if format_name == "journey":
        return Path(PACKAGE)
    raise BadRequest(f"--data is missing: name the folder with the data of --format {format_name}")


def run(format_name: str, what: Evaluation, out: Path, console: Console) -> None:
    """Evaluates, writes ``out``/report.json and report.html and prints the test metrics.

    Raises `events.errors.EverfoldError` with what to do, as the loaders, protocols and `write` do.
    """
    cpu = time.process_time()
    report = evaluate(format_name, what)
    write(report, out)
    console.print(_table(report))
    console.print(f"{report.seconds:.0f} s ({time.process_time() - cpu:.0f} s CPU), {out / 'report.html'}")


def _table(report: Report) -> Table:
    """One row per model, the first two metrics with their intervals of 95 %: what fits a terminal of 80 columns."""
    metrics = list(dict.fromkeys(name for scores in report.models.values() for name in scores.test))
    shown = metrics[:2]
    table = Table(Column("test", no_wrap=True), *(Column(metric, no_wrap=True) for metric in shown))
    for name, scores in report.models.items():
        table.add_row(name, *(_cell(scores.test.get(metric)) for metric in shown))
    return table


def _cell(interval: Interval | None) -> str:
    if interval is None or not math.isfinite(interval.value):
        return "–"
    if not math.isfinite(interval.low):
        return f"{interval.value:.4f}"
    return f"{interval.value:.4f} ({interval.low:.4f}-{interval.high:.4f})"
