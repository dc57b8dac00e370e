"""What a request is scored with: learned weights and the model they belong to, one consistent pair per request.

The learner publishes one row (`training.learned`), promotion changes the model it names. A replica that sees another
model named loads that artefact beside the running answers and serves the old pair (old weights and old tables) until
the new one is loaded and checked; the swap is one assignment between two requests. An artefact that fails its check is
refused: the old pair stays, and it is counted. A thread of its own looks ahead, so that what was promoted while nobody
asked is loaded when somebody does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import msgspec

from actors.item_view import ItemView
from actors.lmdb_state import LmdbReader
from actors.state import StateReader
from events.errors import EverfoldError, Unavailable
from events.ids import Millis
from serving.metrics import Numbers
from serving.raters import Raters
from training.learned import KEY, TABLE, Learned, unpack
from training.model import FOLDER as MODELS
from training.model import Binder, Bound, Model, load
from training.recommender import Rater

FOLDER: Final = Path("followers") / "learner"
"""Where the learner keeps its state, inside the data folder."""
RETRY_MS: Final = 30_000
"""How long a model that could not be loaded is left alone before it is tried again: a restore may be under way."""

AHEAD_S: Final = 1.0
"""Between two looks ahead: a few microseconds each."""

Load: TypeAlias = Callable[[str], Model]


@dataclass(frozen=True, slots=True)
class Pair:
    """Weights and tables that belong together, as one request's item table sees them."""

    learned: Learned | None = None
    model: Bound | None = None
    rater: Rater | None = None
    """Who predicts ratings; None while nobody rates."""


class PairSource(Protocol):
    """Where a request gets its pair from."""

    def snapshot(self, items: ItemView, now: Millis) -> Pair: ...


class FixedWeights:
    """Nothing was learned, nothing fitted."""

    def snapshot(self, items: ItemView, now: Millis) -> Pair:
        return _FIXED


_FIXED: Final = Pair()


class PublishedWeights:
    """`training.learned.LearnedSource` over the row the learner publishes. One look-up while nothing changed; a row
    that cannot be read is passed over, and counted."""

    def __init__(self, store: StateReader, numbers: Numbers | None = None) -> None:
        self._store = store
        self._numbers = numbers
        self._row: bytes | None = None
        self._learned: Learned | None = None

    def snapshot(self) -> Learned | None:
        try:
            row = self._store.get(TABLE, KEY)
        except Unavailable:
            return self._learned  # the learner has not made its state yet, or makes it anew
        if row is not None and row != self._row:
            self._row = row
            try:
                self._learned = unpack(row)
            except (msgspec.MsgspecError, ValueError):
                _count(self._numbers, "everfold_learned_unreadable_total")
        return self._learned

    def close(self) -> None:
        self._store.close()


