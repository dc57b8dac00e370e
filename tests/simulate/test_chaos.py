"""The invariants of the deterministic runtime, over the real thing: a service on Ray used by people of a simulated
world, while its processes are killed, stopped and continued, and Ray itself loses calls and answers between them."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from crowd import Crowd, Notes
from running import Running, ended, until

from actors.catalogue import scan_names
from actors.follower import Follower, Source
from actors.item_reader import FOLDER as ITEMS
from actors.items import ItemProjection
from actors.lmdb_state import LmdbReader, LmdbState
from actors.popularity import COUNTS
from actors.reader import PartitionFiles
from actors.state import StateReader
from actors.store import Store
from events.disk import LocalDisk
from events.epoch import current
from events.log import scan
from events.record import Record
from events.unseal import Unsealer
from serving.decision_period import Period, open_period
from serving.processes import stamped, sweep
from serving.slate import chances
from serving.why import sampling_in, shortlist_of

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

HOST, FOLLOWERS, REPLICA, HAPROXY, GCS = (
    "ray::Hosted",
    "ray::Followed",
    "ray::ServeReplica",
    "bin/haproxy",
    "gcs/gcs_server",
)
LOSSES = {
    "CoreWorkerService.grpc_client.PushTask": {
        "num_failures": -1,
        "req_failure_prob": 5,
        "resp_failure_prob": 10,
        "in_flight_failure_prob": 5,
    }
}
"""In per cent of a process's calls to others: never sent, done but the answer lost, and lost on the way. The name is
Ray's (``src/ray/rpc/rpc_chaos.cc``)."""
LOSSY = Path(__file__).parent / "lossy"
PAUSE_S = 1.0
"""Shorter than the silence after which a host is replaced: it goes on where it stood."""
SEED = 7
CROWDS = 2


