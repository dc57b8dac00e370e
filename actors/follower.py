"""A follower: reads several partitions' logs up to their durable watermarks and folds them into its own store.

State and offsets commit together, so whatever crashes, every record has its effect exactly once. A follower pulls by
offset: a slow one never blocks a writer and always catches up; a wake-up only saves it the wait for the next poll.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from actors.outbox import Outbox
from actors.state import Change, StateReader, StateStore
from events.errors import EverfoldError
from events.log import LogReader
from events.record import Draft, Record
from events.types import Payload

BATCH: Final = 2_048
"""Records per commit. Larger ones save little; this one holds about 50 MB of changed rows in an import."""
POLL_S: Final = 0.05
"""How long a missed wake-up can cost."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A record as a projection gets it: opened."""

    partition: int
    record: Record
    payload: Payload


@dataclass(frozen=True, slots=True)
class Folded:
    """What a batch comes to: rows to commit, and facts to be sent to the log."""

    changes: list[Change]
    drafts: list[Draft] = field(default_factory=list)


class Projection(Protocol):
    """A fold of facts into tables. Reads nothing but its own store as of the last commit; no clock, no randomness."""

    def apply(self, facts: Sequence[Fact]) -> Folded:
        """Fold one batch; what it returns is committed before the next call."""
        ...

    def tidy(self) -> list[Change]:
        """A bounded slice of deferred work, to be committed before the next call; empty when there is none."""
        ...


class Opener(Protocol):
    """Unseals records; `events.unseal.Unsealer`."""

    @property
    def skipped(self) -> int: ...

    def payload(self, record: Record) -> Payload | None:
        """None for a record whose subject was erased. Raises `KeyMissing`, `Corrupt`, `UnknownEventType`."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """One partition's log."""

    partition: int
    log: LogReader
    opener: Opener

    @property
    def name(self) -> str:
        return f"p{self.partition}"


@dataclass(frozen=True, slots=True)
class Standing:
    """How far one partition has been followed."""

    partition: int
    applied: int
    """The LSN after the last applied one."""
    lag: int
    """Durable records not applied yet."""
    appended: int
    """When the last applied record was appended, us; 0 before the first since this start."""
    skipped: int
    """Records of erased subjects passed over since this start."""


class Follower:
    """Keeps one projection up to date. Plain and synchronous; one thread at a time (`wake` and `standing` excepted)."""

    def __init__(
        self,
        name: str,
        sources: Sequence[Source],
        store: StateStore,
        projection: Callable[[StateReader], Projection],
        outbox: Outbox | None = None,
    ) -> None:
        """``projection`` opens the fold over what ``store`` holds; it is called again after a failed commit, because
        the fold's memory is then ahead of the store."""
        self.name = name
        self._sources = tuple(sources)
        self._store = store
        self._open = projection
        self._outbox = outbox
        self._projection: Projection | None = None
        self._offsets = store.offsets()
        self._appended: dict[str, int] = {}
        self._woken = threading.Event()

    @property
    def projection(self) -> Projection:
        if self._projection is None:
            self._offsets = self._store.offsets()
            self._projection = self._open(self._store)
        return self._projection

    def catch_up(self, limit: int = BATCH) -> int:
        """Apply up to about ``limit`` records, an even share from each partition; returns how many were passed.

        Raises what stops a follower: `KeyMissing`, `Corrupt`, `UnknownEventType`, `NotFound` when the log was trimmed
        below where this follower stands. Nothing of the batch is kept then.
        """
        projection = self.projection
        share = max(1, limit // max(1, len(self._sources)))
        facts: list[Fact] = []
        offsets: dict[str, int] = {}
        appended: dict[str, int] = {}
        passed = 0
        for source in self._sources:
            records = source.log.read(self._next(source), share)
            if records:
                passed += len(records)
                offsets[source.name] = records[-1].lsn + 1
                appended[source.name] = records[-1].appended
                facts += _opened(source, records)
        if passed:
            self._fold(projection, facts, offsets)
            self._appended.update(appended)
        return passed

    def tidy(self) -> bool:
        """Do a slice of deferred work; whether there was any."""
        changes = self.projection.tidy()
        if changes:
            self._commit(changes, {})
        return bool(changes)

    def step(self, limit: int = BATCH) -> bool:
        """One round: a batch and, unless more than a batch waits, a slice of deferred work. Whether anything was
        done."""
        passed = self.catch_up(limit)
        tidied = passed < limit // 2 and self.tidy()
        return bool(passed) or tidied

    def run(self, stopping: threading.Event, poll_s: float = POLL_S) -> None:
        """Follow until ``stopping`` is set (and `wake` called, to notice at once). An error ends it and is raised."""
        while not stopping.is_set():
            if not self.step():
                self._woken.wait(poll_s)
                self._woken.clear()

    def wake(self) -> None:
        """There is something new; from any thread."""
        self._woken.set()

    def standing(self) -> list[Standing]:
        """How far each partition has been followed."""
        return [self._standing(source) for source in self._sources]

    def lag(self) -> int:
        """Durable records not applied yet, of all partitions."""
        return sum(each.lag for each in self.standing())

    def age_us(self, now: int) -> int:
        """How far the state is behind ``now`` (us): 0 when nothing waits, else the age of the least followed
        partition's last applied record."""
        behind = [now - each.appended for each in self.standing() if each.lag and each.appended]
        return max(0, *behind, 0)

    def _standing(self, source: Source) -> Standing:
        applied = self._next(source)
        lag = max(0, source.log.bounds()[1] - applied)
        return Standing(source.partition, applied, lag, self._appended.get(source.name, 0), source.opener.skipped)

    def _next(self, source: Source) -> int:
        offset = self._offsets.get(source.name)
        return source.log.bounds()[0] if offset is None else offset

    def _fold(self, projection: Projection, facts: list[Fact], offsets: dict[str, int]) -> None:
        try:
            folded = projection.apply(facts)
        except BaseException:
            self._projection = None
            raise
        changes = folded.changes
        if folded.drafts:
            if self._outbox is None:
                raise EverfoldError(f"follower {self.name} writes facts but was opened without an outbox: give it one")
            changes = changes + self._outbox.stage(folded.drafts)
        self._commit(changes, offsets)

    def _commit(self, changes: list[Change], offsets: dict[str, int]) -> None:
        try:
            self._store.commit(changes, offsets)
        except BaseException:
            self._projection = None
            if self._outbox is not None:
                self._outbox.reload()
            raise
        self._offsets.update(offsets)


def _opened(source: Source, records: Sequence[Record]) -> list[Fact]:
    opened = ((record, source.opener.payload(record)) for record in records)
    return [Fact(source.partition, record, payload) for record, payload in opened if payload is not None]
