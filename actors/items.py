"""The item follower's projection: one pass over all facts keeps everything that is known about items.

What teaches what: the catalogue learns from item facts; popularity from what people did with items; the exploration
pool from impressions; co-visitation from the items of one event and from consecutive events of one subject; popularity
within segments from what their people did while they were in them. An event
weighs in popularity what its signal weighs in interests, and what takes back (uncart, refund, a bad rating) teaches
nothing here. Test traffic and bots teach nothing. An event of a person who refuses personalization (as decided in that
event, before, or by the store's default when nothing was decided) still counts for popularity, and its basket for
co-visitation, as one anonymous event more; it is never put in sequence with other events of that person, and what was
kept of the sequence is dropped.

An erased subject's trail is deleted; sums it contributed to stay, they lead to nobody.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from actors.catalogue import Catalogue
from actors.content import Content
from actors.covisitation import Basket, Covisitation, sampled
from actors.exploration import Exploration
from actors.follower import Fact, Folded
from actors.neighbours import Neighbours
from actors.popularity import FEEDBACK, HALF_LIFE_MS, LATELY_MS, Popularity
from actors.profile import PERSONALIZATION
from actors.recency import weights
from actors.segment_popularity import SegmentPopularity
from actors.signals import SIGNALS
from actors.state import Change, StateReader
from actors.steps import Steps, Transition
from actors.trending import Trending
from events.types import (
    Consented,
    Impression,
    Interaction,
    ItemDeleted,
    ItemUpserted,
    SegmentChanged,
    SegmentDropped,
    SubjectErased,
)

META: Final = "items"
STATE_KEY: Final = b"state"

CONTENT_SLICE: Final = 64
CATEGORY_SLICE: Final = 16
ITEM_SLICE: Final = 256
"""Rows made anew per slice of deferred work: about 20 ms each."""

_STATE = struct.Struct("<QQqIQ")


class ItemsState(msgspec.Struct, frozen=True):
    """One row that every commit rewrites: how readers learn that, and what, changed."""

    commits: int = 0
    catalogue_seq: int = 0
    """Number of the latest entry of the catalogue's change list."""
    clock: int = 0
    """Time of the newest event learned from, ms: what decayed evidence is weighed at."""
    size: int = 0
    generation: int = 0
    """Which fold from scratch this is: a store rebuilt from the log may number the items otherwise."""

    def packed(self) -> bytes:
        return _STATE.pack(self.commits, self.catalogue_seq, self.clock, self.size, self.generation)

    @classmethod
    def of(cls, row: bytes | None, generation: int = 0) -> ItemsState:
        return cls(generation=generation) if row is None else cls(*_STATE.unpack(row))


class _Lessons:
    """What one batch teaches, gathered fact by fact and learned at once."""

    def __init__(self) -> None:
        self.items: list[int] = []
        self.at: list[int] = []
        self.weight: list[float] = []
        self.recommended: list[bool] = []
        self.baskets: list[Basket] = []
        self.transitions: list[Transition] = []
        self.within: list[tuple[tuple[str, ...], list[int], int]] = []
        """Segments, the items of an act within them, and the place of its last item in the lists above."""
        self.shown: list[int] = []
        self.shown_at: list[int] = []


