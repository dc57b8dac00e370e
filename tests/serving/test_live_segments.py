"""Segments that live: what people do, and the passing of time, moves them, and the API tells."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from service import Service, until, viewed

from actors.segment_shipped import SHIPPED
from events.ids import Micros
from serving.moments import parse_moment
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


def imported(service: Service, first: int, *events: dict[str, object]) -> None:
    """A part of an import that stamps its facts with their own times."""
    body = {"producer": "journey", "first_seq": first, "stamp": True, "batch": events}
    answer = service.call("POST", "/v1/import", body)
    assert answer.status == 200, answer


def test_nobody_is_told_anything_while_history_is_imported_and_all_of_it_afterwards(tmp_path: Path) -> None:
    hour, began = 3_600_000, int(time.time() * 1000) - 72 * 3_600_000
    about = {"source": "journey", "source_hash": "abc"}
    views = [{**viewed(f"u{n}", "tea"), "timestamp": began + n * hour} for n in range(20)]
    with Service(tmp_path / "data", Settings()) as service:
        imported(
            service, 1, {"type": "import_started", **about, "shift_ms": 0, "stamped": True, "timestamp": began}, *views
        )
        assert not until(lambda: bool(names(service)), 1.2), "somebody spoke while history was being written"
        later = [{**viewed(f"u{n}", "rusk"), "timestamp": began + 21 * hour} for n in range(20)]
        done = {"type": "import_completed", **about, "events": 40, "timestamp": began + 22 * hour}
        imported(service, 22, *later, done)
        assert until(lambda: names(service) == {told.name for told in SHIPPED})
        assert until(lambda: "new-visitors" in segments_of(service, "u19"))
        facts: Any = service.get("/v1/profiles/u3/events").json
    stamps = [fact["appended"] for fact in facts["events"] if fact["type"] == "interaction"]
    assert len(stamps) == 2
    assert all(parse_moment("appended", at, Micros(2**60)) < (began + 23 * hour) * 1000 for at in stamps)
