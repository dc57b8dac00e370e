"""Alerts reach a real HTTP server, signed, in order, without anybody waiting for them."""

from __future__ import annotations

import hashlib
import hmac
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson
import pytest
from pydantic import SecretStr

from events.clock import ManualClock
from events.errors import BadSettings
from events.ids import Micros
from serving.alerts import ATTEMPTS, DELIVERY, QUEUE_MAX, SIGNATURE, Alert, Alerts, drift_alert
from serving.logs import JsonLog
from serving.settings import FILE, AlertsSettings, Settings
from training.drift import Detection, Signal

SECRET = "a secret of 16+ characters"
CLOCK = ManualClock(Micros(1_767_225_600_000_000))


def configured(url: str, timeout_s: float = 5.0) -> AlertsSettings:
    return AlertsSettings(webhook=url, secret=SecretStr(SECRET), timeout_s=timeout_s)


@dataclass
class Receiver:
    """A server that answers with the statuses it is given, then 204, and keeps what it got."""

    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    stand_still: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def __post_init__(self) -> None:
        self.stand_still.set()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.got.append((self.path, dict(self.headers), body))
            kept.stand_still.wait(30)
            self.send_response(kept.statuses.pop(0) if kept.statuses else 204)
            for name, value in kept.headers.items():
                self.send_header(name, value)
            self.end_headers()

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept.url = f"http://127.0.0.1:{server.server_port}/hook?team=a"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield kept
    kept.stand_still.set()
    server.shutdown()
    thread.join()
    server.server_close()


class Sending:
    """`Alerts` that does not wait between attempts but writes down how long it would have."""

    def __init__(self, url: str, timeout_s: float = 5.0) -> None:
        self.pauses: list[float] = []
        self.lines = io.StringIO()
        self.alerts = Alerts(configured(url, timeout_s), CLOCK, JsonLog(CLOCK, self.lines), self._pause)

    def _pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        return False

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.alerts.sent, self.alerts.failed, self.alerts.dropped

    def drain(self) -> None:
        """Until everything queued has been sent or given up."""
        self.alerts._queue.put(None)
        self.alerts._thread.join(30)
        assert not self.alerts._thread.is_alive()


def alert(number: int = 1) -> Alert:
    return Alert(f"id{number}", "drift_detected", 5, {"model": "home/click"})


def test_an_alert_arrives_as_json_signed_over_time_and_body(receiver: Receiver) -> None:
    sending = Sending(receiver.url)
    assert sending.alerts.raise_(alert())
    sending.drain()
    ((path, headers, body),) = receiver.got
    assert path == "/hook?team=a"
    assert orjson.loads(body) == {"id": "id1", "event": "drift_detected", "at_ms": 5, "data": {"model": "home/click"}}
    assert headers["Content-Type"] == "application/json"
    assert headers[DELIVERY] == "id1"
    digest = hmac.new(SECRET.encode(), b"1767225600." + body, hashlib.sha256).hexdigest()
    assert headers[SIGNATURE] == f"t=1767225600,v1={digest}"
    assert sending.counts == (1, 0, 0)


def test_what_passes_is_tried_again_after_growing_pauses(receiver: Receiver) -> None:
    receiver.statuses = [503, 500, 429]
    sending = Sending(receiver.url)
    sending.alerts.raise_(alert())
    sending.drain()
    assert len(receiver.got) == 4
    assert {headers[DELIVERY] for _, headers, _ in receiver.got} == {"id1"}
    assert sending.pauses == [1, 2, 4]
    assert sending.counts == (1, 0, 0)


def test_retry_after_is_heeded_within_reason(receiver: Receiver) -> None:
    receiver.statuses, receiver.headers = [503, 503], {"Retry-After": "7"}
    sending = Sending(receiver.url)
    sending.alerts.raise_(alert())
    sending.drain()
    assert sending.pauses == [7, 7]


def test_it_gives_up_after_all_attempts_and_goes_on_with_the_next(receiver: Receiver) -> None:
    receiver.statuses = [500] * ATTEMPTS
    sending = Sending(receiver.url)
    for number in (1, 2):
        sending.alerts.raise_(alert(number))
    sending.drain()
    assert [headers[DELIVERY] for _, headers, _ in receiver.got] == ["id1"] * ATTEMPTS + ["id2"]
    assert sending.counts == (1, 1, 0)
    assert "status 500" in sending.lines.getvalue()
    assert SECRET not in sending.lines.getvalue()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_even_to_the_same_host(receiver: Receiver, status: int) -> None:
    receiver.statuses, receiver.headers = [status], {"Location": receiver.url.replace("hook", "elsewhere")}
    sending = Sending(receiver.url)
    sending.alerts.raise_(alert())
    sending.drain()
    assert [path for path, _, _ in receiver.got] == ["/hook?team=a"]
    assert sending.counts == (0, 1, 0)


