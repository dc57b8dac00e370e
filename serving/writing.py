"""Handing facts to the log on behalf of a request: bounded in number and in time, counted."""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import Sequence

from events.clock import Clock, millis
from events.errors import Unavailable
from events.intake import Rejected
from events.record import Draft
from serving.backend import Writer
from serving.http import Header
from serving.metrics import Numbers
from serving.settings import ServerSettings
from serving.token import Token


class Overloaded(Unavailable):
    """More writes at once than this process takes."""

    code = "overloaded"


class TooSlow(Unavailable):
    """The log did not answer in time; whether the events were kept is unknown, so the same ids must be sent again."""

    code = "too_slow"


class Writing:
    """The way of every route into the log."""

    def __init__(self, writer: Writer, limits: ServerSettings, clock: Clock, numbers: Numbers) -> None:
        self._writer = writer
        self._clock = clock
        self._numbers = numbers
        self._in_flight = 0
        self._in_flight_max = limits.in_flight_max
        self._deadline_s = limits.write_deadline_ms / 1000
        self._kept = {
            status: numbers.counter("everfold_events_total", outcome=status) for status in ("ok", "duplicate")
        }

    async def append(self, drafts: Sequence[Draft], *, items: bool = False) -> Token:
        """Append and say how to read it back; ``items``: the item follower too has to have seen it.

        Raises `Overloaded`, `TooSlow` and what the log raises, all of them 503.
        """
        if self._in_flight >= self._in_flight_max:
            raise self._refused(Overloaded("too many writes at once: send again after Retry-After"))
        self._in_flight += 1
        try:
            async with asyncio.timeout(self._deadline_s):
                outcomes = await self._writer.append(drafts)
        except TimeoutError as error:
            raise self._refused(TooSlow("the log did not answer in time: send the same events again")) from error
        except Unavailable as error:
            raise self._refused(error) from None
        finally:
            self._in_flight -= 1
        for status, count in Tally(one.status for one in outcomes).items():
            if status in self._kept:
                self._kept[status].add(count)
        for one in outcomes:
            if one.status == "quarantined":
                self._count_set_aside(one.reason)
        return Token.of(((one.partition, one.lsn) for one in outcomes if one.lsn >= 0), items=items)

    async def set_aside(self, rejected: Sequence[Rejected]) -> None:
        """Put events into quarantine. Raises `Unavailable`."""
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._writer.set_aside(rejected, millis(self._clock.now()))
        except TimeoutError as error:
            raise self._refused(TooSlow("quarantine did not answer in time: send the same events again")) from error
        for one in rejected:
            self._count_set_aside(one.reason)

    def _count_set_aside(self, reason: str) -> None:
        self._numbers.counter("everfold_quarantined_total", reason=reason).add()

    def _refused(self, error: Unavailable) -> Unavailable:
        self._numbers.counter("everfold_writes_refused_total", code=error.code).add()
        return error


def token_header(token: Token) -> Header:
    """How a write tells its token where the body has no room for it."""
    return (b"x-everfold-token", token.text().encode())
