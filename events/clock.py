"""Time as an argument. Only the outermost shell holds a `SystemClock`; everything below is handed instants."""

from __future__ import annotations

import time
from typing import Protocol

from events.ids import Micros, Millis


class Clock(Protocol):
    """Wall time in integer microseconds since the Unix epoch. May jump; what must be monotone is made so by its
    owner (see ``appended`` in `events.record`)."""

    def now(self) -> Micros: ...


class SystemClock:
    """The machine's wall clock."""

    def now(self) -> Micros:
        return Micros(time.time_ns() // 1000)


class ManualClock:
    """A clock that stands still until it is moved.

    >>> clock = ManualClock(Micros(5)); clock.advance(10); clock.now()
    15
    """

    def __init__(self, at: Micros) -> None:
        self.at = at

    def now(self) -> Micros:
        return self.at

    def advance(self, micros: int) -> None:
        self.at = Micros(self.at + micros)


def millis(at: Micros) -> Millis:
    """Microseconds to whole milliseconds, rounding down.

    >>> millis(Micros(1_999))
    1
    """
    return Millis(at // 1000)
