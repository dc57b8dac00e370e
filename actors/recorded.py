"""A follower whose batches are recorded, for folds whose result depends on where a batch ends and what time it is.

What is learned from a window that closes depends on what was read before it closed. So each round is planned first: how
far every source is read, and what log time it then is. The plan is committed *before* anything is read; state, offsets
and the plan's number after. A run that is killed anywhere finds either a plan that is not done, and does exactly that
one again, or none: it equals the run that was not killed. The plans so far, run over the same logs by `replan`, make
the same state again.

Log time follows the records' ``appended``. While every source is read to its end it is the clock's (a *tick*, given by
the caller and recorded in the plan), so windows close in a quiet shop too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from actors.follower import Fact, Folded, Source, Standing
from actors.outbox import Append, Outbox
from actors.state import Change, StateReader, StateStore
from events.errors import EverfoldError
from events.record import Record

PLANS: Final = "plans"
"""Plan number → plan. The latest `PLANS_KEPT`."""
DONE: Final = "plans"
"""Name of the offset that says how many plans are done."""
CLOCK: Final = "clock"
"""Name of the offset that holds the log time of the last one, us."""
PLANS_KEPT: Final = 1_000_000
"""About 50 MB. At ten rounds a second, the fastest a learner is driven, that is a day; in a shop with one event every
ten seconds four months. A state can be made again from its plans for as long as none was dropped."""
BATCH: Final = 4_096
_NUMBER = struct.Struct(">Q")


class Plan(NamedTuple):
    """One round. ``ends``: by the sources' names, the LSN after the last record that is read."""

    ends: dict[str, int]
    clock: int
    """Log time at its end, us."""


class RecordedProjection(Protocol):
    """A fold of facts and of time. Reads nothing but its own store as of the last commit, and what never changes."""

    def wanted(self, source: int, record: Record) -> bool:
        """Whether a record need be opened; decided by its envelope and the state before the batch."""
        ...

    def apply(self, facts: Sequence[Fact], clock: int) -> Folded:
        """Fold ``facts``, in the order they were appended over all sources, then whatever is due at ``clock`` (us)."""
        ...

    def horizon(self) -> int | None:
        """The latest log time to plan for, so that not too much falls due at once; None: nothing waits."""
        ...

    def due(self) -> int | None:
        """The earliest log time at which there is something to do without any fact; None: never."""
        ...


