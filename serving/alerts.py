"""Alerts: what an operator should know now, POSTed as JSON to one configured address.

    POST /whatever HTTP/1.1
    Content-Type: application/json
    Everfold-Delivery: 5f0c...                  the same for every attempt, and after a restart: drop what you have seen
    Everfold-Signature: t=1767225600,v1=9ae1... v1 = HMAC-SHA256(secret, t + "." + body), in hex

Signing the second together with the body lets a receiver refuse what is signed minutes ago (the scheme of Stripe's
webhooks). One thread sends, in order; whoever raises an alert never waits for it. A redirect is not followed, wherever
it leads: a signed body belongs to the address that was configured and to no other.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

import msgspec
import orjson

from events.clock import Clock
from serving.logs import Log
from serving.settings import AlertsSettings
from training.drift import Detection

QUEUE_MAX: Final = 100
"""Alerts that wait to be sent; further ones are dropped and counted. An operator reads the first of a hundred."""
ATTEMPTS: Final = 5
BACKOFF_S: Final = 1.0
"""Pause after the first failed attempt; it doubles each time: 1, 2, 4, 8 s."""
RETRY_AFTER_S_MAX: Final = 60.0
ANSWER_BYTES_MAX: Final = 4096
"""Of the answer that are read; nothing in it is needed."""

DELIVERY: Final = "Everfold-Delivery"
SIGNATURE: Final = "Everfold-Signature"


@dataclass(frozen=True, slots=True)
class Alert:
    """One message. ``id`` names it across attempts and restarts."""

    id: str
    event: str
    """A stable word, such as ``drift_detected``."""
    at_ms: int
    """Log time of what happened."""
    data: Mapping[str, object]

    def body(self) -> bytes:
        """``{"id", "event", "at_ms", "data"}``, keys sorted."""
        fields = {"id": self.id, "event": self.event, "at_ms": self.at_ms, "data": dict(self.data)}
        return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)


def drift_alert(detection: Detection) -> Alert:
    """What the learner raises for a detection; the same detection has the same id."""
    name = f"{detection.model}\0{detection.segment}\0{detection.at_ms}\0{','.join(detection.detectors)}"
    return Alert(
        hashlib.blake2b(name.encode(), digest_size=16).hexdigest(),
        "drift_detected",
        detection.at_ms,
        msgspec.to_builtins(detection),
    )


def signature(secret: str, at_s: int, body: bytes) -> str:
    """The header's value.

    >>> signature("secret", 1, b"{}")[:15]
    't=1,v1=1122767b'
    """
    return f"t={at_s},v1=" + hmac.new(secret.encode(), b"%d." % at_s + body, hashlib.sha256).hexdigest()


class Alerts:
    """Sends to one address from a thread of its own. `close` it at the end."""

    def __init__(
        self,
        settings: AlertsSettings,
        clock: Clock,
        log: Log,
        pause: Callable[[float], bool] | None = None,
    ) -> None:
        """``settings.webhook`` is not empty. ``pause(seconds)`` waits between attempts and is True when the process is
        about to end."""
        self._target, self._secret = urlsplit(settings.webhook), settings.secret.get_secret_value()
        self._clock, self._log, self._timeout_s = clock, log, settings.timeout_s
        self._ending = threading.Event()
        self._pause = pause or self._ending.wait
        self._queue: queue.Queue[Alert | None] = queue.Queue(QUEUE_MAX)
        self.sent = 0
        """Alerts the other side took (2xx)."""
        self.failed = 0
        """Alerts given up after all attempts, refused, or not sent before the end."""
        self.dropped = 0
        """Alerts that found the queue full."""
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._thread.start()

    def raise_(self, alert: Alert) -> bool:
        """Queue ``alert`` and return at once; False when it was dropped."""
        try:
            self._queue.put_nowait(alert)
        except queue.Full:
            self.dropped += 1
            return False
        return True

    def close(self, wait_s: float = 5.0) -> None:
        """Send what is queued with one attempt each, for at most ``wait_s`` seconds."""
        self._ending.set()
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            pass  # the thread looks at the event too
        self._thread.join(wait_s)

    def _run(self) -> None:
        while True:
            try:
                alert = self._queue.get(timeout=1.0)
            except queue.Empty:
                if self._ending.is_set():
                    return
                continue
            if alert is None:
                return
            self._deliver(alert)

    def _deliver(self, alert: Alert) -> None:
        body, why = alert.body(), ""
        for attempt in range(ATTEMPTS):
            try:
                at_s = self._clock.now() // 1_000_000
                status, retry_after_s = post(self._target, self._secret, self._timeout_s, at_s, alert.id, body)
            except (OSError, http.client.HTTPException) as error:
                why, retry_after_s = type(error).__name__, 0.0
            else:
                if 200 <= status < 300:
                    self.sent += 1
                    return
                why = f"status {status}"
                if not passing(status):
                    break
            last = attempt + 1 == ATTEMPTS
            if last or self._ending.is_set() or self._pause(max(BACKOFF_S * 2**attempt, retry_after_s)):
                break
        self.failed += 1
        self._log.write("alert_failed", alert=alert.id, what=alert.event, host=self._target.hostname, why=why)


def post(
    target: SplitResult, secret: str, timeout_s: float, at_s: int, delivery: str, body: bytes
) -> tuple[int, float]:
    """One signed attempt: (status, Retry-After in seconds). Raises `OSError` or `http.client.HTTPException`."""
    kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
    connection = kind(str(target.hostname), target.port, timeout=timeout_s)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "everfold",
        "Connection": "close",
        DELIVERY: delivery,
        SIGNATURE: signature(secret, at_s, body),
    }
    try:
        connection.request("POST", (target.path or "/") + (f"?{target.query}" if target.query else ""), body, headers)
        response = connection.getresponse()
        response.read(ANSWER_BYTES_MAX)
        return response.status, _seconds(response.getheader("Retry-After", ""))
    finally:
        connection.close()


def passing(status: int) -> bool:
    """Whether the same request may succeed later."""
    return status in (408, 425, 429) or status >= 500


def _seconds(retry_after: str) -> float:
    """Retry-After as a number of seconds; its other form, a date, counts as not given.

    >>> _seconds("2"), _seconds("Wed, 21 Oct 2015 07:28:00 GMT"), _seconds("1e9"), _seconds("nan")
    (2.0, 0.0, 60.0, 0.0)
    """
    try:
        seconds = float(retry_after)
    except ValueError:
        return 0.0
    return min(seconds, RETRY_AFTER_S_MAX) if seconds > 0 else 0.0
