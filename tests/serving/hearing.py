"""Clients of the stream of segments, each in a thread of its own."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from service import Service


@dataclass
class Heard:
    """What one client got."""

    events: list[dict[str, Any]] = field(default_factory=list)
    place: str = ""
    """The last event id, as a browser would keep it."""
    ended: threading.Event = field(default_factory=threading.Event)

    def take(self, block: list[str]) -> None:
        fields = dict(line.partition(": ")[::2] for line in block if not line.startswith(":"))
        self.place = fields.get("id", self.place)
        if "data" in fields:
            told = json.loads(fields["data"])
            assert told["event"] == fields["event"]
            self.events.append(told)

    def who(self) -> list[tuple[object, object, object]]:
        return [(one["user_id"], one["segment"], one["event"]) for one in self.events]


@contextmanager
def listening(service: Service, query: str = "", place: str = "") -> Iterator[Heard]:
    """A client that listens in a thread of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    headers = {**service.api, **({"Last-Event-ID": place} if place else {})}
    connection.request("GET", "/v1/segments/stream" + query, headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    heard, begun = Heard(), threading.Event()

    def read() -> None:
        block: list[str] = []
        try:
            for raw in answer:
                line = raw.decode().rstrip("\n")
                if line:
                    block.append(line)
                else:
                    heard.take(block)
                    block = []
                    begun.set()
        except (OSError, ValueError, AttributeError):  # closed below
            pass
        begun.set()
        heard.ended.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert begun.wait(10)
    try:
        yield heard
    finally:
        if connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        connection.close()


def told_until_quiet(service: Service, query: str, place: str = "") -> Heard:
    with listening(service, f"?idle_s=0&{query}", place) as heard:
        assert heard.ended.wait(10)
    return heard
