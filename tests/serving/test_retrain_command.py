"""`everfold retrain`, its tasks in this thread: what it judges, what it promotes, what a full disk leaves behind."""

from __future__ import annotations

import io
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from artefacts import made, verdict
from grown_shop import START, grow, grown
from rich.console import Console
from service import Service

from events.clock import ManualClock
from events.errors import DiskFull
from events.ids import Micros
from serving.retrain_command import Retraining, run_retrain, standing_of
from serving.retrain_schedule import HOUR_MS, known_of
from serving.retrain_state import Last, RetrainState
from training.registry import Judged, Registry
from training.retraining import Cluster, Inline

NOW = START + 60 * 24 * HOUR_MS
SMALL = (
    "[retrain]\nshadow_hours = 1\n[retrain.gate]\nresamples = 100\nmargin = 0.3\ngroup_margin = 1\ngini_rise_max = 1\n"
    "[clusters]\nenabled = false\n"
)


@contextmanager
def inline(address: str, cpus: int | None) -> Iterator[Cluster]:
    yield Inline()


class Shop:
    """A running service, and retraining beside it."""

    def __init__(self, service: Service) -> None:
        self.service, self.data = service, service.data
        self.said = io.StringIO()
        self.clock = ManualClock(Micros(NOW * 1000))
        self.registry = Registry(self.data)

    def retrain(self, by: str = "hand") -> str:
        """What it says."""
        self.said.truncate(self.said.seek(0))
        what = Retraining(self.data, service=self.service.address, by=by)
        run_retrain(what, {}, self.clock, Console(file=self.said, width=200), inline)
        return self.said.getvalue()

    def pass_hours(self, hours: float) -> None:
        self.clock.advance(int(hours * HOUR_MS * 1000))

    def buy(self, week: int) -> None:
        """Everybody buys once more."""
        batch = [
            {"type": "track", "userId": f"h{n}", "event": "Order Completed", "timestamp": START + week * 7 * DAY + n,
             "properties": {"products": [{"product_id": f"i{n % 4}"}, {"product_id": f"i{n % 4 + 4}"}]}}
            for n in range(60)
        ]  # fmt: skip
        answer = self.service.call("POST", "/v1/import", {"producer": f"w{week}", "first_seq": 1, "batch": batch})
        assert answer.status == 200, answer
        self.service.settle()


DAY = 24 * HOUR_MS


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "everfold.toml").write_text(SMALL)
    with Service(tmp_path / "data") as service:
        grow(service, weeks=6)
        yield Shop(service)


def test_a_shadow_period_ends_in_a_verdict_fits_nothing_and_is_no_retraining(shop: Shop) -> None:
    said = shop.retrain("first")
    assert "judged again in 1 hours" in said, said
    (model,) = shop.registry.ids()
    shop.pass_hours(2)
    assert "too little happened since" in shop.retrain("shadow")
    shop.buy(7)
    shop.pass_hours(2)
    said = shop.retrain("shadow")
    assert f"Model {model} serves." in said, said
    assert shop.registry.ids() == [model], "nothing was fitted"
    last = RetrainState(shop.data).last()
    assert last == Last(NOW, "first", NOW + 4 * HOUR_MS), "the monthly schedule does not wait because of it"


def test_what_was_rolled_back_is_not_promoted_again_by_itself(shop: Shop) -> None:
    shop.retrain("first")
    (model,) = shop.registry.ids()
    assert shop.service.call("POST", f"/v1/models/{model}/promote").status == 200
    assert shop.service.call("POST", "/v1/models/rollback").status == 200
    shop.buy(7)
    shop.pass_hours(2)
    assert known_of(shop.data).shadow_until == 0
    shop.retrain("shadow")
    assert standing_of(shop.data).champion == ""


def test_a_challenger_that_is_damaged_keeps_nobody_else_from_being_judged(shop: Shop) -> None:
    shop.retrain("first")
    (good,) = shop.registry.ids()
    bad = "f" * 32
    (shop.registry.folder / bad).mkdir()
    shop.registry.keep(Judged(bad, verdict("shadow"), NOW + 1, window=(NOW, NOW), shadow_until=NOW + 1))
    shop.buy(7)
    shop.pass_hours(2)
    said = shop.retrain("shadow")
    assert f"Model {bad} was not judged" in said
    assert f"Model {good} serves." in said


def test_a_full_disk_is_one_clear_error_and_leaves_what_was_there(tmp_path: Path) -> None:
    data = grown(tmp_path / "data", weeks=6)
    model = made(data, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(DiskFull, match="free some"):
            run_retrain(Retraining(data), {}, ManualClock(Micros(NOW * 1000)), Console(file=io.StringIO()), inline)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert Registry(data).ids() == [model]
    assert Registry(data).check(model).model == model
    assert not list(Registry(data).folder.glob(".new-*"))
