"""The learner inside the followers' process of a real service."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from running import Running, until

from actors.lmdb_state import LmdbState
from actors.outbox import Outbox
from actors.reader import PartitionFiles
from events import payload
from events.clock import SystemClock
from events.record import Draft
from events.types import DriftDetected, Meta
from serving.learning import NAME
from serving.opening import open_store
from serving.settings import Settings
from serving.weights import FOLDER
from training.registry import DRIFT_KEY

pytestmark = pytest.mark.ray


def found(data: Path) -> int:
    """How many facts about drift the log holds."""
    store = open_store(data, Settings(), SystemClock())
    number = store.partition(DRIFT_KEY)
    files = PartitionFiles(store.folder(number), number, store)
    try:
        return len(files.history.events(DRIFT_KEY, 100))
    finally:
        files.close()


def test_what_waits_in_the_outbox_gets_into_the_log_once_whoever_dies(tmp_path: Path) -> None:
    data = tmp_path / "data"
    store = open_store(data, Settings(), SystemClock())
    state = LmdbState(data / FOLDER)
    outbox = Outbox(NAME, state, store.partition)
    name, version = payload.type_of(DriftDetected("home/click"))
    event = payload.encode(Meta(), DriftDetected("home/click"))
    now = SystemClock().now() // 1000
    drafts = [Draft(DRIFT_KEY, bytes([n]) * 16, now, name, version, event) for n in range(3)]
    rows = outbox.stage(drafts)
    state.commit(rows)
    state.close()
    with Running(data) as service:
        until(lambda: found(data) == 3, 30, "three facts about drift")
        service.signal("ray::Followed", signal.SIGKILL)
        until(lambda: service.call("GET", "/readyz").status == 503, 30, "somebody notices")
        until(lambda: service.call("GET", "/readyz").status == 200, 60, "the followers are back")
    state = LmdbState(data / FOLDER)
    state.commit(rows)  # as if its death had come before it knew that they were taken
    state.close()
    with Running(data) as service:
        until(lambda: b"everfold_outbox_backlog 0" in service.call("GET", "/metrics").body, 30, "all are settled")
        assert found(data) == 3
