"""What a load run found, as ``report.json`` for machines and ``report.html`` for people.

A report is written however the run ended; what it never came to measure is null there and a dash here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from events.errors import BadRequest
from simulate.business import MEASURES, VISITS, Business, Verdict, verdict
from simulate.freshness import Freshness
from simulate.latency import Latencies
from simulate.load import KINDS, RECOMMEND, Tally, meaning_of, offered
from simulate.load_process import Job, Outcome, Seen
from simulate.service_memory import Samples, growth_per_minute
from training.evaluation.charts import line_chart

POINTS_MAX: Final = 120
"""Per line of a plot; longer runs are drawn in wider steps."""
SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
Line: TypeAlias = "list[tuple[float, float]]"


@dataclass(frozen=True)
class Plot:
    """Lines over one x axis; ``key``: its name in the JSON."""

    key: str
    title: str
    x: str
    y: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True)
class Timed:
    """Requests of one kind. ``latency_ms``: of those answered well or given up by us, from when they were due."""

    requests: int
    good_per_s: float
    outcomes: Mapping[str, int]
    latency_ms: Mapping[str, float]


@dataclass(frozen=True)
class LoadReport:
    """See the fields' names; rates are per second of the run, shares in [0, 1]."""

    target: str
    scenario: str
    begun: str
    plan: Mapping[str, object]
    faults: Sequence[str]
    """Why the run did not go as planned, in words. Empty: it did."""
    lasted_s: float = math.nan
    offered_per_s: float = math.nan
    """What an open loop meant to send; NaN in a closed one."""
    requests: int = 0
    good_per_s: float = math.nan
    error_share: float = math.nan
    """Of requests, retries apart."""
    kinds: Mapping[str, Timed] = field(default_factory=dict)
    events_acknowledged: int = 0
    events_per_s: float = math.nan
    events_given_up: int = 0
    events_backlog: int = 0
    """Messages that were not sent when the time was up."""
    freshness_ms: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """From sending an event to an answer that knows it; for people known before, and new."""
    freshness_probes: int = 0
    freshness_stale: int = 0
    """Probes whose event was not taken or not seen within ten seconds."""
    generator: Mapping[str, float] = field(default_factory=dict)
    service_memory: Mapping[str, float] = field(default_factory=dict)
    business: Verdict | None = None
    plots: Sequence[Plot] = ()


def report_of(job: Job, begun: str, outcome: Outcome, samples: Samples) -> LoadReport:
    """Everything that was found, in numbers."""
    plan = job.plan
    faults = list(outcome.faults)
    planned = asdict(plan) | {"scenario": job.scenario.doc, "events_share": job.scenario.events_share}
    seen = outcome.seen
    if seen is None:
        return LoadReport(job.target.url, job.scenario.name, begun, planned, faults or ["the run never began"])
    tally = seen.tally
    lasted = max(tally.lasted_s, 1e-9)
    first = [sum(counts.values()) for kind, counts in tally.outcomes.items() if kind in KINDS[:2]]
    meant = math.nan if plan.closed else offered(plan, job.scenario.mix())
    if tally.stopped:
        faults.append(tally.stopped)
    faults += _own_faults(tally, seen)
    freshness = seen.freshness
    return LoadReport(
        target=job.target.url,
        scenario=job.scenario.name,
        begun=begun,
        plan=planned,
        faults=faults,
        lasted_s=tally.lasted_s,
        offered_per_s=meant,
        requests=sum(first),
        good_per_s=float(tally.good.sum()) / lasted,
        error_share=_share(int(tally.bad.sum()), int(tally.bad.sum() + tally.good.sum())),
        kinds={kind: _timed(tally, kind, lasted) for kind in KINDS if tally.outcomes[kind]},
        events_acknowledged=tally.events,
        events_per_s=tally.events / lasted,
        events_given_up=tally.given_up,
        events_backlog=seen.backlog,
        freshness_ms=_freshness(freshness),
        freshness_probes=freshness.known.number + freshness.new.number + freshness.stale if freshness else 0,
        freshness_stale=freshness.stale if freshness else 0,
        generator={
            "late_p99_ms": tally.late.quantiles((0.99,))[0] * 1000,
            "late_max_ms": tally.late.quantiles((1.0,))[0] * 1000,
            "never_due": tally.never_due,
            "cpu_s": seen.cpu_s,
            "peak_memory_mb": seen.memory / 1e6,
            "world_weeks": seen.world_weeks,
            "messages_lost": seen.lost,
            "answers_unread": seen.unread,
        },
        service_memory=_memory(samples),
        business=verdict(seen.business),
        plots=[*_over_time(tally), *_truths(seen.business), *_memory_plot(samples)],
    )


