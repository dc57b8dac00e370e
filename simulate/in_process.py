"""The service in one thread, without HTTP, log or disk: the real answer path, profile fold, item projection and
learner, over facts made of what a world's people do. Experiments of hundreds of thousands of lists run on it.

What is left out: sealing, spools, partitions (there is one), and the door (payloads are facts at once, enriched with
category and brand as the door does). What is shown, what is folded and what is learned are the service's own code.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final

from threadpoolctl import threadpool_limits

from actors.fold import fold
from actors.follower import Fact
from actors.item_reader import MemoryItems
from actors.item_view import ItemView
from actors.profile import EMPTY, Profile
from actors.state import MemoryState
from events.clock import ManualClock
from events.ids import Key, Micros, Millis, anonymous_key, user_key
from events.payload import type_of
from events.record import Record
from events.types import (
    Event,
    Impression,
    Interaction,
    ItemDeleted,
    ItemUpserted,
    Line,
    Meta,
    Payload,
    SegmentChanged,
    Signal,
)
from serving.answer import RecommendRequest
from serving.asked import Asked
from serving.decision import Decision, Place
from serving.journal import Journal, Stored
from serving.learning import shown_list
from serving.recommend import Answerer, AnswerRules
from serving.spool import NO_REQUEST
from serving.weights import Pair, PublishedWeights
from simulate.chance import key_of
from simulate.payloads import entry
from simulate.shelf import Shelf
from simulate.world import Act, Organic, Outcome, Visit
from training.dataset import gather, joined
from training.drift import Detection
from training.inventory import FITTED, INVENTORY
from training.learner.projection import LearnerProjection, Teaching
from training.learner.settings import LearnerSettings
from training.learner.shown import ShownList
from training.model import Binder, Model, Provenance, model_of
from training.surface import SURFACES, Surface

LEARNER_MS: Final = 15 * 60_000
"""Time between two rounds of the learner."""
ITEMS_MS: Final = 3 * 3_600_000
"""Time between two rounds of the item follower. Profiles are folded at once; a round by the minute costs ten times as
much as one by the hour."""
QUIET_MS: Final = 24 * 3_600_000
"""The same for both while nobody asks for lists."""
LISTS_KEPT_MS: Final = 8 * 86_400_000
"""Answered lists are held for a day longer than any window is open."""
_SIGNALS: Final[Mapping[str, Signal]] = {"view": "view", "click": "click", "cart": "cart", "purchase": "purchase"}
_NO_META: Final = Meta()


class KeptLists(Journal):
    """A `Journal` that keeps answered lists in memory, as the learner wants them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._count = 0
        self._kept: dict[str, ShownList] = {}
        self._ages: deque[tuple[int, str]] = deque()

    @contextmanager
    def claim(self, who: Key | None, request_id: str) -> Iterator[tuple[bytes, Stored | None]]:
        yield NO_REQUEST, None

    def keep(self, decision: Decision, asked: Asked, request: bytes) -> Place | None:
        self._count += 1
        place = Place(
            b"worl", self._count, (key_of(self._seed, "list", self._count) & (1 << 48) - 1).to_bytes(6, "big")
        )
        if decision.slate:
            self._kept[place.text] = shown_list(decision)
            self._ages.append((asked.now, place.text))
        while self._ages and self._ages[0][0] < asked.now - LISTS_KEPT_MS:
            del self._kept[self._ages.popleft()[1]]
        return place

    def shown(self, list_id: str) -> ShownList | None:
        """The `training.learner.shown.ShownSource` of these lists."""
        return self._kept.get(list_id)

    def close(self) -> None:
        self._kept.clear()


class _Weights:
    """`serving.weights.PairSource`: what was published last, and the model that was fitted last."""

    def __init__(self, published: PublishedWeights) -> None:
        self._published = published
        self._binder = Binder()
        self.model: Model | None = None

    def snapshot(self, items: ItemView, now: Millis) -> Pair:
        bound = self._binder.bind(self.model, items) if self.model is not None else None
        return Pair(self._published.snapshot(), bound)


