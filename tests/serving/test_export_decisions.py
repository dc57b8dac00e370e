"""``everfold export decisions`` on a real data folder, beside the running service and after it stopped."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from service import Service, bought, viewed

from events.clock import SystemClock
from events.errors import BadRequest, NotFound
from events.ids import user_key
from serving.decision_period import since_of
from serving.export_command import Exporting, export_decisions
from training.blend import FEATURES

Row = dict[str, object]
ITEMS = [f"item-{number}" for number in range(8)]
LAST_HOUR = "1h"


def seen(user: str, answer: dict[str, object], *items: str, named: bool = True) -> dict[str, object]:
    properties: dict[str, object] = {"products": [{"product_id": item} for item in items]}
    if named:
        properties["list_id"] = answer["recommendation_id"]
    return {"type": "track", "userId": user, "event": "Product List Viewed", "properties": properties}


def shown(answer: dict[str, object]) -> list[str]:
    items = answer["items"]
    assert isinstance(items, list)
    return [item["item_id"] for item in items]


@dataclass
class Told:
    """What happened in the shop, and the rows exported of it."""

    answers: dict[str, dict[str, object]]
    beside: list[Row]
    stopped: list[Row]
    folder: Path

    def of(self, who: str) -> list[Row]:
        return [row for row in self.beside if row["recommendation_id"] == self.answers[who]["recommendation_id"]]


def export(data: Path, out: Path) -> list[Row]:
    command = [sys.executable, "-m", "serving.cli", "export", "decisions", "--since", LAST_HOUR]
    done = subprocess.run([*command, "--data", str(data), "--out", str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "shown items of" in done.stdout
    rows: list[Row] = pq.read_table(out).to_pylist()
    return rows


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("export")
    data = folder / "data"
    with Service(data) as service:
        service.add_items(*({"item_id": item, "title": item} for item in ITEMS))
        people = ("ann", "bob", "cid", "eve", "no", "gone")
        after = service.send(*(viewed(user, item) for user in people for item in ITEMS[:2]), bought("ann", ITEMS[0]))
        service.settle()
        answers = {user: _asked(service, user, after) for user in people}
        answers["nobody"] = service.call("POST", "/v1/recommend", {"n": 3}).json
        answers["tester"] = service.call("POST", "/v1/recommend", {"user_id": "ann", "n": 2, "test": True}).json
        first = {user: shown(answer) for user, answer in answers.items()}
        service.send(
            seen("ann", answers["ann"], *first["ann"][:2]),
            seen("bob", answers["bob"], first["bob"][0], named=False),
            seen("eve", answers["eve"], first["eve"][0]),
        )
        service.send(
            _click("ann", first["ann"][0], str(answers["ann"]["recommendation_id"])),
            bought("bob", first["bob"][0]),
            _click("cid", first["ann"][1], str(answers["ann"]["recommendation_id"])),
            _click("eve", "item-of-nowhere", ""),
            {"type": "track", "userId": "no", "event": "Product Viewed", "properties": {"product_id": ITEMS[0]}}
            | {"context": {"consent": {"categoryPreferences": {"personalization": False}}}},
        )
        service.run(service.embedded.host.erase(user_key("gone")))
        beside = export(data, folder / "beside.parquet")
    return Told(answers, beside, export(data, folder / "stopped.parquet"), folder)


def _asked(service: Service, user: str, after: str) -> dict[str, object]:
    return service.call("POST", "/v1/recommend", {"user_id": user, "n": 3, "after": after}).json


def _click(user: str, item: str, list_id: str) -> dict[str, object]:
    properties = {"product_id": item, **({"list_id": list_id} if list_id else {})}
    return {"type": "track", "userId": user, "event": "Product Clicked", "properties": properties}


def test_there_is_a_row_for_every_slot_as_it_was_answered(told: Told) -> None:
    rows = told.of("ann")
    assert [row["item_id"] for row in rows] == shown(told.answers["ann"])
    assert [row["slot"] for row in rows] == [1, 2, 3]
    items = told.answers["ann"]["items"]
    assert isinstance(items, list)
    assert [row["propensity"] for row in rows] == [item["propensity"] for item in items]
    assert {row["surface"] for row in rows} == {"home"}
    assert {row["model_version"] for row in rows} == {told.answers["ann"]["model_version"]}
    for row in rows:
        features, recommenders = row["features"], row["recommenders"]
        assert isinstance(features, list)
        assert isinstance(recommenders, list)
        assert len(features) == len(recommenders) * len(FEATURES)
        assert np.isfinite(features).all()


def test_impressions_and_outcomes_stand_with_the_slot_they_belong_to(told: Told) -> None:
    first, second, third = told.of("ann")
    assert [row["impression"] for row in (first, second, third)] == [True, True, False]
    assert first["click"] is True
    assert second["click"] is True, "by its list, whoever clicked"
    assert third["click"] is False
    assert third["click_at"] is None
    assert first["purchase"] is False
    assert not first["closed"]


def test_without_a_list_id_the_person_and_the_item_join(told: Told) -> None:
    first = told.of("bob")[0]
    assert (first["impression"], first["purchase"], first["click"]) == (True, True, False)


def test_what_was_seen_and_led_to_nothing_says_so(told: Told) -> None:
    first = told.of("eve")[0]
    assert (first["impression"], first["click"], first["cart"], first["purchase"]) == (True, False, False, False)


def test_the_erased_and_those_without_consent_are_absent(told: Told) -> None:
    for who in ("no", "gone", "nobody"):
        assert told.of(who) == [], who
    assert told.of("cid")


def test_test_traffic_is_marked(told: Told) -> None:
    assert {row["test"] for row in told.of("tester")} == {True}
    assert {row["test"] for row in told.of("ann")} == {False}


def test_a_person_has_one_random_id(told: Told) -> None:
    (ann,) = {row["subject"] for row in told.of("ann")}
    (tester,) = {row["subject"] for row in told.of("tester")}
    (bob,) = {row["subject"] for row in told.of("bob")}
    assert ann == tester != bob
    assert "ann" not in str(ann)


def test_a_stopped_folder_says_what_the_running_service_said(told: Told) -> None:
    assert told.stopped == told.beside


def test_nothing_but_the_file_is_left_behind(told: Told) -> None:
    assert sorted(path.name for path in told.folder.iterdir()) == ["beside.parquet", "data", "stopped.parquet"]


def test_a_folder_that_is_not_there_is_named(told: Told) -> None:
    out = told.folder / "nowhere" / "x.parquet"
    with pytest.raises(BadRequest, match="nowhere"):
        export_decisions(Exporting(told.folder / "data", "7d", out), SystemClock())
    with pytest.raises(NotFound, match="no store"):
        export_decisions(Exporting(told.folder / "other", "7d", told.folder / "x.parquet"), SystemClock())


@pytest.mark.parametrize("text", ["7", "seven days", "7y", "-7d", "999999d"])
def test_a_length_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="since"):
        since_of(text, SystemClock().now())


def test_an_empty_store_exports_no_rows(tmp_path: Path) -> None:
    with Service(tmp_path / "data"):
        pass
    done = export_decisions(Exporting(tmp_path / "data", "7d", tmp_path / "x.parquet"), SystemClock())
    assert done.rows == 0
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 0


def test_a_folder_is_no_file_to_write(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="is a folder"):
        export_decisions(Exporting(tmp_path, LAST_HOUR, tmp_path), SystemClock())
