"""The other side of a webhook: a real HTTP server that takes, refuses, fails or hangs as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson


@dataclass
class Received:
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> dict[str, object]:
        value = orjson.loads(self.body)
        assert isinstance(value, dict)
        return value

    @property
    def id(self) -> str:
        return str(self.told["id"])

    @property
    def user(self) -> str:
        data = self.told["data"]
        assert isinstance(data, dict)
        return str(data["user_id"])


@dataclass
class Receiver:
    """``answers(attempt number from 0, what came)`` gives the status; 204 otherwise."""

    answers: Callable[[int, Received], int] = lambda number, received: 204
    headers: dict[str, str] = field(default_factory=dict)
    attempts: list[Received] = field(default_factory=list)
    taken: list[Received] = field(default_factory=list)
    """Those answered 2xx, in the order they were answered."""
    go_on: threading.Event = field(default_factory=threading.Event)
    """Cleared: every request hangs until it is set."""
    url: str = ""

    def effects(self) -> list[Received]:
        """What a receiver that drops ids it has seen acts upon."""
        first: dict[str, Received] = {}
        for one in self.taken:
            first.setdefault(one.id, one)
        return list(first.values())

    def of(self, user: str) -> list[str]:
        return [one.id for one in self.effects() if one.user == user]


@contextmanager
def receiver(port: int = 0) -> Iterator[Receiver]:
    kept = Receiver()
    kept.go_on.set()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received = Received(dict(self.headers), body)
            with lock:
                number = len(kept.attempts)
                kept.attempts.append(received)
            kept.go_on.wait(30)
            status = kept.answers(number, received)
            with lock:
                if status < 300:
                    kept.taken.append(received)
            try:
                self.send_response(status)
                for name, value in kept.headers.items():
                    self.send_header(name, value)
                self.end_headers()
            except OSError:  # the sender was killed meanwhile
                pass

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    kept.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield kept
    finally:
        kept.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
