"""The importer's side of ``/v1/import``: one connection, patient where patience helps.

503, 429, other 5xx and a lost connection are tried again, after the server's Retry-After where it names one; the
numbers of the events make sending twice harmless. Everything else is final and raises what the server said.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from events.errors import (
    BadRequest,
    BadSettings,
    Conflict,
    EverfoldError,
    NotFound,
    TooLarge,
    Unauthorized,
    Unavailable,
)

PATIENCE_S: Final = 120.0
"""How long a service may stay away before an import gives up: a restart with recovery takes under half a minute."""
RETRY_AFTER_S_MAX: Final = 30.0
REQUEST_TIMEOUT_S: Final = 60.0


class ImportStatus(msgspec.Struct, frozen=True):
    """How far a producer's import has come. ``low``: every event up to that number is kept; ``shift_ms`` is that of
    its import_started, None before there is one."""

    low: int = 0
    completed: bool = False
    shift_ms: int | None = None
    high_water: dict[str, int] = {}


class Taken(msgspec.Struct, frozen=True):
    """What became of one request's events; duplicates count as accepted."""

    accepted: int = 0
    rejected: int = 0


class _Problem(msgspec.Struct, frozen=True):
    code: str = ""
    message: str = ""


_STATUS = msgspec.json.Decoder(ImportStatus)
_TAKEN = msgspec.json.Decoder(Taken)
_PROBLEM = msgspec.json.Decoder(_Problem)
_FINAL: Final[dict[int, type[EverfoldError]]] = {
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
}


class ImportClient:
    """Talks to the service at ``address`` (``http://host:port``). ``wait`` sleeps the given seconds: the shell's
    ``time.sleep``. Raises `BadSettings` for an address that is none."""

    def __init__(
        self, address: str, api_key: str, wait: Callable[[float], None], patience_s: float = PATIENCE_S
    ) -> None:
        self._line = _line(address)
        self._address = address
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        self._wait = wait
        self._patience_s = patience_s

    def status(self, producer: str) -> ImportStatus:
        """Where to go on. Raises what `send` raises."""
        return _STATUS.decode(self._call("GET", f"/v1/import/{quote(producer, safe='')}", None))

    def send(self, body: bytes) -> Taken:
        """Hand over one part of the import; on return its accepted events are durable.

        Raises `Conflict` while another import runs, `Unauthorized`, `BadRequest`, `TooLarge`, and `Unavailable` after
        two minutes without an answer: the same import, started again, goes on where it stopped.
        """
        return _TAKEN.decode(self._call("POST", "/v1/import", body))

    def close(self) -> None:
        self._line.close()

    def _call(self, method: str, path: str, body: bytes | None) -> bytes:
        waited = 0.0
        while True:
            try:
                status, retry_after, answer = self._exchange(method, path, body)
            except (OSError, http.client.HTTPException) as lost:
                self._line.close()
                delay, why = 1.0, f"{type(lost).__name__}: {lost}"
            else:
                if status == 200:
                    return answer
                if status < 500 and status != 429:
                    raise _FINAL.get(status, BadRequest)(_said(status, answer))
                delay, why = retry_after, _said(status, answer)
            if waited + delay > self._patience_s:
                raise Unavailable(
                    f"{self._address} took nothing for {waited:.0f} s ({why}): start the import again later"
                )
            self._wait(delay)
            waited += delay

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, float, bytes]:
        self._line.request(method, path, body, self._headers)
        response = self._line.getresponse()
        answer = response.read()
        return response.status, _seconds(response.getheader("Retry-After", "")), answer


def _line(address: str) -> http.client.HTTPConnection:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is no number, a broken IPv6 address
        host, port = None, None
    if not host or parts.scheme not in ("http", "https"):
        raise BadSettings(f"{address!r} is no address of a service: use http://host:port")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(host, port, timeout=REQUEST_TIMEOUT_S)


def _seconds(retry_after: str) -> float:
    try:
        return min(max(float(retry_after), 0.1), RETRY_AFTER_S_MAX)
    except ValueError:
        return 1.0


def _said(status: int, answer: bytes) -> str:
    try:
        message = _PROBLEM.decode(answer).message
    except (msgspec.MsgspecError, UnicodeDecodeError):
        message = ""
    return message or f"the service answered {status}"
