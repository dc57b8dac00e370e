"""Segments that live: what people do, and the passing of time, moves them, and the API tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from service import Service, until, viewed

from actors.segment_shipped import SHIPPED
from serving.settings import SegmentEntry, Settings


def segments_of(service: Service, user: str) -> dict[str, Any]:
    shown: Any = service.get(f"/v1/profiles/{user}/segments").json
    return {each["name"]: each for each in shown["segments"]}


def names(service: Service) -> set[str]:
    shown: Any = service.get("/v1/segments").json
    return {each["name"] for each in shown["segments"]}


def test_what_somebody_does_is_in_their_segments_at_once_with_the_reason(fresh: Service) -> None:
    fresh.call("POST", "/v1/segments", {"name": "fans", "rule": "count(view, 7 days) >= 2"})
    fresh.send(viewed("ann", "tea"))
    fresh.send(viewed("ann", "rusk"))
    assert until(lambda: "fans" in segments_of(fresh, "ann"))
    evidence = segments_of(fresh, "ann")["fans"]["evidence"]
    assert (evidence["cause"], evidence["values"]) == ("fact", {"count(view, 7 days)": 2.0})
    fresh.call("PUT", "/v1/segments/fans", {"rule": "count(view, 7 days) >= 3"})
    assert until(lambda: "fans" not in segments_of(fresh, "ann"))


def test_a_store_has_the_shipped_segments_as_soon_as_it_knows_somebody(tmp_path: Path) -> None:
    with Service(tmp_path / "data", Settings()) as service:
        assert names(service) == set()
        service.send(viewed("ann", "tea"))
        assert until(lambda: names(service) == {told.name for told in SHIPPED})
        assert until(lambda: "new-visitors" in segments_of(service, "ann"))


def test_shipped_segments_are_left_out_by_one_setting_or_one_by_one(tmp_path: Path) -> None:
    out = SegmentEntry(name="browsers", enabled=False)
    with Service(tmp_path / "a", Settings(segments=(out,))) as service:
        service.send(viewed("ann", "tea"))
        assert until(lambda: names(service) == {told.name for told in SHIPPED} - {"browsers"})
    with Service(tmp_path / "a", Settings(segments_shipped=False)) as service:
        assert until(lambda: names(service) == set())
