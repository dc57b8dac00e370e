"""Ratings as the learner keeps them and replicas follow them: the model now and then, and every rating since.

    ratings        end   → number of the next entry         model → (number, the model after all entries before it)
    ratings_since  number → who rated what and how, or whose ratings are to be forgotten

Learning is deterministic, so a model and the entries since are the model: a rating costs one small row, and a replica
learns what the learner learned by reading those rows. Nothing is stored, and River not imported, until somebody rates.
"""

from __future__ import annotations

import struct
import threading
from typing import TYPE_CHECKING, Final

import msgspec

from actors.state import Change, StateReader

if TYPE_CHECKING:
    from training.rating import Rating

RATINGS: Final = "ratings"
SINCE: Final = "ratings_since"
END: Final = b"end"
MODEL: Final = b"model"
PEOPLE: Final = 20_000
ITEMS: Final = 16_384
PAIRS: Final = 1_024
"""Bounds of the model, 46 MB in each process at most: those who rated longest ago give way."""
PACKED_MIN: Final = 512
PACKED_SHARE: Final = 4
"""The model is packed after `PACKED_MIN` entries, or a quarter of all ratings there were: 2 ms a megabyte, so that a
rating costs the same on the average however many there are."""

_NUMBER = struct.Struct(">Q")
_ENCODE: Final = msgspec.msgpack.Encoder().encode


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What happened. ``rating`` from -1 to 1; None: forget the person."""

    subject: bytes
    item: str
    rating: float | None


_ENTRY: Final = msgspec.msgpack.Decoder(Entry)


class RatingCopy:
    """The model as far as ``store`` holds it. One thread; others may look at ``rating`` while they hold ``lock``."""

    def __init__(self, store: StateReader, lock: threading.Lock | None = None) -> None:
        self._store = store
        self._lock = lock or threading.Lock()
        self.rating: Rating | None = None
        """None until somebody rated."""
        self.applied = 0
        """Number of the next entry."""

    def refresh(self) -> int:
        """Learn what came since; how many entries. Raises `Corrupt` for a model that cannot be read."""
        row = self._store.get(RATINGS, END)
        end = 0 if row is None else _NUMBER.unpack(row)[0]
        if end == self.applied:
            return 0
        before = self.applied
        if end < self.applied or not self._follow(end):
            self._restore()
            self._follow(end)
        return abs(self.applied - before)

    def apply(self, entry: Entry) -> None:
        if self.rating is None:
            self.rating = _new()
        with self._lock:
            if entry.rating is None:
                self.rating.forget(key_of(entry.subject))
            else:
                self.rating.learn_one(key_of(entry.subject), entry.item, entry.rating)
        self.applied += 1

    def _follow(self, end: int) -> bool:
        """Apply the entries from ``applied`` on; False where one before ``end`` is gone: it lies in the packed
        model."""
        for key, row in self._store.scan(SINCE, _NUMBER.pack(self.applied)):
            if key != _NUMBER.pack(self.applied):
                return False
            self.apply(_ENTRY.decode(row))
        return self.applied >= end

    def _restore(self) -> None:
        from training.rating_state import unpack  # River, for who needs it

        row = self._store.get(RATINGS, MODEL)
        self.rating, self.applied = None, 0
        if row is not None:
            self.applied, packed = msgspec.msgpack.decode(row, type=tuple[int, bytes])
            self.rating = unpack(packed)


class RatingJournal:
    """The learner's own: what it writes is committed before anything else is read."""

    def __init__(self, store: StateReader) -> None:
        self._copy = RatingCopy(store)
        self._copy.refresh()
        row = store.get(RATINGS, MODEL)
        self._packed = 0 if row is None else msgspec.msgpack.decode(row, type=tuple[int, bytes])[0]
        self._entries: list[tuple[int, Entry]] = []

    def __bool__(self) -> bool:
        """Whether anybody rates."""
        return self._copy.applied > 0

    def learn(self, subject: bytes, item: str, rating: float) -> None:
        """``rating`` from -1 to 1."""
        self._add(Entry(subject, item, rating))

    def forget(self, subject: bytes) -> None:
        """Drop what is held of one person, where anything is. What items learned from all stays."""
        rating = self._copy.rating
        if rating is not None and rating.people.get(key_of(subject)) >= 0:
            self._add(Entry(subject, "", None))

    def changes(self) -> list[Change]:
        """What changed since the last call."""
        if not self._entries:
            return []
        out: list[Change] = [(SINCE, _NUMBER.pack(number), _ENCODE(entry)) for number, entry in self._entries]
        end = self._copy.applied
        out.append((RATINGS, END, _NUMBER.pack(end)))
        rating = self._copy.rating
        assert rating is not None, "an entry was applied"
        forgotten = any(entry.rating is None for _, entry in self._entries)  # what they rated stands in the rows
        if forgotten or end - self._packed >= max(PACKED_MIN, rating.residuals.count // PACKED_SHARE):
            out += self._pack(rating, end)
        self._entries = []
        return out

    def _pack(self, rating: Rating, end: int) -> list[Change]:
        from training.rating_state import pack  # River, for who needs it

        gone: list[Change] = [(SINCE, _NUMBER.pack(number), None) for number in range(self._packed, end)]
        self._packed = end
        return [*gone, (RATINGS, MODEL, _ENCODE((end, pack(rating))))]

    def _add(self, entry: Entry) -> None:
        self._entries.append((self._copy.applied, entry))
        self._copy.apply(entry)


def key_of(subject: bytes) -> str:
    """Under which the model knows a person."""
    return subject.hex()


def _new() -> Rating:
    from training.rating import Rating, Scale  # River, for who needs it

    return Rating(Scale(-1.0, 1.0), PEOPLE, ITEMS, PAIRS)
