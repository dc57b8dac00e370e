"""HTTP as clients speak it: one address, resolved once, and a bounded number of kept-alive lines to it.

Nothing here follows a redirect, asks a proxy or looks up a second name, so load goes to the one address that was
given. Every request ends: answered, or given up after a time that counts from when it was due.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, cast
from urllib.parse import urlencode, urlsplit

import httptools

from events.errors import BadSettings
from serving.keys import Keys

BODY_BYTES_MAX: Final = 8 << 20
"""An answer larger than this is not one of ours."""
LOOK_S: Final = 2.0
SWEEP_S: Final = 0.1
"""How often lines are looked at for requests that took too long."""


@dataclass(frozen=True)
class Target:
    """A service to be talked to, and its keys. ``peer``: the address its name stood for when it was looked up."""

    url: str
    host: str
    peer: tuple[str, int]
    tls: bool
    keys: Keys = field(repr=False)

    @classmethod
    def named(cls, url: str, keys: Keys) -> Target:
        """Raises `BadSettings` for what is no ``http://host:port``, or a name that stands for no address."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        extra = host and (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
        if not host or extra or parts.scheme not in ("http", "https"):
            raise BadSettings(f"--target {url!r} is no address of a service: use http://host:port")
        port = port or (443 if parts.scheme == "https" else 80)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise BadSettings(f"--target {url!r}: {host} stands for no address ({error}): check the name") from None
        name = f"{host}:{port}" if ":" not in host else f"[{host}]:{port}"
        peer = _listening([(str(one[4][0]), port) for one in found])
        return cls(f"{parts.scheme}://{name}", name, peer, parts.scheme == "https", keys)

    def get(self, path: str, **query: str) -> bytes:
        """A ``GET`` with the API key, as bytes."""
        asked = f"{path}?{urlencode(query)}" if query else path
        return (
            f"GET {asked} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {self.keys.api_key}\r\n\r\n"
        ).encode()

    def post(self, path: str, body: bytes) -> bytes:
        """A ``POST`` of JSON with the API key."""
        return self._posted(path, f"Bearer {self.keys.api_key}", body)

    def batch(self, body: bytes) -> bytes:
        """A batch of events with the write key, as an SDK sends it."""
        return self._posted("/v1/batch", "Basic " + b64encode(f"{self.keys.write_key}:".encode()).decode(), body)

    def _posted(self, path: str, authorization: str, body: bytes) -> bytes:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: {authorization}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def _listening(peers: Sequence[tuple[str, int]]) -> tuple[str, int]:
    """Of the addresses a name stands for (``localhost`` is often two) the first where somebody listens, else the
    first."""
    for peer in peers if len(set(peers)) > 1 else ():
        with suppress(OSError), socket.create_connection(peer, LOOK_S):
            return peer
    return peers[0]


@dataclass(frozen=True, slots=True)
class Reply:
    """How a request ended. ``status`` 0: without an answer, for the reason in ``fault``: ``refused`` (no connection),
    ``lost`` (the connection ended first), ``garbled`` (no HTTP), ``timeout``, ``unsent`` (too many waited already)."""

    status: int
    body: bytes = b""
    fault: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def outcome(self) -> str:
        """One word for the report: the status, or why there is none."""
        return self.fault or str(self.status)


Done = Callable[[Reply], None]


@dataclass(slots=True)
class _Sent:
    data: bytes
    done: Done
    deadline: float
    again: bool = False