@pytest.mark.parametrize("status", [400, 401, 404, 410])
def test_a_refusal_is_final(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status]
    sending = Sending(receiver.url)
    sending.alerts.raise_(alert())
    sending.drain()
    assert len(receiver.got) == 1
    assert sending.counts == (0, 1, 0)


def test_nobody_there_is_a_failure_after_all_attempts(receiver: Receiver) -> None:
    sending = Sending("http://127.0.0.1:1/")
    sending.alerts.raise_(alert())
    sending.drain()
    assert sending.counts == (0, 1, 0)
    assert len(sending.pauses) == ATTEMPTS - 1
    assert "ConnectionRefusedError" in sending.lines.getvalue()


def test_a_server_that_does_not_answer_is_left_after_the_timeout(receiver: Receiver) -> None:
    receiver.stand_still.clear()
    sending = Sending(receiver.url, timeout_s=0.1)
    sending.alerts.raise_(alert())
    sending.drain()
    assert sending.counts == (0, 1, 0)
    assert "TimeoutError" in sending.lines.getvalue()


def test_while_a_server_stands_still_raising_returns_and_the_queue_is_bounded(receiver: Receiver) -> None:
    receiver.stand_still.clear()
    sending = Sending(receiver.url, timeout_s=30)
    taken = sum(sending.alerts.raise_(alert(number)) for number in range(QUEUE_MAX + 50))
    assert QUEUE_MAX <= taken <= QUEUE_MAX + 1
    assert sending.alerts.dropped == QUEUE_MAX + 50 - taken
    receiver.stand_still.set()
    sending.drain()
    assert [headers[DELIVERY] for _, headers, _ in receiver.got] == [f"id{number}" for number in range(taken)]
    assert sending.alerts.sent == taken


def test_closing_ends_the_wait_between_attempts(receiver: Receiver) -> None:
    receiver.statuses = [503] * ATTEMPTS
    alerts = Alerts(configured(receiver.url), CLOCK, JsonLog(CLOCK, io.StringIO()))
    alerts.raise_(alert())
    alerts.close(wait_s=20)
    assert not alerts._thread.is_alive()
    assert alerts.sent + alerts.failed == 1
    assert len(receiver.got) < ATTEMPTS


def test_a_detection_has_the_same_id_each_time_and_brings_its_evidence() -> None:
    signal = Signal("home/click", "s0", "rate", 7, 0.05, 0.02, 9000, 640, 0.0)
    detection = Detection("home/click", "s0", ("prediction", "rate"), 7, (signal,))
    sent = drift_alert(detection)
    assert sent == drift_alert(detection)
    assert sent.id != drift_alert(Detection("home/click", "s1", ("prediction", "rate"), 7, (signal,))).id
    body = orjson.loads(sent.body())
    assert (body["event"], body["at_ms"], body["data"]["segment"]) == ("drift_detected", 7, "s0")
    assert body["data"]["signals"][0]["after"] == 0.02


@pytest.mark.parametrize(
    "webhook",
    ["hooks.example/x", "ftp://host/", "http://", "http://host:x/", "http://u:p@host/", "http://ho st/", "http://[::1"],
)
def test_an_address_that_is_none_is_refused(tmp_path: Path, webhook: str) -> None:
    (tmp_path / FILE).write_text(f"[alerts]\nwebhook = '{webhook}'\nsecret = '{SECRET}'")
    with pytest.raises(BadSettings, match=r"`alerts\.webhook`.*no address"):
        Settings.load(tmp_path, {})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("webhook = 'nowhere'\nsecret = 'sixteen characters'", r"alerts.*webhook"),
        ("webhook = 'https://a.example/x'", r"alerts.*secret"),
        ("webhook = 'https://a.example/x'\nsecret = 'short'", r"alerts.*secret"),
        ("webhok = 'https://a.example/x'", r"did you mean `webhook`"),
    ],
)
def test_settings_that_could_not_send_are_refused_at_the_start(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / FILE).write_text(f"[alerts]\n{text}")
    with pytest.raises(BadSettings, match=says):
        Settings.load(tmp_path, {})


def test_the_secret_may_come_from_the_environment_and_is_not_printed(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("[alerts]\nwebhook = 'https://a.example/x'")
    settings = Settings.load(tmp_path, {"EVERFOLD_ALERTS__SECRET": SECRET})
    assert settings.alerts.secret.get_secret_value() == SECRET
    assert SECRET not in repr(settings)
    assert Settings().alerts.webhook == ""