class Weights:
    """`PairSource` of one replica; asked by one thread."""

    def __init__(self, published: PublishedWeights, load: Load, numbers: Numbers | None = None) -> None:
        self._published = published
        self._load = load
        self._numbers = numbers
        self._raters: Raters | None = None
        self._binder = Binder()
        self._items: ItemView | None = None
        """As somebody saw it last: what a model is bound to while it is loaded."""
        self._learned: Learned | None = None
        self._model: Model | None = None
        self._loading: _Loading | None = None
        self._ahead: _Loading | None = None
        """What `look_ahead` began: written by its thread only."""
        self._stopping = threading.Event()
        self._watch: threading.Thread | None = None
        self._refused: tuple[str, Millis] | None = None
        for name in (
            "everfold_models_refused_total",
            "everfold_model_swaps_total",
            "everfold_learned_unreadable_total",
        ):
            _count(numbers, name, 0)

    def snapshot(self, items: ItemView, now: Millis) -> Pair:
        """The newest pair that is whole. The first model of a replica is waited for; later ones are loaded aside."""
        newest, self._items = self._published.snapshot(), items
        if newest is not self._learned and newest is not None:
            self._advance(newest, now)
        model = self._model
        rater = self._raters.current if self._raters is not None else None
        return Pair(self._learned, self._binder.bind(model, items) if model is not None else None, rater)

    def settle(self) -> None:
        """Wait until what is being loaded is there (or refused); the next snapshot looks at it."""
        for loading in (self._loading, self._ahead):
            if loading is not None:
                loading.thread.join()

    @property
    def ready(self) -> str:
        """The model that was loaded ahead; empty: none, or not yet."""
        ahead = self._ahead
        return ahead.identity if ahead is not None and ahead.model is not None else ""

    def look_ahead(self, published: PublishedWeights) -> None:
        """Begin to load the model that is named now, whether or not anybody asks. For a thread of its own, with a
        reader of its own."""
        newest, model = published.snapshot(), self._model
        known = {self._ahead.identity if self._ahead is not None else "", model.id if model is not None else "", ""}
        if newest is not None and newest.model not in known:
            self._ahead = _Loading(newest.model, self._load, self._items)

    def watch(self, published: PublishedWeights, raters: Raters) -> None:
        """Look ahead, and follow the ratings, until `close`, every `AHEAD_S`."""

        def run() -> None:
            while not self._stopping.wait(AHEAD_S):
                self.look_ahead(published)
                raters.refresh()
            published.close()
            raters.close()

        self._raters = raters
        self._watch = threading.Thread(target=run, name="look ahead", daemon=True)
        self._watch.start()

    def close(self) -> None:
        self._stopping.set()
        if self._watch is not None:
            self._watch.join()
        self.settle()
        self._published.close()

    def _advance(self, newest: Learned, now: Millis) -> None:
        if newest.model == (self._model.id if self._model is not None else ""):
            self._learned = newest
            return
        if not newest.model:
            self._learned, self._model = newest, None
            return
        loading = self._loading
        if loading is None:
            if self._refused is not None and self._refused[0] == newest.model and now < self._refused[1] + RETRY_MS:
                return
            ahead, refused = self._ahead, self._refused is not None and self._refused[0] == newest.model
            if ahead is None or ahead.identity != newest.model or refused:
                ahead = _Loading(newest.model, self._load, self._items)
            loading = self._loading = ahead
            if self._learned is None:
                loading.thread.join()
        if loading.thread.is_alive():
            return
        self._loading = None
        if loading.model is None:
            self._refused = (loading.identity, now)
            _count(self._numbers, "everfold_models_refused_total")
        elif loading.identity == newest.model:
            self._learned, self._model, self._refused = newest, loading.model, None
            self._binder = loading.binder
            _count(self._numbers, "everfold_model_swaps_total")


class _Loading:
    """One artefact on its way in, bound to the items seen last: 20 ms for 92,000 of them, which the first answer after
    the swap need not wait for. What came since is looked up then."""

    def __init__(self, identity: str, load: Load, items: ItemView | None) -> None:
        self.identity = identity
        self.binder = Binder()
        self.model: Model | None = None
        """Set by the thread when it is whole; None at the end: refused."""
        self._load = load
        self._items = items
        self.thread = threading.Thread(target=self._run, name=f"load model {identity[:8]}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            model = self._load(self.identity)
            if self._items is not None:
                self.binder.bind(model, self._items)
            self.model = model
        except (EverfoldError, OSError, ValueError, msgspec.MsgspecError):
            self.model = None
        finally:
            self._items = None  # a view keeps its rows


def _count(numbers: Numbers | None, name: str, by: int = 1) -> None:
    if numbers is not None:
        numbers.counter(name).add(by)


def open_weights(data: Path, numbers: Numbers | None = None) -> Weights:
    """The weights of the data folder on this machine, whether or not a learner has begun there."""
    published = PublishedWeights(LmdbReader(data / FOLDER), numbers)
    weights = Weights(published, lambda identity: load(data / MODELS, identity), numbers)
    weights.watch(PublishedWeights(LmdbReader(data / FOLDER)), Raters(LmdbReader(data / FOLDER)))
    return weights
