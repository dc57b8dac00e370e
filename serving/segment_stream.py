"""Transitions as they happen: server-sent events (the HTML standard's ``text/event-stream``).

Every event carries as its ``id`` the position after it, for all partitions, so a client that comes back with
``Last-Event-ID`` misses nothing and hears nothing twice, from any replica, after any restart. Comments keep the line
open and move the ``id`` on where nothing matched.

Nothing is queued per client: each has a place, and takes from one short memory of the latest transitions that all
clients of this process share, or from the log where it is further back. One that takes nothing is dropped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

import orjson

from events.clock import Clock
from events.errors import BadRequest, EverfoldError, Unavailable
from events.ids import anonymous_key, user_key
from serving.http import Reply, Request, Streamed, did_you_mean
from serving.moments import parse_moment
from serving.query import flag_in, number_in
from serving.router import Doc, Field, Route
from serving.transitions import EVENTS, READ_MAX, Position, Transition, Transitions, parse_position, position_text

KEPT: Final = 4_096
"""Transitions the clients of a process share, about 1 kB each."""
STREAMS_MAX: Final = 64
"""Per process."""
LOOK_S: Final = 0.02
"""Between two looks at the logs while anybody listens."""
COMMENT_S: Final = 15.0
"""Proxies close what is silent for half a minute and more."""

T = TypeVar("T")


class Tail:
    """The latest transitions, read once for all listeners of this process. One event loop."""

    def __init__(self, open_: Callable[[], Transitions], look_s: float = LOOK_S) -> None:
        self._open = open_
        self._look_s = look_s
        self._opened: Transitions | None = None
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="transitions")
        self._latest: deque[Transition] = deque()
        self._start: dict[int, int] = {}
        self._end: dict[int, int] = {}
        self._news = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self.listeners = 0

    async def aside(self, action: Callable[[Transitions], T]) -> T:
        """What ``action`` reads from the logs, in the thread that may."""

        def act() -> T:
            if self._opened is None:
                self._opened = self._open()
            return action(self._opened)

        return await asyncio.get_running_loop().run_in_executor(self._reading, act)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Around `after`. Raises `Unavailable` when too many listen."""
        if self.listeners >= STREAMS_MAX:
            raise Unavailable(f"{STREAMS_MAX} streams are open here already: come again later")
        self.listeners += 1
        try:
            if self._pump is None:
                self._pump = asyncio.create_task(self._follow())
            yield
        finally:
            self.listeners -= 1
            if not self.listeners and self._pump is not None:
                self._pump.cancel()
                self._pump = None
                self._latest.clear()
                self._start, self._end = {}, {}

    async def after(self, position: Position, wait_s: float) -> tuple[Sequence[Transition], dict[int, int]]:
        """Transitions after ``position`` and the position after them, waiting up to ``wait_s`` for one."""
        news = self._news
        found, then = await self._take(position)
        if not found and self.caught_up(then):
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await news.wait()
            found, then = await self._take(then)
        return found, then

    def caught_up(self, position: Position) -> bool:
        """Whether there was nothing after ``position`` at the last look."""
        return bool(self._end) and _reached(position, self._end)

    def close(self) -> None:
        """Let go of the files, once nobody listens."""
        self._reading.shutdown()
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    async def _take(self, position: Position) -> tuple[Sequence[Transition], dict[int, int]]:
        if not self._start or not _reached(position, self._start):
            return await self.aside(lambda logs: logs.read(position, READ_MAX))
        found = [told for told in self._latest if told.lsn >= position[told.partition]]
        return found, {number: max(lsn, position[number]) for number, lsn in self._end.items()}

    async def _follow(self) -> None:
        while True:
            try:
                if not self._end:
                    self._end = await self.aside(lambda logs: logs.end())
                    self._start = dict(self._end)
                found, self._end = await self.aside(lambda logs: logs.read(self._end, READ_MAX))
            except (EverfoldError, OSError):  # such as a state that is being made anew
                found = []
            self._keep(found)
            if not found:
                await asyncio.sleep(self._look_s)

    def _keep(self, found: Sequence[Transition]) -> None:
        self._latest.extend(found)
        while len(self._latest) > KEPT:
            old = self._latest.popleft()
            self._start[old.partition] = max(self._start[old.partition], old.lsn + 1)
        if found:
            self._news.set()
            self._news = asyncio.Event()


def _reached(position: Position, other: Position) -> bool:
    return all(position.get(number, 0) >= lsn for number, lsn in other.items())


