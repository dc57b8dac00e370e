"""What must hold after every step, judged from outside: from the bytes on disk, the commits, and what people were told.

The engine's own memory is never asked. What a step did (commits, answers, acknowledgements) is noted while it goes on
and judged when it is over. The log is read by a reader of our own, folded a second time by a fold of our own, and the
sums are compared with what was committed; probabilities are computed again from their definition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import msgspec
import numpy as np

from actors.dedupe import DedupeSettings
from actors.ledger import IMPORTS, PRODUCERS
from actors.outbox import OUTBOX
from actors.profile import PERSONALIZATION, Profile, decode
from actors.refold import OFFSET, Refold
from actors.state import Change, MemoryState
from actors.working_set import HEADS, PROFILES
from events.disk import join
from events.epoch import current
from events.errors import EverfoldError, KeyMissing, NotFound
from events.ids import Key, key_hash, partition_of
from events.payload import decode as decode_payload
from events.quarantine import NAME as QUARANTINE
from events.quarantine import QuarantineReader
from events.record import Draft, Record
from events.segment import parse_name
from events.segment_log import SegmentLogReader
from events.segments import LogPaths
from events.types import Consented, ItemDeleted, ItemUpserted
from events.unseal import ERASED_TYPE, Unsealer
from events.vault import SLOTS, VaultReader
from serving.answer import Answer, RecommendRequest
from serving.asked import PURPOSE
from serving.decision import PERSONAL, Decision, Owner, Place
from serving.decisions import Decisions
from serving.sealing import Sealer, Vaults
from serving.slate import Floats, Kinds
from simulate.machine import SECRETS, Machine, Shared


class Invariant(StrEnum):
    """What must hold."""

    RUNS = "only an announced fault stops a process"
    REPLAY = "replay equals live"
    KEPT = "no acknowledged event is lost"
    ONCE = "no event is folded twice"
    SPOOLED = "no explored answer without a spooled decision record"
    PROPENSITIES = "propensities sum to 1"
    CONSENT = "consent is honoured"
    HIDDEN = "hidden items are never shown"
    EPOCHS = "epochs never go back"
    FOLLOWED = "followers apply every LSN once"
    WATERMARK = "nobody reads past the durable watermark"
    OUTBOX = "each outbox entry lands once"
    ERASED = "what was erased stays erased"


class Broken(Exception):
    """An invariant does not hold."""

    def __init__(self, invariant: Invariant, why: str) -> None:
        super().__init__(f"{invariant}: {why}")
        self.invariant = invariant


def ensure(holds: bool, invariant: Invariant, why: str) -> None:
    """Raises `Broken` unless it holds."""
    if not holds:
        raise Broken(invariant, why)


APPLIED: Final = "applied"
"""Table a followed projection keeps beside its own: (partition, LSN) → how often it was applied."""
TOLERANCE: Final = 1e-9
_COMPARED: Final = frozenset({PROFILES, HEADS, PRODUCERS, IMPORTS})
"""Tables whose rows depend on the log alone. Those of known ids also depend on where batches ended."""
_ABOUT_SOMEBODY: Final = frozenset({"segment_changed"})
"""Facts that nobody wants about somebody who was erased meanwhile."""
_DRAFTS: Final = msgspec.msgpack.Decoder(Draft)


class _WatchedFile:
    """A file looked at by name, whoever writes it and whatever dies."""

    def __init__(self, machine: Machine, path: str) -> None:
        self._disk = machine.disk
        self._path = path

    def read(self, offset: int, size: int) -> bytes:
        try:
            return self._disk.open(self._path, "read").read(offset, size)
        except NotFound:
            if self._path.endswith("/watermark"):
                return b""  # its name is never synced: a power loss may take it, and the batches tell as much
            raise

    def size(self) -> int:
        return self._disk.open(self._path, "read").size()

    def close(self) -> None:
        """Nothing is held."""

    def append(self, data: bytes) -> None:
        raise AssertionError("who watches does not write")

    def write(self, offset: int, data: bytes) -> None:
        raise AssertionError("who watches does not write")

    def truncate(self, size: int) -> None:
        raise AssertionError("who watches does not write")

    def sync(self) -> None:
        raise AssertionError("who watches does not write")


class _Watched:
    """The machine's disk, looked at."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def open(self, path: str, mode: str = "read") -> _WatchedFile:
        self._machine.disk.open(path, "read")  # raises `NotFound`
        return _WatchedFile(self._machine, path)

    def list(self, folder: str) -> list[str]:
        return self._machine.disk.list(folder)

    def rename(self, old: str, new: str) -> None:
        raise AssertionError("who watches does not write")

    def remove(self, path: str) -> None:
        raise AssertionError("who watches does not write")

    def free(self) -> int:
        return 0


