"""The report as machines and people read it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from events.errors import BadRequest
from training.evaluation.intervals import Interval
from training.evaluation.metrics import CalibrationBin
from training.evaluation.report import ENSEMBLE, Curve, GroupScores, ModelScores, Report, as_json, write

SCORES = {"ndcg@10": Interval(0.2, 0.18, 0.22), "hr@10": Interval(0.3, 0.28, 0.32)}
REPORT = Report(
    protocol="leave-last-out <b>",
    seed=7,
    split={"train": 10, "test": 2},
    models={"popularity": ModelScores(SCORES), ENSEMBLE: ModelScores(SCORES, SCORES)},
    chosen={"ease.z": 0.5},
    seconds=1.5,
    differences={"ensemble - popularity: ndcg@10": Interval(0.1, 0.05, 0.15)},
    beyond={"popularity": {"coverage@10": 0.5, "nothing": float("nan")}},
    groups=[GroupScores("gender", "ndcg@10", {"F": (Interval(0.1, 0.0, 0.2), 3), "M": (Interval(0.3, 0.2, 0.4), 4)})],
    curves=[Curve("learning", "users", "ndcg@10", {"ensemble": [(1, 0.1), (2, 0.2)]})],
    calibration={ENSEMBLE: [CalibrationBin(0.1, 0.2, 5)]},
)


def test_the_json_has_the_published_shape(tmp_path: Path) -> None:
    write(REPORT, tmp_path / "new" / "out")
    found = json.loads((tmp_path / "new" / "out" / "report.json").read_text())
    assert found["models"]["ensemble"]["test"]["ndcg@10"] == {"value": 0.2, "low": 0.18, "high": 0.22}
    assert found["models"]["popularity"]["validation"] == {}
    assert found["split"] == {"train": 10, "test": 2}
    assert found["chosen"] == {"ease.z": 0.5}
    assert found["seconds"] == 1.5
    assert found["groups"][0]["gap"] == pytest.approx(0.2)
    assert found["beyond"]["popularity"] == {"coverage@10": 0.5, "nothing": None}
    assert found["calibration"]["ensemble"] == [{"predicted": 0.1, "observed": 0.2, "count": 5}]


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(tmp_path: Path) -> None:
    write(REPORT, tmp_path)
    html = (tmp_path / "report.html").read_text()
    assert "leave-last-out &lt;b&gt;" in html
    assert html.count("<svg") == 4
    assert not re.search(r"<script|https?://|src=|@import", html)


def test_two_writes_of_one_report_are_the_same_bytes() -> None:
    assert as_json(REPORT) == as_json(REPORT)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadRequest, match=r"file.*cannot be written"):
        write(REPORT, tmp_path / "file")
