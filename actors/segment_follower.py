"""The segment follower: hears in the partitions' logs whose profiles changed, and looks at them in their states.

A round is about one partition. Its state is read at one commit; records up to the offset of that commit say who
changed. Who is due by the clock, a slice of a pass over everybody, and some of those who leave a dropped segment come
along. So whenever the follower's offset has reached the state's, membership is what asking every profile would give, at
that offset and clock. State, transitions, offset and clock commit together: a kill at any moment leaves the round done
or not begun, and a transition is computed once.

The clock is wall time, but never later than the first record that the state has not folded yet nor earlier than the
last one that it has, and every round that does anything moves it on: transitions of one profile have rising times, even
if clocks were turned back and the state was lost. A follower that was away looks at everybody who changed and everybody
who is due as they are now; what came and went meanwhile, nobody was there to see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from msgspec.structs import replace

from actors.follower import Opener, Standing
from actors.history import Told
from actors.import_watch import ImportWatch
from actors.ledger import META as LEDGER
from actors.outbox import Append, Outbox, Settled
from actors.profile import decode_head
from actors.recovery import FOLD_KEY
from actors.refold import OFFSET
from actors.segment_definition import SEGMENTS_KEY
from actors.segment_levels import EVERY_MS, SAMPLE, quantile
from actors.segment_rows import unpack
from actors.segment_sample import Sampling
from actors.segment_subject import moved_last
from actors.segment_tables import (
    FOLLOWER,
    META,
    META_KEY,
    ROWS,
    Sweep,
    clock_name,
    number_at,
    number_key,
    offset_name,
)
from actors.segment_timers import NEVER_DUE
from actors.segments import Batch, Look, Segments, begun, subject_of
from actors.state import HeldTable, HoldingReader, MemoryState, StateStore
from actors.working_set import PROFILES
from events.errors import KeyMissing, Unavailable
from events.ids import Key, key_hash
from events.log import LogReader
from events.payload import decode
from events.record import Draft, Record
from events.types import SegmentDefined, SegmentDropped
from events.unseal import ERASED_TYPE
from events.vault import Opened

_QUIET: Final = frozenset(
    {
        "item_upserted",
        "item_deleted",
        "import_started",
        "import_completed",
        "model_promoted",
        "drift_detected",
        "segment_changed",
        "content_alerted",
    }
)
"""Types that change nothing rules read; among them what this follower wrote."""
_DEFINING: Final = frozenset({"segment_defined", "segment_dropped"})


@dataclass(frozen=True)
class Pace:
    """How much one round does."""

    records: int = 2_048
    """With as many rows of 4 kB a read transaction lasts a few ms."""
    due: int = 1_024
    slice: int = 1_024
    """Profiles of a pass over everybody, so that live changes wait 50 ms at most."""
    backlog: int = 2_048
    """Transitions that wait to be appended: with more, passes over everybody wait, live changes do not."""
    send: int = 1_024
    """Transitions sent between two rounds."""
    sample: int = SAMPLE
    """Profiles that levels are read from."""
    sampled: int = 128
    """Of these between two rounds: at once they would keep everybody waiting for 0.2 s."""


PACE: Final = Pace()


class Owners(Protocol):
    """Whose a subject is; `events.vault.VaultReader`."""

    def open(self, subject: bytes) -> Opened: ...


@dataclass(frozen=True)
class Followed:
    """One partition, read-only."""

    partition: int
    log: LogReader
    opener: Opener
    vault: Owners
    state: HoldingReader
    facts: Callable[[Key], Iterable[Told]]
    """A key's facts, newest first: `actors.history.History.walk`."""


class _Sent:
    """What became of a fact that was sent, or need not be."""

    status = "ok"


_SETTLED: Final[Settled] = _Sent()


@dataclass
class _Found:
    """What one round is about, read at one commit of the partition's state."""

    end: int
    clock: int
    records: Sequence[Record]
    looks: list[Look]
    sweep: tuple[Sweep | None] | None
    """How far the pass over everybody is after it; None: no pass."""