class _Line(asyncio.Protocol):
    """One connection; at most one request is under way on it."""

    def __init__(self, free: Callable[[_Line], None], ended: Callable[[_Line, str], None]) -> None:
        self._free = free
        self._ended = ended
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._heard = 0
        self._whole = False
        self._again = True
        self._served = False
        self.sent: _Sent | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def send(self, sent: _Sent) -> None:
        assert self._transport is not None
        assert self.sent is None
        self.sent = sent
        self._heard = 0
        self._transport.write(sent.data)

    @property
    def alive(self) -> bool:
        return self._transport is not None

    @property
    def stale(self) -> bool:
        """Whether it answered before, and nothing of an answer to what is under way has come."""
        return self._served and self._heard == 0

    def on_body(self, part: bytes) -> None:
        self._body += part

    def on_message_complete(self) -> None:
        self._whole = True
        self._again = self._parser.should_keep_alive()

    def data_received(self, data: bytes) -> None:
        self._heard += len(data)
        if self.sent is None or self._heard > BODY_BYTES_MAX:
            self.end("garbled")
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.end("garbled")
            return
        if self._whole:
            self._answered()

    def _answered(self) -> None:
        sent, self.sent = self.sent, None
        assert sent is not None
        reply = Reply(self._parser.get_status_code(), bytes(self._body))
        self._body.clear()
        self._whole = False
        self._served = True
        if self._again:
            self._free(self)
        else:
            self.end("lost")
        sent.done(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.end("lost")

    def end(self, fault: str) -> None:
        """Close it, and end what is under way."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        self._ended(self, fault)
        sent, self.sent = self.sent, None
        if sent is not None:
            sent.done(Reply(0, fault=fault))


class Lines:
    """At most ``most`` lines to a target, opened when needed. Requests wait in order for a free one, at most
    ``waiting_max`` of them."""

    def __init__(self, target: Target, most: int, waiting_max: int) -> None:
        self._target = target
        self._most = most
        self._waiting_max = waiting_max
        self._waiting: deque[_Sent] = deque()
        self._free: list[_Line] = []
        self._lines: set[_Line] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._ssl = ssl.create_default_context() if target.tls else None
        self._loop = asyncio.get_running_loop()
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
        self._closed = False

    @property
    def busy(self) -> int:
        """Requests that have not ended."""
        return len(self._waiting) + sum(line.sent is not None for line in self._lines)

    def send(self, data: bytes, done: Done, deadline: float) -> None:
        """Send when a line is free; ``done`` is called once, at the latest soon after ``deadline`` (loop time)."""
        sent = _Sent(data, done, deadline)
        if self._free:
            self._free.pop().send(sent)
        elif len(self._waiting) >= self._waiting_max or self._closed:
            done(Reply(0, fault="unsent"))
        else:
            self._waiting.append(sent)
            self._open_for_waiting()

    async def ask(self, data: bytes, timeout_s: float) -> Reply:
        """One request, waited for."""
        answered: asyncio.Future[Reply] = self._loop.create_future()
        self.send(data, answered.set_result, self._loop.time() + timeout_s)
        return await answered

    async def close(self) -> None:
        """End everything that is under way."""
        self._closed = True
        self._sweeper.cancel()
        for task in list(self._opening):
            task.cancel()
        for sent in self._taken():
            sent.done(Reply(0, fault="unsent"))
        for line in list(self._lines):
            line.end("unsent")
        await asyncio.sleep(0)

    def _taken(self) -> list[_Sent]:
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    def _open_for_waiting(self) -> None:
        """One more line where somebody waits for it and there may be more."""
        under_way = len(self._opening)
        if under_way >= len(self._waiting) or self._closed or len(self._lines) + under_way >= self._most:
            return
        task = self._loop.create_task(self._opened())
        self._opening.add(task)
        task.add_done_callback(lambda task: self._opening.discard(task))

    async def _opened(self) -> None:
        """Connect; a connection that cannot be made, or does not last, ends the request that has waited longest. Who
        hears of that may send again at once, so this attempt no longer counts by then."""
        fault, line = await self._connected()
        self._opening = {task for task in self._opening if task is not asyncio.current_task()}
        if line is not None:
            self._lines.add(line)
            self._released(line)
            return
        if self._waiting:
            self._waiting.popleft().done(Reply(0, fault=fault))
        self._open_for_waiting()

    async def _connected(self) -> tuple[str, _Line | None]:
        """(why not, the line)."""
        host, port = self._target.peer
        name = self._target.host.rpartition(":")[0] if self._ssl else None
        try:
            made = self._loop.create_connection(
                lambda: _Line(self._released, self._lost), host, port, ssl=self._ssl, server_hostname=name
            )
            _, line = await made
        except OSError:
            return "refused", None
        return ("", line) if line.alive else ("lost", None)

    def _released(self, line: _Line) -> None:
        if self._waiting:
            line.send(self._waiting.popleft())
        else:
            self._free.append(line)

    def _lost(self, line: _Line, fault: str) -> None:
        """A request that crossed the closing of an idle line was not heard: it goes again, once and before the others,
        as browsers and SDKs do (RFC 9112, 9.3.1)."""
        self._lines.discard(line)
        if line in self._free:
            self._free.remove(line)
        if fault == "lost" and line.stale and line.sent is not None and not line.sent.again and not self._closed:
            line.sent.again = True
            self._waiting.appendleft(line.sent)
            line.sent = None
        self._open_for_waiting()

    def _sweep(self) -> None:
        """End what took too long."""
        now = self._loop.time()
        for line in list(self._lines):
            if line.sent is not None and line.sent.deadline <= now:
                line.end("timeout")
        for _ in range(len(self._waiting)):
            sent = self._waiting.popleft()
            if sent.deadline <= now:
                sent.done(Reply(0, fault="timeout"))
            else:
                self._waiting.append(sent)
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
