"""How a command of this machine talks to a running service: where it is, and one JSON question at a time."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

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
from serving.keys import Keys
from serving.probe import look
from serving.run import FILE, Run

TIMEOUT_S: Final = 60.0
TRIES: Final = 5
"""Of a call that is answered 503 or not at all; a second apart, or what Retry-After says."""
RETRY_S_MAX: Final = 5.0
_FINAL: Final[dict[int, type[EverfoldError]]] = {
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
}


class ServiceClient:
    """Calls with the API key."""

    def __init__(self, address: str, api_key: str, wait: Callable[[float], None] = time.sleep) -> None:
        """``address``: ``http://host:port``. Raises `BadSettings` for one that is none."""
        try:
            parts = urlsplit(address)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or parts.scheme not in ("http", "https"):
            raise BadSettings(f"{address!r} is no address of a service: use http://host:port")
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port = host, port
        self._address = address
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        self._wait = wait

    @classmethod
    def of(cls, data: Path, address: str = "") -> ServiceClient:
        """For the service over ``data``; at ``address`` where one is named. Raises `Unavailable` where none runs."""
        return cls(address or address_of(data), Keys.open(data, create=False).api_key)

    def get(self, path: str) -> dict[str, object]:
        return self._call("GET", path, None)

    def post(self, path: str, body: object = None) -> dict[str, object]:
        """Raises what the service said: `NotFound`, `Conflict`, `BadRequest`, `Unauthorized`, `Unavailable`."""
        return self._call("POST", path, msgspec.json.encode({} if body is None else body))

    def put(self, path: str, body: object) -> dict[str, object]:
        """Raises as `post`."""
        return self._call("PUT", path, msgspec.json.encode(body))

    def delete(self, path: str, body: object) -> dict[str, object]:
        """Raises as `post`."""
        return self._call("DELETE", path, msgspec.json.encode(body))

    def _call(self, method: str, path: str, body: bytes | None) -> dict[str, object]:
        why = ""
        for _ in range(TRIES):
            delay = 1.0
            try:
                status, retry_after, answer = self._exchange(method, path, body)
            except (OSError, http.client.HTTPException) as lost:
                why = f"{type(lost).__name__}: {lost}"
            else:
                said = _decoded(answer)
                if status == 200:
                    return said
                why = str(said.get("message") or f"the service answered {status}")
                if status < 500 and status != 429:
                    raise _FINAL.get(status, BadRequest)(why)
                delay = min(float(retry_after) if retry_after.isdigit() else 1.0, RETRY_S_MAX)
            self._wait(delay)
        raise Unavailable(f"{self._address} does not answer ({why}): try again later")

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, str, bytes]:
        line = self._kind(self._host, self._port, timeout=TIMEOUT_S)
        try:
            line.request(method, path, body, self._headers)
            answer = line.getresponse()
            return answer.status, answer.getheader("Retry-After", ""), answer.read()
        finally:
            line.close()


def address_of(data: Path) -> str:
    """Where the service over ``data`` listens on this machine. Raises `Unavailable` where none runs."""
    try:
        port = Run.read(data / "run" / FILE).ports.front
    except (OSError, msgspec.MsgspecError):
        port = 0
    if not port or not look(port, timeout_s=2.0).alive:
        raise Unavailable(
            f"no service runs over {data}: start it with `everfold up --data {data}`, or name its address"
        )
    return f"http://127.0.0.1:{port}"


def _decoded(answer: bytes) -> dict[str, object]:
    try:
        said = json.loads(answer)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
