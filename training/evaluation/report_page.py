"""``report.html``: the report on one page that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from training.evaluation.charts import interval_chart, line_chart
from training.evaluation.intervals import Interval
from training.evaluation.metrics import CalibrationBin, expected_calibration_error

if TYPE_CHECKING:
    from training.evaluation.report import Curve, GroupScores, ModelScores, Report

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1c1c1c; background: #fff; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } .wide { overflow-x: auto }
td, th { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
td:first-child, th:first-child { text-align: left } small { color: #666 }
svg { max-width: 100%; height: auto; font: 11px system-ui, sans-serif } svg text { fill: #333 }
.grid { stroke: #ddd } .ideal { stroke: #888; stroke-dasharray: 4 4 }
"""  # noqa: E501


def page(report: Report) -> str:
    """The whole page. All names are escaped: they come from data."""
    sections = (
        _table("Test", {name: scores.test for name, scores in report.models.items()}),
        _first_metric(report.models),
        _table("Validation", {name: scores.validation for name, scores in report.models.items() if scores.validation}),
        _table("Paired differences on the test part", {"": report.differences}, by_row=True),
        _numbers("Beyond accuracy", report.beyond),
        *(_group(scores) for scores in report.groups),
        *(_curve(curve) for curve in report.curves),
        _calibration(report.calibration),
        _pairs("Weights", {name: f"{value:.4f}" for name, value in report.chosen.items()}),
        _pairs("Settings", {name: str(value) for name, value in report.settings.items()}),
    )
    sizes = ", ".join(f"{escape(name)} {size:,}" for name, size in report.split.items())
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation</title>'
        f"<style>{_STYLE}</style><h1>Evaluation</h1><p>{escape(report.protocol)}</p>"
        f"<p>{sizes} · seed {report.seed} · {report.seconds:.0f} s</p><ul>{notes}</ul>{''.join(sections)}</html>\n"
    )


def _cell(interval: Interval) -> str:
    if not math.isfinite(interval.value):
        return "<td>–</td>"
    bounds = f" <small>[{interval.low:.4f}, {interval.high:.4f}]</small>" if math.isfinite(interval.low) else ""
    return f"<td>{interval.value:.4f}{bounds}</td>"


def _table(title: str, rows: Mapping[str, Mapping[str, Interval]], by_row: bool = False) -> str:
    """One row per model and one column per metric, or one row per interval."""
    if not any(rows.values()):
        return ""
    if by_row:
        lines = [f"<tr><td>{escape(n)}</td>{_cell(i)}</tr>" for row in rows.values() for n, i in row.items()]
        return f"<h2>{title}</h2><table>{''.join(lines)}</table>"
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    lines = [
        f"<tr><td>{escape(name)}</td>{''.join(_cell(row[c]) if c in row else '<td>–</td>' for c in columns)}</tr>"
        for name, row in rows.items()
    ]
    return f'<h2>{title}</h2><div class="wide"><table><tr><th></th>{head}</tr>{"".join(lines)}</table></div>'


def _first_metric(models: Mapping[str, ModelScores]) -> str:
    metrics = [metric for scores in models.values() for metric in scores.test]
    if not metrics:
        return ""
    return interval_chart({name: m.test[metrics[0]] for name, m in models.items() if metrics[0] in m.test}, metrics[0])


def _numbers(title: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    unknown = Interval(math.nan, math.nan, math.nan)
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    exact = {
        name: {c: Interval(row[c], math.nan, math.nan) if c in row else unknown for c in columns}
        for name, row in rows.items()
    }
    return _table(title, exact)


def _group(scores: GroupScores) -> str:
    rows = {f"{name} ({count:,})": interval for name, (interval, count) in scores.groups.items()}
    title = f"{escape(scores.metric)} by {escape(scores.attribute)}"
    return f"<h2>{title}</h2><p>Largest gap {scores.gap:.4f}</p>{interval_chart(rows, scores.metric)}"


def _curve(curve: Curve) -> str:
    return f"<h2>{escape(curve.title)}</h2>{line_chart(curve.lines, curve.x, curve.y)}"


def _calibration(bins: Mapping[str, Sequence[CalibrationBin]]) -> str:
    if not bins:
        return ""
    lines = {
        f"{name} (ECE {expected_calibration_error(parts):.4f})": [(part.predicted, part.observed) for part in parts]
        for name, parts in bins.items()
    }
    return f"<h2>Calibration</h2>{line_chart(lines, 'predicted', 'observed', diagonal=True)}"


def _pairs(title: str, pairs: Mapping[str, str]) -> str:
    if not pairs:
        return ""
    lines = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in pairs.items())
    return f"<h2>{title}</h2><table>{lines}</table>"
