"""``everfold evaluate`` as somebody types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from serving.cli import app
from serving.evaluate_command import data_of
from training.evaluation.journey import PACKAGE


def events(folder: Path, users: int = 30, length: int = 8) -> Path:
    """Walks upwards through 20 items, in time."""
    rng = np.random.default_rng(0)
    lines = ["user,item,time"]
    acts = [
        (user * 7919 % 1000 + 40_000 * step, user, (user + step + int(rng.random() < 0.2)) % 20)
        for user in range(users)
        for step in range(length)
    ]
    lines += [f"u{user},i{item},{1_600_000_000 + at}" for at, user, item in sorted(acts)]
    (folder / "events.csv").write_text("\n".join(lines) + "\n")
    return folder


def asked(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "serving.cli", "evaluate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("split", ["", "leave-last-out", "per-session", "cross-validation"])
def test_a_folder_of_events_gets_its_report(tmp_path: Path, split: str) -> None:
    chosen = ["--split", split] if split else []
    out = tmp_path / "out"
    arguments = ["evaluate", "--format", "csv", "--data", str(events(tmp_path)), *chosen, "--report", str(out)]
    said = CliRunner().invoke(app, arguments)
    assert said.exit_code == 0, said.output
    report = json.loads((out / "report.json").read_text())
    assert {"popularity", "personal_frequency", "item_knn", "ensemble"} < set(report["models"])
    assert set(report["models"]["ensemble"]["test"]["ndcg@10"]) == {"value", "low", "high"}
    assert (out / "report.html").read_text().startswith("<!doctype html>")


def test_bad_input_ends_with_one_line_and_code_1(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user,item,time\na,b,50\na,c,40\n")
    said = asked("--format", "csv", "--data", str(tmp_path), "--report", str(tmp_path / "out"))
    assert said.returncode == 1
    assert said.stderr == f"error: {tmp_path / 'a.csv'} line 3: time runs backwards for user a: sort the file by time\n"
    assert "Traceback" not in said.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "parquet"], "--format parquet is not known: use one of"),
        (["--format", "csv", "--split", "random"], "--split random is not known"),
        (["--format", "csv", "--encoding", "klingon"], "--encoding klingon is not known"),
    ],
)
def test_an_unknown_word_is_answered_with_the_known_ones(tmp_path: Path, arguments: list[str], message: str) -> None:
    data = events(tmp_path)
    said = CliRunner().invoke(app, ["evaluate", "--data", str(data), "--report", str(tmp_path / "out"), *arguments])
    assert said.exit_code == 1
    assert message in str(said.exception)


def test_a_folder_without_data_is_named_and_nothing_else_is_measured_instead(tmp_path: Path) -> None:
    empty, out = tmp_path / "empty", tmp_path / "out"
    empty.mkdir()
    said = CliRunner().invoke(app, ["evaluate", "--format", "journey", "--data", str(empty), "--report", str(out)])
    assert said.exit_code == 1
    assert f"{empty} is an empty folder" in str(said.exception)
    said = CliRunner().invoke(app, ["evaluate", "--format", "csv", "--report", str(out)])
    assert "--data is missing: name the folder" in str(said.exception)
    assert not out.exists()


def test_the_journey_without_a_folder_is_the_installed_one() -> None:
    assert data_of("journey", None) == Path(PACKAGE)
    assert data_of("journey", Path("x")) == data_of("csv", Path("x")) == Path("x")
