"""Through a window of the log: the state as it was before each act, and what was acted on.

    before the window     facts are folded into profiles and the item table, nothing is asked
    validation            a sample of acts becomes pseudo-requests: first blend weights come from them
    judging               a later sample, on which two policies are compared

Facts come in the order they were appended, so nothing that was not known yet has any part in an answer. The item table
is brought up to date once a day of the log, as a follower under load would be: late, never early.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xxhash

from actors.fold import fold
from actors.follower import Fact
from actors.item_reader import StoredItems
from actors.item_view import ItemView
from actors.items import ItemProjection
from actors.profile import EMPTY, Profile, allowed
from actors.signals import SIGNALS
from actors.state import MemoryState
from events.ids import Millis
from events.types import Interaction, ItemDeleted, ItemUpserted
from training.history import History, history_of
from training.interactions import Interactions

DAY_MS: Final = 86_400_000
REFRESH_MS: Final = 24 * 3_600_000
REFRESH_FACTS: Final = 16_384
"""Facts folded at once: what waits longer costs memory."""
SHARE_OF_HISTORY: Final = 6
"""A part of the window is at most this fraction of the history: a young store has some history left to fit on."""
BELOW: Final = float(1 << 64)


@dataclass(frozen=True, slots=True)
class Window:
    """Which acts become requests."""

    validation_from: int
    """Event time, ms."""
    judging_from: int
    until: int
    """The end of what is judged on, exclusive."""
    bought: bool
    """Whether purchases are asked for, or any act, where the log knows no purchases."""
    subjects: float
    """Share of people that are sampled, 0..1: each one's profile has to be folded."""
    validation: float
    """Share of the sampled people's acts in the validation that become requests."""
    judging: float
    seed: int


@dataclass(frozen=True, slots=True)
class Moment:
    """The instant before an act. To be used before the walk goes on: ``items`` reads some of its rows when asked."""

    subject: int
    """A number for the person, from a hash: the same in every run."""
    at: Millis
    judging: bool
    history: History
    items: ItemView
    taken: tuple[int, ...]
    """Item indices of the act, those that were known, in its order."""
    acts: int
    """How much the person had done so far."""


def choose_window(interactions: Interactions, days: float, requests: tuple[int, int], people: int, seed: int) -> Window:
    """The last ``days`` of the history to judge on, and as much before them for validation; of both about
    ``requests`` = (validation, judging) requests from at most ``people`` people."""
    at = interactions.at
    bought = bool(interactions.bought.any())
    asked = interactions.bought if bought else np.ones(len(interactions), np.bool_)
    if not asked.any():
        return Window(0, 0, 0, bought, 0.0, 0.0, 0.0, seed)
    first, last = int(at[0]), int(at[asked][-1])
    length = int(min(days * DAY_MS, (last - first) / SHARE_OF_HISTORY))
    judging_from, validation_from = last + 1 - length, last + 1 - 2 * length
    late = asked & (at >= validation_from)
    share = min(1.0, people / max(1, len(np.unique(interactions.user[late]))))
    counts = [
        len(np.unique(interactions.event[asked & (at >= low) & (at < high)]))
        for low, high in ((validation_from, judging_from), (judging_from, last + 1))
    ]
    validation, judging = (
        min(1.0, want / max(1.0, count * share)) for want, count in zip(requests, counts, strict=True)
    )
    return Window(validation_from, judging_from, last + 1, bought, share, validation, judging, seed)


def window_since(interactions: Interactions, since: int, requests: int, people: int, seed: int) -> Window:
    """What happened from event time ``since`` on, to judge on alone; with about ``requests`` requests from at most
    ``people`` people."""
    bought = bool(interactions.bought.any())
    late = interactions.at >= since
    asked = late & interactions.bought if bought else late
    if not asked.any():
        return Window(since, since, since, bought, 0.0, 0.0, 0.0, seed)
    share = min(1.0, people / len(np.unique(interactions.user[asked])))
    events = len(np.unique(interactions.event[asked]))
    judging = min(1.0, requests / max(1.0, events * share))
    return Window(since, since, int(interactions.at[asked][-1]) + 1, bought, share, 0.0, judging, seed)


