"""All segment actors of a store: each a membership set, counters and a history, kept up to date as profiles change.

`Segments` is their common state over one store, and turns *looks* at profiles into rows, transitions and facts. Where
the looks come from (changed profiles, timers, a pass over everybody) is `actors.segment_follower`'s business. What a
batch of looks comes to is committed at once, with the offsets that caused it, so nothing is ever computed twice:
a transition that was committed is in the outbox, one that was not never happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec.structs import replace

from actors.quantity import NEVER
from actors.segment_definition import Definition, Definitions, understood
from actors.segment_evaluation import Evaluation, levels_of, surroundings
from actors.segment_levels import Levels
from actors.segment_levels import moved as level_moved
from actors.segment_members import Members
from actors.segment_rows import Row, changed, pack, seen_of, unpack
from actors.segment_subject import ProfileSubject, Surroundings, entered_before, key_of
from actors.segment_tables import (
    BUCKETS_KEPT,
    COUNTS,
    MEMBERSHIPS,
    META,
    META_KEY,
    RESOLUTIONS,
    ROWS,
    SEGMENTS,
    Counted,
    Membership,
    Meta,
    Moving,
    SegmentState,
    Sweep,
    count_key,
    count_of,
    membership_key,
    number_key,
    number_of,
    pack_counted,
    slot_key,
    slots_of,
    unpack_counted,
)
from actors.segment_timers import NEVER_DUE, Timers
from actors.state import Change, StateReader
from events import payload
from events.errors import BadRequest
from events.record import Draft
from events.types import Json, SegmentChanged, SegmentDefined, SegmentDropped
from events.types import Meta as Surrounding

RULES_VERSION: Final = 1
"""Raised whenever the same rule would answer differently: everybody is looked at again."""
PRUNED_MAX: Final = 8
"""Old rows of a history dropped per new one."""
VALUE_CHARS_MAX: Final = 256
"""Longer texts are cut in evidence."""


@dataclass(slots=True)
class Look:
    """One profile to be looked at. ``concerned``: bits of the definitions to ask, besides those that what changed in
    the profile touches; ``cause`` goes into the evidence."""

    number: int
    name: bytes
    blob: bytes
    row: Row | None
    concerned: int = 0
    cause: str = "fact"


@dataclass
class Batch:
    """What a round comes to, until it is committed."""

    clock: int
    changes: list[Change] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)
    moved: dict[int, list[int]] = field(default_factory=dict)
    """Slot → [entered, exited]."""


class Segments:
    """See the module. Memory is ahead of the store between a look and its commit: after a failure, open anew."""

    def __init__(self, store: StateReader, secret: bytes, partitions: int) -> None:
        """``secret`` names keys in the partitions' states. The store must have been begun (`begin`)."""
        self._store = store
        self._secret = secret
        self._partitions = partitions
        row = store.get(META, META_KEY)
        assert row is not None, "the state was never begun"
        self.meta = msgspec.msgpack.decode(row, type=Meta)
        self._kept = self.meta
        self.states = {
            state.slot: state
            for _, encoded in store.scan(SEGMENTS)
            for state in [msgspec.msgpack.decode(encoded, type=SegmentState)]
        }
        self.definitions = Definitions(
            {state.told.name: understood(state.told) for state in self.states.values() if state.phase != "leaving"}
        )
        self.members = Members(store)
        self.timers = [Timers() for _ in range(partitions)]
        self.levels = [Levels() for _ in range(partitions)]
        self._dirty: set[int] = set()
        self.evaluation: Evaluation
        self.around: Surroundings
        self._arrange()
        for key, data in store.scan(ROWS):
            held = unpack(data)
            self._remember(number_of(key), held)
        if self.meta.rules != RULES_VERSION:
            self._refill(self.evaluation.all)
            self.meta = replace(self.meta, rules=RULES_VERSION)

    # Definitions

    def hear(self, event: SegmentDefined | SegmentDropped, clock: int) -> None:
        """Take a definition, or note why not."""
        refused = {name: why for name, why in self.meta.refused.items() if name != event.name}
        try:
            if isinstance(event, SegmentDropped):
                self._drop(event.name)
            else:
                self._define(event, clock)
        except BadRequest as error:
            refused[event.name[:64]] = str(error)
        if refused != self.meta.refused:
            self.meta = replace(self.meta, refused=refused)

    def _define(self, told: SegmentDefined, clock: int) -> None:
        definition = understood(told)
        self.definitions = self.definitions.defined(definition)
        state = next((each for each in self.states.values() if each.told.name == told.name), None)
        if state is None:
            slot = next(number for number in range(len(self.states) + 1) if number not in self.states)
            state = self.states[slot] = SegmentState(slot, told, "filling", clock)
        state.told, state.phase, state.defined_at = told, "filling", clock
        self._dirty.add(state.slot)
        self._changed_definitions()
        self._refill(1 << state.slot)

    def _drop(self, name: str) -> None:
        state = next((each for each in self.states.values() if each.told.name == name), None)
        if state is None or state.phase == "leaving":
            return
        state.phase = "leaving"
        self._dirty.add(state.slot)
        self.definitions = self.definitions.dropped(name)
        asking = [each.name for each in self.definitions.order if name in each.segments]
        self._changed_definitions()
        self._refill(sum(self.evaluation.bits[each] for each in asking))

    def _changed_definitions(self) -> None:
        self._arrange()
        new = tuple(field for field in self.evaluation.fields if field not in self.meta.fields)
        known = {(field, share) for field, share, _ in self.meta.levels}
        levels = (*self.meta.levels, *((f, s, None) for f, s in self.evaluation.quantiles if (f, s) not in known))
        asked = set(self.evaluation.quantiles)
        self.meta = replace(
            self.meta,
            fields=(*self.meta.fields, *new),
            levels=tuple(level for level in levels if (level[0], level[1]) in asked),
            read_at=0,
        )
        self.around = self._surroundings()

    def _arrange(self) -> None:
        slots = {state.told.name: state.slot for state in self.states.values()}
        self.evaluation = Evaluation([(slots[each.name], each) for each in self.definitions.order])
        self.around = self._surroundings()

    def _surroundings(self) -> Surroundings:
        return surroundings(self.meta.levels, self.evaluation.standing.member)

    def numbers(self) -> dict[str, float]:
        """Figures for metrics, of all segments together."""
        states, sweep = list(self.states.values()), self.meta.sweep
        return {
            "everfold_segments": float(len(self.definitions)),
            "everfold_segment_members": float(sum(state.members for state in states)),
            "everfold_segment_transitions_total": float(sum(state.entered + state.exited for state in states)),
            "everfold_segment_timers_pending": float(sum(timers.pending for timers in self.timers)),
            "everfold_segment_backfill_waiting": float(0 if sweep is None else max(0, sweep.total - sweep.done)),
            "everfold_segment_unnamed_total": float(self.meta.unnamed),
        }

    # Passes over everybody

    def _refill(self, bits: int) -> None:
        """Everybody is to be looked at with the definitions of these slots, from the start."""
        for slot, state in self.states.items():
            if bits >> slot & 1 and state.phase != "leaving":
                state.phase = "filling"
                self._dirty.add(slot)
        sweep = self.meta.sweep
        if sweep is not None and sweep.bits & bits:
            left = sweep.bits & ~bits
            self.meta = replace(self.meta, sweep=replace(sweep, slots=slots_of(left)) if left else None)

    def folded(self, partition: int, version: bytes) -> None:
        """The partition's profiles were made by this version of the fold. By another one than before: the same facts
        come to something else, so everybody is looked at again."""
        before = self.meta.folds.get(partition)
        if before != version:
            self.meta = replace(self.meta, folds={**self.meta.folds, partition: version})
            if before is not None:
                self._refill(self.evaluation.all)

    def sweep(self, total: int) -> Sweep | None:
        """The pass under way, or begun here where something waits for one; None: nothing does."""
        if self.meta.sweep is None:
            bits = sum(1 << slot for slot, state in self.states.items() if state.phase == "filling")
            if bits:
                self.meta = replace(self.meta, sweep=Sweep(slots_of(bits), total=total))
        return self.meta.sweep

    def swept(self, sweep: Sweep | None) -> None:
        """How far the pass has come; None: it is through."""
        done = self.meta.sweep
        if sweep is None and done is not None:
            for slot, state in self.states.items():
                if done.bits >> slot & 1 and state.phase == "filling":
                    state.phase = "live"
                    self._dirty.add(slot)
        self.meta = replace(self.meta, sweep=sweep)

    @property
    def filling(self) -> bool:
        return any(state.phase == "filling" for state in self.states.values())

    def leaving(self, limit: int) -> list[int]:
        """Numbers of some who are still in a dropped segment, ascending."""
        slots = sorted(slot for slot, state in self.states.items() if state.phase == "leaving")
        return sorted({number for slot in slots for number in self.members.numbers(slot, limit)})

    # Levels

    def relevel(self, found: Sequence[tuple[str, float, float | None]], now: int) -> None:
        """Levels as they are now; whoever lies between an old and a new one is to be looked at again (`between`)."""
        before = {(field, share): level for field, share, level in self.meta.levels}
        moving = []
        for name, share, level in found:
            over = level_moved(before.get((name, share)), level)
            if over is not None:
                moving.append(Moving(name, *over))
        self.meta = replace(self.meta, levels=tuple(found), read_at=now, moving=tuple(moving))
        self.around = self._surroundings()

    def between(self, now: int) -> list[int]:
        """Numbers of those whom levels that moved can concern, ascending."""
        found: set[int] = set()
        for moving in self.meta.moving:
            place = self.meta.fields.index(moving.field)
            for partition, levels in enumerate(self.levels):
                places = levels.between(place, moving.low, moving.high, now)
                found.update((places * self._partitions + partition).tolist())
        return sorted(found)

    def settled(self) -> None:
        """Everybody between was looked at."""
        if self.meta.moving:
            self.meta = replace(self.meta, moving=())

    # Looks

    def look(self, each: Look, batch: Batch) -> None:
        """Ask about one profile as it is now."""
        subject = ProfileSubject(each.blob, batch.clock, self.around)
        place, partition = divmod(each.number, self._partitions)
        if int.from_bytes(subject.seen.subject[12:], "big") != place:
            self.timers[partition].set(place, NEVER_DUE)  # the key has another subject now; this one's erasure follows
            return
        seen = seen_of(subject.seen)
        concerned, row, levelled = each.concerned, each.row, False
        if row is None:
            row = Row(each.name, mask=self._known(each, subject, batch))
            concerned = self.evaluation.all
        elif row.seen != seen:
            touches, choice = changed(row.seen, seen)
            levelled = not choice and self._levelled(row, touches)
            concerned |= self.evaluation.all if choice else self.evaluation.touched(touches, choice)
        elif (not concerned and not row.mask & ~self.evaluation.all) or self._still_stands(subject, row, concerned):
            return
        self._asked(each, subject, row, concerned, levelled, batch)
        row.seen = seen
        self._remember(each.number, row)
        batch.changes.append((ROWS, number_key(each.number), pack(row)))

    def _still_stands(self, subject: ProfileSubject, row: Row, concerned: int) -> bool:
        """Whether some of the definitions, asked about somebody of whom nothing new is known, change nothing: as in
        most of a pass over everybody, which then writes nothing."""
        if concerned & self.evaluation.all == self.evaluation.all or row.mask & ~self.evaluation.all:
            return False
        if len(row.levels) < len(self.meta.fields) or not subject.counts():
            return False
        _, stands, moved = self.evaluation.ask(subject, row.mask, concerned)
        return not moved and (stands >= NEVER or subject.now + stands >= row.due)

    def _levelled(self, row: Row, touches: Iterable[str]) -> bool:
        """Whether the row's levels still are what they were: none moves with time, and nothing touched one."""
        if len(row.levels) < len(self.meta.fields) or any(rate for _, rate in row.levels):
            return False
        return self.evaluation.moving_fields.isdisjoint(touches)

    def _asked(
        self, each: Look, subject: ProfileSubject, row: Row, concerned: int, levelled: bool, batch: Batch
    ) -> None:
        evaluation, clock, before = self.evaluation, batch.clock, row.mask
        if subject.counts():
            known = before & evaluation.all
            mask, stands, _ = evaluation.ask(subject, known, concerned)
            if not levelled:
                row.levels, steady = levels_of(subject, self.meta.fields)
                stands = min(stands, steady)
            cause = each.cause
        else:
            mask, stands, cause = 0, NEVER, "consent"
            row.levels, concerned = [], evaluation.all
        due = clock + stands if stands < NEVER else NEVER_DUE
        whole = not levelled and concerned & evaluation.all == evaluation.all
        row.due = due if whole else min(row.due, due)
        row.at, row.mask = clock, mask
        for slot in self._slots_in_order(before ^ mask):
            self._move(each, slot, bool(mask >> slot & 1), cause, subject, batch)

    def _slots_in_order(self, bits: int) -> Iterable[int]:
        """Dropped segments first, then in order of evaluation."""
        if not bits:
            return ()
        gone = [slot for slot in range(bits.bit_length()) if bits & ~self.evaluation.all & 1 << slot]
        return (*gone, *(slot for slot in self.evaluation.slots if bits >> slot & 1))

    def _move(self, each: Look, slot: int, entered: bool, cause: str, subject: ProfileSubject, batch: Batch) -> None:
        number = each.number
        state = self.states[slot]
        definition = self.definitions.by_name.get(state.told.name)
        if state.phase == "leaving":
            cause = "dropped"
        evidence: dict[str, Json] = {"cause": cause, "version": state.told.version}
        if definition is not None and cause != "consent":
            evidence["values"] = _values(definition, subject)
        if entered:
            self.members.add(slot, number)
            told = msgspec.msgpack.encode(Membership(batch.clock, evidence))
            batch.changes.append((MEMBERSHIPS, membership_key(number, slot), told))
        else:
            self.members.remove(slot, number)
            batch.changes.append((MEMBERSHIPS, membership_key(number, slot), None))
        batch.moved.setdefault(slot, [0, 0])[0 if entered else 1] += 1
        self._tell(each, SegmentChanged(state.told.name, entered, evidence), subject, batch)

    def _tell(self, each: Look, event: SegmentChanged, subject: ProfileSubject, batch: Batch) -> None:
        key = key_of(subject.seen, self._secret, each.name)
        if key is None:
            self.meta = replace(self.meta, unnamed=self.meta.unnamed + 1)
            return
        name, version = payload.type_of(event)
        told = f"{each.number}/{event.segment}/{batch.clock}/{self.meta.generation}"
        surrounding = Surrounding(told, received_at=batch.clock, default_consent=subject.seen.default_consent)
        batch.drafts.append(
            Draft(
                key=key,
                event_id=blake2b(told.encode(), digest_size=16, person=b"everfold-segment").digest(),
                event_time=batch.clock,
                type=name,
                version=version,
                payload=payload.encode(surrounding, event),
            )
        )

    def forget(self, number: int, batch: Batch) -> None:
        """The person was erased: nobody is told, there is nobody to tell about."""
        data = self._store.get(ROWS, number_key(number))
        if data is None:
            return
        row = unpack(data)
        for slot in range(row.mask.bit_length()):
            if row.mask >> slot & 1:
                self.members.remove(slot, number)
                batch.changes.append((MEMBERSHIPS, membership_key(number, slot), None))
                batch.moved.setdefault(slot, [0, 0])[1] += 1
        batch.changes.append((ROWS, number_key(number), None))
        self._remember(number, Row(row.name, levels=[(float("nan"), 0.0)] * len(row.levels)))

    def _known(self, each: Look, subject: ProfileSubject, batch: Batch) -> int:
        """The segments that a profile nobody looked at yet is in already, as its own facts tell. A state that was lost
        is made anew from these, so that nobody is told twice; one that is no more is left."""
        mask = 0
        for name, at in entered_before(subject.seen):
            slot = self.evaluation.slot_of.get(name)
            if slot is None:
                evidence: dict[str, Json] = {"cause": "dropped"}
                self._tell(each, SegmentChanged(name, False, evidence), subject, batch)
                continue
            mask |= 1 << slot
            self.members.add(slot, each.number)
            told = msgspec.msgpack.encode(Membership(at, {"cause": "known"}))
            batch.changes.append((MEMBERSHIPS, membership_key(each.number, slot), told))
            batch.moved.setdefault(slot, [0, 0])
        return mask

    def _remember(self, number: int, row: Row) -> None:
        place, partition = divmod(number, self._partitions)
        self.timers[partition].set(place, row.due)
        self.levels[partition].set(place, row.at, row.levels)

    # Commit

    def changes(self, batch: Batch) -> list[Change]:
        """Every row of the batch and of what it changed around it."""
        for slot, (entered, exited) in sorted(batch.moved.items()):
            state = self.states[slot]
            state.entered += entered
            state.exited += exited
            state.members = self.members.count(slot)
            state.changed_at = batch.clock
            self._dirty.add(slot)
            batch.changes += self._history(state, entered, exited, batch.clock)
        for slot in [s for s, state in self.states.items() if state.phase == "leaving" and not self.members.count(s)]:
            batch.changes.append((SEGMENTS, slot_key(slot), None))
            batch.changes += [(COUNTS, key, None) for key in self._counts(slot)]
            del self.states[slot]
            self._dirty.discard(slot)
        batch.changes += [
            (SEGMENTS, slot_key(slot), msgspec.msgpack.encode(self.states[slot])) for slot in sorted(self._dirty)
        ]
        self._dirty.clear()
        batch.changes += self.members.changes()
        if self.meta is not self._kept:
            batch.changes.append((META, META_KEY, msgspec.msgpack.encode(self.meta)))
            self._kept = self.meta
        return batch.changes

    def _history(self, state: SegmentState, entered: int, exited: int, clock: int) -> list[Change]:
        changes: list[Change] = []
        for resolution, (length, kept) in enumerate(zip(RESOLUTIONS, BUCKETS_KEPT, strict=True)):
            bucket = clock // length
            key = count_key(resolution, state.slot, bucket)
            held = self._store.get(COUNTS, key)
            before = unpack_counted(held) if held is not None else Counted(0, 0, 0)
            counted = Counted(state.members, before.entered + entered, before.exited + exited)
            changes.append((COUNTS, key, pack_counted(counted)))
            if held is None:
                changes += [(COUNTS, old, None) for old in self._old(resolution, state.slot, bucket - kept)]
        return changes

    def _old(self, resolution: int, slot: int, before: int) -> list[bytes]:
        found: list[bytes] = []
        for key, _ in self._store.scan(COUNTS, count_key(resolution, slot, 0)):
            if len(found) == PRUNED_MAX or count_of(key) >= (resolution, slot, before):
                break
            found.append(key)
        return found

    def _counts(self, slot: int) -> list[bytes]:
        found: list[bytes] = []
        for resolution in range(len(RESOLUTIONS)):
            for key, _ in self._store.scan(COUNTS, count_key(resolution, slot, 0)):
                if count_of(key)[:2] != (resolution, slot):
                    break
                found.append(key)
        return found


def subject_of(meta: Surrounding) -> int:
    """The number of the profile that a transition written here is about."""
    return int(meta.message_id.partition("/")[0])


def begun(generation: str) -> Change:
    """The row that begins a state."""
    return META, META_KEY, msgspec.msgpack.encode(Meta(generation, RULES_VERSION))


def _values(definition: Definition, subject: ProfileSubject) -> dict[str, Json]:
    values = definition.stay.evidence(subject)
    return {text: value[:VALUE_CHARS_MAX] if isinstance(value, str) else value for text, value in values.items()}
