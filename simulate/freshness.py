"""How soon what somebody did changes what they are shown, measured from outside beside the load.

Every second or so a person of their own asks for a list, views an item, and asks again and again until the answer was
made from a profile that knows it (its ``profile_version`` moved). The time counts from the sending of the event to the
arrival of that answer. Connections are its own, so that it does not wait behind the load's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import orjson

from simulate.clients import Lines, Target
from simulate.latency import Latencies

EVERY_S: Final = 1.0
PAUSE_S: Final = 0.002
"""Between two looks: what freshness is at most overstated by, beside an answer's own time."""
GIVEN_UP_S: Final = 10.0
TIMES: Final = 5
"""Probes by one person: the first by somebody unknown."""


@dataclass
class Freshness:
    """``known`` and ``new``: people with and without a profile before. ``stale``: probes whose event was not taken, or
    not seen within `GIVEN_UP_S`."""

    known: Latencies
    new: Latencies
    stale: int = 0
    asked: int = 0
    """Requests made for it."""


class Prober:
    """Probes until it is cancelled."""

    def __init__(self, target: Target, item: str, run: str, seconds: float) -> None:
        self._target = target
        self._item = item
        self._run = run
        self._lines = Lines(target, 2, 16)
        self._loop = asyncio.get_running_loop()
        self.found = Freshness(Latencies.over(seconds), Latencies.over(seconds))

    async def run(self, start: float) -> None:
        """``start``: loop time the seconds of the run count from."""
        number = 0
        try:
            while True:
                await self._probe(number, start)
                number += 1
                await asyncio.sleep(EVERY_S)
        finally:
            await self._lines.close()

    async def _probe(self, number: int, start: float) -> None:
        user = f"probe-{self._run}-{number // TIMES}"
        before = await self._version(user)
        begun = self._loop.time()
        event = {"userId": user, "messageId": f"{user}-{number}", "type": "track", "event": "Product Viewed"}
        body = orjson.dumps({"batch": [{**event, "properties": {"product_id": self._item}}]})
        sending = self._loop.create_task(self._lines.ask(self._target.batch(body), GIVEN_UP_S))
        self.found.asked += 1
        seen = False
        while not seen and self._loop.time() - begun < GIVEN_UP_S:
            seen = await self._version(user) > before >= 0
            took = self._loop.time() - begun
            if not seen:
                await asyncio.sleep(PAUSE_S)
        reply = await sending
        if not seen or not reply.ok:
            self.found.stale += 1
        else:
            (self.found.known if number % TIMES else self.found.new).add(begun - start, took)

    async def _version(self, user: str) -> int:
        """Of the profile an answer is made from; -1 without an answer."""
        self.found.asked += 1
        reply = await self._lines.ask(self._target.get("/v1/recommend", user_id=user, n="1"), GIVEN_UP_S)
        try:
            return int(orjson.loads(reply.body).get("profile_version") or 0) if reply.ok else -1
        except (orjson.JSONDecodeError, AttributeError):
            return -1
