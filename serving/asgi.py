"""The ASGI object over the routes.

The same object runs under any ASGI server, in tests and in Ray Serve. It is an object with ``__call__`` and not a
function, because Serve takes a function for a builder of applications.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import count
from time import perf_counter
from typing import cast
from urllib.parse import quote

from events.errors import BadRequest, EverfoldError
from serving.access import Doors
from serving.cors import cors_headers, preflight
from serving.http import Disconnected, Header, Receive, Reply, Request, Scope, Send, error_reply, problem
from serving.logs import Log
from serving.metrics import Counter, Histogram, Numbers
from serving.router import MethodNotAllowed, Route, Router

SLOW_S = 0.25
"""A request slower than this is logged even when only errors are."""
REQUEST_ID_CHARS_MAX = 128


class App:
    """Finds the route, checks the key and the query, runs the handler, turns errors into replies, counts and logs."""

    def __init__(self, routes: Iterable[Route], doors: Doors, numbers: Numbers, log: Log, *, log_all: bool) -> None:
        self.router = Router(routes)
        self._doors = doors
        self._log = log
        self._log_all = log_all
        self._numbers = numbers
        self._seconds: dict[str, Histogram] = {}
        self._answered: dict[tuple[str, int], Counter] = {}
        self._id_prefix = os.urandom(6).hex()
        self._ids = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(Request(scope, receive), send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1000})

    async def _http(self, request: Request, send: Send) -> None:
        started = perf_counter()
        request.own_id = f"{self._id_prefix}-{next(self._ids):x}"
        request.id = _given_id(request) or request.own_id
        path, cors = "unknown", False
        try:
            table, request.params = self.router.at(_raw_path(request.scope))
            route = self.router.pick(table, request.method)
            path, cors = route.path, route.cors
            reply = await self._answer(route, request)
        except MethodNotAllowed as error:
            reply = _not_allowed(error, request)
        except EverfoldError as error:
            reply = error_reply(error)
        except (Disconnected, ConnectionError):
            return
        except Exception as error:
            self._log.failed("request_failed", error, request_id=request.id, route=path)
            reply = problem(500, "internal", f"something went wrong here: request {request.id} is in the log")
        if cors:
            reply = reply.with_headers(cors_headers(request))
        await reply.send(send, request.id, head=request.method == "HEAD")
        self._note(request, path, reply.status, perf_counter() - started)

    async def _answer(self, route: Route, request: Request) -> Reply:
        if route.access == "api":
            self._doors.api(request)
        if route.strict_query and request.scope.get("query_string"):
            route.check_query(request.query())
        return await route.handler(request)

    def _note(self, request: Request, path: str, status: int, seconds: float) -> None:
        answered = self._answered.get((path, status))
        if answered is None:
            answered = self._numbers.counter("everfold_http_requests_total", route=path, status=str(status))
            self._answered[path, status] = answered
            self._seconds[path] = self._numbers.histogram("everfold_http_seconds", route=path)
        answered.add()
        self._seconds[path].observe(seconds)
        if self._log_all or status >= 400 or seconds > SLOW_S:
            method = request.method if request.method in _METHODS else "other"
            self._log.write(
                "request", request_id=request.id, method=method, route=path, status=status, ms=round(seconds * 1e3, 3)
            )


def _given_id(request: Request) -> str:
    """The client's id for the request, where it is fit to stand in headers and logs."""
    given = request.header(b"x-request-id")
    return given if len(given) <= REQUEST_ID_CHARS_MAX and given.isascii() and given.isprintable() else ""


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})


def _not_allowed(error: MethodNotAllowed, request: Request) -> Reply:
    if request.method == "OPTIONS" and error.cors:
        return preflight(request, error.allowed)
    allow: tuple[Header, ...] = ((b"allow", ", ".join(error.allowed).encode()),)
    return error_reply(error).with_headers(allow)


def _raw_path(scope: Scope) -> str:
    """The path as sent, still percent-encoded, so that an id may hold an encoded slash."""
    raw = cast("bytes | None", scope.get("raw_path"))
    if not raw:
        return quote(cast(str, scope["path"]), safe="/:@!$&'()*+,;=~%")
    try:
        return raw.partition(b"?")[0].decode("ascii")
    except UnicodeDecodeError as error:
        raise BadRequest("the path is not percent-encoded") from error


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
