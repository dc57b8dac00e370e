"""Log lines as JSON, one a line on standard error, each with the id of the request it belongs to.

Never in a line: keys, query strings, bodies, paths (they hold user ids; the route's template stands there instead).
"""

from __future__ import annotations

import sys
import traceback
from typing import Protocol, TextIO

import orjson

from events.clock import Clock


class Log(Protocol):
    def write(self, event: str, **fields: object) -> None:
        """One line. ``event`` is a stable word for what happened."""
        ...

    def failed(self, event: str, error: BaseException, **fields: object) -> None:
        """One line about an error nobody expected, with its stack."""
        ...


class JsonLog:
    """The real thing."""

    def __init__(self, clock: Clock, out: TextIO = sys.stderr) -> None:
        self._clock = clock
        self._out = out

    def write(self, event: str, **fields: object) -> None:
        line = orjson.dumps({"at_us": self._clock.now(), "event": event, **fields}, default=str)
        self._out.write(line.decode() + "\n")
        self._out.flush()

    def failed(self, event: str, error: BaseException, **fields: object) -> None:
        stack = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
        self.write(event, error=type(error).__name__, stack=stack[-12:], **fields)