def _own_faults(tally: Tally, seen: Seen) -> list[str]:
    """What the generator itself fell short of: then figures are about it, not about the service."""
    found = []
    late = tally.late.quantiles((0.99,))[0]
    if tally.never_due > 0.01 * int(tally.good.sum() + tally.bad.sum()):
        found.append(f"the generator could not send {tally.never_due:,} requests in time: lower --rate")
    elif late > 0.05:
        found.append(f"the generator sent 1 % of its requests {late * 1000:.0f} ms late or later: lower --rate")
    if seen.lost:
        found.append(f"{seen.lost:,} messages were dropped: the scenario sends too few batches for what people do")
    return found


def _timed(tally: Tally, kind: str, lasted: float) -> Timed:
    outcomes = tally.outcomes[kind]
    good = sum(number for outcome, number in outcomes.items() if outcome[0] == "2")
    return Timed(sum(outcomes.values()), good / lasted, dict(outcomes.most_common()), _quantiles(tally.latency[kind]))


def _quantiles(latencies: Latencies) -> dict[str, float]:
    return {name: s * 1000 for name, s in zip(SHARES, latencies.quantiles(list(SHARES.values())), strict=True)}


def _freshness(found: Freshness | None) -> dict[str, dict[str, float]]:
    if found is None:
        return {}
    return {name: _quantiles(one) for name, one in (("known", found.known), ("new", found.new)) if one.number}


def _memory(samples: Samples) -> dict[str, float]:
    if not samples:
        return {}
    sizes = [size / 1e6 for _, size in samples]
    growth = growth_per_minute(samples) / 1e6
    return {"first_mb": sizes[0], "last_mb": sizes[-1], "most_mb": max(sizes), "growth_mb_per_minute": growth}