@dataclass(frozen=True, slots=True)
class Mode:
    """What kind of service. ``learns``: the learner follows. ``fits_every_ms``: how often models are fitted on
    everything so far; 0: never."""

    surfaces: Mapping[str, Surface] = field(default_factory=lambda: SURFACES)
    learns: bool = True
    fits_every_ms: int = 0
    settings: LearnerSettings = field(default_factory=LearnerSettings)
    segments: Callable[[Visit], str] | None = None
    """The segment somebody is put into when first heard of; None: nobody is in any."""


class Service:
    """See the module. Time moves forward by `advance` only; what is told lies waiting until its moment."""

    def __init__(self, shelf: Shelf, start_ms: int, seed: int, mode: Mode) -> None:
        self._shelf, self._mode = shelf, mode
        self.clock = ManualClock(Micros(start_ms * 1000))
        self.items = MemoryItems()
        self.lists = KeptLists(seed)
        self._store = MemoryState()
        teaching = Teaching(
            names=tuple(INVENTORY),
            fixed={name: surface.weights for name, surface in mode.surfaces.items()},
            shown=self.lists,
            initial=lambda model: None,
            settings=mode.settings,
        )
        self.learner = LearnerProjection(self._store, teaching) if mode.learns else None
        self._weights = _Weights(PublishedWeights(self._store))
        noise = key_of(seed, "noise").to_bytes(8, "big") * 4
        rules = AnswerRules(surfaces=mode.surfaces, noise_secret=noise, candidates_logged=0.0)
        self.answerer = Answerer(self.items, self.lists, self.clock, rules, self._weights)
        self.profiles: dict[Key, Profile] = {}
        self.detections: list[Detection] = []
        self._waiting: list[tuple[int, int, Key, Event]] = []
        self._number = 0
        self._taught: list[Fact] = []
        self._batch: list[Fact] = []
        self._learned_at = self._read_at = start_ms
        self._asked = False
        self._sorted: set[Key] = set()
        self._history: list[Fact] = []
        self._fit_at = start_ms + mode.fits_every_ms if mode.fits_every_ms else 1 << 62
        self._catalogue_at = start_ms
        for item in range(len(shelf.ids)):
            if shelf.born[item] <= start_ms < shelf.dies[item]:
                self._fact(start_ms, Key(f"i:{shelf.ids[item]}"), self._upsert(item))
        self._follow(items=True)

    @property
    def now(self) -> int:
        """ms."""
        return self.clock.now() // 1000

    def ask(self, visit: Visit, n: int) -> tuple[str, tuple[str, ...]]:
        """The id and the items of a list for this visit, at its moment."""
        self._asked = True
        self.advance(visit.at)
        self._sort(visit)
        request = RecommendRequest(
            user_id=visit.user_id,
            anonymous_id=visit.anonymous_id,
            n=n,
            surface=visit.surface,
            items=visit.items,
        )
        key = self.answerer.reads(request)
        answer = self.answerer.recommend(request, self.profiles.get(key) if key is not None else None)
        return answer.recommendation_id or "", tuple(item.item_id for item in answer.items)

    def told(self, visit: Visit, outcome: Outcome, list_id: str) -> None:
        """What came of a list will be known as it happens."""
        self._wait(visit, 1_000, Impression(outcome.slate[: outcome.seen], list_id))
        for act in outcome.acts:
            self._wait(visit, act.delay, self._did((act,), list_id))

    def organic(self, visit: Visit, done: Organic) -> None:
        """What somebody does beside lists will be known as it happens."""
        self.advance(visit.at)
        for act in done.views:
            self._wait(visit, act.delay, self._did((act,), ""))
        if done.order:
            self._wait(visit, done.order[0].delay, self._did(done.order, ""))

    def advance(self, to: int) -> None:
        """Let time pass to ``to`` (ms): what happened until then is folded, read by followers and learned."""
        while self._waiting and self._waiting[0][0] <= to:
            at, _, key, event = heappop(self._waiting)
            self._catalogue(at)
            self._fact(at, key, event)
            self._follow()
        self._catalogue(to)
        self._move(to)
        self._follow()
        if to >= self._fit_at:
            self._fit_at += self._mode.fits_every_ms
            self.fit()

    def fit(self) -> None:
        """Fit what retraining fits on everything so far; it serves at once."""
        data = joined([gather(self._history)])
        with threadpool_limits(limits=1):
            tables = {name: fitted.fit(data.interactions, data.facts, 1) for name, fitted in FITTED.items()}
        self._weights.model = model_of(data.interactions.item_ids, tables, None, Provenance())

    def _catalogue(self, at: int) -> None:
        """Items that came and went meanwhile."""
        if at <= self._catalogue_at:
            return
        came, went = self._shelf.changed(self._catalogue_at, at)
        self._catalogue_at = at
        for item in came.tolist():
            self._fact(at, Key(f"i:{self._shelf.ids[item]}"), self._upsert(item))
        for item in went.tolist():
            self._fact(at, Key(f"i:{self._shelf.ids[item]}"), ItemDeleted(self._shelf.ids[item]))

    def _upsert(self, item: int) -> ItemUpserted:
        known = entry(self._shelf, item)
        return ItemUpserted(
            item=self._shelf.ids[item],
            title=str(known["title"]),
            category=str(known["category"]),
            brand=str(known["brand"]),
            price=float(self._shelf.price[item]),
        )

    def _did(self, acts: Sequence[Act], list_id: str) -> Interaction:
        lines = tuple(self._line(act.item) for act in acts)
        return Interaction(_SIGNALS[acts[0].deed], lines, list_id=list_id)

    def _line(self, item: str) -> Line:
        number = self._shelf.numbers[item]
        return Line(item, category=self._shelf.path(number), brand=self._shelf.provider_name(number))

    def _sort(self, visit: Visit) -> None:
        """Put somebody new into their segment."""
        if self._mode.segments is None:
            return
        key = _key(visit)
        if key not in self._sorted:
            self._sorted.add(key)
            self._fact(visit.at, key, SegmentChanged(self._mode.segments(visit), True))

    def _wait(self, visit: Visit, delay: int, event: Event) -> None:
        self._number += 1
        heappush(self._waiting, (visit.at + delay, self._number, _key(visit), event))

    def _fact(self, at: int, key: Key, event: Event) -> None:
        self._move(at)
        self._number += 1
        name, version = type_of(event)
        number = key_of(self._number).to_bytes(8, "big") * 2
        subject = key_of(key).to_bytes(8, "big") * 2
        payload = Payload(_NO_META, event)
        record = Record(self._number, (), at * 1000, at, name, version, subject, number, b"")
        fact = Fact(0, record, payload)
        self._batch.append(fact)
        self._taught.append(fact)
        if not key.startswith("i:"):
            self.profiles[key] = fold(self.profiles.get(key, EMPTY), self._number, at, number, payload)
        if self._mode.fits_every_ms and not isinstance(event, Impression):
            self._history.append(fact)

    def _move(self, to: int) -> None:
        if to > self.now:
            self.clock.advance(to * 1000 - self.clock.now())

    def _follow(self, items: bool = False) -> None:
        """The followers' rounds that are due."""
        now = self.now
        if items or now >= self._read_at + (ITEMS_MS if self._asked else QUIET_MS):
            if self._batch:
                self.items.fold(self._batch)
            self._batch, self._read_at = [], now
        if now >= self._learned_at + (LEARNER_MS if self._asked else QUIET_MS):
            if self.learner is not None:
                folded = self.learner.apply(self._taught, self.clock.now())
                self._store.commit(folded.changes)
                self.detections += self.learner.detections()
            self._taught, self._learned_at = [], now


def _key(visit: Visit) -> Key:
    return user_key(visit.user_id) if visit.user_id else anonymous_key(visit.anonymous_id)
