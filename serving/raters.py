"""The online rating model of a replica: the learner's own, followed entry by entry (`training.rating_journal`) by a
thread beside the answers. Nothing is there, and nothing imported, while nobody rates."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from actors.state import StateReader
from events.errors import EverfoldError
from training.rating_journal import RatingCopy
from training.recommender import Bounds, Rater

if TYPE_CHECKING:
    from training.rating import Rating


class Raters:
    """Refreshed by one thread, asked by another."""

    def __init__(self, store: StateReader) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._copy = RatingCopy(store, self._lock)
        self._current: _Locked | None = None

    @property
    def current(self) -> Rater | None:
        return self._current

    def refresh(self) -> None:
        """Learn what was rated since. What cannot be read yet, or any more, leaves what there is."""
        with suppress(EverfoldError):
            self._copy.refresh()
        rating = self._copy.rating
        if rating is None:
            self._current = None
        elif self._current is None or self._current.rating is not rating:
            self._current = _Locked(rating, self._lock)

    def close(self) -> None:
        self._store.close()


class _Locked:
    """A `Rater` that is asked between two ratings it learns: either takes a tenth of a millisecond."""

    def __init__(self, rating: Rating, lock: threading.Lock) -> None:
        self.rating = rating
        self._lock = lock

    @property
    def scale(self) -> Bounds:
        return self.rating.scale

    def scores(self, user: str, items: Sequence[str]) -> npt.NDArray[np.float64] | None:
        with self._lock:
            return self.rating.scores(user, items)
