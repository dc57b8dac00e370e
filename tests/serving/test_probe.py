from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from serving.haproxy_shim import UNAVAILABLE
from serving.probe import Condition, look


@contextmanager
def answering(status: int, body: object) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


READY = {"ready": True, "log": "ready", "state": "ready", "followers": "ready", "replicas": "ready"}


@pytest.mark.parametrize(
    ("status", "body", "condition"),
    [
        (200, READY, Condition(alive=True)),
        (503, {**READY, "ready": False, "log": "partition 1: bad"}, Condition(True, {"log": "partition 1: bad"})),
        (503, UNAVAILABLE.partition(b"\r\n\r\n")[2], Condition(alive=False)),
        (503, b"<html>", Condition(alive=False)),
    ],
)
def test_a_service_is_ready_or_says_what_is_not_or_is_not_there_yet(
    status: int, body: object, condition: Condition
) -> None:
    with answering(status, body) as port:
        assert look(port, 5.0) == condition
        assert look(port, 5.0).ready is (status == 200)


def test_a_port_where_nobody_listens_is_not_alive() -> None:
    with answering(200, READY) as port:
        pass
    assert look(port) == Condition(alive=False)
