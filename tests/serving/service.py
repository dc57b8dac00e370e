"""A whole service in this process: the real application under a real HTTP server, over a real data folder."""

from __future__ import annotations

import asyncio
import base64
import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import uvicorn

from events.clock import Clock, SystemClock
from serving.app import build_app
from serving.embedded import Embedded
from serving.follower_host import unpack_status
from serving.logs import JsonLog
from serving.settings import Settings

START_S = 60.0
T = TypeVar("T")


@dataclass(frozen=True)
class Answered:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value

    @property
    def token(self) -> str:
        return self.headers["x-everfold-token"]


@dataclass
class Service:
    """Started by ``with``. ``log`` holds every line the service wrote.

    Unless ``settings`` say otherwise nobody is in a segment but by what a test defines, so that a profile holds the
    facts that were sent and no others.
    """

    data: Path
    settings: Settings = field(default_factory=lambda: Settings(segments_shipped=False))
    demo: bool = False
    clock: Clock = field(default_factory=SystemClock)
    log: io.StringIO = field(default_factory=io.StringIO)

    def __enter__(self) -> Service:
        self._started = threading.Event()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="service", daemon=True)
        self._thread.start()
        assert self._started.wait(START_S), "the service did not start"
        if self._problem is not None:
            raise self._problem
        assert until(lambda: self.get("/readyz", {}).status == 200, START_S), self.get("/readyz", {})
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(START_S)
        assert not self._thread.is_alive(), "the service did not stop"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.embedded.keys.api_key}"}

    @property
    def sdk(self) -> dict[str, str]:
        user = base64.b64encode(f"{self.embedded.keys.write_key}:".encode()).decode()
        return {"Authorization": f"Basic {user}"}

    def call(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answered:
        """One request; with the API key unless ``headers`` are given. Bytes are sent as they are, the rest as JSON.
        Of a stream of events, which never ends, only the first line is read."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, data, dict(self.api if headers is None else headers))
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            endless = told.get("content-type", "").startswith("text/event-stream")
            return Answered(answer.status, told, answer.readline() if endless else answer.read())
        finally:
            connection.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answered:
        return self.call("GET", path, None, headers)

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Run something on the service's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_S)

    def settle(self) -> None:
        """Wait until the item follower has read everything and done its deferred work."""
        assert until(lambda: self.run(self._rests()), START_S), "the item follower never came to rest"

    async def _rests(self) -> bool:
        items = [one for one in unpack_status(await self.embedded.followers.status()) if one.name == "items"]
        return not any(one.lag or one.deferred or one.fault for one in items)

    def cookies(self, path: str) -> list[str]:
        """The cookies a path sets, as a browser would send them back."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers=self.api)
            answer = connection.getresponse()
            answer.read()
            return [value.partition(";")[0] for value in answer.headers.get_all("set-cookie", [])]
        finally:
            connection.close()

    def send(self, *events: dict[str, object]) -> str:
        """Take events in; the token to read them back with."""
        answer = self.call("POST", "/v1/batch", {"batch": events}, self.sdk)
        assert (answer.status, answer.json) == (200, {"success": True}), answer
        return answer.token

    def add_items(self, *items: dict[str, object]) -> None:
        answer = self.call("POST", "/v1/items", {"items": items})
        assert answer.status == 200, answer

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._problem = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.embedded = await Embedded.open(self.data, self.settings, self.clock)
        try:
            app = build_app(self.embedded.deps(JsonLog(self.clock, self.log), demo=self.demo))
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                self.port = listener.getsockname()[1]
                config = uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=5)
                self._server = uvicorn.Server(config)
                serving = asyncio.create_task(self._server.serve(sockets=[listener]))
                while not self._server.started and not serving.done():
                    await asyncio.sleep(0.005)
                self._started.set()
                await serving
        finally:
            await self.embedded.close()


def until(condition: Callable[[], bool], deadline_s: float = 15.0) -> bool:
    """Whether it came true in time."""
    waiting, end = threading.Event(), time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            return False
        waiting.wait(0.02)
    return True


def viewed(user: str, item: str, **properties: object) -> dict[str, object]:
    return {
        "type": "track",
        "userId": user,
        "event": "Product Viewed",
        "properties": {"product_id": item, **properties},
    }


def bought(user: str, *items: str) -> dict[str, object]:
    products = [{"product_id": item} for item in items]
    return {"type": "track", "userId": user, "event": "Order Completed", "properties": {"products": products}}