class SegmentFollower:
    """Keeps the segments of a store up to date. One thread at a time (`standing` and `numbers` excepted)."""

    def __init__(
        self,
        sources: Sequence[Followed],
        store: StateStore,
        secret: bytes,
        owner: Callable[[Key], int],
        generation: str,
        steps: Callable[[str], None] = lambda step: None,
        pace: Pace = PACE,
    ) -> None:
        """``sources`` by partition number, all there are. ``secret`` is `Secrets.key_hash`; ``owner`` the partition
        of a key, `Store.partition`. ``generation`` names a state begun here. ``steps`` is called with the name of
        every step passed, for tests that crash there."""
        self._sources = tuple(sources)
        self._store = store
        self._secret = secret
        self._owner = owner
        self._generation = generation
        self._step = steps
        self._pace = pace
        self._segments: Segments | None = None
        self._outbox: Outbox | None = None
        self._ends: list[int] = []
        self._offsets: dict[str, int] = {}
        self._appended: dict[int, int] = {}
        self._between: list[list[int]] = [[] for _ in sources]
        """By partition, those whom a level passed and who were not looked at since; the next one last."""
        self._waiting = 0
        self._sampling: Sampling | None = None
        self._imports = ImportWatch([source.state for source in sources])

    @property
    def opened(self) -> Segments | None:
        """The segments, if they are open."""
        return self._segments

    def clock(self, partition: int) -> int:
        """Of a partition's last round, ms; 0 before the first."""
        return self._offsets.get(clock_name(partition), 0)

    def step(self, now: int) -> bool:
        """One round for every partition at clock time ``now`` (us); whether more waits right now.

        Raises what stops a follower: `KeyMissing`, `Corrupt`, `UnknownEventType`, `NotFound` for a trimmed log,
        `Unavailable` before the partitions are caught up. Nothing of the round is kept then.
        """
        if self._imports.busy(now):
            return False
        segments = self._open(now)
        try:
            self._read_levels(segments, now // 1000)
            more = [self._round(segments, source, now // 1000) for source in self._sources]
        except BaseException:
            self._segments = None  # its memory may be ahead of the store
            self._sampling = None
            raise
        return any(more) or self._sampling is not None

    def send(self, append: Append) -> int:
        """Send some of the facts that wait, exactly once each; returns how many were settled. Facts
        about somebody who was erased meanwhile are dropped. Raises what ``append`` raises: call again later."""
        if self._outbox is None or not self._waiting:
            return 0

        def about_the_living(target: int, drafts: Sequence[Draft]) -> Sequence[Settled]:
            living = [draft for draft in drafts if self._lives(draft)]
            if living:
                append(target, living)
            return [_SETTLED] * len(drafts)

        try:
            sent = self._outbox.send(about_the_living, self._pace.send)
        except BaseException:
            self._waiting = self._outbox.backlog()
            raise
        self._waiting -= sent
        return sent

    def standing(self) -> list[Standing]:
        """How far each partition has been followed."""
        return [self._standing(source) for source in self._sources]

    def lag(self) -> int:
        """Durable records not followed yet, of all partitions."""
        return sum(each.lag for each in self.standing())

    def age_us(self, now: int) -> int:
        """How far the state is behind ``now`` (us): 0 when nothing waits."""
        behind = [now - each.appended for each in self.standing() if each.lag and each.appended]
        return max(0, *behind, 0)

    def numbers(self) -> dict[str, float]:
        """Figures for metrics; cheap, from any thread."""
        segments = self._segments
        figures = {"everfold_segment_transitions_waiting": float(self._waiting)}
        return figures | (segments.numbers() if segments is not None else {})

    def _lives(self, draft: Draft) -> bool:
        """Whether the profile that a fact is about is still there: a fact about nobody would make somebody new."""
        name = key_hash(self._secret, Key(draft.key))
        number = subject_of(decode(draft.type, draft.version, draft.payload).meta)
        source = self._sources[number % len(self._sources)]
        blob = source.state.get(PROFILES, name)
        return blob is not None and number_at(decode_head(blob).subject, source.partition, len(self._sources)) == number

    # Opening

    def _open(self, now: int) -> Segments:
        if self._segments is None:
            if self._store.get(META, META_KEY) is None:
                self._begin(now // 1000)
            segments = Segments(self._store, self._secret, len(self._sources))
            self._offsets = self._store.offsets()
            self._outbox = Outbox(f"{FOLLOWER}-{segments.meta.generation}", self._store, self._owner)
            self._waiting = self._outbox.backlog()
            self._passed_by(segments, now // 1000)
            self._segments = segments
        return self._segments

    def _begin(self, now: int) -> None:
        """A new state starts from the profiles as they are, once all that was ever appended is folded into them: which
        segments somebody was told to be in stands in the profile."""
        self._ends = self._ends or [source.log.bounds()[1] for source in self._sources]
        offsets: dict[str, int] = {}
        told: list[tuple[int, SegmentDefined | SegmentDropped]] = []
        for source, end in zip(self._sources, self._ends, strict=True):
            applied = source.state.offsets().get(OFFSET, 0)
            if applied < end:
                raise Unavailable(f"partition {source.partition} has folded {applied} of {end} records: wait for it")
            offsets[offset_name(source.partition)] = applied
            offsets[clock_name(source.partition)] = now
            told += _defining(source, applied)
        first = MemoryState()
        first.commit([begun(self._generation)])
        segments = Segments(first, self._secret, len(self._sources))
        for at, event in reversed(told):
            segments.hear(event, at)
        self._store.commit([begun(self._generation), *segments.changes(Batch(now))], offsets)
        self._step("begun")

    # A round

    def _round(self, segments: Segments, source: Followed, now: int) -> bool:
        version = source.state.get(LEDGER, FOLD_KEY)
        segments.folded(source.partition, version or b"")
        with source.state.held(PROFILES) as held:
            found = self._find(segments, source, held, now)
        if found is None:
            return False
        self._step("read")
        found.clock = max([found.clock, *(moved_last(look.blob) + 1 for look in found.looks if look.row is None)])
        batch = Batch(found.clock)
        for record in found.records:
            if record.type == ERASED_TYPE:
                segments.forget(number_at(record.subject, source.partition, len(self._sources)), batch)
        for look in found.looks:
            segments.look(look, batch)
        if found.sweep is not None:
            segments.swept(found.sweep[0])
        if segments.meta.moving and not any(self._between):
            segments.settled()
        self._step("looked")
        self._commit(segments, source, found, batch)
        self._step("committed")
        return True

    def _find(self, segments: Segments, source: Followed, held: HeldTable, now: int) -> _Found | None:
        """What there is to do; None for nothing, or while the partition's state is older than what was followed."""
        offset, applied = self._offsets[offset_name(source.partition)], held.offsets.get(OFFSET, 0)
        if applied < offset:
            return None
        records = _records(source.log, offset, min(applied, offset + self._pace.records))
        clock = self._time(source, applied, now)
        for record in records:
            if record.type in _DEFINING:
                told = source.opener.payload(record)
                if told is not None and isinstance(told.event, SegmentDefined | SegmentDropped):
                    segments.hear(told.event, clock)
        looks: dict[int, Look] = {}
        sweep: tuple[Sweep | None] | None = None
        if segments.states:
            looks = self._wanted(segments, source, held, records, clock)
            if self._waiting < self._pace.backlog and not self._unlevelled(segments):
                sweep = self._slice(segments, source, held, looks)
        if not records and sweep is None and (not looks or self._ahead(segments, source, looks, now)):
            return None
        end = records[-1].lsn + 1 if records else offset
        return _Found(end, clock, records, list(looks.values()), sweep)

    def _ahead(self, segments: Segments, source: Followed, looks: Mapping[int, Look], now: int) -> bool:
        """Whether there is nothing to do but what the next ms brings, which has not come: rounds move the clock on, and
        those shorter than a ms would run away from time."""
        before = self.clock(source.partition)
        if now > before or segments.timers[source.partition].next() <= before:
            return False
        return all(look.cause == "time" for look in looks.values())

    def _time(self, source: Followed, applied: int, now: int) -> int:
        start, end = source.log.bounds()
        if applied < end:
            folded = source.log.get(applied - 1).appended // 1000 if applied > start else 0
            now = min(now, max(folded, source.log.get(applied).appended // 1000 - 1))
        return max(self.clock(source.partition) + 1, now)

    def _wanted(
        self, segments: Segments, source: Followed, held: HeldTable, records: Sequence[Record], clock: int
    ) -> dict[int, Look]:
        """Who changed, who is due, whom a level passed, and who leaves a dropped segment."""
        partition, partitions = source.partition, len(self._sources)
        subjects = {
            number_at(record.subject, partition, partitions): record.subject
            for record in records
            if record.type not in _QUIET and record.type not in _DEFINING and record.type != ERASED_TYPE
        }
        causes: dict[int, tuple[int, str]] = dict.fromkeys(subjects, (0, "fact"))
        everything = segments.evaluation.all
        for place in segments.timers[partition].due(clock, self._pace.due):
            number = place * partitions + partition
            causes[number] = (everything, "fact" if number in causes else "time")
        for number in self._passed(partition):
            causes[number] = (everything, causes[number][1] if number in causes else "level")
        if self._waiting < self._pace.backlog:
            for number in segments.leaving(self._pace.slice * partitions):
                if number % partitions == partition:
                    causes.setdefault(number, (0, "dropped"))
        numbers = list(causes)
        rows = [
            None if data is None else unpack(data)
            for data in self._store.get_many(ROWS, [number_key(number) for number in numbers])
        ]
        names = [
            row.name if row is not None else _owner(source, subjects.get(number))
            for number, row in zip(numbers, rows, strict=True)
        ]
        blobs = held.get_many([name or b"-" for name in names])
        looks: dict[int, Look] = {}
        for number, name, blob, row in zip(numbers, names, blobs, rows, strict=True):
            if name is not None and blob is not None:
                looks[number] = Look(number, name, blob, row, *causes[number])
            elif row is not None:
                segments.timers[partition].set(number // partitions, NEVER_DUE)  # erased: the fact about it follows
        return looks

    def _passed(self, partition: int) -> list[int]:
        """The next of those whom a level passed, of one partition."""
        waiting = self._between[partition]
        taken = waiting[-self._pace.due :]
        del waiting[-self._pace.due :]
        return taken

    def _slice(
        self, segments: Segments, source: Followed, held: HeldTable, looks: dict[int, Look]
    ) -> tuple[Sweep | None] | None:
        """Add the next profiles of the pass over everybody to ``looks``; how far it is then."""
        if segments.meta.sweep is None and segments.filling:
            segments.sweep(self._population())
        sweep = segments.meta.sweep
        if sweep is None or sweep.partition != source.partition:
            return None
        rows = held.rows(sweep.key, self._pace.slice)
        partitions = len(self._sources)
        numbers = [number_at(decode_head(blob).subject, source.partition, partitions) for _, blob in rows]
        unseen = [number for number in numbers if number not in looks]
        held_rows = self._store.get_many(ROWS, [number_key(number) for number in unseen])
        kept = dict(zip(unseen, held_rows, strict=True))
        for number, (name, blob) in zip(numbers, rows, strict=True):
            look = looks.get(number)
            if look is None:
                data = kept[number]
                looks[number] = Look(
                    number, name, blob, None if data is None else unpack(data), sweep.bits, "definition"
                )
            else:
                look.concerned |= sweep.bits
        done = sweep.done + len(rows)
        if len(rows) == self._pace.slice:
            return (replace(sweep, key=rows[-1][0] + b"\x00", done=done),)
        if sweep.partition + 1 < partitions:
            return (replace(sweep, partition=sweep.partition + 1, key=b"", done=done),)
        return (None,)

    def _population(self) -> int:
        total = 0
        for source in self._sources:
            with source.state.held(PROFILES) as held:
                total += held.entries()
        return total

    def _commit(self, segments: Segments, source: Followed, found: _Found, batch: Batch) -> None:
        changes = segments.changes(batch)
        assert self._outbox is not None
        if batch.drafts:
            changes += self._outbox.stage(batch.drafts)
        offsets = {offset_name(source.partition): found.end, clock_name(source.partition): found.clock}
        self._store.commit(changes, offsets)
        self._waiting += len(batch.drafts)
        self._offsets.update(offsets)
        if found.records:
            self._appended[source.partition] = found.records[-1].appended

    # Levels of the population

    def _unlevelled(self, segments: Segments) -> bool:
        """Whether levels were never read since the definitions changed that ask for them."""
        return bool(segments.evaluation.quantiles) and not segments.meta.read_at

    def _read_levels(self, segments: Segments, now: int) -> None:
        """A slice of reading them where it is time to, and what they come to at its end."""
        pairs = segments.evaluation.quantiles
        if self._sampling is None:
            if not pairs or any(self._between) or now < segments.meta.read_at + EVERY_MS:
                return
            states = [source.state for source in self._sources]
            self._sampling = Sampling(states, segments.evaluation.fields, self._pace.sample)
        sampling = self._sampling
        if not sampling.advance(now, self._pace.sampled):
            return
        self._sampling = None
        if sampling.fields != segments.evaluation.fields:
            return  # the definitions changed meanwhile: begin again
        segments.relevel([(field, share, quantile(sampling.values[field], share)) for field, share in pairs], now)
        self._store.commit(segments.changes(Batch(now)))
        self._passed_by(segments, now)
        self._step("levelled")

    def _passed_by(self, segments: Segments, now: int) -> None:
        self._between = [[] for _ in self._sources]
        for number in reversed(segments.between(now)):
            self._between[number % len(self._sources)].append(number)

    def _standing(self, source: Followed) -> Standing:
        applied = self._offsets.get(offset_name(source.partition), 0)
        lag = max(0, source.log.bounds()[1] - applied)
        return Standing(source.partition, applied, lag, self._appended.get(source.partition, 0), source.opener.skipped)


def _records(log: LogReader, start: int, end: int) -> list[Record]:
    found: list[Record] = []
    while start < end:
        records = log.read(start, end - start)
        if not records:
            break  # a watermark that is a moment old
        found += records
        start = records[-1].lsn + 1
    return found


def _owner(source: Followed, subject: bytes | None) -> bytes | None:
    """The key hash of a profile's subject; None for what is none, or was erased."""
    if subject is None:
        return None
    try:
        owner = source.vault.open(subject).owner
    except KeyMissing:
        return None
    return owner.key_hash if owner.has_profile else None


def _defining(source: Followed, applied: int) -> list[tuple[int, SegmentDefined | SegmentDropped]]:
    """What was said about segments up to the offset ``applied``, newest first, each with when (ms)."""
    return [
        (told.record.appended // 1000, told.payload.event)
        for told in source.facts(SEGMENTS_KEY)
        if told.record.lsn < applied and isinstance(told.payload.event, SegmentDefined | SegmentDropped)
    ]
