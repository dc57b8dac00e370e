"""The learner's fold: from facts and time to weights.

    impression   → the list waits on the board until its windows close
    act          → joined to a shown row; Hedge learns at once
    window ends  → its rows, acted on or not, are learned once
    promotion    → start again from the artefact's weights
    every second → weights are published, where they changed
    drift        → a fact, in the log by way of the outbox

Left out, and counted: what bots and test traffic do; answers without personalization consent, and all of a person who
takes it back; what one person teaches beyond the caps. What is learned from cannot be unlearned: the rows of an erased
person that still wait are dropped, sums they contributed to stay and lead to nobody.
"""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, TypeAlias

import msgspec
import numpy as np

from actors.follower import Fact, Folded
from actors.profile import PERSONALIZATION
from actors.state import Change, StateReader
from events import payload
from events.facts import RATING_SCALE
from events.lines import number
from events.record import Draft, Record
from events.types import (
    Consented,
    DriftDetected,
    Impression,
    Interaction,
    Json,
    Meta,
    ModelPromoted,
    SubjectErased,
)
from training.attribution import EARLY_US, act_of
from training.drift import Detection, Monitor, Observed
from training.learned import KEY, OUTCOMES, TABLE, Learned, pack
from training.learner.blends import Blends, LearnedRow
from training.learner.board import LIST_ID_BYTES_MAX, Board, Joined
from training.learner.settings import LearnerSettings
from training.learner.shown import ShownList, ShownSource
from training.rating_journal import RatingJournal
from training.registry import DRIFT_KEY

META: Final = "learner"
DRIFT: Final = "drift"
"""The monitor's state, part by part."""
DETECTED: Final = "detected"
"""Number → detection as the fact says it; the latest `DETECTED_KEPT`, for who asks what happened."""
DETECTED_KEPT: Final = 1_000
META_KEY: Final = b"state"
CONSENT: Final = "rating_consent"
"""Subject → whether it allows personalization, where that is not what is taken for granted. Ratings have no decision
that would say so."""
GRANTED: Final = b"1"
REFUSED: Final = b"0"
IMPORTED_LOOK: Final = 64
"""Every so manieth act of an import is opened to see whether people rate; the others are when somebody does."""
LISTS_KEPT: Final = 1_024
"""Answered lists held in memory, about 6 kB each: an act mostly follows its impression."""

_NUMBER = struct.Struct(">Q")

SYSTEM_TYPES: Final = frozenset(
    {"item_upserted", "item_deleted", "import_started", "import_completed", "drift_detected"}
)
"""Types that are never opened."""

Initial: TypeAlias = Callable[[str], Learned | None]
"""The weights a model artefact says to start from; None where it has none or cannot be read. Never another answer for
the same id."""


class _Meta(msgspec.Struct, frozen=True):
    """``pending``: lists on the board. ``published``: log time of the last publication, us; ``dirty``: whether anything
    changed since. ``model``: the artefact that was promoted. ``counts``: since the beginning."""

    pending: int = 0
    published: int = 0
    dirty: bool = False
    model: str = ""
    counts: dict[str, int] = {}
    rates: bool = False
    """Whether anybody rated."""


@dataclass(frozen=True, slots=True)
class Teaching:
    """What the learner is given, beside facts."""

    names: Sequence[str]
    """Recommenders, in the order of the published columns."""
    fixed: Mapping[str, Mapping[str, float]]
    """Surface → its fixed weights."""
    shown: ShownSource
    initial: Initial
    settings: LearnerSettings


