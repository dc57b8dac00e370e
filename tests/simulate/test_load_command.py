"""``everfold simulate`` from end to end: processes of its own, a target, a report on disk."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console
from service import Service
from targets import KEYS, Answering, answer, failing, hanging, nobody, target
from typer.testing import CliRunner

from events.clock import SystemClock
from events.errors import BadRequest, BadSettings
from serving.cli import app
from serving.keys import Keys
from simulate.load import Plan
from simulate.load_command import Simulating, seconds_in, simulate


def simulated(what: Simulating) -> tuple[bool, str, dict[str, object]]:
    """(whether all went as planned, what the terminal showed, the report)."""
    said = io.StringIO()
    well_done = simulate(what, SystemClock(), Console(file=said, width=100))
    return well_done, said.getvalue(), json.loads((what.out / "report.json").read_text())


@contextmanager
def standing(answering: Answering) -> Iterator[str]:
    """A target in a thread, by its address."""
    address: list[str] = []
    up, down = threading.Event(), threading.Event()

    async def serve() -> None:
        async with target(answering) as there:
            address.append(there.url)
            up.set()
            while not down.is_set():
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert up.wait(10)
        yield address[0]
    finally:
        down.set()
        thread.join(10)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with keys, as a service's."""
    (tmp_path / "data").mkdir()
    Keys.open(tmp_path / "data", create=True)
    return tmp_path / "data"


def test_two_processes_load_a_service_and_add_up(tmp_path: Path) -> None:
    with Service(tmp_path / "data") as service:
        plan = Plan(users=80, rate=60, duration_s=2.0, processes=2, connections=8)
        what = Simulating(service.address, tmp_path / "data", "shop", plan, tmp_path / "out")
        done, said, report = simulated(what)
    slow = [fault for fault in report["faults"] if "generator" in fault]  # type: ignore[attr-defined]
    assert report["faults"] == slow, said
    assert done is not bool(slow)
    assert report["error_share"] == 0
    assert report["requests"] == report["kinds"]["recommend"]["requests"] + report["kinds"]["events"]["requests"]  # type: ignore[index]
    assert report["business"]["lists"] == report["kinds"]["recommend"]["requests"]  # type: ignore[index]
    assert report["freshness_ms"]
    assert "requests/s answered well" in said
    assert (tmp_path / "out" / "report.html").read_text().startswith("<!doctype html>")


def test_a_sick_target_is_one_line_and_a_report_in_bounded_time(keys: Path, tmp_path: Path) -> None:
    """It takes the catalogue; batches fail and questions hang."""

    async def then(line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        if "/v1/items" in line:
            answer(writer)
        else:
            await (failing if "batch" in line else hanging)(line, body, writer)

    begun = time.monotonic()
    with standing(then) as address:
        plan = Plan(users=80, rate=50, duration_s=3_600, timeout_s=0.5, patience_s=1.0)
        done, shown, report = simulated(Simulating(address, keys, "shop", plan, tmp_path / "out", probe=False))
    assert not done
    assert "answered nothing useful" in shown
    assert any("no answer in time" in fault for fault in report["faults"])  # type: ignore[attr-defined]
    assert time.monotonic() - begun < 120


def test_an_unreachable_target_is_one_line_and_a_report(keys: Path, tmp_path: Path) -> None:
    done, shown, report = simulated(Simulating(nobody().url, keys, "shop", Plan(users=80), tmp_path / "out"))
    assert not done
    assert "did not take the catalogue: connection refused" in shown
    assert report["requests"] == 0


def test_what_cannot_be_run_is_refused_before_anything_is_sent(keys: Path, tmp_path: Path) -> None:
    plan, console = Plan(), Console(file=io.StringIO())
    with pytest.raises(BadSettings, match="--scenario"):
        simulate(Simulating("http://127.0.0.1:1", keys, "nonsense", plan, tmp_path), SystemClock(), console)
    with pytest.raises(BadSettings, match="--target"):
        simulate(Simulating("127.0.0.1", keys, "shop", plan, tmp_path), SystemClock(), console)
    with pytest.raises(BadSettings, match="keys"):
        simulate(Simulating("http://127.0.0.1:1", tmp_path / "no", "shop", plan, tmp_path), SystemClock(), console)
    (tmp_path / "file").touch()
    with pytest.raises(BadRequest, match="--report"):
        simulate(Simulating("http://127.0.0.1:1", keys, "shop", plan, tmp_path / "file"), SystemClock(), console)
    with pytest.raises(BadSettings, match="--duration"):
        seconds_in("soon")


def test_the_command_line_knows_it() -> None:
    shown = CliRunner().invoke(app, ["simulate", "--help"])
    assert shown.exit_code == 0
    assert "--target" in shown.output
    missing = CliRunner().invoke(app, ["simulate", "--report", "x"])
    assert missing.exit_code == 2
    refused = CliRunner().invoke(app, ["simulate", "--target", "http://h:1", "--report", "x", "--rate", "-1"])
    assert isinstance(refused.exception, BadSettings)
    assert KEYS.api_key not in str(refused.exception)
