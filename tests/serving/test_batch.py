"""Lists for everybody: the same answers, consent honoured, one row per person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from grown_shop import grow
from service import Service

from events.errors import BadRequest
from events.ids import Micros
from serving.batch import Lists
from serving.batch_command import Batch, run_batch, write_lists
from serving.settings import Settings
from training.retraining import Inline


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Service(tmp_path_factory.mktemp("batch") / "data") as service:
        grow(service, households=12, weeks=4)
        refuse = {"type": "track", "userId": "h3", "event": "Consent Changed", "context": _refusal()}
        service.send(
            refuse,
            {"type": "track", "anonymousId": "b-1", "event": "Product Viewed", "properties": {"product_id": "i1"}},
        )
        service.settle()
        yield service


def _refusal() -> dict[str, object]:
    return {"consent": {"categoryPreferences": {"personalization": False}}}


def now(service: Service) -> Micros:
    """To the millisecond, as a question can name it."""
    return Micros(service.clock.now() // 1000 * 1000)


def wanted(service: Service, **fields: Any) -> Lists:
    given = {"surface": "home", "n": 5, "log": False, "at": now(service), **fields}
    return Lists(service.data, Settings(), given["surface"], given["n"], given["log"], given["at"])


def rows(path: Path) -> dict[str, dict[str, Any]]:
    return {row["user_id"] or row["anonymous_id"]: row for row in pq.read_table(path).to_pylist()}


def test_everybody_who_allows_it_gets_the_list_they_would_be_answered(shop: Service, tmp_path: Path) -> None:
    lists = wanted(shop)
    count = write_lists(lists, tmp_path / "lists.parquet", Inline(), 3)
    found = rows(tmp_path / "lists.parquet")
    assert set(found) == {*(f"h{n}" for n in range(12) if n != 3), "b-1"}
    assert count == len(found) == 12
    for who in ("h0", "h7"):
        answer: Any = shop.get(f"/v1/recommend?user_id={who}&n=5&as_of={lists.at // 1000}").json
        assert found[who]["items"] == [item["item_id"] for item in answer["items"]]
        assert found[who]["recommendation_id"] is None
        assert len(found[who]["propensities"]) == 5


def test_without_being_asked_nothing_is_logged(shop: Service, tmp_path: Path) -> None:
    before = sorted((shop.data / "spool").rglob("*"))
    write_lists(wanted(shop), tmp_path / "lists.parquet", Inline(), 3)
    assert sorted((shop.data / "spool").rglob("*")) == before


def test_logged_lists_are_found_by_their_id(shop: Service, tmp_path: Path) -> None:
    write_lists(wanted(shop, log=True), tmp_path / "lists.parquet", Inline(), 3)
    row = rows(tmp_path / "lists.parquet")["h5"]
    told: Any = shop.get(f"/v1/recommendations/{row['recommendation_id']}").json
    assert [item["item_id"] for item in told["answered"]] == row["items"]


def test_two_runs_of_one_moment_write_the_same_file(shop: Service, tmp_path: Path) -> None:
    lists = wanted(shop)
    for name, ahead in (("one", 1), ("two", 8)):
        write_lists(lists, tmp_path / name, Inline(), ahead)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_run_that_fails_leaves_no_file(shop: Service, tmp_path: Path) -> None:
    class Lost(Inline):
        def start(self, *_: Any, **__: Any) -> Any:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk is gone"):
        write_lists(wanted(shop), tmp_path / "lists.parquet", Lost(), 3)
    assert list(tmp_path.iterdir()) == []


def test_bad_wishes_are_refused_before_anything_starts(shop: Service, tmp_path: Path) -> None:
    for what, why in (
        (Batch(shop.data, tmp_path / "x", "hoem"), "surface"),
        (Batch(shop.data, tmp_path / "no" / "x"), "cannot be written"),
        (Batch(shop.data, tmp_path), "cannot be written"),
    ):
        with pytest.raises(BadRequest, match=why):
            run_batch(what, {}, shop.clock, None)  # type: ignore[arg-type]
