"""`everfold models` and `everfold retrain` as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from artefacts import made
from service import Service
from typer.testing import CliRunner

from actors.locking import FolderLock
from events.errors import Conflict, NotFound, Unavailable
from serving.cli import app


def said(service: Service, *words: str) -> str:
    """What the command prints; its error is raised."""
    command = ["models", *words, "--data", str(service.data), "--service", service.address]
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, command)
    if result.exception is not None:
        raise result.exception
    return result.output


def listed(service: Service) -> str:
    result = CliRunner().invoke(app, ["models", "--data", str(service.data), "--service", service.address])
    assert result.exception is None, result.exception
    return result.output


def test_models_are_listed_promoted_compared_and_rolled_back(fresh: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no model yet" in listed(fresh)
    one, two = made(fresh.data, 1), made(fresh.data, 2, "shadow")
    assert "fixed weights" in listed(fresh)
    assert one in said(fresh, "promote", one[:8])
    assert two in said(fresh, "promote", two, "--reason", "why not")
    assert "already" in said(fresh, "promote", two)
    assert "champion" in said(fresh, "compare", one, two)
    assert one in said(fresh, "rollback")
    assert "no model" in said(fresh, "rollback").lower()


def test_the_folder_may_be_named_before_what_is_done_with_it(fresh: Service) -> None:
    one = made(fresh.data, 1)
    words = ["models", "--data", str(fresh.data), "--service", fresh.address, "promote", one]
    result = CliRunner().invoke(app, words)
    assert result.exception is None, result.exception
    assert one in result.output


def test_what_is_not_there_or_may_not_serve_is_one_clear_error(fresh: Service) -> None:
    rejected = made(fresh.data, 1, "reject")
    with pytest.raises(NotFound, match="no model's id begins"):
        said(fresh, "promote", "zz")
    with pytest.raises(Conflict, match="because reject"):
        said(fresh, "promote", rejected)
    with pytest.raises(Conflict, match="nothing to roll back"):
        said(fresh, "rollback")


def test_a_stopped_folder_says_so(tmp_path: Path) -> None:
    with Service(tmp_path / "data") as service:
        data = service.data
    result = CliRunner().invoke(app, ["models", "--data", str(data)])
    assert isinstance(result.exception, Unavailable)
    assert "no service runs" in str(result.exception)


def test_one_retraining_runs_over_a_folder(fresh: Service) -> None:
    folder = fresh.data / "run" / "retrain"
    folder.mkdir(parents=True)
    lock = FolderLock(folder)
    try:
        result = CliRunner().invoke(app, ["retrain", "--data", str(fresh.data)])
    finally:
        lock.release()
    assert isinstance(result.exception, Conflict)
    assert "being retrained already" in str(result.exception)