class LearnerProjection:
    """`actors.recorded.RecordedProjection`. Its state is `store` and nothing else."""

    def __init__(self, store: StateReader, teaching: Teaching) -> None:
        row = store.get(META, META_KEY)
        self._meta = _Meta() if row is None else msgspec.msgpack.decode(row, type=_Meta)
        self._teaching = teaching
        self._store = store
        self._board = Board(store, teaching.settings, self._meta.pending)
        self._ratings = RatingJournal(store)
        self._consent: dict[bytes, bytes | None] = {}
        """Changes of the table `CONSENT`, not committed yet."""
        self.blends = Blends(store, teaching.names, teaching.fixed, teaching.settings)
        self._counts: Counter[str] = Counter(self._meta.counts)
        self._model = self._meta.model
        self._dirty = self._meta.dirty
        self._lists: OrderedDict[str, ShownList] = OrderedDict()
        self._monitor = Monitor.restored({name.decode(): part for name, part in store.scan(DRIFT)})
        self._watched = False
        self._found: list[Detection] = []
        self._told: list[Detection] = []

    @property
    def counts(self) -> Mapping[str, int]:
        return self._counts

    def detections(self) -> list[Detection]:
        """What was found and committed since this was last asked."""
        told, self._told = self._told, []
        return told

    @property
    def pending(self) -> int:
        """Lists whose windows are open."""
        return self._board.count

    def wanted(self, source: int, record: Record) -> bool:
        """Everything of a person is opened, for what it says about consent; an import's acts only while something
        waits for acts, or people rate."""
        if record.type in SYSTEM_TYPES:
            return False
        imported = record.type == "interaction" and bool(record.producer)
        return not imported or bool(self._meta.pending) or self._meta.rates or record.lsn % IMPORTED_LOOK == 0

    def apply(self, facts: Sequence[Fact], clock: int) -> Folded:
        for fact in sorted(facts, key=_order):
            self._fact(fact)
        for list_id, pending, outcome in self._board.closing(clock):
            if not self._teaching.settings.learns:
                self._counts["rows_paused"] += len(pending.seen)
                continue
            shown = self._shown(list_id)
            if shown is None or not np.isfinite(shown.features).all() or not np.isfinite(shown.context).all():
                self._counts["rows_lost"] += len(pending.seen)  # what is not a number would spoil the weights for good
            elif slots := [slot for slot in pending.seen if slot not in pending.void and slot not in shown.forced]:
                acted = pending.acted[OUTCOMES.index(outcome)]
                self._watch(pending.at // 1000, shown.segments, self.blends.learn(shown, outcome, slots, acted))
                self._counts[f"learned_{outcome}"] += len(slots)
                self._counts[f"positive_{outcome}"] += len([slot for slot in slots if slot in acted])
                self._dirty = True
        drafts = [_draft(detection) for detection in self._found]
        return Folded(self._changes(clock), drafts)

    def due(self) -> int | None:
        waiting = [at for at in (self._board.due(), self._publish_at()) if at is not None]
        return min(waiting, default=None)

    def horizon(self) -> int | None:
        return self._board.horizon()

    def _watch(self, at_ms: int, segments: tuple[str, ...], rows: Sequence[LearnedRow]) -> None:
        for row in rows:
            model = f"{row.surface}/{row.outcome}"
            observed = Observed(model, segments, at_ms, row.predicted, float(row.happened), row.features)
            self._found += self._monitor.observe(observed)
        self._watched = self._watched or bool(rows)

    def _fact(self, fact: Fact) -> None:
        event, meta, subject = fact.payload.event, fact.payload.meta, fact.record.subject
        if isinstance(event, SubjectErased):
            self._board.erase(subject)
            self._ratings.forget(subject)
            if self._choice(subject) is not None:
                self._consent[subject] = None
            return
        if isinstance(event, ModelPromoted):
            self._promoted(event.model)
            return
        decided = meta.consent.get(PERSONALIZATION)
        if isinstance(event, Consented):
            decided = event.purposes.get(PERSONALIZATION, decided)
        if decided is not None:
            self._decided(fact, decided)
        if not isinstance(event, Impression | Interaction) or not self._teaching.settings.learns:
            return
        if meta.bot or meta.test:
            self._counts["excluded_bot" if meta.bot else "excluded_test"] += 1
        elif self._board.refused(subject):
            self._counts["excluded_consent"] += 1
        elif isinstance(event, Impression):
            self._impression(fact, event)
        else:
            self._interaction(fact, event)

    def _decided(self, fact: Fact, granted: bool) -> None:
        subject, default = fact.record.subject, fact.payload.meta.default_consent
        choice = REFUSED if not granted else None if default else GRANTED
        if self._choice(subject) != choice:
            self._consent[subject] = choice
        if granted:
            self._board.allow(subject)
        else:
            self._board.refuse(subject, fact.record.appended)
            self._ratings.forget(subject)

    def _choice(self, subject: bytes) -> bytes | None:
        return self._consent[subject] if subject in self._consent else self._store.get(CONSENT, subject)

    def _rated(self, fact: Fact, event: Interaction) -> None:
        """A rating teaches at once: it needs no list. An import's are not capped: who has the key writes history."""
        record, choice = fact.record, self._choice(fact.record.subject)
        allowed = fact.payload.meta.default_consent if choice is None else choice == GRANTED
        if not event.lines or not is_rating(event):
            self._counts["ratings_unusable"] += 1
        elif not allowed:
            self._counts["excluded_consent"] += 1
        elif record.producer or self._board.may_teach(record.subject, record.appended, len(event.lines)):
            for item in dict.fromkeys(line.item for line in event.lines):
                self._ratings.learn(record.subject, item, min(1.0, max(-1.0, event.weight)))
                self._counts["ratings"] += 1

    def _impression(self, fact: Fact, event: Impression) -> None:
        if not event.list_id or len(event.list_id.encode(errors="replace")) > LIST_ID_BYTES_MAX:
            self._counts["impressions_unnamed"] += 1
            return
        shown = self._shown(event.list_id)
        if shown is None:
            self._counts["impressions_unknown"] += 1
        elif not shown.personal:
            self._counts["excluded_consent"] += 1
        elif shown.test:
            self._counts["excluded_test"] += 1
        else:
            joined = self._board.show(event.list_id, fact.record.subject, fact.record.appended, shown, event.items)
            self._acted(joined)

    def _interaction(self, fact: Fact, event: Interaction) -> None:
        if event.signal == "rate":
            self._rated(fact, event)
            return
        act = act_of(fact.record.subject, fact.record.appended, event)
        if act is None or (fact.record.producer and not self._board.count):
            return
        acted = self._board.act(act)
        self._acted(acted.joined)
        shown = self._shown(act.list_id) if acted.unseen else None
        if shown is not None and shown.personal and not shown.test:
            unseen = [item for item in acted.unseen if item in shown.items]
            if unseen:
                self._board.hold(act, unseen)

    def _acted(self, joined: Sequence[Joined]) -> None:
        for each in joined:
            shown = self._shown(each.list_id)
            if each.first and shown is not None:
                self.blends.acted(shown, each.seen, each.slot)
                self._dirty = True

    def _promoted(self, model: str) -> None:
        """Without weights in the artefact those learned so far go on: they are the best there is."""
        initial = self._teaching.initial(model) if model else None
        if initial is not None or not model:
            self.blends.restart(initial)
            for surface, outcome in list(self.blends.progress):
                self._monitor.rebase(f"{surface}/{outcome}")
            self._watched = True
        self._counts["promotions" if initial is not None or not model else "promotions_without_weights"] += 1
        self._model, self._dirty = model, True
        self._meta = msgspec.structs.replace(self._meta, published=0)

    def _changes(self, clock: int) -> list[Change]:
        self._counts.update(self._board.counts)
        changes = self._board.changes() + self.blends.changes() + self._drifted() + self._ratings.changes()
        changes += [(CONSENT, subject, choice) for subject, choice in self._consent.items()]
        self._consent = {}
        published = self._meta.published
        if self._dirty and clock >= published + self._teaching.settings.publish_us:
            changes.append((TABLE, KEY, pack(self.blends.learned(self._model))))
            self._dirty, published = False, clock
            self._counts["publications"] += 1
        counts = dict(sorted(self._counts.items()))
        self._meta = _Meta(self._board.count, published, self._dirty, self._model, counts, bool(self._ratings))
        return [*changes, (META, META_KEY, msgspec.msgpack.encode(self._meta))]

    def _drifted(self) -> list[Change]:
        """The monitor's rows, and what it found."""
        if not self._watched:
            return []
        changes: list[Change] = [(DRIFT, name.encode(), part) for name, part in self._monitor.changed().items()]
        for detection in self._found:
            number = self._counts["drift_detections"]
            self._counts["drift_detections"] += 1
            changes.append((DETECTED, _NUMBER.pack(number), payload.encode(Meta(), _event(detection))))
            if number >= DETECTED_KEPT:
                changes.append((DETECTED, _NUMBER.pack(number - DETECTED_KEPT), None))
        self._told += self._found
        self._watched, self._found = False, []
        return changes

    def _publish_at(self) -> int | None:
        return self._meta.published + self._teaching.settings.publish_us if self._dirty else None

    def _shown(self, list_id: str) -> ShownList | None:
        """The answered list. Held for a while: what is found once is found again, unless it is erased, and what waits
        of an erased person is dropped when that is read."""
        if list_id in self._lists:
            self._lists.move_to_end(list_id)
            return self._lists[list_id]
        shown = self._teaching.shown.shown(list_id)
        if shown is not None:
            self._lists[list_id] = shown
            if len(self._lists) > LISTS_KEPT:
                self._lists.popitem(last=False)
        return shown


def _order(fact: Fact) -> tuple[int, int, int]:
    """By when it was appended, impressions a little earlier: see `training.attribution.in_order`."""
    early = EARLY_US if isinstance(fact.payload.event, Impression) else 0
    return fact.record.appended - early, fact.partition, fact.record.lsn


def is_rating(event: Interaction) -> bool:
    """Whether a "rate" says how much: a weight of 0 stands for the middle of the scale, and for no rating at all.

    >>> [is_rating(Interaction("rate", weight=0.0, properties=told)) for told in ({"rating": 3}, {})]
    [True, False]
    """
    scale = number(event.properties.get("rating_scale"), 2, 1e6) or RATING_SCALE
    return event.weight != 0 or number(event.properties.get("rating"), 0, scale) is not None


def _event(detection: Detection) -> DriftDetected:
    evidence: dict[str, Json] = {
        "at_ms": detection.at_ms,
        "signals": [msgspec.to_builtins(signal) for signal in detection.signals],
    }
    return DriftDetected(detection.model, tuple(detection.detectors), detection.segment, evidence)


def _draft(detection: Detection) -> Draft:
    """The fact for the log. Its id follows from what was found, so that it is the same however often it is made."""
    event = _event(detection)
    name, version = payload.type_of(event)
    text = f"{detection.model}\x00{detection.segment}\x00{detection.at_ms}".encode()
    identity = blake2b(text, digest_size=16, person=b"everfold-drift").digest()
    return Draft(DRIFT_KEY, identity, detection.at_ms, name, version, payload.encode(Meta(), event))
