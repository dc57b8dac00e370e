"""A partition: the unit of order, ownership, storage and recovery. Synchronous, single-threaded, without a host.

The order of work on a batch::

    dedupe → assign LSN → fold in memory → seal → durable append → commit state and offset → return

Before the append nothing has changed but the vault, where a slot without a record is harmless. A crash after it is made
good by replay, since the offset commits with the state. A fact that does not fold goes to quarantine and never enters
the log, so that no record can brick the partition. The phases `prepare`, `write` and `finish` are `append`, cut where a
host that owns several partitions lets their syncs run side by side.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

from actors.dedupe import DedupeSettings, Remembered
from actors.fold import fold
from actors.ledger import META, Import, Ledger
from actors.refold import OFFSET, Fold, advanced
from actors.state import StateStore
from actors.working_set import Actor, WorkingSet, newborn, table_of
from events.clock import Clock
from events.disk import Disk
from events.errors import BadRequest, DiskFull, EverfoldError, PartitionStopped
from events.ids import Key, KeyHash, PartitionId, is_profile, key_hash
from events.log import Durability, Log
from events.payload import decode, encode, type_of
from events.quarantine import Entry, Quarantine
from events.record import ENCODER, Draft, Record
from events.types import Event, Meta, SubjectErased
from events.unseal import ERASED_TYPE
from events.vault import Vault

Status: TypeAlias = Literal["ok", "duplicate", "quarantined"]
SLOTS_KNOWN = b"slots"
"""In `META`: every vault slot below this number has its actor in the state."""

_ABOUT_SOMEBODY: Final = frozenset({"segment_changed", "content_alerted"})
"""Conclusions of followers from what somebody did, worth nothing without it."""
EVENT_ID_BYTES = 16
PRODUCER_CHARS_MAX = 100


class Outcome(NamedTuple):
    """What became of one draft. ``lsn`` is where it stands; for a duplicate (or a conclusion about somebody who was
    erased), one that it does not stand after; -1 for what was quarantined, whose ``reason`` is set."""

    status: Status
    lsn: int
    reason: str = ""


@dataclass(frozen=True)
class PartitionSettings:
    """``cache_bytes`` bounds the activated profiles (64 MB hold about 5,000 of 2 kB). With less than
    ``free_floor_bytes`` of disk writes are refused before anything is touched, so that state and checkpoints can finish
    what they began."""

    cache_bytes: int = 64 << 20
    free_floor_bytes: int = 256 << 20
    dedupe: DedupeSettings = field(default_factory=DedupeSettings)


@dataclass(frozen=True)
class Ports:
    """What a partition stands on; all of it is the partition's own."""

    disk: Disk
    log: Log
    state: StateStore
    vault: Vault
    quarantine: Quarantine
    clock: Clock
    random: Callable[[int], bytes] = os.urandom


@dataclass
class Work:
    """One batch on its way. Nobody sees it before `Partition.finish`."""

    next_lsn: int
    appended: int
    """Of the latest record, microseconds."""
    outcomes: list[Outcome | None] = field(default_factory=list)
    """None for a duplicate, whose LSN is told at the end."""
    records: list[Record] = field(default_factory=list)
    actors: dict[KeyHash, Actor] = field(default_factory=dict)
    born: dict[KeyHash, bytes] = field(default_factory=dict)
    """Subjects that have their first record here."""
    system: list[Event] = field(default_factory=list)
    refused: list[Entry] = field(default_factory=list)