def moments(facts: Iterable[Fact], window: Window) -> Iterator[Moment]:
    """The sampled instants of the window, in log order. Equal facts and window, equal moments."""
    return _Walk(window).through(facts)


class _Walk:
    def __init__(self, window: Window) -> None:
        self._window = window
        self._people: dict[bytes, Profile | None] = {}
        """Of sampled people; None for those that are not."""
        self._shelf = _Shelf()

    def through(self, facts: Iterable[Fact]) -> Iterator[Moment]:
        for fact in facts:
            if fact.record.subject not in self._people:
                self._people[fact.record.subject] = EMPTY if self._sampled(fact.record.subject) else None
            profile = self._people[fact.record.subject]
            event = fact.payload.event
            if profile is not None and not isinstance(event, ItemUpserted | ItemDeleted):
                moment = self._moment(fact, profile)
                if moment is not None:
                    yield moment
                record = fact.record
                self._people[record.subject] = fold(
                    profile, record.lsn, record.event_time, record.event_id, fact.payload
                )
            self._shelf.add(fact)

    def _moment(self, fact: Fact, profile: Profile) -> Moment | None:
        window, record, event, meta = self._window, fact.record, fact.payload.event, fact.payload.meta
        if record.event_time < window.validation_from or not isinstance(event, Interaction):
            return None
        right = event.signal == "purchase" if window.bought else SIGNALS[event.signal].weight > 0
        if not right or meta.test or meta.bot or meta.consent or event.weight <= 0:
            return None
        if not allowed(profile, default=meta.default_consent):
            return None
        judging = record.event_time >= window.judging_from
        if _share(record.event_id, window.seed) >= (window.judging if judging else window.validation):
            return None
        items = self._shelf.view(record.event_time)
        known = (items.index(line.item) for line in event.lines)
        taken = tuple(dict.fromkeys(index for index in known if index >= 0))
        if not taken:
            return None
        return Moment(
            subject=xxhash.xxh3_64_intdigest(record.subject) >> 1,
            at=Millis(record.event_time),
            judging=judging,
            history=history_of(profile, items),
            items=items,
            taken=taken,
            acts=sum(profile.engagement.counts.values()),
        )

    def _sampled(self, subject: bytes) -> bool:
        return _share(subject, self._window.seed) < self._window.subjects


def _share(name: bytes, seed: int) -> float:
    """In [0, 1), the same in every run.

    >>> _share(b"a", 1) == _share(b"a", 1) != _share(b"a", 2)
    True
    """
    return xxhash.xxh3_64_intdigest(name, seed & 0xFFFF_FFFF_FFFF_FFFF) / BELOW


class _Shelf:
    """The item table of the walk: facts wait until a view has to be fresh."""

    def __init__(self) -> None:
        self._state = MemoryState()
        self._projection = ItemProjection(self._state)
        self._items = StoredItems(self._state)
        self._waiting: list[Fact] = []
        self._view: ItemView | None = None
        self._viewed = 0

    def add(self, fact: Fact) -> None:
        self._waiting.append(fact)
        if len(self._waiting) >= REFRESH_FACTS:
            self._fold()

    def view(self, at: int) -> ItemView:
        """As of at most `REFRESH_MS` before ``at``."""
        if self._view is None or at - self._viewed >= REFRESH_MS:
            self._fold()
            while changes := self._projection.tidy():
                self._state.commit(changes)
            self._view, self._viewed = self._items.snapshot(), at
        return self._view

    def _fold(self) -> None:
        waiting: Sequence[Fact] = self._waiting
        if waiting:
            offsets = {f"p{fact.partition}": fact.record.lsn + 1 for fact in waiting}
            self._state.commit(self._projection.apply(waiting).changes, offsets)
            self._waiting = []
