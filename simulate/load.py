"""Load on a running service, as many clients make it: lists are asked for, looked at and clicked, and what people did
comes back in batches.

*Open loop*: requests are due at the times of a Poisson process, whether or not earlier ones were answered, and a
latency counts from the moment a request was due. So a service that stalls is charged with everybody it kept waiting (no
coordinated omission). *Closed loop*: each of some connections sends its next request when the last one was answered,
which finds throughput and says nothing about latency under a rate.

A run ends by its duration, when told to, or when nothing was answered for ``patience_s``; every request ends after
``timeout_s`` at the latest. What is remembered does not grow with the number of requests.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from typing import Final, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from events.errors import BadSettings, EverfoldError
from simulate.clients import Lines, Reply, Target
from simulate.latency import Latencies, stretches_of

RECOMMEND: Final = "recommend"
EVENTS: Final = "events"
RETRIED: Final = "retried"
"""Batches sent again: apart, so that they thin no figure of those sent first."""
KINDS: Final = (RECOMMEND, EVENTS, RETRIED)

RATE_MAX: Final = 20_000.0
"""Requests per second of one process: several times what one core can make."""
USERS_MAX: Final = 10_000_000
DURATION_MAX_S: Final = 86_400.0
PROCESSES_MAX: Final = 64
RETRY_S: Final = (1.0, 2.0)
"""Pauses before a batch that was not taken is sent again, with the same message ids. Segment's SDKs back off alike,
from half a second, and try longer."""
WAITING_S: Final = 5.0
"""How many seconds' worth of requests may wait for a connection before further ones are given up unsent."""
OWED_MAX: Final = 100.0
"""Batches that are made up for when there was nothing to say in them at their time."""
STOP_S: Final = 2.0
"""How long a run that was stopped waits for what is under way."""
_EARLY_S: Final = 0.0005
_RETRIABLE: Final = frozenset({0, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Plan:
    """How much, for how long. Raises `BadSettings` for what cannot be done."""

    users: int = 2_500
    rate: float = 100.0
    """Requests per second of all processes together; with ``closed`` only what is drawn is sized by it."""
    duration_s: float = 30.0
    processes: int = 1
    closed: bool = False
    connections: int = 64
    """Per process, at most."""
    timeout_s: float = 10.0
    patience_s: float = 10.0
    """A run in which requests failed and none was answered well for this long is ended."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.users <= USERS_MAX:
            raise BadSettings(f"--users {self.users}: use 1 to {USERS_MAX:,}")
        if not 1 <= self.processes <= PROCESSES_MAX:
            raise BadSettings(f"--processes {self.processes}: use 1 to {PROCESSES_MAX}")
        if not (isfinite(self.rate) and self.rate > 0):
            raise BadSettings(f"--rate {self.rate:g}: requests per second must be more than 0")
        if self.rate > RATE_MAX * self.processes:
            raise BadSettings(
                f"--rate {self.rate:g} is beyond {RATE_MAX:,.0f} requests per second a process: lower it, or use more "
                "--processes on a machine with more cores"
            )
        if not (isfinite(self.duration_s) and 0 < self.duration_s <= DURATION_MAX_S):
            raise BadSettings(f"--duration {self.duration_s:g}: use more than 0 and at most {DURATION_MAX_S:,.0f} s")
        if not 1 <= self.connections <= 4096:
            raise BadSettings(f"--connections {self.connections}: use 1 to 4096")
        if not (isfinite(self.timeout_s) and 0 < self.timeout_s <= 120):
            raise BadSettings(f"--timeout {self.timeout_s:g}: use more than 0 and at most 120 s")

    @property
    def share(self) -> float:
        """Requests per second of one process."""
        return self.rate / self.processes


class Question(Protocol):
    """One list to be asked for."""

    @property
    def data(self) -> bytes:
        """The request."""
        ...


class Batch(Protocol):
    """Events on their way."""

    @property
    def data(self) -> bytes: ...

    @property
    def events(self) -> int: ...


Q = TypeVar("Q", bound=Question)
B_co = TypeVar("B_co", bound=Batch, covariant=True)
B = TypeVar("B", bound=Batch)


class Traffic(Protocol[Q, B_co]):
    """What is said and asked next, and what people make of the answers. Times are seconds since the start."""

    def ask(self, at_s: float) -> Q: ...

    def answered(self, question: Q, reply: Reply, at_s: float) -> None: ...

    def flush(self, at_s: float) -> B_co | None:
        """What has happened until now and was not sent; None where nothing has."""
        ...


@dataclass
class Tally:
    """What one process saw. ``latency``: by kind, from when a request was due until it was answered well or given up;
    refusals are counted and not timed, or a service that fails fast would look fast. ``late``: how long after its time
    a request was really sent, by the generator's own fault."""

    seconds: float
    latency: dict[str, Latencies]
    outcomes: dict[str, Counter[str]]
    good: NDArray[np.int64]
    """Requests answered well, by stretch."""
    bad: NDArray[np.int64]
    late: Latencies
    events: int = 0
    """Acknowledged."""
    given_up: int = 0
    """Events that were never acknowledged."""
    never_due: int = 0
    """Requests an open loop did not get round to before the time was up: it was asked for more than it can send."""
    stopped: str = ""
    """Why it ended before its time."""
    lasted_s: float = 0.0
    last_good_s: float = 0.0
    unanswered: int = 0
    """Failures since then."""

    @classmethod
    def over(cls, seconds: float) -> Tally:
        stretches = stretches_of(seconds)
        return cls(
            seconds,
            {kind: Latencies.over(seconds) for kind in KINDS},
            {kind: Counter() for kind in KINDS},
            np.zeros(stretches, np.int64),
            np.zeros(stretches, np.int64),
            Latencies.over(seconds),
        )

    def ended(self, kind: str, due_s: float, now_s: float, reply: Reply) -> None:
        """One request has ended."""
        self.outcomes[kind][reply.outcome] += 1
        stretch = min(int(due_s / self.late.stretch_s), len(self.good) - 1)
        if reply.ok:
            self.good[stretch] += 1
            self.last_good_s, self.unanswered = now_s, 0
        else:
            self.bad[stretch] += 1
            self.unanswered += 1
        if reply.ok or reply.fault in ("timeout", "lost"):
            self.latency[kind].add(due_s, now_s - due_s)

    def hopeless(self, now_s: float, patience_s: float) -> str:
        """Why going on is pointless, empty while it is not."""
        if not self.unanswered or now_s - self.last_good_s < patience_s:
            return ""
        common = sum((count for count in self.outcomes.values()), Counter[str]()).most_common(3)
        said = ", ".join(f"{meaning_of(outcome)} ({number:,} times)" for outcome, number in common)
        return f"the target answered nothing useful for {now_s - self.last_good_s:.0f} s: {said}"

    def merge(self, other: Tally) -> None:
        """Take in what another process of the same run saw."""
        for kind in KINDS:
            self.latency[kind].merge(other.latency[kind])
            self.outcomes[kind] += other.outcomes[kind]
        self.good += other.good
        self.bad += other.bad
        self.late.merge(other.late)
        self.events += other.events
        self.given_up += other.given_up
        self.never_due += other.never_due
        self.stopped = self.stopped or other.stopped
        self.lasted_s = max(self.lasted_s, other.lasted_s)


def meaning_of(outcome: str) -> str:
    """An outcome in words.

    >>> meaning_of("500"), meaning_of("timeout")
    ('HTTP 500', 'no answer in time')
    """
    words = {
        "refused": "connection refused",
        "lost": "connection lost",
        "garbled": "no HTTP",
        "timeout": "no answer in time",
        "unsent": "given up unsent",
    }
    return words.get(outcome, f"HTTP {outcome}")


@dataclass(frozen=True)
class Mix:
    """What arrives when. ``events_share``: of requests that are batches. ``busier(x)``: factor on the rate at share
    ``x`` of the run."""

    events_share: float = 0.2
    busier: Callable[[float], float] = field(default=lambda _: 1.0)


class Load(Generic[Q, B]):
    """One process's share of a run."""

    def __init__(
        self, target: Target, traffic: Traffic[Q, B], plan: Plan, mix: Mix, chance: np.random.Generator
    ) -> None:
        self._target = target
        self._traffic = traffic
        self._plan = plan
        self._mix = mix
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._retries: dict[asyncio.TimerHandle, B] = {}
        self._owed = 0.0
        self.tally = Tally.over(plan.duration_s)
        self.lines = Lines(target, plan.connections, max(1_000, int(plan.share * WAITING_S)))

    def stop(self, why: str) -> None:
        """End before the time; requests under way are waited for."""
        self.tally.stopped = self.tally.stopped or why
        self._stopping.set()

    async def run(self, start: float) -> Tally:
        """``start``: loop time."""
        self._start = start
        self._end = start + self._plan.duration_s
        if (wait := start - self._loop.time()) > 0:
            await asyncio.sleep(wait)
        watching = self._loop.create_task(self._watch())
        try:
            try:
                await (self._closed() if self._plan.closed else self._open())
            except EverfoldError as over:
                self.stop(str(over))
            self.tally.lasted_s = min(self._now(), self._plan.duration_s)
            await self._drain()
        finally:
            watching.cancel()
            await self.lines.close()
        return self.tally

    def _now(self) -> float:
        return self._loop.time() - self._start

    async def _watch(self) -> None:
        while not self._stopping.is_set():
            await asyncio.sleep(min(0.5, self._plan.patience_s))
            why = self.tally.hopeless(self._now(), self._plan.patience_s)
            if why:
                self.stop(why)

    async def _drain(self) -> None:
        """Wait for what is under way; batches due again go once more while there is time."""
        patience = min(self._plan.timeout_s, STOP_S) if self.tally.stopped else self._plan.timeout_s + sum(RETRY_S)
        deadline = self._loop.time() + patience
        while (self.lines.busy or self._retries) and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
        self._stopping.set()
        for retry, batch in self._retries.items():
            retry.cancel()
            self.tally.given_up += batch.events

    async def _open(self) -> None:
        due, duration, fired = self._gap(0.0), self._plan.duration_s, 0
        while due < duration and not self._stopping.is_set():
            wait = due - self._now()
            if wait > _EARLY_S:
                await asyncio.sleep(min(wait, 0.25))  # a stop is heard within that
                continue
            if -wait > duration - due:
                self.tally.never_due += round((duration - due) * self._plan.share)
                break
            self._fire(due)
            due += self._gap(due)
            fired += 1
            if fired % 16 == 0:
                await asyncio.sleep(0)  # answers are read also while behind

    def _gap(self, at_s: float) -> float:
        """To the next arrival of a Poisson process, whose rate changes slowly against the gaps."""
        rate = self._plan.share * self._mix.busier(at_s / self._plan.duration_s)
        return float(self._chance.exponential()) / max(rate, 1e-9)

    def _fire(self, due: float, done: Callable[[], None] = lambda: None) -> None:
        """Send what is due: a batch or a question, in turn by their shares. ``done``: it ended."""
        now = self._now()
        self.tally.late.add(due, now - due)
        self._owed = min(self._owed + self._mix.events_share, OWED_MAX)
        batch = self._traffic.flush(now) if self._owed >= 1 - 1e-9 else None
        deadline = self._start + due + self._plan.timeout_s
        if batch is not None:
            self._owed -= 1
            self.lines.send(batch.data, partial(self._taken, EVENTS, batch, due, 0, done), deadline)
            return
        question = self._traffic.ask(now)
        self.lines.send(question.data, partial(self._answered, question, due, done), deadline)

    def _answered(self, question: Q, due: float, done: Callable[[], None], reply: Reply) -> None:
        now = self._now()
        self.tally.ended(RECOMMEND, due, now, reply)
        self._traffic.answered(question, reply, now)
        done()

    def _taken(self, kind: str, batch: B, due: float, tries: int, done: Callable[[], None], reply: Reply) -> None:
        self.tally.ended(kind, due, self._now(), reply)
        if reply.ok:
            self.tally.events += batch.events
        elif reply.status in _RETRIABLE and tries < len(RETRY_S) and not self._stopping.is_set():
            self._again(batch, tries)
            done()
            return
        else:
            self.tally.given_up += batch.events
        done()

    def _again(self, batch: B, tries: int) -> None:
        due = self._now() + RETRY_S[tries]

        def send() -> None:
            del self._retries[handle]
            deadline = self._start + due + self._plan.timeout_s
            taken = partial(self._taken, RETRIED, batch, due, tries + 1, lambda: None)
            self.lines.send(batch.data, taken, deadline)

        handle = self._loop.call_at(self._start + due, send)
        self._retries[handle] = batch

    async def _closed(self) -> None:
        await asyncio.gather(*(self._one_after_another() for _ in range(self._plan.connections)))

    async def _one_after_another(self) -> None:
        while self._loop.time() < self._end and not self._stopping.is_set():
            ended = asyncio.Event()
            self._fire(self._now(), ended.set)
            await ended.wait()
            if self.tally.unanswered:
                await asyncio.sleep(0.01)  # a target that refuses at once is not hammered


def offered(plan: Plan, mix: Mix) -> float:
    """Requests per second an open loop means to send, over the whole run."""
    return plan.rate * float(np.mean([mix.busier((n + 0.5) / 1000) for n in range(1000)]))


def by_outcome(tally: Tally) -> Mapping[str, Mapping[str, int]]:
    """How requests of each kind ended, most frequent first."""
    return {kind: dict(counts.most_common()) for kind, counts in tally.outcomes.items() if counts}
