"""An import through the service's door: in order, once, and on from where it stopped."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from service import Service

from events.errors import BadRequest, BadSettings, Conflict, EverfoldError, TooLarge, Unauthorized, Unavailable
from events.ids import Millis
from serving.import_client import ImportClient
from serving.importing import PART_BYTES_MAX, PART_EVENTS_MAX, parts, run_import
from serving.source import SourceEvent

WEEK = 7 * 86_400_000
NOW = Millis(1_714_557_600_000)


class Purchases:
    """A source of ``count`` orders of ten users, an hour apart, that may break off."""

    name = "purchases"
    source_hash = "0" * 64

    def __init__(self, producer: str, count: int, break_after: int | None = None) -> None:
        self.producer = producer
        self._count = count
        self._break_after = break_after

    def total(self) -> int:
        return self._count

    def shift_ms(self, now: Millis) -> int:
        return (now - NOW) // WEEK * WEEK + 2 * WEEK

    def events(self, shift_ms: int) -> Iterator[SourceEvent]:
        for n in range(self._count):
            if n == self._break_after:
                raise KeyboardInterrupt
            yield {
                "type": "track",
                "event": "Order Completed",
                "userId": f"{self.producer}-{n % 10}",
                "timestamp": NOW - 10 * WEEK + n * 3_600_000 + shift_ms,
                "properties": {"order_id": str(n), "products": [{"product_id": f"i{n}"}]},
            }


class Tally:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.done = self.moved = 0

    def begin(self, total: int | None, done: int) -> None:
        self.total, self.done = total, done

    def advance(self, events: int, rejected: int) -> None:
        self.moved += events


def client(service: Service) -> ImportClient:
    return ImportClient(service.address, service.embedded.keys.api_key, threading.Event().wait)


def orders(service: Service, user: str) -> list[str]:
    """The orders of a user as the service has them, oldest first."""
    answer = service.get(f"/v1/profiles/{user}/events?limit=1000")
    assert answer.status == 200, answer
    events = answer.json["events"]
    assert isinstance(events, list)
    return [event["body"]["order_id"] for event in reversed(events)]


def test_every_event_arrives_once_and_in_order(service: Service) -> None:
    tally = Tally()
    report = run_import(Purchases("whole", 1_234), client(service), NOW, tally)
    assert (report.sent, report.skipped, report.rejected) == (1_236, 0, 0)
    assert (tally.total, tally.done, tally.moved) == (1_236, 0, 1_236)
    assert orders(service, "whole-3") == [str(n) for n in range(3, 1_234, 10)]


def test_a_complete_import_is_not_sent_again(service: Service) -> None:
    run_import(Purchases("twice", 20), client(service), NOW, Tally())
    assert client(service).status("twice").completed
    report = run_import(Purchases("twice", 20), client(service), NOW, Tally())
    assert report.sent == 0
    assert orders(service, "twice-1") == ["1", "11"]


def test_an_interrupted_import_goes_on_with_the_same_shift_and_loses_nothing(service: Service) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_import(Purchases("broken", 2_000, break_after=1_600), client(service), NOW, Tally())
    status = client(service).status("broken")
    assert not status.completed
    assert 500 < status.low < 1_602
    assert status.shift_ms == 2 * WEEK
    tally = Tally()
    report = run_import(Purchases("broken", 2_000), client(service), Millis(NOW + 9 * WEEK), tally)
    assert (report.skipped, report.sent, report.shift_ms) == (status.low, 2_002 - status.low, 2 * WEEK)
    assert tally.done + tally.moved == tally.total == 2_002
    for user in range(10):
        assert orders(service, f"broken-{user}") == [str(n) for n in range(user, 2_000, 10)]


def test_kept_times_are_neither_shifted_nor_stamped(service: Service) -> None:
    report = run_import(Purchases("kept", 1), client(service), NOW, Tally(), keep_times=True)
    assert report.shift_ms == 0
    answer = service.get("/v1/profiles/kept-0/events").json["events"]
    assert isinstance(answer, list)
    assert answer[0]["event_time"].startswith("2024-02-21T10:00:00")
    assert not answer[0]["appended"].startswith("2024")


def test_an_empty_source_is_an_error(service: Service) -> None:
    with pytest.raises(BadRequest, match="no events"):
        run_import(Purchases("empty", 0), client(service), NOW, Tally())


def test_the_wrong_key_is_said_to_be_wrong(service: Service) -> None:
    with pytest.raises(Unauthorized):
        ImportClient(service.address, "nonsense", threading.Event().wait).status("p")


def test_parts_are_bounded_in_events_and_bytes() -> None:
    events: list[SourceEvent] = [{"n": n, "x": "y" * (400 if n < 2_000 else 20_000)} for n in range(2_500)]
    found = list(parts(iter(events), 7))
    assert [json.loads(data)["n"] for part in found for data in part.events] == list(range(2_500))
    assert all(len(part.events) <= PART_EVENTS_MAX for part in found)
    assert all(sum(map(len, part.events)) <= PART_BYTES_MAX for part in found)
    assert [part.first_seq for part in found[:3]] == [7, 507, 1_007]


class Scripted(BaseHTTPRequestHandler):
    """Answers with the server's script, one (status, headers, body) per request."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        status, headers, body = self.server.script.pop(0)  # type: ignore[attr-defined]
        if status == 0:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = "Content-Length" in headers  # an answer cut short

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def scripted() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