@dataclass(frozen=True)
class Wish:
    """What a client wants to hear."""

    events: frozenset[str]
    segments: frozenset[str]
    """Empty: all."""
    key: str
    """Empty: everybody."""
    idle_s: float | None
    """End after so long without anything to tell."""

    def wants(self, told: Transition) -> bool:
        within = not self.segments or not told.segment or told.segment in self.segments
        return told.event in self.events and within and (not self.key or told.key == self.key)


class SegmentStream:
    """The route."""

    def __init__(self, tail: Tail, clock: Clock, comment_s: float = COMMENT_S) -> None:
        self._tail = tail
        self._clock = clock
        self._comment_s = comment_s

    def routes(self) -> tuple[Route, ...]:
        return (Route(("GET",), "/v1/segments/stream", self.stream, doc=STREAM),)

    async def stream(self, request: Request) -> Reply:
        wish = _wish(request)
        position = await self._position(request)
        if self._tail.listeners >= STREAMS_MAX:
            raise Unavailable(f"{STREAMS_MAX} streams are open here already: come again later")
        headers = ((b"cache-control", b"no-store"), (b"x-accel-buffering", b"no"))
        chunks = self._chunks(wish, position)
        return Streamed(b"", 200, b"text/event-stream; charset=utf-8", headers, chunks=chunks, gone=request.gone)

    async def _position(self, request: Request) -> Position:
        """Where the client was, or asks to begin."""
        query = request.query()
        given = request.header(b"last-event-id") or query.get("last_event_id", "")
        if given:
            return parse_position("Last-Event-ID", given, await self._tail.aside(lambda logs: logs.end()))
        if "as_of" in query:
            moment = parse_moment("as_of", query["as_of"], self._clock.now())
            return await self._tail.aside(lambda logs: logs.since(moment))
        return await self._tail.aside(lambda logs: logs.end())

    async def _chunks(self, wish: Wish, position: Position) -> AsyncGenerator[bytes]:
        async with self._tail.listening():
            yield b"retry: 1000\n" + _place(position)
            told_at = asyncio.get_running_loop().time()
            while True:
                wait_s = self._comment_s if wish.idle_s is None else min(self._comment_s, wish.idle_s)
                found, then = await self._tail.after(position, wait_s)
                moving, out = dict(position), []
                for told in found:
                    moving[told.partition] = told.lsn + 1
                    if wish.wants(told):
                        out.append(_event(told, moving))
                now = asyncio.get_running_loop().time()
                if out:
                    yield b"".join(out)
                    told_at = now
                elif wish.idle_s is not None and now - told_at >= wish.idle_s and self._tail.caught_up(then):
                    return
                elif now - told_at >= self._comment_s:
                    yield b":\n" + _place(then)
                    told_at = now
                position = then


def _event(told: Transition, position: Position) -> bytes:
    data = orjson.dumps(told.shown(), option=orjson.OPT_NON_STR_KEYS)
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (position_text(position).encode(), told.event.encode(), data)


def _place(position: Position) -> bytes:
    """Moves a client's last event id without an event."""
    return b"id: %s\n\n" % position_text(position).encode()


def _wish(request: Request) -> Wish:
    query = request.query()
    segments = frozenset(filter(None, query.get("segment", "").split(",")))
    key = ""
    if query.get("user_id"):
        key = (anonymous_key if flag_in(query, "anonymous") else user_key)(query["user_id"])
    idle_s = number_in(query, "idle_s", 0, 0, 3600) if "idle_s" in query else None
    events = frozenset(filter(None, query.get("events", "segment_entered,segment_exited").split(",")))
    for name in events - set(EVENTS):
        raise BadRequest(f"`events` may hold {', '.join(EVENTS)}" + did_you_mean(name, EVENTS))
    return Wish(events, segments, key, idle_s)


STREAM: Final = Doc(
    "Who enters and leaves segments, as it happens: server-sent events, resumable by `Last-Event-ID`",
    "Segments",
    query=(
        Field("segment", "Only these, separated by commas", "fans"),
        Field("events", "`content_alert` is told where it is asked for", "segment_entered,segment_exited"),
        Field("user_id", "Only this person", None),
        Field("anonymous", "Whether the id is an anonymous one", "false"),
        Field("as_of", "Begin with what came after that moment: ISO 8601 or ms", None),
        Field("last_event_id", "As the header, for clients that cannot send it", None),
        Field("idle_s", "End after so many seconds without anything to tell; left out: never", 0),
    ),
    statuses=(200, 503),
)
