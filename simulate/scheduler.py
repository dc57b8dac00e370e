"""Who acts next, and when: a virtual clock, one queue, one seed. Nothing happens between two steps."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from heapq import heappop, heappush
from random import Random
from typing import Final

from events.ids import Micros
from simulate.faults import Fault

START: Final = Micros(1_760_000_000_000_000)
SECOND: Final = 1_000_000
MILLISECOND: Final = 1_000
NETWORK_US: Final = (200, 40 * MILLISECOND)
"""How long a message takes, at least and at most, when nothing is wrong."""
DELAYED_US: Final = (SECOND, 90 * SECOND)

Action = Callable[[], None]


class Trace:
    """What happened, line by line: a digest of all of it, and the latest lines (or every one)."""

    def __init__(self, kept: int | None = 40) -> None:
        self.lines: list[str] = []
        self._kept = kept
        self._digest = blake2b(digest_size=16)

    def add(self, line: str) -> None:
        self._digest.update(line.encode() + b"\n")
        self.lines.append(line)
        if self._kept is not None and len(self.lines) > 2 * self._kept:
            del self.lines[: -self._kept]

    def update(self, data: bytes) -> None:
        """Bytes that count for the digest only."""
        self._digest.update(data)

    def hex(self) -> str:
        return self._digest.copy().hexdigest()


class Scheduler:
    """Steps in the order of their times; those of one moment in the order they were asked for."""

    def __init__(self, seed: int, trace: Trace) -> None:
        self.now: int = START
        self.steps = 0
        self.chances: dict[Fault, float] = {}
        """How likely each fault befalls one message."""
        self.struck: Callable[[Fault, str], None] = lambda fault, where: None
        self.trace = trace
        self._random = Random(f"{seed} scheduler")
        self._queue: list[tuple[int, int, str, Action]] = []
        self._asked = 0

    def after(self, delay_us: int, name: str, action: Action) -> None:
        """Do ``action`` as a step of its own."""
        self._asked += 1
        heappush(self._queue, (self.now + delay_us, self._asked, name, action))

    def soon(self, least_us: int, most_us: int, name: str, action: Action) -> None:
        """Do it some time between two delays."""
        self.after(self._random.randint(least_us, most_us), name, action)

    def send(self, name: str, deliver: Action) -> None:
        """Send a message: it may be lost, come late (and so out of order), or come twice."""
        random, chances = self._random, self.chances
        if random.random() < chances.get(Fault.MESSAGE_LOST, 0.0):
            self.struck(Fault.MESSAGE_LOST, name)
            return
        if random.random() < chances.get(Fault.MESSAGE_DUPLICATED, 0.0):
            self.struck(Fault.MESSAGE_DUPLICATED, name)
            self.soon(*DELAYED_US, f"{name} again", deliver)
        if random.random() < chances.get(Fault.MESSAGE_DELAYED, 0.0):
            self.struck(Fault.MESSAGE_DELAYED, name)
            self.soon(*DELAYED_US, f"{name} late", deliver)
        else:
            self.soon(*NETWORK_US, name, deliver)

    def loses(self, name: str) -> bool:
        """Whether the reply to a call between two processes is lost."""
        if self._random.random() < self.chances.get(Fault.MESSAGE_LOST, 0.0):
            self.struck(Fault.MESSAGE_LOST, name)
            return True
        return False

    def step(self) -> None:
        """Do what is next; time is then its time."""
        at, _, name, action = heappop(self._queue)
        self.now = max(self.now, at)
        self.steps += 1
        self.trace.add(f"{self.steps} {self.now - START} {name}")
        action()