GOOD = (200, {}, b'{"success": true, "accepted": 3, "rejected": 1}')


def patient(
    server: ThreadingHTTPServer, script: list[tuple[int, dict[str, str], bytes]]
) -> tuple[ImportClient, list[float]]:
    server.script = script  # type: ignore[attr-defined]
    waits: list[float] = []
    return ImportClient(f"http://127.0.0.1:{server.server_address[1]}", "k", waits.append), waits


def test_overload_restarts_and_lost_connections_are_waited_out(scripted: ThreadingHTTPServer) -> None:
    busy = (503, {"Retry-After": "7"}, b'{"code": "unavailable", "message": "later"}')
    cut, gone, limited = (200, {"Content-Length": "99"}, b"{"), (0, {}, b""), (429, {"Retry-After": "soon"}, b"")
    line, waits = patient(scripted, [busy, gone, cut, (502, {}, b""), limited, GOOD])
    taken = line.send(b"{}")
    line.close()
    assert (taken.accepted, taken.rejected) == (3, 1)
    assert waits == [7.0, 1.0, 1.0, 1.0, 1.0]


def test_patience_ends_with_what_the_service_last_said(scripted: ThreadingHTTPServer) -> None:
    busy = (503, {"Retry-After": "3600"}, b'{"code": "disk_full", "message": "the disk is full"}')
    line, waits = patient(scripted, [busy] * 10)
    with pytest.raises(Unavailable, match="the disk is full"):
        line.send(b"{}")
    line.close()
    assert waits == [30.0] * 4


@pytest.mark.parametrize(
    ("status", "kind"), [(400, BadRequest), (401, Unauthorized), (403, Unauthorized), (409, Conflict), (413, TooLarge)]
)
def test_what_cannot_succeed_is_not_tried_again(
    scripted: ThreadingHTTPServer, status: int, kind: type[EverfoldError]
) -> None:
    said = b'{"code": "x", "message": "another import is running"}'
    line, waits = patient(scripted, [(status, {}, said)])
    with pytest.raises(kind, match="another import is running"):
        line.send(b"{}")
    line.close()
    assert waits == []


@pytest.mark.parametrize("address", ["", "127.0.0.1:8000", "ftp://host", "http://", "http://host:80x", "http://[::1"])
def test_an_address_that_is_none_is_named(address: str) -> None:
    with pytest.raises(BadSettings, match="http://host:port"):
        ImportClient(address, "k", threading.Event().wait)


def test_the_journey_is_imported_with_its_catalogue(fresh: Service, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="comes with the demo data")
    from journey_tables import write_journey

    from serving.journey import Journey

    journey = Journey(write_journey(tmp_path / "journey"))
    report = run_import(journey, client(fresh), Millis(NOW), Tally())
    assert (report.sent, report.rejected) == (journey.total() + 2, 0)
    profile = fresh.get("/v1/profiles/1").json
    assert profile["user_id"] == "1"