class ItemProjection:
    """Catalogue, popularity, co-visitation, neighbours and content in one fold."""

    def __init__(self, store: StateReader, generation: int = 0) -> None:
        """``generation``: any number in 0..2^64-1 never used for this folder before; counts when ``store`` is empty."""
        self._state = ItemsState.of(store.get(META, STATE_KEY), generation)
        self._clock = self._state.clock
        self.catalogue = Catalogue(store)
        self.popularity = Popularity(store, self.catalogue)
        self.covisitation = Covisitation(store, self.catalogue)
        self.neighbours = Neighbours(store, self.catalogue, self.popularity, self.covisitation)
        self.content = Content(store, self.catalogue)
        self.trending = Trending(store, self.popularity)
        self.exploration = Exploration(store, self.catalogue, self.popularity)
        self.segments = SegmentPopularity(store)
        self._steps = Steps(store)

    def apply(self, facts: Sequence[Fact]) -> Folded:
        lessons = _Lessons()
        described: set[int] = set()
        for fact in facts:
            event = fact.payload.event
            known = self.catalogue.size
            if isinstance(event, ItemUpserted):
                described.add(self._upsert(event))
            elif isinstance(event, ItemDeleted):
                self.catalogue.delete(event.item)
            elif isinstance(event, SegmentDropped):
                self.segments.drop(event.name)
            elif isinstance(event, SubjectErased):
                self._steps.forget(fact.record.subject)
            else:
                self._person(fact, lessons)
            if self.catalogue.size > known:
                self.exploration.born(known, fact.record.event_time)
        self.covisitation.grow()  # before any row is made anew: a category may be new without anything having happened
        changes = self._learn(lessons)
        changes += self.content.describe(described)
        return Folded(changes + self._bookkeeping())

    def tidy(self) -> list[Change]:
        changes = self.content.refresh(CONTENT_SLICE)
        categories = self.neighbours.categories_waiting.take(CATEGORY_SLICE)
        changes += self.neighbours.categories(np.array(categories, np.int64), self._clock)
        if not categories:
            items = self.neighbours.items_waiting.take(ITEM_SLICE)
            changes += self.neighbours.items(np.array(items, np.int64), self._clock)
        if not changes:
            changes += self.exploration.refresh(self._clock)
        return changes + self._bookkeeping() if changes else []

    def _upsert(self, event: ItemUpserted) -> int:
        before = self.catalogue.names.get(event.item, -1)
        was = int(self.catalogue.leaf[before]) if before >= 0 else -1
        idx = self.catalogue.upsert(event)
        if before >= 0 and int(self.catalogue.leaf[idx]) != was:
            self.popularity.moved(idx, was)
        return idx

    def _person(self, fact: Fact, lessons: _Lessons) -> None:
        """One fact of a person: their choice about personalization, the segments they are in, and what they did."""
        meta, event, subject = fact.payload.meta, fact.payload.event, fact.record.subject
        decided = meta.consent.get(PERSONALIZATION)
        if isinstance(event, Consented):
            decided = event.purposes.get(PERSONALIZATION, decided)
        if decided is not None:
            self._steps.decide(subject, fact.record.event_time, decided)
        if meta.test or meta.bot:
            return
        if isinstance(event, SegmentChanged):
            self._steps.moved(subject, event.segment, event.entered)
        if isinstance(event, Impression):
            self._impression(event, fact.record.event_time, lessons)
        if not isinstance(event, Interaction):
            return
        strength = SIGNALS[event.signal].weight
        if strength <= 0 or event.weight <= 0:
            return
        observed = {self.catalogue.observe(line) for line in event.lines}
        observed.discard(-1)
        if observed:
            self._interaction(fact, sorted(observed), strength, lessons)

    def _impression(self, event: Impression, at: int, lessons: _Lessons) -> None:
        names = self.catalogue.names
        shown = [idx for item in dict.fromkeys(event.items) if (idx := names.get(item, -1)) >= 0]
        lessons.shown += shown
        lessons.shown_at += [at] * len(shown)

    def _interaction(self, fact: Fact, items: list[int], strength: float, lessons: _Lessons) -> None:
        event, at, subject = fact.payload.event, fact.record.event_time, fact.record.subject
        assert isinstance(event, Interaction)
        self._clock = max(self._clock, at)
        lessons.items += items
        lessons.at += [at] * len(items)
        lessons.weight += [strength] * len(items)
        lessons.recommended += [bool(event.list_id)] * len(items)
        together = sampled(items, fact.record.event_id)
        if len(together) > 1:
            lessons.baskets.append(Basket(together, at))
        if self._steps.allowed(subject, fact.payload.meta.default_consent):
            lessons.transitions += self._steps.take(subject, at, together)
            segments = self._steps.segments(subject)
            if segments:
                lessons.within.append((segments, items, len(lessons.at) - 1))

    def _learn(self, lessons: _Lessons) -> list[Change]:
        if lessons.shown:
            self.exploration.shown(np.array(lessons.shown, np.int64), np.array(lessons.shown_at, np.int64))
        if not lessons.items:
            return []
        items = np.array(lessons.items, np.int64)
        at, strength = np.array(lessons.at, np.int64), np.array(lessons.weight)
        monthly, lately = strength * weights(at, HALF_LIFE_MS), strength * weights(at, LATELY_MS)
        recommended = np.array(lessons.recommended, np.bool_)
        for flag in (False, True):
            chosen = recommended == flag
            self.popularity.learn(items[chosen], monthly[chosen], recommended=flag, lately=lately[chosen])
        counted = np.where(recommended, FEEDBACK * monthly, monthly).tolist() if lessons.within else []
        for segments, together, place in lessons.within:
            self.segments.learn(segments, together, counted[place])
        self.exploration.acted(len(items))
        pairs, changes = self.covisitation.learn(lessons.baskets, lessons.transitions)
        self.neighbours.touched(pairs)
        return changes + self.trending.changes(set(lessons.items), self._clock)

    def _bookkeeping(self) -> list[Change]:
        """The rows that follow from everything else in this commit."""
        seq = self._state.catalogue_seq + 1
        changes = self.catalogue.changes(seq)
        self._state = ItemsState(
            commits=self._state.commits + 1,
            catalogue_seq=seq if changes else self._state.catalogue_seq,
            clock=self._clock,
            size=self.catalogue.size,
            generation=self._state.generation,
        )
        changes += (
            self._steps.changes() + self.segments.changes() + self.popularity.changes() + self.exploration.changes()
        )
        for waiting in (self.content.waiting, self.neighbours.items_waiting, self.neighbours.categories_waiting):
            changes += waiting.changes()
        return [*changes, (META, STATE_KEY, self._state.packed())]
