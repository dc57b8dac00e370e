"""What an evaluation found, as ``report.json`` for machines and ``report.html`` for people.

    {"protocol": "...", "seed": 0, "split": {"train": 0, "validation": 0, "test": 0},
     "models": {"ensemble": {"validation": {...}, "test": {"ndcg@10": {"value": 0, "low": 0, "high": 0}}}},
     "chosen": {"ease.z": 0.0}, "seconds": 0.0, "settings": {...}, "notes": [...],
     "differences": {...}, "beyond": {...}, "groups": [...], "curves": [...], "calibration": {...}}

The blend stands under ``models.ensemble``. Everything but ``seconds`` depends on data and seed alone.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import orjson

from events.errors import BadRequest
from training.evaluation.intervals import Interval
from training.evaluation.metrics import CalibrationBin
from training.evaluation.report_page import page

ENSEMBLE: Final = "ensemble"
"""The name the blend has in every report."""

Setting: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True)
class ModelScores:
    """Metrics of one model by name (``ndcg@10``) on both parts. ``validation`` may be empty."""

    test: Mapping[str, Interval]
    validation: Mapping[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Curve:
    """Lines over one x axis, such as learning curves: name → points (x, y), x rising."""

    title: str
    x: str
    y: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class GroupScores:
    """One metric of one model for the groups of an attribute: group → (interval, people in it)."""

    attribute: str
    metric: str
    groups: Mapping[str, tuple[Interval, int]]

    @property
    def gap(self) -> float:
        """Largest difference between two groups' means."""
        values = [interval.value for interval, _ in self.groups.values()]
        return max(values) - min(values) if values else 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """Everything one run of one protocol found."""

    protocol: str
    """One sentence: split, what is ranked, how ties count."""
    seed: int
    split: Mapping[str, int]
    """Sizes: train, validation, test, and what else the protocol counts."""
    models: Mapping[str, ModelScores]
    chosen: Mapping[str, float]
    """Weights of the blend, by feature."""
    seconds: float
    """How long the run took on the clock."""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """Hyper-parameters and where they come from."""
    notes: Sequence[str] = ()
    differences: Mapping[str, Interval] = field(default_factory=dict)
    """Paired differences on the test part, such as ``ensemble - popularity: ndcg@10``."""
    beyond: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Model → what is not accuracy: coverage, novelty, diversity, exposure, calibration of categories, CPU seconds."""
    groups: Sequence[GroupScores] = ()
    curves: Sequence[Curve] = ()
    calibration: Mapping[str, Sequence[CalibrationBin]] = field(default_factory=dict)
    """Model → bins of predicted probability."""


def write(report: Report, out: Path) -> None:
    """Writes ``report.json`` and ``report.html`` into the folder ``out``, made if missing.

    Raises `BadRequest` where the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        _replace(out / "report.json", as_json(report))
        _replace(out / "report.html", page(report).encode())
    except OSError as error:
        raise BadRequest(f"{out}: the report cannot be written ({error.strerror}): choose another --report") from None


def as_json(report: Report) -> bytes:
    """``report.json``: indented, no NaN (null in its place)."""
    return orjson.dumps(
        {
            "protocol": report.protocol,
            "seed": report.seed,
            "split": dict(report.split),
            "models": {
                name: {"validation": _intervals(scores.validation), "test": _intervals(scores.test)}
                for name, scores in report.models.items()
            },
            "chosen": dict(report.chosen),
            "seconds": report.seconds,
            "settings": dict(report.settings),
            "notes": list(report.notes),
            "differences": _intervals(report.differences),
            "beyond": {name: dict(values) for name, values in report.beyond.items()},
            "groups": [_group(scores) for scores in report.groups],
            "curves": [_curve(curve) for curve in report.curves],
            "calibration": {name: list(bins) for name, bins in report.calibration.items()},
        },
        option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY,
    )


Numbers: TypeAlias = dict[str, float | None]


def _interval(interval: Interval) -> Numbers:
    return {"value": _number(interval.value), "low": _number(interval.low), "high": _number(interval.high)}


def _intervals(intervals: Mapping[str, Interval]) -> dict[str, Numbers]:
    return {name: _interval(interval) for name, interval in intervals.items()}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _group(scores: GroupScores) -> dict[str, object]:
    groups = {name: {**_interval(interval), "people": count} for name, (interval, count) in scores.groups.items()}
    return {"attribute": scores.attribute, "metric": scores.metric, "gap": _number(scores.gap), "groups": groups}


def _curve(curve: Curve) -> dict[str, object]:
    lines = {name: [list(point) for point in points] for name, points in curve.lines.items()}
    return {"title": curve.title, "x": curve.x, "y": curve.y, "lines": lines}


def _replace(path: Path, content: bytes) -> None:
    """A reader sees the old report or the new one, never half of it."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    beside.write_bytes(content)
    beside.replace(path)