class RecordedFollower:
    """Keeps one `RecordedProjection` up to date. One thread at a time (`standing` and what it serves excepted)."""

    def __init__(
        self,
        name: str,
        sources: Sequence[Source],
        store: StateStore,
        projection: Callable[[StateReader], RecordedProjection],
        outbox: Outbox | None = None,
        steps: Callable[[str], None] = lambda step: None,
    ) -> None:
        """``projection`` opens the fold over what ``store`` holds, again after any failure. ``steps`` is called with
        the name of every step passed, for tests that crash there."""
        self.name = name
        self._sources = tuple(sources)
        self._store = store
        self._open = projection
        self._outbox = outbox
        self._step = steps
        self._projection: RecordedProjection | None = None
        self._offsets = store.offsets()
        self._appended: dict[str, int] = {}
        self._unsent = True

    @property
    def projection(self) -> RecordedProjection:
        if self._projection is None:
            self._offsets = self._store.offsets()
            self._projection = self._open(self._store)
        return self._projection

    @property
    def opened(self) -> RecordedProjection | None:
        """The fold if it is open, for looking at from another thread."""
        return self._projection

    @property
    def clock(self) -> int:
        """Log time of the last round, us; 0 before the first."""
        return self._offsets.get(CLOCK, 0)

    def step(self, now: int, limit: int = BATCH) -> bool:
        """One round at clock time ``now`` (us) of about ``limit`` records; whether more waits right now.

        Raises what stops a follower: `KeyMissing`, `Corrupt`, `UnknownEventType`, `NotFound` for a trimmed log. Then
        the plan stays, and is done at the next call.
        """
        plan = self._planned()
        if plan is None:
            plan = self._plan(now, limit)
            if plan is None:
                return False
            self._record(plan)
            self._step("planned")
        self._carry_out(plan)
        self._step("done")
        return self._waits(now)

    def replan(self, plan: Plan) -> None:
        """Do one round as it was recorded elsewhere; for making a state again."""
        assert self._planned() is None, "the store has a plan of its own that is not done"
        self._record(plan)
        self._carry_out(plan)

    def send(self, append: Append) -> int:
        """Send the facts that wait in the outbox, exactly once each; returns how many were settled. Looks at the outbox
        only after something was put there. Raises what ``append`` raises: call again later."""
        if self._outbox is None or not self._unsent:
            return 0
        sent = self._outbox.send(append)
        self._unsent = False
        return sent

    def standing(self) -> list[Standing]:
        """How far each source has been followed."""
        return [self._standing(source) for source in self._sources]

    def lag(self) -> int:
        """Durable records not applied yet, of all sources."""
        return sum(each.lag for each in self.standing())

    def age_us(self, now: int) -> int:
        """How far the state is behind ``now`` (us): 0 when nothing waits."""
        behind = [now - each.appended for each in self.standing() if each.lag and each.appended]
        return max(0, *behind, 0)

    def _planned(self) -> Plan | None:
        """The plan that is committed and not done."""
        row = self._store.get(PLANS, _NUMBER.pack(self._store.offsets().get(DONE, 0)))
        return None if row is None else _decoded(row)

    def _plan(self, now: int, limit: int) -> Plan | None:
        projection = self.projection
        share = max(1, limit // max(1, len(self._sources)))
        ends: dict[str, int] = {}
        behind: list[int] = []
        moved = False
        for source in self._sources:
            at, end = self._next(source), source.log.bounds()[1]
            stop = max(at, min(at + share, end))
            moved |= stop > at
            ends[source.name] = stop
            if stop < end:
                behind.append(source.log.get(stop - 1).appended)
        due = projection.due()
        if not moved and (due is None or due > now):
            return None
        clock = min(behind, default=now)
        horizon = projection.horizon()
        if horizon is not None:
            clock = min(clock, horizon)
        return Plan(ends, max(clock, self.clock))

    def _waits(self, now: int) -> bool:
        due = self.projection.due()
        behind = any(self._next(source) < source.log.bounds()[1] for source in self._sources)
        return behind or (due is not None and due <= now)

    def _record(self, plan: Plan) -> None:
        number = self._offsets.get(DONE, 0)
        changes: list[Change] = [(PLANS, _NUMBER.pack(number), msgspec.msgpack.encode(plan))]
        if number >= PLANS_KEPT:
            changes.append((PLANS, _NUMBER.pack(number - PLANS_KEPT), None))
        self._store.commit(changes)

    def _carry_out(self, plan: Plan) -> None:
        projection = self.projection
        try:
            facts, offsets = self._facts(plan, projection)
            folded = projection.apply(facts, plan.clock)
            changes = folded.changes
            if folded.drafts:
                if self._outbox is None:
                    raise EverfoldError(f"follower {self.name} writes facts but has no outbox: give it one")
                changes = changes + self._outbox.stage(folded.drafts)
                self._unsent = True
            offsets |= {DONE: self._offsets.get(DONE, 0) + 1, CLOCK: plan.clock}
            self._step("folded")
            self._store.commit(changes, offsets)
        except BaseException:
            self._projection = None  # its memory is ahead of the store
            if self._outbox is not None:
                self._outbox.reload()
            raise
        self._offsets.update(offsets)

    def _facts(self, plan: Plan, projection: RecordedProjection) -> tuple[list[Fact], dict[str, int]]:
        facts: list[Fact] = []
        offsets: dict[str, int] = {}
        for source in self._sources:
            end = plan.ends.get(source.name, self._next(source))  # a source that is new since the plan was made waits
            for record in _records(source, self._next(source), end):
                self._appended[source.name] = record.appended
                if projection.wanted(source.partition, record):
                    payload = source.opener.payload(record)
                    if payload is not None:
                        facts.append(Fact(source.partition, record, payload))
            offsets[source.name] = end
        facts.sort(key=lambda fact: (fact.record.appended, fact.partition, fact.record.lsn))
        return facts, offsets

    def _next(self, source: Source) -> int:
        offset = self._offsets.get(source.name)
        return source.log.bounds()[0] if offset is None else offset

    def _standing(self, source: Source) -> Standing:
        applied = self._next(source)
        lag = max(0, source.log.bounds()[1] - applied)
        return Standing(source.partition, applied, lag, self._appended.get(source.name, 0), source.opener.skipped)


def plans(store: StateReader) -> Iterator[Plan]:
    """The plans there are, oldest first. Raises `EverfoldError` where the first ones were dropped already."""
    for expected, (key, row) in enumerate(store.scan(PLANS)):
        (number,) = _NUMBER.unpack(key)
        if number != expected:
            raise EverfoldError(f"plans before number {number} were dropped: the state cannot be made again from them")
        yield _decoded(row)


def _records(source: Source, start: int, end: int) -> Iterator[Record]:
    while start < end:
        records = source.log.read(start, min(BATCH, end - start))
        assert records, f"{source.name} ends at {start}, a plan says {end}: its log lost durable records"
        start = records[-1].lsn + 1
        yield from records


def _decoded(row: bytes) -> Plan:
    ends, clock = msgspec.msgpack.decode(row, type=tuple[dict[str, int], int])
    return Plan(ends, clock)