@dataclass
class Lived:
    """What happened, told from outside."""

    data: Path
    notes: Notes
    killed: Counter[str] = field(default_factory=Counter)
    stopped: Counter[str] = field(default_factory=Counter)
    epochs: dict[int, list[int]] = field(default_factory=dict)
    verified: str = ""
    events: dict[str, Counter[str]] = field(default_factory=dict)
    explained: list[dict[str, object]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    lossy: int = 0
    """Processes in which Ray lost calls."""


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    data = tmp_path_factory.mktemp("chaos") / "data"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LOSES_CALLS_WHILE", str(data / LOSSY.name))
        patched.setenv("PYTHONPATH", os.pathsep.join((str(LOSSY), os.environ.get("PYTHONPATH", ""))))
        patched.setenv("EVERFOLD_RETRAIN__ENABLED", "false")
        service = Running(data)
        try:
            with service:
                return _live(service)
        finally:  # also when it did not come up
            service.process.kill()
            service.process.wait()
            sweep(lambda: stamped(service.stamp))


def _live(service: Running) -> Lived:
    stop = threading.Event()
    crowds = [Crowd(service, number, CROWDS, stop) for number in range(CROWDS)]
    until(lambda: service.call("POST", "/v1/items", {"items": crowds[0].catalogue()}).status < 300, 30, "the shelf")
    found = Lived(service.data, Notes())
    watching = threading.Thread(target=_watch_epochs, args=(found, stop), daemon=True)
    watching.start()
    for crowd in crowds:
        crowd.start()
    try:
        _break(service, crowds, found)
    finally:
        stop.set()
        for crowd in crowds:
            crowd.join()
        watching.join(10)
    for crowd in crowds:
        for key, ids in crowd.notes.acknowledged.items():
            found.notes.acknowledged.setdefault(key, []).extend(ids)
        found.notes.answers += crowd.notes.answers
        found.notes.statuses += crowd.notes.statuses
    _ask_afterwards(service, found)
    return found


def _break(service: Running, crowds: list[Crowd], found: Lived) -> None:
    """Each thing once or more, in an order drawn from the seed; after each the crowd gets on before the next. Replicas
    that are started while the file is there lose calls."""
    faults = [("kill", one) for one in (FOLLOWERS, HOST, HAPROXY)]
    faults += [("stop", one) for one in (REPLICA, FOLLOWERS, HOST)]
    random.Random(SEED).shuffle(faults)
    lossy = service.data / LOSSY.name
    lossy.write_text(json.dumps(LOSSES))
    _goes_on(crowds, 20, 6)
    for kind, victim in [("kill", REPLICA), ("kill", REPLICA), *faults, ("kill", GCS)]:
        if victim == GCS:
            found.lossy = _lossy(service)
            lossy.unlink()
        if kind == "kill":
            _kill(service, victim)
            found.killed[victim] += 1
        else:
            _pause(service, victim)
            found.stopped[victim] += 1
        _goes_on(crowds, 90, 3)


def _lossy(service: Running) -> int:
    """How many processes say so in Ray's logs."""
    logs = (service.data / "run" / "ray" / "logs").glob("python-core-worker-*.log")
    return sum("RpcFailureManager" in log.read_text(errors="replace") for log in logs)


def _kill(service: Running, victim: str) -> None:
    for _ in range(20):  # a process that ended by itself meanwhile is found under another pid
        with suppress(IndexError, ProcessLookupError):
            pid = service.signal(victim, signal.SIGKILL)
            assert ended(pid)
            return
        until(lambda: bool(service.pids(victim)), 60, f"a {victim}")
    raise AssertionError(f"no {victim} to kill")


def _pause(service: Running, victim: str) -> None:
    until(lambda: bool(service.pids(victim)), 60, f"a {victim}")
    with suppress(IndexError, ProcessLookupError):
        pid = service.signal(victim, signal.SIGSTOP)
        threading.Event().wait(PAUSE_S)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _goes_on(crowds: list[Crowd], seconds: float, batches: int) -> None:
    wanted = [crowd.notes.batches + batches for crowd in crowds]
    until(
        lambda: (
            any(crowd.failed for crowd in crowds)
            or all(crowd.notes.batches >= want for crowd, want in zip(crowds, wanted, strict=True))
        ),
        seconds,
        f"everybody gets on: {[dict(crowd.notes.statuses) for crowd in crowds]}",
    )


def _watch_epochs(found: Lived, stop: threading.Event) -> None:
    store = Store.open(found.data)
    while not stop.wait(0.02):
        for number in store.numbers():
            found.epochs.setdefault(int(number), []).append(current(LocalDisk(store.folder(number)), ""))


def _ask_afterwards(service: Running, found: Lived) -> None:
    """Once everything runs again, with nothing under way."""
    until(lambda: service.call("GET", "/readyz").status == 200, 90, "ready again")
    until(lambda: _at_rest(_text(service, "/metrics")), 60, "the followers have read everything")
    for key in found.notes.acknowledged:
        query = "limit=1000&anonymous=true" if key[0] == "a" else "limit=1000"
        told = json.loads(_text(service, f"/v1/profiles/{key[2:]}/events?{query}"))
        found.events[key] = Counter(str(event["event_id"]) for event in told["events"])
    for answer in found.notes.answers[:: max(1, len(found.notes.answers) // 60)]:
        if answer.logged:
            explained = service.call("GET", f"/v1/recommendations/{answer.recommendation_id}")
            if explained.status == 200:
                found.explained.append(explained.json)
            else:
                found.missing.append(answer.recommendation_id)
    found.verified = service.verified()


def _text(service: Running, path: str) -> str:
    """Asked until it is answered."""
    told: list[str] = []

    def asked() -> bool:
        with suppress(OSError):
            answer = service.call("GET", path, timeout=30)
            if answer.status == 200:
                told.append(answer.body.decode())
        return bool(told)

    until(asked, 30, path)
    return told[0]


def _at_rest(metrics: str) -> bool:
    names = ("everfold_follower_lag_records{", "everfold_follower_deferred{", "everfold_outbox_backlog")
    values = [float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(names)]
    return len(values) >= len(names) and not any(values)


def test_everything_was_broken_and_people_were_served_all_the_same(lived: Lived) -> None:
    assert set(lived.killed) == {REPLICA, FOLLOWERS, HOST, HAPROXY, GCS}
    assert set(lived.stopped) == {REPLICA, FOLLOWERS, HOST}
    assert sum(map(len, lived.notes.acknowledged.values())) > 100
    assert len(lived.notes.answers) > 30
    assert lived.lossy > 0
    assert lived.notes.statuses[503] > 0
    refused = {status for status in lived.notes.statuses if isinstance(status, int) and 400 <= status < 500}
    assert not refused, "nobody is told to give up"


def test_replay_equals_live(lived: Lived) -> None:
    assert lived.verified.count("equal") == len(lived.epochs)
    assert "DIFFERENT" not in lived.verified


def test_no_acknowledged_event_is_lost_or_folded_twice(lived: Lived) -> None:
    for key, sent in lived.notes.acknowledged.items():
        kept = lived.events[key]
        assert not [one for one in sent if one not in kept], f"{key}: acknowledged and lost"
        assert max(kept.values()) == 1, f"{key}: twice"


def test_every_drawn_answer_has_its_record_and_the_record_draws_it_again(lived: Lived) -> None:
    assert not lived.missing
    assert lived.explained
    told = {answer.recommendation_id: answer for answer in lived.notes.answers}
    for explained in lived.explained:
        answer = told[str(explained["recommendation_id"])]
        assert explained["recomputed"] == {"identical": True}
        answered: list[dict[str, object]] = explained["answered"]  # type: ignore[assignment]
        assert tuple(one["item_id"] for one in answered) == answer.items
        assert tuple(one["propensity"] for one in answered) == pytest.approx(answer.propensities)
    for answer in lived.notes.answers:
        assert answer.logged or set(answer.propensities) <= {1.0}, "drawn by chance, and nobody will know"


def test_propensities_sum_to_1(lived: Lived) -> None:
    seen = 0
    with open_period(lived.data) as decisions:
        for found in decisions.decisions(Period(0, 1 << 62)):
            decision = found.decision
            if decision.candidates and decision.slate:
                place = {item: column for column, item in enumerate(decision.candidates)}
                columns = [place[one.item] for one in decision.slate]
                rows = chances(shortlist_of(decision), sampling_in(decision), columns)
                assert rows.sum(axis=1) == pytest.approx(1.0, abs=1e-9)
                drawn = [rows[slot, column] for slot, column in enumerate(columns)]
                assert drawn == pytest.approx([one.propensity for one in decision.slate], abs=1e-6)
                seen += 1
    assert seen > 30


def test_who_refused_got_answers_that_know_nothing_of_them(lived: Lived) -> None:
    refused = [answer for answer in lived.notes.answers if answer.refused]
    assert refused
    assert {answer.profile_version for answer in refused} == {None}


def test_hidden_items_are_never_shown(lived: Lived) -> None:
    assert any(answer.hidden for answer in lived.notes.answers)
    for answer in lived.notes.answers:
        assert not answer.hidden & set(answer.items)


def test_epochs_never_go_back(lived: Lived) -> None:
    for seen in lived.epochs.values():
        assert seen == sorted(seen)
        assert seen[-1] > seen[0], "the host was replaced, and took its partitions anew"


def test_followers_applied_every_record_once(lived: Lived, tmp_path: Path) -> None:
    """What the item follower made of the logs, through all its deaths, is what one makes of them that never died."""
    store = Store.open(lived.data)
    files = [PartitionFiles(store.folder(number), number, store) for number in store.numbers()]
    state = LmdbState(tmp_path / "again")
    sources = [Source(int(each.number), each.log, Unsealer(each.log, each.vault)) for each in files]
    follower = Follower("items", sources, state, lambda read: ItemProjection(read, 1))
    while follower.step():
        pass
    live = LmdbReader(lived.data / ITEMS)
    again, was = _sums(state), _sums(live)
    assert set(again) == set(was)
    assert max(map(max, again.values())) > 0
    for item, sums in again.items():
        assert was[item] == pytest.approx(sums, rel=1e-9), f"{item}: counted otherwise than the log says"
    ends = {f"p{int(each.number)}": each.log.bounds()[1] for each in files}
    assert live.offsets() == ends, "each read to the durable end, and not beyond"
    for each in files:
        each.close()
    live.close()
    state.close()


def _sums(state: StateReader) -> dict[str, list[float]]:
    """Of every item: what it was done with, by itself, by recommendation, and lately."""
    import struct

    names = dict(scan_names(state))
    return {names[int.from_bytes(key, "big")]: list(struct.unpack("<ddd", row)) for key, row in state.scan(COUNTS)}


def test_each_outbox_entry_landed_once_and_in_order(lived: Lived) -> None:
    numbered: dict[tuple[int, str], list[int]] = {}
    for partition, record in _records(lived.data):
        if record.producer:
            numbered.setdefault((partition, record.producer), []).append(record.seq)
    assert numbered, "segments' transitions at least"
    for producer, seqs in numbered.items():
        assert all(one < other for one, other in pairwise(seqs)), f"{producer}: {seqs[:50]}"


def test_nothing_stands_in_the_log_twice(lived: Lived) -> None:
    ids = Counter(record.event_id for _, record in _records(lived.data) if record.event_id)
    assert [event for event, number in ids.items() if number > 1] == []


def _records(data: Path) -> Iterator[tuple[int, Record]]:
    store = Store.open(data)
    for number in store.numbers():
        files = PartitionFiles(store.folder(number), number, store)
        for record in scan(files.log, 0):
            yield int(number), record
        files.close()


def test_stopping_left_no_process(lived: Lived) -> None:
    from serving.supervisor import stamp_of

    deadline = time.monotonic() + 10
    while stamped(stamp_of(lived.data)) and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    assert stamped(stamp_of(lived.data)) == set()
