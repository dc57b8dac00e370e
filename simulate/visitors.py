"""The people of a world as clients of a service: they ask for lists, see them, and what they do comes back in batches.

Each visit asks for one list. What the visitor does with it, and besides it, waits until the world's clock has passed
the moment it happens and goes out with the next batch, as from the queue of an SDK on the shop's own servers. The
world's clock is that of the latest visit, so it runs as fast as lists are asked for: weeks in minutes. Messages carry
no time of their own, things happen when they are sent; only with dirt they say when, and are wrong at times.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

import numpy as np
import orjson

from events.errors import EverfoldError
from simulate import payloads
from simulate.business import Business, Taken, worth_of
from simulate.clients import Reply, Target
from simulate.dirty_hours import DirtyHours, on_the_wall
from simulate.payloads import Message
from simulate.truth import Truth
from simulate.world import Visit, World
from simulate.world_spec import WEEK_MS

BATCH_MAX: Final = 100
"""Messages per batch, as Segment's server SDKs send them."""
WAITING_MAX: Final = 100_000
"""Messages that may wait; a scenario that sends too few batches loses the oldest beyond them, counted."""
DESERTED_WEEKS: Final = 26
"""A world to which nobody came for so long is over."""


class Deserted(EverfoldError):
    """Nobody comes any more."""

    code = "deserted"


@dataclass(frozen=True, slots=True)
class Asking:
    """A list that was asked for."""

    visit: Visit
    data: bytes


@dataclass(frozen=True, slots=True)
class Sending:
    """A batch on its way."""

    data: bytes
    events: int


@dataclass(frozen=True, slots=True)
class Habits:
    """What people do. ``lists``: they ask for lists; ``tells``: what they do is sent; ``besides``: they look and buy
    without lists too; ``dirt``: what they send arrives as real streams do. ``judged``: every how manieth list is held
    against the truth."""

    lists: bool = True
    tells: bool = True
    besides: bool = True
    dirt: bool = False
    judged: int = 4


class Visitors:
    """A `simulate.load.Traffic`. ``run`` makes message ids of this run its own: the same world may be lived twice over
    one service."""

    def __init__(self, target: Target, world: World, seconds: float, run: str, habits: Habits) -> None:
        self._target = target
        self._world = world
        self._truth = Truth(world)
        self._run = run
        self._habits = habits
        self._dirt = DirtyHours(world.shelf, world.seed) if habits.dirt else None
        self._visits = comers(world)
        self._waiting: list[tuple[int, int, Message]] = []
        self._number = 0
        self._message = 0
        self._chance = np.random.default_rng(np.random.PCG64(world.seed))
        self._taken = Taken.nothing(world.shelf)
        self.business = Business.over(seconds, len(world.shelf.ids))
        self.now = world.spec.start_ms
        """The world's clock, ms."""
        self.lost = 0
        """Messages dropped because too many waited."""
        self.unread = 0
        """Answers that were no list."""

    @property
    def waiting(self) -> int:
        """Messages not yet sent."""
        return len(self._waiting)

    def ask(self, at_s: float) -> Asking:
        """The next visitor's question. Raises `Deserted`."""
        visit = self._next()
        who = ("user_id", visit.user_id) if visit.user_id else ("anonymous_id", visit.anonymous_id)
        query = dict((who, ("n", str(self._world.spec.slots)), ("surface", visit.surface)))
        if visit.items:
            query["items"] = ",".join(visit.items)
        return Asking(visit, self._target.get("/v1/recommend", **query))

    def answered(self, question: Asking, reply: Reply, at_s: float) -> None:
        visit = question.visit
        found = self._read(reply) if reply.ok else None
        if found is not None:
            self._looks(visit, *found, at_s)
        self._acts(visit)

    def flush(self, at_s: float) -> Sending | None:
        """Raises `Deserted`."""
        while not self._habits.lists and (len(self._waiting) < BATCH_MAX or self._waiting[0][0] > self.now):
            self._acts(self._next())
        messages: list[Message] = []
        while self._waiting and self._waiting[0][0] <= self.now and len(messages) < BATCH_MAX:
            messages.append(heappop(self._waiting)[2])
        if not messages:
            return None
        return Sending(self._target.batch(orjson.dumps({"batch": messages})), len(messages))

    def _next(self) -> Visit:
        visit = next(self._visits, None)
        if visit is None:
            raise Deserted("nobody came to the world for half a year: use more --users, or a shorter run")
        self.now = max(self.now, visit.at)
        if self._dirt is not None:
            for delivery in self._dirt.over(self.now):
                self._wait(delivery.at, on_the_wall(delivery, _wall_ms))
        return visit

    def _read(self, reply: Reply) -> tuple[str, list[str]] | None:
        """(list id, items) of an answer."""
        try:
            told = orjson.loads(reply.body)
            return str(told["recommendation_id"] or ""), [str(item["item_id"]) for item in told["items"]]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            self.unread += 1
            return None

    def _looks(self, visit: Visit, list_id: str, slate: list[str], at_s: float) -> None:
        """The visitor sees a list and does with it what they do."""
        world, business = self._world, self.business
        if slate and self._number % self._habits.judged == 0:
            worth = worth_of(self._truth, visit, slate, self._taken, self._chance)
            business.judge(at_s, self._truth.visits_before(visit), worth)
        self._number += 1
        numbers = np.array([world.shelf.numbers.get(item, -1) for item in slate], np.int64)
        outcome = world.answer(visit, slate)
        business.add(at_s, outcome, numbers, world.shelf)
        self._taken.add(outcome.acts)
        if list_id and outcome.seen:
            self._send_at(visit.at, payloads.impression(visit, outcome, list_id))
        for at, message in payloads.acts(visit, outcome, list_id):
            self._send_at(at, message)

    def _acts(self, visit: Visit) -> None:
        """What the visitor does besides."""
        for message in payloads.opening(visit):
            self._send_at(visit.at, message)
        if not self._habits.besides:
            return
        done = self._world.organic(visit)
        self._taken.add((*done.views, *done.order))
        for at, message in payloads.organic(visit, done):
            self._send_at(at, message)

    def _send_at(self, at: int, message: Message) -> None:
        if not self._habits.tells:
            return
        message["messageId"] = f"{self._run}-{message['messageId']}"
        if self._dirt is not None:
            self._dirt.add(at, message)
            return
        del message["timestamp"]
        self._wait(at, message)

    def _wait(self, at: int, message: Message) -> None:
        """Until the world's clock has passed ``at``."""
        self._message += 1
        if len(self._waiting) >= WAITING_MAX:
            heappop(self._waiting)
            self.lost += 1
        heappush(self._waiting, (at, self._message, message))


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def comers(world: World) -> Iterator[Visit]:
    """Everybody who comes, week by week, until nobody does."""
    start, quiet = world.spec.start_ms, 0
    while quiet < DESERTED_WEEKS:
        quiet += 1
        for visit in world.visits(start, start + WEEK_MS):
            quiet = 0
            yield visit
        start += WEEK_MS
