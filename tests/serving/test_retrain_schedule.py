"""When the service retrains by itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from artefacts import verdict
from grown_shop import grown
from service import Service, viewed

from events.clock import ManualClock
from events.ids import Micros, user_key
from serving.retrain_schedule import DAY_MS, HOUR_MS, LOOK_MS, Known, Reason, RetrainSchedule, known_of, wanted
from serving.retrain_state import RetrainState
from serving.settings import RetrainSettings
from training.model import Provenance, model_of, save
from training.registry import Judged, Registry

RULES = RetrainSettings()
NOW = 1_790_000_000_000


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (Known(None), None),
        (Known(None, imported=True), "first"),
        (Known(None, imported=True, importing=True), None),
        (Known(None, records=10_000), "first"),
        (Known(NOW - DAY_MS), None),
        (Known(NOW - 30 * DAY_MS), "schedule"),
        (Known(NOW - 30 * DAY_MS, importing=True), None),
        (Known(NOW - 25 * HOUR_MS, drifted_at=NOW - HOUR_MS), "drift"),
        (Known(NOW - 23 * HOUR_MS, drifted_at=NOW - HOUR_MS), None),
        (Known(NOW - 25 * HOUR_MS, drifted_at=NOW - 26 * HOUR_MS), None),
        (Known(NOW - 25 * HOUR_MS, erased_at=NOW - 24 * HOUR_MS), "erasure"),
        (Known(NOW - 23 * HOUR_MS, erased_at=NOW - HOUR_MS), None),
        (Known(NOW - 25 * HOUR_MS, erased_at=NOW - 26 * HOUR_MS), None),
        (Known(NOW - 25 * HOUR_MS, shadow_until=NOW), "shadow"),
        (Known(NOW - 25 * HOUR_MS, shadow_until=NOW + 1), None),
        (Known(NOW - HOUR_MS + 1, shadow_until=NOW), None),
        (Known(NOW - 25 * HOUR_MS, shadow_until=NOW, judged=NOW - HOUR_MS), "shadow"),
        (Known(NOW - 25 * HOUR_MS, shadow_until=NOW, judged=NOW - HOUR_MS + 1), None),
        (Known(NOW - 30 * DAY_MS, shadow_until=NOW, judged=NOW - 1), "schedule"),
    ],
)
def test_there_is_one_reason_or_none(known: Known, reason: Reason | None) -> None:
    assert wanted(known, NOW, RULES) == reason


def test_switched_off_it_never_starts() -> None:
    assert wanted(Known(None, imported=True), NOW, RetrainSettings(enabled=False)) is None


class Process:
    """One that ends when it is told to."""

    def __init__(self) -> None:
        self.code: int | None = None

    def poll(self) -> int | None:
        return self.code


def test_one_retraining_runs_at_a_time_and_a_failed_one_is_not_started_again_at_once(tmp_path: Path) -> None:
    data = grown(tmp_path / "data", households=4, weeks=2)
    started: list[tuple[Reason, Process]] = []

    def start(reason: Reason) -> Process:
        RetrainState(data).started(now, reason)  # what the command does first
        started.append((reason, Process()))
        return started[-1][1]

    schedule = RetrainSchedule(data, RetrainSettings(records_min=40), start)
    now = NOW
    assert schedule.check(now) == "first"
    now += LOOK_MS
    assert schedule.check(now) is None
    started[0][1].code = 1
    now += LOOK_MS
    assert schedule.check(now) is None
    now += 30 * DAY_MS
    assert schedule.check(now) == "schedule"
    assert [reason for reason, _ in started] == ["first", "schedule"]


def test_a_folder_tells_what_the_decision_needs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Service(data) as service:
        about = {"source": "Shop", "source_hash": "h", "timestamp": NOW}
        batch: list[dict[str, object]] = [{"type": "import_started", **about}]
        service.call("POST", "/v1/import", {"producer": "p", "first_seq": 1, "batch": batch})
        assert known_of(data) == Known(None, importing=True, records=1)
        batch = [{"type": "import_completed", **about, "events": 0}]
        service.call("POST", "/v1/import", {"producer": "p", "first_seq": 2, "batch": batch})
        assert known_of(data) == Known(None, imported=True, records=2)
    model = model_of(["tea"], {}, None, Provenance())
    save(Registry(data).folder, model)
    Registry(data).keep(Judged(model.id, verdict("shadow"), NOW, shadow_until=NOW + 5))
    RetrainState(data).started(NOW, "first")
    assert known_of(data) == Known(NOW, imported=True, records=2, shadow_until=NOW + 5)
    RetrainState(data).started(NOW + 7, "shadow")
    assert known_of(data) == Known(NOW, imported=True, records=2, shadow_until=NOW + 5, judged=NOW + 7)
    with Service(data) as service:
        assert service.call("POST", f"/v1/models/{model.id}/promote").status == 200
        assert service.call("POST", "/v1/models/rollback").status == 200
    assert known_of(data).shadow_until == 0, "who took it back meant it"


def test_an_erasure_is_noted_by_the_partition_live_and_in_replay(tmp_path: Path) -> None:
    data, clock = tmp_path / "data", ManualClock(Micros(NOW * 1000))
    with Service(data, clock=clock) as service:
        service.send(viewed("ann", "tea"), viewed("bob", "tea"))
        assert known_of(data).erased_at == 0
        clock.advance(5_000_000)
        assert service.run(service.embedded.host.erase(user_key("ann")))
        assert known_of(data).erased_at == NOW + 5_000
    for state in (data / "partitions").glob("p*/state"):
        shutil.rmtree(state)
    with Service(data, clock=clock):
        assert known_of(data).erased_at == NOW + 5_000


def test_a_folder_that_is_not_open_yet_is_looked_at_later(tmp_path: Path) -> None:
    schedule = RetrainSchedule(tmp_path, RULES, lambda reason: Process())
    assert schedule.check(NOW) is None