@dataclass
class _Choice:
    """A decision about personalization, as the log tells it."""

    lsn: int
    subject: bytes
    moment: tuple[int, bytes]
    granted: bool


@dataclass
class _Followed:
    """What is known of one follower's state."""

    offsets: dict[str, int] = field(default_factory=dict)
    staged: dict[tuple[int, int], Draft] = field(default_factory=dict)
    """(target, seq) → what this state put into its outbox."""


class _Seen:
    """What one partition's log was seen to hold below its watermark, and what it adds up to."""

    def __init__(self, number: int, machine: Machine, dedupe: DedupeSettings) -> None:
        self.number = number
        self.folder = f"p{number}"
        self.epoch = 0
        """The newest that was taken."""
        self.published = 0
        """The highest watermark ever published."""
        self.ids: list[bytes] = []
        self.known: dict[bytes, int] = {}
        """Event id → LSN, of facts without a producer."""
        self.produced: dict[str, dict[int, bytes]] = defaultdict(dict)
        """Producer → seq → event id."""
        self.facts: dict[bytes, list[int]] = defaultdict(list)
        """Subject → its LSNs."""
        self.choices: dict[bytes, list[_Choice]] = defaultdict(list)
        """Key hash → decisions."""
        self.items: dict[str, list[tuple[int, bool]]] = defaultdict(list)
        """Item → (LSN, whether it may be shown from there on)."""
        self.farewells: dict[bytes, int] = {}
        """Subject → LSN of its erasure."""
        self.gone: set[bytes] = set()
        """Key hashes of those who were erased once."""
        self.appended = 0
        self._names: dict[bytes, bytes] = {}
        self.again = MemoryState()
        self.slots: VaultReader | None = None
        self._machine = machine
        self._dedupe = dedupe
        self._log = SegmentLogReader(self.folder, _Watched(machine))
        self._unsealer: Unsealer | None = None
        self._refold: Refold | None = None

    def vault(self) -> VaultReader:
        if self.slots is None:
            self.slots = VaultReader(_WatchedFile(self._machine, join(self.folder, SLOTS)), SECRETS.vault_wrap)
        return self.slots

    def fresh(self) -> SegmentLogReader:
        """The log as who has never seen it finds it."""
        return SegmentLogReader(self.folder, _Watched(self._machine))

    def read_on(self) -> None:
        """See what is new below the watermark."""
        if self.published == len(self.ids):
            return
        end = self._log.bounds()[1]
        while len(self.ids) < end:
            for record in self._log.read(len(self.ids), 512):
                self._see(record)

    def refold(self, stop: int) -> MemoryState:
        """A second fold of the log, up to ``stop``."""
        if self._refold is None:
            self._refold = Refold(self.again, self._log, self.vault(), self._dedupe)
        self._refold.run(stop)
        return self.again

    def choice(self, name: bytes, before: int) -> bool | None:
        """The newest decision of this key below an LSN; None: none."""
        known = [
            choice
            for choice in self.choices.get(name, ())
            if choice.lsn < before and self.farewells.get(choice.subject, before) >= before
        ]
        return max(known, key=lambda choice: choice.moment).granted if known else None

    def shown(self, item: str, before: int) -> bool | None:
        """Whether the catalogue lets the item be shown, as of an LSN; None: it has never named it."""
        told = [may for lsn, may in self.items.get(item, ()) if lsn < before]
        return told[-1] if told else None

    def _see(self, record: Record) -> None:
        lsn, where = len(self.ids), f"p{self.number} LSN {len(self.ids)}"
        ensure(record.lsn == lsn, Invariant.KEPT, f"{where} holds LSN {record.lsn}")
        ensure(record.appended > self.appended, Invariant.EPOCHS, f"{where} was appended before the record before it")
        self.appended = record.appended
        self.ids.append(record.event_id)
        self.facts[record.subject].append(lsn)
        if record.producer:
            seqs = self.produced[record.producer]
            ensure(
                record.seq > max(seqs, default=0),
                Invariant.ONCE,
                f"{where} repeats seq {record.seq} of {record.producer}",
            )
            seqs[record.seq] = record.event_id
        else:
            first = self.known.setdefault(record.event_id, lsn)
            ensure(first == lsn, Invariant.ONCE, f"{where} is the fact of LSN {first} again")
        if record.type == ERASED_TYPE:
            self.farewells[record.subject] = lsn
            if record.subject in self._names:
                self.gone.add(self._names[record.subject])
        else:
            self._learn(record)

    def _learn(self, record: Record) -> None:
        if self._unsealer is None:
            self._unsealer = Unsealer(self._log, self.vault())
        unsealed = self._unsealer.unseal(record)
        if unsealed is None:
            return
        name = self._names[record.subject] = unsealed[0].key_hash
        payload = decode_payload(record.type, record.version, unsealed[1])
        event = payload.event
        granted = payload.meta.consent.get(PERSONALIZATION)
        if isinstance(event, Consented):
            granted = event.purposes.get(PERSONALIZATION, granted)
        if granted is not None:
            self.choices[name].append(
                _Choice(record.lsn, record.subject, (record.event_time, record.event_id[:8]), granted)
            )
        if isinstance(event, ItemUpserted):
            may = event.recommendable and not event.hidden and event.stock != 0
            self.items[event.item].append((record.lsn, may))
        elif isinstance(event, ItemDeleted):
            self.items[event.item].append((record.lsn, False))


