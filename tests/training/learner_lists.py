"""Logs, answered lists and a learner over them, all in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from actors.follower import Source
from actors.outbox import Outbox
from actors.recorded import RecordedFollower
from actors.state import StateReader, StateStore
from events.ids import partition_of
from events.memory_log import MemoryLog
from events.payload import decode, encode, type_of
from events.record import Record
from events.types import Event, Impression, Interaction, Line, Meta, Payload, Signal
from training.learned import Learned
from training.learner.projection import LearnerProjection, Teaching
from training.learner.settings import LearnerSettings
from training.learner.shown import ShownList

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
START = 1_700_000_000_000_000
NAMES = ("repeat_purchase", "covisitation", "popularity")
FIXED = {"home": {"repeat_purchase": 3.0, "popularity": 1.0}, "cart": {"covisitation": 1.0}}
OWN = (
    "plans",
    "pending",
    "by_subject",
    "due",
    "shown_order",
    "refused",
    "taught",
    "held",
    "ratings",
    "ratings_since",
    "rating_consent",
)
TABLES = (*OWN, "models", "progress", "hedges", "shape", "learner", "learned", "drift", "detected", "outbox")


class Plain:
    """Opens records that were never sealed."""

    skipped = 0

    def payload(self, record: Record) -> Payload | None:
        return decode(record.type, record.version, record.payload)


class Until:
    """A log as it was at a moment: what was appended later is not there yet."""

    def __init__(self, log: MemoryLog, until: Callable[[], int | None]) -> None:
        self._log = log
        self._until = until

    def bounds(self) -> tuple[int, int]:
        start, end = self._log.bounds()
        until = self._until()
        if until is not None:
            end = bisect_right(range(start, end), until, key=lambda lsn: self._log.get(lsn).appended) + start
        return start, end

    def read(self, start: int, limit: int) -> Sequence[Record]:
        return self._log.read(start, min(limit, self.bounds()[1] - start))

    def get(self, lsn: int) -> Record:
        return self._log.get(lsn)


class Lists:
    """Answered lists by id."""

    def __init__(self) -> None:
        self.known: dict[str, ShownList] = {}
        self.asked: list[str] = []

    def shown(self, list_id: str) -> ShownList | None:
        self.asked.append(list_id)
        return self.known.get(list_id)


@dataclass
class Shop:
    """Two partitions' logs, the lists answered, and learners over them."""

    logs: tuple[MemoryLog, MemoryLog] = field(default_factory=lambda: (MemoryLog(), MemoryLog()))
    lists: Lists = field(default_factory=Lists)
    initials: dict[str, Learned] = field(default_factory=dict)
    now: int = START
    until: int | None = None
    """Learners see only what was appended until then."""

    def answer(self, list_id: str, *items: str, surface: str = "home", seed: int = 0, **fields: object) -> ShownList:
        random = np.random.default_rng([seed, *list_id.encode()])
        n = len(items)
        cube = random.normal(size=(n, len(NAMES), 4)).astype(np.float32)
        cube[:, :, 1] = np.log1p(np.maximum(cube[:, :, 0], 0))
        cube[:, :, 2] = random.random((n, len(NAMES)))
        cube[:, :, 3] = 0
        cube[random.random((n, len(NAMES))) < 0.3] = (0, 0, 0, 1)
        context = np.zeros((n, 3))
        context[:, 0] = 1 / np.log2(2 + np.arange(n))
        context[:, 1] = random.normal(size=n).astype(np.float32)
        given: dict[str, object] = {
            "surface": surface,
            "at": self.now,
            "personal": True,
            "test": False,
            "items": items,
            "propensities": (1.0,) * n,
            "names": NAMES,
            "features": cube.reshape(n, -1).astype(np.float64),
            "context": context,
        }
        self.lists.known[list_id] = shown = ShownList(**{**given, **fields})  # type: ignore[arg-type]
        return shown

    def add(self, partition: int, subject: str, event: Event, meta: Meta = Meta(), producer: str = "") -> None:  # noqa: B008
        """Append a fact now."""
        log = self.logs[partition]
        lsn = log.bounds()[1]
        appended = max(self.now, log.get(lsn - 1).appended + 1 if lsn else 0)
        name, version = type_of(event)
        record = Record(
            lsn=lsn,
            links=(),
            appended=appended,
            event_time=appended // 1000,
            type=name,
            version=version,
            subject=subject.encode().ljust(16, b"."),
            event_id=bytes([partition]) + lsn.to_bytes(15, "big"),
            payload=encode(meta, event),
            producer=producer,
        )
        log.append([record])

    def learner(
        self,
        store: StateStore,
        settings: LearnerSettings | None = None,
        steps: Callable[[str], None] = lambda step: None,
        fixed: Mapping[str, Mapping[str, float]] = FIXED,
    ) -> RecordedFollower:
        teaching = Teaching(NAMES, fixed, self.lists, self.initials.get, settings or LearnerSettings())

        def opened(state: StateReader) -> LearnerProjection:
            return LearnerProjection(state, teaching)

        sources = [Source(number, Until(log, lambda: self.until), Plain()) for number, log in enumerate(self.logs)]
        return RecordedFollower(
            "learner", sources, store, opened, Outbox("learner", store, lambda key: partition_of(key, 2)), steps
        )


def seen(list_id: str, *items: str) -> Impression:
    return Impression(items, list_id)


def did(signal: Signal, *items: str, list_id: str = "") -> Interaction:
    return Interaction(signal, tuple(Line(item) for item in items), list_id=list_id)


def settle(learner: RecordedFollower, now: int, limit: int = 4096) -> None:
    while learner.step(now, limit):
        pass


def counts(learner: RecordedFollower) -> Mapping[str, int]:
    projection = learner.projection
    assert isinstance(projection, LearnerProjection)
    return projection.counts


def everything(store: StateReader) -> dict[str, object]:
    """All rows and offsets."""
    tables: dict[str, object] = {table: list(store.scan(table)) for table in TABLES}
    return {**tables, "offsets": store.offsets()}
