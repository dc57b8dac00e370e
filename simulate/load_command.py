"""``everfold simulate``: people of a simulated world as load on a running service, and the report."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from events.clock import Clock
from events.errors import BadRequest, BadSettings
from serving.keys import Keys
from simulate import load_process
from simulate.clients import Target
from simulate.load import Plan
from simulate.load_process import Job
from simulate.load_report import LoadReport, report_of, write
from simulate.payloads import stamp
from simulate.scenario import scenario
from simulate.service_memory import ServiceMemory

SAY_S: Final = 10.0
"""Between two lines of progress where there is no terminal."""
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Simulating:
    """What is to be run. ``data``: the folder of the target's keys; of its memory too, where it runs here."""

    target: str
    data: Path
    scenario: str
    plan: Plan
    out: Path
    judged: int = 4
    probe: bool = True
    anyway: bool = False


def seconds_in(text: str) -> float:
    """``90``, ``90s``, ``10m``, ``1h``. Raises `BadSettings`.

    >>> seconds_in("90"), seconds_in("10m")
    (90.0, 600.0)
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        seconds = float(number) * _UNITS[unit]
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise BadSettings(f"--duration {text!r}: use seconds, or 90s, 10m, 1h")
    return seconds


def simulate(what: Simulating, clock: Clock, console: Console) -> bool:
    """Runs, prints and writes the report; whether all went as planned. Raises `BadSettings` and `BadRequest` for what
    cannot be run or written at all."""
    chosen = scenario(what.scenario)
    target = Target.named(what.target, Keys.open(what.data, create=False))
    _writable(what.out)
    run, begun = secrets.token_hex(4), stamp(clock.now() // 1000)
    job = Job(what.plan, chosen, target, run, 0, what.judged, what.probe, what.anyway)
    console.print(f"{chosen.doc}: {what.plan.users:,} people, {_pace(what.plan)}, at {target.url}")
    with ServiceMemory(what.data) as memory, _Bar(what.plan, console) as bar:
        outcome = load_process.run(load_process.jobs(job), bar.show)
    report = report_of(job, begun, outcome, memory.samples)
    write(report, what.out)
    for line in summary(report):
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"report: {what.out / 'report.html'}", soft_wrap=True)
    return not [fault for fault in report.faults if fault != "interrupted"]


def _pace(plan: Plan) -> str:
    pace = f"{plan.connections * plan.processes} at a time" if plan.closed else f"{plan.rate:g} requests/s"
    return f"{pace} for {plan.duration_s:g} s"


def _writable(out: Path) -> None:
    """Better now than after ten minutes of load. Raises `BadRequest`."""
    probe = out / ".writable"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadRequest(f"{out}: no report can be written there ({error.strerror}): choose another --report") from None


def summary(report: LoadReport) -> list[str]:
    """The report in a few lines."""
    lines = [f"! {fault}" for fault in report.faults]
    if not math.isfinite(report.lasted_s):
        return lines
    lines.append(
        f"{report.good_per_s:,.0f} requests/s answered well over {report.lasted_s:.0f} s, "
        f"{report.error_share:.2%} errors, {report.events_per_s:,.0f} events/s acknowledged"
    )
    for kind, one in report.kinds.items():
        ms = one.latency_ms
        lines.append(f"{kind}: p50 {ms['p50']:.1f}, p99 {ms['p99']:.1f}, p99.9 {ms['p99.9']:.1f} ms")
    for who, found in report.freshness_ms.items():
        lines.append(f"event to changed answer, {who} people: p50 {found['p50']:.0f}, p99 {found['p99']:.0f} ms")
    if report.service_memory:
        memory = report.service_memory
        lines.append(f"memory of the service: {memory['first_mb']:,.0f} to {memory['last_mb']:,.0f} MB")
    if report.business is not None and report.business.judged:
        found_ = report.business
        lines.append(
            f"click rate {found_.clicks_per_seen:.2%}, worth {found_.of_oracle:.0%} of the oracle's lists, "
            f"regret {found_.regret_share:.2f} of popularity's"
        )
    return lines


class _Bar:
    """How it goes: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self._plan = plan
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._said = time.monotonic()

    def __enter__(self) -> _Bar:
        self._bar.start()
        self._task = self._bar.add_task("load", total=self._plan.duration_s, note="building the world")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, progress: Sequence[load_process.Progress]) -> None:
        assert self._task is not None
        seconds = max(one.seconds for one in progress)
        good, bad = sum(one.good for one in progress), sum(one.bad for one in progress)
        worst = max((one.p99_s for one in progress if math.isfinite(one.p99_s)), default=math.nan)
        note = f"{good / max(seconds, 0.1):,.0f} requests/s, p99 {worst * 1000:.0f} ms, {bad:,} failed"
        self._bar.update(self._task, completed=min(seconds, self._plan.duration_s), note=note)
        if not self._console.is_terminal and time.monotonic() - self._said >= SAY_S:
            self._said = time.monotonic()
            self._console.print(f"{seconds:.0f} s: {note}")