@dataclass(frozen=True)
class Told:
    """An answer as it left a replica, with what it was made from."""

    request: RecommendRequest
    answer: Answer
    applied: int
    """Offset of the profile's partition, as of the state that was read."""
    items: Mapping[str, int]
    """Offsets of the item follower, as of the item table that was read."""
    denied: bool
    """By the request itself."""


class Checks:
    """See the module."""

    def __init__(self, machine: Machine, partitions: int, dedupe: DedupeSettings) -> None:
        self.acknowledged_facts = 0
        self.answers = 0
        self.sent = 0
        """Entries of outboxes that were settled."""
        self.explored = 0
        self._machine = machine
        self._dedupe = dedupe
        self._seen = [_Seen(number, machine, dedupe) for number in range(partitions)]
        self._followed: dict[str, _Followed] = {}
        self._given: dict[tuple[str, int, int], bytes] = {}
        """(producer, target, seq) → event id, of all states there ever were."""
        self._noted: list[Callable[[], None]] = []
        self._told: list[Told] = []
        self._owned: dict[int, dict[tuple[str, bytes], bytes | None]] = defaultdict(dict)
        """Partition → rows committed in this step, as they are after it."""
        self._folded: dict[int, int] = {}
        self._looked = (-1, -1)
        """The disk's step and life when epochs were last looked at."""
        self._quarantined: dict[bytes, int] = {}
        self._places: dict[str, int] = {}
        """Recommendation id → power losses until then, of every decision that was kept."""
        sealer = Sealer(SECRETS.decisions, Vaults(lambda number: self._seen[number].vault()))
        log = SegmentLogReader("decisions", _Watched(machine))
        self._decisions = Decisions(machine.spools, log, Shared(machine, "decisions"), sealer)

    @property
    def parted(self) -> bool:
        """Whether anybody was erased."""
        return any(seen.farewells for seen in self._seen)

    # What is noted while a step goes on

    def wrote(self, path: str, offset: int, data: bytes) -> None:
        """A process wrote to a file."""
        folder, _, name = path.rpartition("/")
        if name == "watermark" and folder in {seen.folder for seen in self._seen}:
            seen = self._seen[int(folder[1:])]
            lsn = int.from_bytes(data, "little")
            seen.published = max(seen.published, lsn)
            paths = LogPaths.of(folder)
            names = {
                key: one for one in self._machine.disk.list(paths.segments) if (key := parse_name(one)) is not None
            }
            newest = join(paths.segments, names[max(names)])
            if not self._machine.disk.synced(newest):
                self._fail(Invariant.WATERMARK, f"p{seen.number}: {lsn} is published as durable, but {newest} is not")

    def took(self, number: int, epoch: int) -> None:
        """A process took a partition."""
        seen = self._seen[number]
        if epoch <= seen.epoch:
            self._fail(Invariant.EPOCHS, f"p{number} was taken under {epoch} after {seen.epoch}")
        seen.epoch = max(seen.epoch, epoch)

    def opened(self, number: int, state: MemoryState) -> None:
        """A partition is open and caught up."""
        self._noted.append(lambda: self._compare_all(self._seen[number], state))

    def owned(self, number: int, changes: Sequence[Change], offsets: Mapping[str, int]) -> None:
        """A partition's owner committed."""
        self._owned[number].update({(table, key): value for table, key, value in changes if table in _COMPARED})
        self._folded[number] = max(self._folded.get(number, 0), offsets.get(OFFSET, 0))

    def begun(self, name: str) -> None:
        """A follower's state is begun anew."""
        self._followed[name] = _Followed()

    def committed(self, name: str, changes: Sequence[Change], offsets: Mapping[str, int]) -> None:
        """A follower committed."""
        self._noted.append(lambda: self._follow(name, changes, offsets))

    def acknowledged(self, number: int, draft: Draft, status: str, lsn: int) -> None:
        """A client was told what became of a fact."""
        self._noted.append(lambda: self._acknowledge(self._seen[number], draft, status, lsn))

    def erased(self, number: int, lsn: int) -> None:
        """A client was told that somebody is erased, by the fact at ``lsn``."""
        self._noted.append(lambda: self._erase(self._seen[number], lsn))

    def answered(self, told: Told) -> None:
        """A replica answered."""
        self._told.append(told)

    def power_fails(self) -> None:
        """The machine is about to go down. What was published is seen now, as the watermark itself may be lost; records
        of answers that left in this step may be gone with their spools."""
        self._told.clear()
        for seen in self._seen:
            try:
                self._read_on(seen)
            except Broken as broken:
                self._fail(broken.invariant, str(broken))

    # What is judged after it

    def after_step(self) -> None:
        """Raises `Broken`."""
        disk = self._machine.disk
        if (disk.steps, disk.life) != self._looked:
            self._looked = disk.steps, disk.life
            self._epochs()
        if not self._noted and not self._told and not self._folded:
            return
        for seen in self._seen:
            self._read_on(seen)
        try:
            self._judge_step()
        except EverfoldError as error:
            raise Broken(Invariant.KEPT, f"what was written cannot be read: {error!r}") from error

    def _judge_step(self) -> None:
        folded, self._folded = self._folded, {}
        for number, offset in folded.items():
            rows = self._owned.pop(number, {})
            self._compare(self._seen[number], rows, offset)
        noted, self._noted = self._noted, []
        for note in noted:
            note()
        told, self._told = self._told, []
        for each in told:
            self._judge(each)

    def _epochs(self) -> None:
        for seen in self._seen:
            try:
                now = current(_Watched(self._machine), seen.folder)
            except EverfoldError as error:
                raise Broken(Invariant.EPOCHS, f"p{seen.number}: {error}") from error
            ensure(now >= seen.epoch, Invariant.EPOCHS, f"p{seen.number} is at {now}, {seen.epoch} was taken")

    def finished(self) -> None:
        """At the end, when nothing waits any more."""
        for seen in self._seen:
            self._read_on(seen)
            state = self._machine.state(seen.folder)
            assert state is not None, "partitions are open at the end"
            self._compare_all(seen, state)
            self._cold(seen, state)
        for followed in self._followed.values():
            for (target, _), draft in followed.staged.items():
                self._landed(draft, target)
        self._find_all()
        self._find_refused()

    def _fail(self, invariant: Invariant, why: str) -> None:
        """To be raised after the step: the engine must not swallow it."""

        def fail() -> None:
            raise Broken(invariant, why)

        self._noted.append(fail)

    def _read_on(self, seen: _Seen) -> None:
        try:
            seen.read_on()
        except EverfoldError as error:
            raise Broken(Invariant.KEPT, f"p{seen.number} cannot be read: {error}") from error

    def _compare(self, seen: _Seen, rows: Mapping[tuple[str, bytes], bytes | None], offset: int) -> None:
        ensure(offset <= len(seen.ids), Invariant.WATERMARK, f"p{seen.number} folded {offset} of {len(seen.ids)}")
        again = seen.refold(offset)
        for (table, key), value in rows.items():
            other = again.get(table, key)
            if other != value:
                raise Broken(Invariant.REPLAY, f"p{seen.number}: {table} {key.hex()} is {_differs(value, other)}")
            if table == PROFILES and value is not None:
                self._profile(seen, key, decode(value), offset)

    def _compare_all(self, seen: _Seen, state: MemoryState) -> None:
        """After opening: the log still holds what it held, and all of the state is what it folds to."""
        fresh = seen.fresh()
        end = fresh.bounds()[1]
        ensure(end >= len(seen.ids), Invariant.KEPT, f"p{seen.number} ends at {end}, it held {len(seen.ids)}")
        for start in range(0, len(seen.ids), 512):
            for record in fresh.read(start, min(512, len(seen.ids) - start)):
                ensure(
                    record.event_id == seen.ids[record.lsn],
                    Invariant.KEPT,
                    f"p{seen.number} LSN {record.lsn} is another fact than it was",
                )
        offset = state.offsets().get(OFFSET, 0)
        again = seen.refold(offset)
        for table in sorted(_COMPARED):
            rows, others = dict(state.scan(table)), dict(again.scan(table))
            ensure(rows == others, Invariant.REPLAY, f"p{seen.number}: {table} differ after opening")
        for subject, lsn in seen.farewells.items():
            gone = lsn >= offset or seen.vault().erased(subject)
            ensure(gone, Invariant.ERASED, f"p{seen.number}: {subject.hex()}, erased at LSN {lsn}, has a key again")

    def _cold(self, seen: _Seen, state: MemoryState) -> None:
        """One more fold, from nothing."""
        cold = MemoryState()
        Refold(cold, seen.fresh(), seen.vault(), self._dedupe).run(state.offsets().get(OFFSET, 0))
        for table in sorted(_COMPARED):
            rows, others = dict(state.scan(table)), dict(cold.scan(table))
            ensure(rows == others, Invariant.REPLAY, f"p{seen.number}: {table} differ from a fold from the start")

    def _profile(self, seen: _Seen, name: bytes, profile: Profile, offset: int) -> None:
        """A profile counts each of its facts once, and holds nothing where that was refused."""
        facts = [lsn for lsn in seen.facts[profile.subject] if lsn < offset]
        where = f"p{seen.number}: profile {name.hex()}"
        ensure(profile.version == len(facts), Invariant.ONCE, f"{where} counts {profile.version} facts of {len(facts)}")
        if seen.choice(name, offset) is False:
            layers = (profile.interests, profile.recent, profile.purchases, profile.steps, profile.traits)
            ensure(not any(layers), Invariant.CONSENT, f"{where} holds what was refused")

    def _follow(self, name: str, changes: Sequence[Change], offsets: Mapping[str, int]) -> None:
        followed = self._followed[name]
        before = dict(followed.offsets)
        for seen in self._seen:
            offset = offsets.get(seen.folder)
            if offset is None:
                continue
            held = before.get(seen.folder, 0)
            ensure(offset >= held, Invariant.FOLLOWED, f"{name} went back from {held} to {offset} of p{seen.number}")
            ensure(
                offset <= seen.published,
                Invariant.WATERMARK,
                f"{name} read p{seen.number} up to {offset}, durable is {seen.published}",
            )
        followed.offsets.update(offsets)
        latest: dict[int, int] = {}
        for table, key, value in changes:
            if table == APPLIED and value is not None:
                partition, lsn = key[0], int.from_bytes(key[1:], "big")
                where = f"{name} applied p{partition} LSN {lsn}"
                ensure(value == b"1", Invariant.FOLLOWED, f"{where} {value.decode()} times")
                low = latest.get(partition, before.get(f"p{partition}", 0) - 1)
                high = followed.offsets.get(f"p{partition}", 0)
                ensure(low < lsn < high, Invariant.FOLLOWED, f"{where} between {low + 1} and {high}")
                latest[partition] = lsn
            elif table == OUTBOX:
                self._stage(name, followed, key, value)

    def _stage(self, name: str, followed: _Followed, key: bytes, value: bytes | None) -> None:
        target, seq = int.from_bytes(key[:4], "big"), int.from_bytes(key[4:], "big")
        if value is not None:
            draft = followed.staged[target, seq] = _DRAFTS.decode(value)
            given = self._given.setdefault((draft.producer, target, seq), draft.event_id)
            ensure(given == draft.event_id, Invariant.OUTBOX, f"{draft.producer} gave p{target} seq {seq} to two facts")
        else:
            self.sent += 1
            self._landed(followed.staged[target, seq], target)

    def _landed(self, draft: Draft, target: int) -> None:
        """It stands in the log, once and as it was; or it concluded something about somebody who was erased since."""
        seen = self._seen[target]
        held = seen.produced[draft.producer].get(draft.seq)
        gone = draft.type in _ABOUT_SOMEBODY and key_hash(SECRETS.key_hash, Key(draft.key)) in seen.gone
        ensure(
            held == draft.event_id or (held is None and gone),
            Invariant.OUTBOX,
            f"seq {draft.seq} of {draft.producer} for p{target} was settled, and did not land",
        )

    def _acknowledge(self, seen: _Seen, draft: Draft, status: str, lsn: int) -> None:
        self.acknowledged_facts += 1
        where = f"p{seen.number}: fact {draft.event_id.hex()} was acknowledged as {status}"
        if status == "quarantined":
            self._quarantined[draft.event_id] = seen.number
        elif status == "ok":
            held = seen.ids[lsn] if lsn < len(seen.ids) else None
            ensure(held == draft.event_id, Invariant.KEPT, f"{where} at LSN {lsn}, which is not it")
        elif draft.producer:
            highest = max(seen.produced[draft.producer], default=0)
            ensure(draft.seq <= highest, Invariant.KEPT, f"{where}, {draft.producer} is at {highest}")
        elif draft.event_id not in seen.known:  # or it came twice in one batch that could not take it
            self._quarantined[draft.event_id] = seen.number

    def _erase(self, seen: _Seen, lsn: int) -> None:
        gone = [subject for subject, at in seen.farewells.items() if at == lsn]
        ensure(bool(gone), Invariant.ERASED, f"p{seen.number} LSN {lsn} erases nobody")
        ensure(seen.vault().erased(gone[0]), Invariant.ERASED, f"p{seen.number}: {gone[0].hex()} has a key")

    # Answers

    def _judge(self, told: Told) -> None:
        answer = told.answer
        self.answers += 1
        drawn = [item for item in answer.items if item.propensity < 1.0]
        self._judge_items(told)
        if not answer.logged or answer.recommendation_id is None:
            ensure(not drawn, Invariant.SPOOLED, f"{len(drawn)} items were drawn, and nothing was kept of it")
            return
        self.explored += bool(drawn)
        decision, owner = self._decision(answer.recommendation_id)
        self._places[answer.recommendation_id] = self._machine.power_losses
        slate = {one.item: one for one in decision.slate}
        for item in answer.items:
            kept = slate.get(item.item_id)
            ensure(
                kept is not None and kept.propensity == item.propensity,
                Invariant.SPOOLED,
                f"{answer.recommendation_id} was answered with {item.item_id}, its record says {kept}",
            )
        self._judge_consent(told, decision, owner)
        judge_propensities(decision)

    def _decision(self, recommendation_id: str) -> tuple[Decision, Owner]:
        entry = self._decisions.entry(Place.parse(recommendation_id))
        ensure(entry is not None, Invariant.SPOOLED, f"{recommendation_id} is neither in a spool nor in the log")
        assert entry is not None
        try:
            return self._decisions.open(entry), entry.owner
        except EverfoldError as error:
            raise Broken(Invariant.SPOOLED, f"{recommendation_id} cannot be opened: {error}") from error

    def _judge_items(self, told: Told) -> None:
        catalogue = any(
            lsn < told.items.get(s.folder, 0) for s in self._seen for rows in s.items.values() for lsn, _ in rows
        )
        for item in told.answer.items:
            seen = self._seen[partition_of(Key(f"i:{item.item_id}"), len(self._seen))]
            may = seen.shown(item.item_id, told.items.get(seen.folder, 0))
            ensure(
                may is True or (may is None and not catalogue),
                Invariant.HIDDEN,
                f"{item.item_id} was shown at item offsets {dict(told.items)}, which hide it",
            )

    def _judge_consent(self, told: Told, decision: Decision, owner: Owner) -> None:
        key = told.request.key()
        if key is None:
            return
        seen = self._seen[partition_of(key, len(self._seen))]
        choice = seen.choice(key_hash(SECRETS.key_hash, key), told.applied)
        if told.denied or choice is False:
            personal = decision.consent in PERSONAL or decision.versions.profile is not None or owner.known
            ensure(not personal, Invariant.CONSENT, f"{key} refused {PURPOSE}; the answer is {decision.consent}")

    def _find_all(self) -> None:
        """Decisions that no power loss can have taken are found, unless their subject was erased."""
        for text, losses in self._places.items():
            if losses == self._machine.power_losses:
                entry = self._decisions.entry(Place.parse(text))
                ensure(entry is not None, Invariant.SPOOLED, f"{text} is lost")
                assert entry is not None
                try:
                    self._seen[entry.owner.partition].vault().open(entry.owner.subject) if entry.owner.known else None
                except KeyMissing:
                    erased = self._seen[entry.owner.partition].vault().erased(entry.owner.subject)
                    ensure(erased, Invariant.ERASED, f"{text} belongs to a subject without a key")

    def _find_refused(self) -> None:
        """What was said to be in quarantine is there."""
        for seen in self._seen:
            reader = QuarantineReader(
                SegmentLogReader(seen.folder, _Watched(self._machine), QUARANTINE), SECRETS.quarantine
            )
            held = {_DRAFTS.decode(entry.raw).event_id for _, entry in reader.entries()}
            for event_id, number in self._quarantined.items():
                if number == seen.number:
                    ensure(event_id in held, Invariant.KEPT, f"{event_id.hex()} is not in quarantine")