def _over_time(tally: Tally) -> list[Plot]:
    latency, stretches = tally.latency[RECOMMEND], len(tally.good)
    width = -(-stretches // POINTS_MAX)
    wide = width * latency.stretch_s
    at = [n * wide for n in range(-(-stretches // width))]
    plots = [
        Plot(
            "throughput",
            "Requests per second",
            "seconds",
            "requests/s",
            {"answered": _rates(tally.good, width, wide, at), "failed": _rates(tally.bad, width, wide, at)},
        )
    ]
    for kind in KINDS[:2]:
        if tally.latency[kind].number:
            lines = {
                name: [
                    (x, s * 1000) for x, s in zip(at, tally.latency[kind].over_time(SHARES[name], width), strict=True)
                ]
                for name in ("p50", "p99")
            }
            plots.append(Plot(f"latency_{kind}", f"Latency of {kind}", "seconds", "ms", lines))
    return plots


def _rates(counts: NDArray[np.int64], width: int, wide: float, at: Sequence[float]) -> Line:
    return [(x, float(counts[n * width : (n + 1) * width].sum()) / wide) for n, x in enumerate(at)]


def _truths(business: Business) -> list[Plot]:
    """Click rate and worth over time, and by acquaintance."""
    stretches = len(business.lists)
    width = -(-stretches // (POINTS_MAX // 4))
    starts = range(0, stretches, width)
    seconds = business.seconds / stretches
    rate: Line = []
    worth: dict[str, Line] = {name: [] for name in MEASURES}
    for start in starts:
        part = slice(start, start + width)
        seen, judged = int(business.seen[part].sum()), int(business.judged[part].sum())
        rate.append((start * seconds, _share(int(business.clicks[part].sum()), seen) * 100))
        for column, name in enumerate(MEASURES):
            worth[name].append((start * seconds, _share(float(business.worth[part, column].sum()), judged)))
    cold: dict[str, Line] = {name: [] for name in MEASURES}
    for step, judged in enumerate(business.judged_by_visits.tolist()):
        if judged:
            for column, name in enumerate(MEASURES):
                cold[name].append((float(VISITS[step]), float(business.worth_by_visits[step, column]) / judged))
    return [
        Plot("click_rate", "Click rate of slots that came into view", "seconds", "%", {"click rate": rate}),
        Plot("worth", "Expected clicks per list", "seconds", "clicks", worth),
        Plot("cold_start", "Expected clicks per list by visits before", "visits before", "clicks", cold),
    ]


def _memory_plot(samples: Samples) -> list[Plot]:
    lines = {"all processes": [(at, size / 1e6) for at, size in samples]}
    return [Plot("service_memory", "Memory of the service", "seconds", "MB", lines)] if samples else []


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def write(report: LoadReport, out: Path) -> None:
    """``report.json`` and ``report.html`` into the folder ``out``, made if missing. Raises `BadRequest`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        _replace(out / "report.json", as_json(report))
        _replace(out / "report.html", page(report).encode())
    except OSError as error:
        raise BadRequest(f"{out}: the report cannot be written ({error.strerror}): choose another --report") from None


def _replace(path: Path, content: bytes) -> None:
    """A reader sees the old report or the new one, never half of it."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    beside.write_bytes(content)
    beside.replace(path)


def as_json(report: LoadReport) -> bytes:
    """Indented; what is not known is null."""
    return orjson.dumps(asdict(report), option=orjson.OPT_INDENT_2)


_STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1c1c1c; background: #fff; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem } .fault { color: #a02020 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
td:first-child, th:first-child { text-align: left }
svg { max-width: 100%; height: auto; font: 11px system-ui, sans-serif } .grid { stroke: #ddd }
"""


def page(report: LoadReport) -> str:
    """The page; it needs nothing else. Everything is escaped."""
    faults = "".join(f'<li class="fault">{escape(fault)}</li>' for fault in report.faults)
    parts = (
        _table("Requests", _headline(report)),
        _kinds(report.kinds),
        _table("Freshness: event sent → answer that knows it, ms", _fresh(report)),
        _table("What the lists were worth", _worth(report.business) if report.business else []),
        "".join(
            f"<h2>{escape(plot.title)}</h2>{line_chart(plot.lines, plot.x, plot.y)}"
            for plot in report.plots
            if any(plot.lines.values())
        ),
        _table("Memory of the service", [(k, _number(v)) for k, v in report.service_memory.items()]),
        _table("The generator", [(k, _number(v)) for k, v in report.generator.items()]),
        _table("Plan", [(k, str(v)) for k, v in report.plan.items()]),
    )
    title = f"Load: {report.scenario}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"<h1>{escape(title)}</h1><p>{escape(report.target)}, {escape(report.begun)}</p><ul>{faults}</ul>"
        f"{''.join(parts)}</html>\n"
    )


def _headline(report: LoadReport) -> list[tuple[str, str]]:
    return [
        ("seconds", _number(report.lasted_s)),
        ("offered per second", _number(report.offered_per_s)),
        ("answered well per second", _number(report.good_per_s)),
        ("errors, % of requests", _number(report.error_share * 100)),
        ("events acknowledged per second", _number(report.events_per_s)),
        ("events given up", f"{report.events_given_up:,}"),
    ]


def _kinds(kinds: Mapping[str, Timed]) -> str:
    if not kinds:
        return ""
    head = "".join(f"<th>{name}</th>" for name in ("", "requests", "per second", *SHARES, "outcomes"))
    rows = []
    for kind, one in kinds.items():
        ended = ", ".join(f"{meaning_of(outcome)}: {number:,}" for outcome, number in one.outcomes.items())
        cells = (f"{one.requests:,}", _number(one.good_per_s), *(_number(one.latency_ms[name]) for name in SHARES))
        row = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f"<tr><td>{escape(kind)}</td>{row}<td>{escape(ended)}</td></tr>")
    return f"<h2>Latency, ms from when a request was due</h2><table><tr>{head}</tr>{''.join(rows)}</table>"


def _fresh(report: LoadReport) -> list[tuple[str, str]]:
    rows = [
        (f"{who}, {name}", _number(ms))
        for who, quantiles in report.freshness_ms.items()
        for name, ms in quantiles.items()
        if name in ("p50", "p99", "max")
    ]
    return [*rows, ("probes", f"{report.freshness_probes:,}"), ("stale", f"{report.freshness_stale:,}")] if rows else []


def _worth(found: Verdict) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), _number(float(value))) for name, value in asdict(found).items()]


def _table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    if not rows:
        return ""
    lines = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<h2>{escape(title)}</h2><table>{lines}</table>"


def _number(value: float) -> str:
    """
    >>> _number(1234567.0), _number(12.3456), _number(0.0123), _number(float("nan"))
    ('1,234,567', '12.35', '0.0123', '–')
    """
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"
