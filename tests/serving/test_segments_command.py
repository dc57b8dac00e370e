"""`everfold segments`: clusters found in a store are kept by its service, and described."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from service import Service, until, viewed
from typer.testing import CliRunner

from actors.locking import FolderLock
from events.clock import SystemClock, millis
from events.errors import BadSettings, Conflict, NotFound
from serving.cli import app
from serving.segments_command import clusters_of, keep_clusters, plan_of, refit_beside
from serving.settings import ClusterSettings
from training.cluster_refit import refit
from training.clusters import Clusters
from training.retraining import Inline

RULES = ClusterSettings(k_min=2, k_max=3, features=("count(view)",))
PEOPLE = 120
"""A third of them look at three things, the others at one."""


@pytest.fixture
def grown(fresh: Service) -> Service:
    views = [viewed(f"p{n}", item) for n in range(PEOPLE) for item in ("tea", "milk", "mug")[: 3 if n % 3 == 0 else 1]]
    for first in range(0, len(views), 50):
        fresh.send(*views[first : first + 50])
    fresh.settle()
    return fresh


def found_in(data: Path, rules: ClusterSettings = RULES) -> Clusters:
    return refit(plan_of(data, rules, millis(SystemClock().now())), Inline(), lambda name, done, count: None)


def kept(service: Service, found: Clusters) -> str:
    console = Console(width=200, record=True, quiet=False)
    keep_clusters(found, service.data, service.address, console)
    service.settle()
    return console.export_text()


def clusters(service: Service) -> dict[str, int]:
    """Name → version."""
    listed = service.get("/v1/segments").json["segments"]
    assert isinstance(listed, list)
    return {one["name"]: one["version"] for one in listed if one["kind"] == "cluster"}


def test_clusters_become_facts_of_the_log_and_keep_their_names(grown: Service) -> None:
    found = found_in(grown.data)
    assert [one.members for one in found.found] == [80, 40]
    assert "2 clusters defined" in kept(grown, found)
    assert clusters(grown) == {"cluster-1": 1, "cluster-2": 1}
    assert set(clusters_of(grown.data).clusters) == {"cluster-1", "cluster-2"}
    assert found_in(grown.data).defined == ()
    grown.send(*[viewed(f"p{n}", "cup") for n in range(0, PEOPLE, 3)])
    grown.settle()
    again = found_in(grown.data)
    assert [(one.name, one.survived) for one in again.found] == [("cluster-1", True), ("cluster-2", True)]
    kept(grown, again)
    assert clusters(grown) == {"cluster-1": 2, "cluster-2": 2}


def test_people_are_put_into_the_clusters_they_were_found_in_and_move_as_they_change(grown: Service) -> None:
    def members() -> dict[str, object]:
        listed: Any = grown.get("/v1/segments").json["segments"]
        return {one["name"]: (one["members"], one["phase"]) for one in listed if one["kind"] == "cluster"}

    kept(grown, found_in(grown.data))
    assert until(lambda: members() == {"cluster-1": (80, "live"), "cluster-2": (40, "live")})
    grown.send(viewed("p1", "milk"), viewed("p1", "mug"))
    assert until(lambda: members() == {"cluster-1": (79, "live"), "cluster-2": (41, "live")})
    assert until(lambda: inside(grown, "p1") == ["cluster-2"])


def inside(service: Service, user: str) -> list[str]:
    shown: Any = service.get(f"/v1/profiles/{user}/segments").json
    return [one["name"] for one in shown["segments"]]


def test_without_a_service_nothing_is_kept_and_it_says_what_to_do(grown: Service, tmp_path: Path) -> None:
    found = found_in(grown.data)
    with Service(tmp_path / "other") as stopped:
        data = stopped.data
    console = Console(width=200, record=True)
    keep_clusters(found, data, "", console)
    assert "Nothing was kept" in console.export_text()
    assert clusters(grown) == {}


def test_retraining_goes_on_without_clusters_where_there_are_too_few_people(fresh: Service) -> None:
    fresh.send(viewed("p", "tea"))
    fresh.settle()
    bar = _Quiet()
    assert refit_beside(fresh.data, RULES, Inline(), 0, bar.tell) is None
    off = ClusterSettings(enabled=False)
    assert refit_beside(fresh.data, off, Inline(), 0, bar.tell) is None


class _Quiet:
    def tell(self, name: str, done: int, count: int) -> None:
        return None


def test_a_page_about_a_store_says_how_many_and_what_sets_them_apart(grown: Service, tmp_path: Path) -> None:
    kept(grown, found_in(grown.data))
    rule = {"name": "lookers", "rule": "count(view) >= 3"}
    assert grown.call("POST", "/v1/segments", rule, grown.api).status == 200
    page = tmp_path / "docs" / "segments.md"
    page.parent.mkdir()
    page.write_text("# Ours\n\nOur own words.\n\n<!-- figures: everfold segments describe -->\nold\n")
    words = ["segments", "describe", "--data", str(grown.data), "--out", str(page.parent)]
    result = CliRunner().invoke(app, words)
    assert result.exception is None, result.exception
    text = page.read_text()
    assert text.startswith("# Ours\n\nOur own words.\n")
    assert "old" not in text.splitlines()
    assert "| lookers | 40 (33.3 %) | `count(view) >= 3` |" in text
    assert "| cluster-1 | 80 (66.7 %) |" in text
    for name in ("segments.svg", "segments-apart.svg", "clusters.svg"):
        assert f"img/{name}" in text
        assert (page.parent / "img" / name).read_text().startswith("<svg")


def test_one_fit_runs_over_a_folder(fresh: Service) -> None:
    folder = fresh.data / "run" / "clusters"
    folder.mkdir(parents=True)
    lock = FolderLock(folder)
    try:
        result = CliRunner().invoke(app, ["segments", "fit", "--data", str(fresh.data)])
        assert isinstance(result.exception, Conflict)
    finally:
        lock.release()


@pytest.mark.parametrize(
    ("words", "error"),
    [(["fit"], NotFound), (["describe"], NotFound), (["describe", "elsewhere"], BadSettings)],
)
def test_what_is_not_there_is_one_clear_error(tmp_path: Path, words: list[str], error: type[Exception]) -> None:
    result = CliRunner().invoke(app, ["segments", *words, "--data", str(tmp_path / "none")])
    assert isinstance(result.exception, error)


@pytest.mark.ray
def test_everybody_is_clustered_on_ray_as_it_is_typed(grown: Service) -> None:
    words = ["segments", "fit", "--data", str(grown.data), "--service", grown.address, "--cpus", "2"]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, words)
    assert result.exception is None, result.exception
    assert "cluster-1 (new)" in result.output
    assert "cluster-1" in clusters(grown)