def _differs(live: bytes | None, again: bytes | None) -> str:
    said = ["nothing" if row is None else f"{len(row)} bytes" for row in (live, again)]
    return f"{said[0]} live, {said[1]} folded again"


def judge_propensities(decision: Decision) -> None:
    """Every slot's probabilities, computed from their definition, sum to 1, and the logged one is among them.

    Raises `Broken`.
    """
    if not decision.slate:
        return
    rules = decision.rules
    gains = np.frombuffer(decision.scores, np.float32).astype(np.float64)
    kinds = np.frombuffer(decision.kinds, np.int32).reshape(4, -1)
    place = {item: column for column, item in enumerate(decision.candidates)}
    forced = [place[one.item] for one in decision.slate if one.forced]
    above: list[int] = []
    for slot, one in enumerate(decision.slate):
        column = place[one.item]
        if not one.forced:
            chances = _chances(gains, kinds, above, forced, rules.tau, rules.diversity)
            left = chances > -1.0
            chances = np.where(left, chances, 0.0)
            if rules.floor and slot + 1 in rules.exploration_slots:
                chances = (1 - rules.floor) * chances + rules.floor * left / left.sum()
            total, own = float(chances.sum()), float(chances[column])
            ensure(abs(total - 1.0) < TOLERANCE, Invariant.PROPENSITIES, f"slot {slot + 1} sums to {total}")
            ensure(
                abs(own - one.propensity) < TOLERANCE,
                Invariant.PROPENSITIES,
                f"slot {slot + 1} holds {one.item} with {one.propensity}, by definition {own}",
            )
        else:
            ensure(one.propensity == 1.0, Invariant.PROPENSITIES, f"forced {one.item} has {one.propensity}")
        above.append(column)


_POINTS: Final = (0.5, 0.5, 0.25)


def _chances(
    gains: Floats, kinds: Kinds, above: Sequence[int], forced: Sequence[int], tau: float, diversity: float
) -> Floats:
    """The softmax of one slot by candidate; -1 for those that are taken, or whose label is."""
    left = np.ones(len(gains), np.bool_)
    for column in (*above, *forced):
        label = kinds[0, column]
        left &= kinds[0] != label if label >= 0 else np.arange(len(gains)) != column
    worth = gains.copy()
    for points, row in zip(_POINTS, kinds[1:], strict=True):
        shared = {int(row[column]) for column in above} - {-1}
        alike = np.zeros(len(gains), np.bool_)
        for kind in shared:
            alike |= row == kind
        worth -= diversity * points * alike
    if tau > 0:
        weights = np.exp((worth - worth[left].max()) / tau) * left
        chances: Floats = weights / weights.sum()
    else:
        chances = np.zeros(len(gains))
        chances[int(np.where(left, worth, -np.inf).argmax())] = 1.0
    chances[~left] = -1.0
    return chances