class Partition:
    """One partition over its ports. The state must be caught up with the log (`actors.recovery`).

    After a failure of which the outcome is unknown (`SyncFailed`, `NotOwner`, anything unexpected) it takes no more
    writes: `stopped` says why, and only opening it anew helps. ``steps`` is called with the name of every step passed,
    for tests that crash there; ``folding`` is the fold.
    """

    def __init__(
        self,
        number: PartitionId,
        secret: bytes,
        ports: Ports,
        settings: PartitionSettings,
        steps: Callable[[str], None] = lambda step: None,
        folding: Fold = fold,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self.number = number
        self.stopped: EverfoldError | None = None
        self._secret = secret
        self._ports = ports
        self._settings = settings
        self._step = steps
        self._folding = folding
        self._actors = WorkingSet(ports.state, settings.cache_bytes)
        self._ledger = Ledger(settings.dedupe, ports.state)
        start, self._end = ports.log.bounds()
        self._appended = ports.log.get(self._end - 1).appended if self._end > start else 0
        self._orphans = self._find_orphans(beat)
        self._owed: Remembered | None = None
        """A commit that found no space after its records had become durable; paid before anything new."""

    @property
    def end(self) -> int:
        """The next LSN: everything below it is durable and folded."""
        return self._end

    def append(self, drafts: Sequence[Draft], durability: Durability = "durable") -> list[Outcome]:
        """Take ``drafts``, in order; on return each is durable and folded, or known already, or in quarantine.

        Raises `DiskFull` (send again, with the same ids), or what stopped the partition.
        """
        work = self.prepare(drafts)
        self.write(work, durability)
        return self.finish(work)

    def prepare(self, drafts: Sequence[Draft]) -> Work:
        """Everything up to the append: dedupe, place, fold, seal. May be given up without a trace.

        Raises `BadRequest` for a draft that no door of ours could have made.
        """
        ensure_sound(drafts)
        self._ensure_writing()
        with self._stopping():
            work = Work(self._end, self._appended)
            now = self._ports.clock.now()
            for draft, fresh in zip(drafts, self._ledger.fresh(drafts), strict=True):
                wanted = fresh and not (draft.type in _ABOUT_SOMEBODY and self._about_nobody(draft, work))
                work.outcomes.append(self._place(draft, now, work) if wanted else None)
            self._step("folded")
            if work.born:
                self._ports.vault.sync()
                self._step("vault synced")
            return work

    def write(self, work: Work, durability: Durability = "durable") -> None:
        """The durable append: the one phase that may run beside those of other partitions."""
        with self._stopping():
            if work.refused:
                self._ports.quarantine.append(work.refused)
                self._step("refused")
            if work.records:
                self._ports.log.append(work.records, durability)
                self._step("appended")

    def finish(self, work: Work) -> list[Outcome]:
        """Commit state and offset, and tell."""
        with self._stopping():
            if work.records:
                notes = self._noted(work.records)
                for event in work.system:
                    self._ledger.note_system(event, notes)
                notes.changes += [self._actors.put(name, actor) for name, actor in work.actors.items()]
                for name in work.born:
                    del self._orphans[name]
                self._commit(notes)
            newest = self._end - 1
            return [Outcome("duplicate", newest) if told is None else told for told in work.outcomes]

    def erase(self, key: Key, reason: str = "") -> int:
        """Destroy the key of the subject of ``key``: on return its facts are unreadable and its state is gone, durably.

        Returns the LSN of the `subject_erased` fact; -1 when there is nothing to erase.
        """
        self._ensure_writing()
        name = key_hash(self._secret, key)
        actor = self._actors.get(name, is_profile(key))
        if actor is None:
            return -1
        with self._stopping():
            record = self._farewell(actor, reason)
            self._ports.log.append([record])
            self._step("appended")
            self._ports.vault.erase(actor.subject)
            self._step("key destroyed")
            notes = self._noted([record])
            notes.changes += self._actors.drop(name)
            self._commit(notes)
        return record.lsn

    def set_aside(self, entries: Sequence[Entry]) -> None:
        """Put into quarantine what was refused before it became a draft."""
        self._ensure_writing()
        with self._stopping():
            self._ports.quarantine.append(entries)

    def mark(self, producer: str) -> int:
        """The highest seq taken from ``producer``; 0 for one never heard of."""
        return self._ledger.mark(producer)

    def imports(self) -> list[Import]:
        """Imports known to this partition, by source hash."""
        return self._ledger.imports()

    def stop(self, error: EverfoldError) -> None:
        """Take no more writes; what is committed can still be read."""
        self.stopped = error

    def status(self) -> dict[str, int]:
        """Figures for metrics; cheap."""
        applied = self._ports.state.offsets().get(OFFSET, 0)
        return {
            "end": self._end,
            "applied": applied,
            "durable_minus_applied": self._end - applied,
            "duplicates": self._ledger.duplicates,
            "dedupe_ids": len(self._ledger.dedupe),
            "dedupe_forgotten_early": self._ledger.dedupe.forgotten_early,
            "actors_active": len(self._actors),
            "actors_bytes": self._actors.bytes,
            "subjects": self._ports.vault.count(),
            "disk_free": self._ports.disk.free(),
            "disk_floor": self._settings.free_floor_bytes,
            "stopped": int(self.stopped is not None),
        }

    def _ensure_writing(self) -> None:
        if self.stopped is not None:
            raise type(self.stopped)(str(self.stopped))
        free, floor = self._ports.disk.free(), self._settings.free_floor_bytes
        if free < floor:
            raise DiskFull(
                f"partition {self.number} has {free >> 20} MiB of disk left and wants {floor >> 20}: "
                "nothing was taken; free some space, then send again"
            )
        if self._owed is not None:
            self._commit(self._owed)

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """Anything but a full disk leaves this process in doubt about what happened: it writes no more."""
        try:
            yield
        except DiskFull:
            raise
        except EverfoldError as error:
            self.stopped = error
            raise
        except BaseException as error:
            self.stopped = PartitionStopped(
                f"partition {self.number} failed unexpectedly ({error!r}): restart its host"
            )
            raise

    def _place(self, draft: Draft, now: int, work: Work) -> Outcome:
        """The draft as the next record of ``work``, folded into its actor there; or refused."""
        try:
            payload = decode(draft.type, draft.version, draft.payload)
        except Exception as error:  # msgspec's own errors, UnknownEventType, or whatever an upcast raises
            return _refused(draft, now, "undecodable", error, work)
        if draft.type == ERASED_TYPE:
            return _refused(draft, now, "reserved_type", "only erasing a subject writes this", work)
        key = Key(draft.key)
        name = key_hash(self._secret, key)
        actor = work.actors.get(name) or self._actors.get(name, is_profile(key)) or self._newborn(key, name, work)
        lsn = work.next_lsn
        try:
            after = advanced(actor, lsn, draft.event_time, draft.event_id, payload, self._folding)
        except Exception as error:  # a fold may fail in any way; the fact is kept aside, whatever it was
            if name not in work.actors:
                work.born.pop(name, None)
            return _refused(draft, now, "does_not_fold", error, work)
        self._record(draft, actor, now, work)
        work.actors[name] = after
        if key[0] == "s":
            work.system.append(payload.event)
        return Outcome("ok", lsn)

    def _about_nobody(self, draft: Draft, work: Work) -> bool:
        """Whether a follower concluded something about a person who was erased meanwhile: kept, it would make somebody
        anew out of that alone."""
        name = key_hash(self._secret, Key(draft.key))
        return bool(draft.producer) and name not in work.actors and self._actors.get(name, True) is None

    def _newborn(self, key: Key, name: KeyHash, work: Work) -> Actor:
        subject = self._orphans.get(name)
        if subject is None:
            subject = self._orphans[name] = self._ports.vault.create(key, name)
        else:
            self._ports.vault.renew(subject)
        work.born[name] = subject
        return newborn(subject, is_profile(key))

    def _record(self, draft: Draft, actor: Actor, now: int, work: Work) -> None:
        wish = draft.appended if self._ledger.may_stamp(draft) else now
        work.appended = max(min(wish, now), work.appended + 1)
        lsn = work.next_lsn
        work.records.append(
            Record(
                lsn,
                () if actor.lsn < 0 else ((self.number, actor.lsn),),
                work.appended,
                draft.event_time,
                draft.type,
                draft.version,
                actor.subject,
                draft.event_id,
                self._ports.vault.seal(actor.subject, draft.event_id, lsn, draft.payload),
                draft.producer,
                draft.seq,
            )
        )
        work.next_lsn = lsn + 1

    def _farewell(self, actor: Actor, reason: str) -> Record:
        now = self._ports.clock.now()
        event = SubjectErased(reason)
        return Record(
            self._end,
            ((self.number, actor.lsn),),
            max(now, self._appended + 1),
            now // 1000,
            *type_of(event),
            actor.subject,
            self._ports.random(16),
            encode(Meta(), event),
        )

    def _noted(self, records: Sequence[Record]) -> Remembered:
        """The log holds these now."""
        self._end, self._appended = records[-1].lsn + 1, records[-1].appended
        notes = Remembered()
        self._ledger.note(records, notes)
        return notes

    def _commit(self, notes: Remembered) -> None:
        self._owed = notes
        lowest = min((int.from_bytes(subject[12:], "big") for subject in self._orphans.values()), default=None)
        slots = self._ports.vault.count() if lowest is None else lowest
        changes = [*notes.changes, (META, SLOTS_KNOWN, slots.to_bytes(8, "little"))]
        self._ports.state.commit(changes, {OFFSET: self._end}, notes.emptied)
        self._owed = None
        self._step("committed")
        self._actors.shrink()

    def _find_orphans(self, beat: Callable[[], None]) -> dict[KeyHash, bytes]:
        """Slots made for a first record that never came: the next record of the key uses them."""
        state = self._ports.state
        known = int.from_bytes(state.get(META, SLOTS_KNOWN) or b"", "little")
        orphans: dict[KeyHash, bytes] = {}
        for name, subject in self._ports.vault.entries(known):
            beat()
            if state.get(table_of(True), name) is None and state.get(table_of(False), name) is None:
                orphans[name] = subject
        return orphans


def ensure_sound(drafts: Sequence[Draft]) -> None:
    """Raises `BadRequest` for a draft that no door of ours could have made."""
    for draft in drafts:
        if len(draft.event_id) != EVENT_ID_BYTES or draft.key[1:2] != ":" or len(draft.producer) > PRODUCER_CHARS_MAX:
            raise BadRequest(
                f"draft {draft.event_id.hex()} of {draft.key[:32]!r} is malformed: an event id has {EVENT_ID_BYTES} "
                f"bytes, a key starts with u:, a:, i: or s:, a producer has at most {PRODUCER_CHARS_MAX} characters"
            )


def _refused(draft: Draft, now: int, reason: str, detail: object, work: Work) -> Outcome:
    work.refused.append(Entry(now // 1000, reason, str(detail)[:500], ENCODER.encode(draft)))
    return Outcome("quarantined", -1, reason)
