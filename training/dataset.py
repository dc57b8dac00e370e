"""From the log to `Interactions`: what batch models are fitted on, point in time.

    gather   one partition's facts up to an LSN → its rows                  (a task per partition)
    joined   the partitions' rows → one table, and what the catalogue said  (once)

Who is in it: people who allow personalization as of those offsets, with what they did since they last began to allow
it. Left out: erased people (their records cannot be opened), test traffic and bots, acts that take back, items the
store's catalogue does not offer, and of one person everything before their newest `ROWS_PER_PERSON_MAX` rows.
Nothing here depends on the clock: equal offsets, equal tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from actors.consent import decide
from actors.follower import Fact
from actors.profile import EMPTY, Profile, allowed
from actors.registers import moment
from actors.signals import SIGNALS
from events.types import Consented, Interaction, ItemDeleted, ItemUpserted, SubjectErased
from training.interactions import Interactions, ItemFacts

UInt64: TypeAlias = npt.NDArray[np.uint64]
T = TypeVar("T", bound=np.generic)

ROWS_PER_PERSON_MAX: Final = 5_000
"""Newest rows of one person: an hour of a bot that nobody marked must not outweigh a year of a household. The busiest
household of The Complete Journey has about 4,000 lines a year."""

WEIGHT_MAX: Final = 10.0
"""Largest factor that an event may put on its signal's weight: the write key is public."""


@dataclass(frozen=True, slots=True)
class Rows:
    """One partition's rows, in the order of its log. People and items have the partition's own numbers, dense, in order
    of first appearance."""

    items: tuple[str, ...]
    people: int
    person: npt.NDArray[np.int32]
    item: npt.NDArray[np.int32]
    at: npt.NDArray[np.int64]
    event: UInt64
    """Shape (rows, 2): the event's id as two numbers. Random, so it orders events of one millisecond whatever
    partition they lie in."""
    weight: npt.NDArray[np.float32]
    bought: npt.NDArray[np.bool_]
    catalogue: tuple[ItemUpserted, ...]
    """The latest entry of every item of this partition that was not deleted, by item id."""

    def __len__(self) -> int:
        return len(self.person)


@dataclass(frozen=True, slots=True)
class Dataset:
    """What the log said at the offsets."""

    interactions: Interactions
    """Items that are offered and that nobody has touched stand at the end."""
    facts: ItemFacts


def gather(facts: Iterable[Fact]) -> Rows:
    """The rows of one partition's facts, which come in the order of its log."""
    gathering = _Gathering()
    for fact in facts:
        gathering.add(fact)
    return gathering.rows()


def joined(parts: Sequence[Rows], rows_per_person: int = ROWS_PER_PERSON_MAX) -> Dataset:
    """All partitions' rows as one table, ordered by (time, event id, item id).

    The order of ``parts`` and how people are spread over them change nothing: people are numbered by their first row.
    """
    catalogue = {entry.item: entry for part in parts for entry in part.catalogue}
    catalogue = dict(sorted(catalogue.items()))
    names = sorted({item for part in parts for item in part.items})
    numbers = {item: number for number, item in enumerate(names)}
    offered = np.array([_offered(catalogue, item) for item in names], np.bool_)
    firsts = np.cumsum([0, *(part.people for part in parts)])
    item = _stacked([np.array([numbers[i] for i in part.items], np.int32)[part.item] for part in parts], np.int32)
    person = _stacked(
        [part.person.astype(np.int64) + first for part, first in zip(parts, firsts, strict=False)], np.int64
    )
    at = _stacked([part.at for part in parts], np.int64)
    event = np.concatenate([part.event for part in parts]) if parts else np.empty((0, 2), np.uint64)
    order = np.lexsort((item, event[:, 1], event[:, 0], at))
    order = order[offered[item[order]]] if len(names) else order
    order = order[_newest(person[order], rows_per_person)]
    distinct = np.ones(len(order), np.int64)
    distinct[1:] = (at[order][1:] != at[order][:-1]) | (event[order][1:] != event[order][:-1]).any(axis=1)
    touched, items = _renumbered(item[order])
    item_ids = [names[number] for number in touched.tolist()]
    known = set(item_ids)
    item_ids += [item for item, entry in catalogue.items() if entry.recommendable and item not in known]
    _, users = _renumbered(person[order])
    numbered = np.cumsum(distinct) - 1
    final = np.lexsort((items, numbered))
    order = order[final]
    return Dataset(
        Interactions(
            item_ids=tuple(item_ids),
            users=int(users.max()) + 1 if len(users) else 0,
            user=users[final],
            item=items[final],
            at=at[order],
            event=numbered[final].astype(np.int32),
            weight=_stacked([part.weight for part in parts], np.float32)[order],
            bought=_stacked([part.bought for part in parts], np.bool_)[order],
        ),
        _facts(item_ids, catalogue),
    )


def _facts(item_ids: Sequence[str], catalogue: Mapping[str, ItemUpserted]) -> ItemFacts:
    entries = [catalogue.get(item) or ItemUpserted(item) for item in item_ids]
    return ItemFacts(
        tuple(entry.category for entry in entries),
        tuple(entry.brand for entry in entries),
        tuple(entry.attributes for entry in entries),
    )


def _offered(catalogue: Mapping[str, ItemUpserted], item: str) -> bool:
    """Items known from events alone count only where there is no catalogue: the write key is public."""
    if not catalogue:
        return True
    entry = catalogue.get(item)
    return entry is not None and entry.recommendable


def _stacked(arrays: Sequence[npt.NDArray[T]], dtype: type[T]) -> npt.NDArray[T]:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype)


def _newest(person: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.bool_]:
    """Of rows in ascending order of time: which are among their person's last ``most``."""
    keep = np.ones(len(person), np.bool_)
    by_person = np.argsort(person, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(person[by_person]) != 0, True)) if len(person) else np.empty(0, np.int64)
    starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        keep[by_person[start : max(start, end + 1 - most)]] = False
    return keep


def _renumbered(numbers: npt.NDArray[np.generic]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """(old number by new, new number by row), new ones dense in order of first appearance.

    >>> _renumbered(np.array([7, 3, 7, 9]))
    (array([7, 3, 9]), array([0, 1, 0, 2], dtype=int32))
    """
    known, first, place = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    new = np.empty(len(known), np.int32)
    new[order] = np.arange(len(known), dtype=np.int32)
    return known[order].astype(np.int64), new[place].astype(np.int32, copy=False)


class _Person:
    """What is kept of one subject while reading: consent alone, folded as the profile folds it."""

    __slots__ = ("consent", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.consent: Profile = EMPTY


class _Gathering:
    def __init__(self) -> None:
        self._people: dict[bytes, _Person] = {}
        self._erased: set[int] = set()
        self._items: dict[str, int] = {}
        self._catalogue: dict[str, ItemUpserted] = {}
        self._person: list[int] = []
        self._item: list[int] = []
        self._at: list[int] = []
        self._event: list[bytes] = []
        self._weight: list[float] = []
        self._bought: list[bool] = []

    def add(self, fact: Fact) -> None:
        event = fact.payload.event
        if isinstance(event, ItemUpserted):
            self._catalogue[event.item] = event
        elif isinstance(event, ItemDeleted):
            self._catalogue.pop(event.item, None)
        elif isinstance(event, SubjectErased):
            person = self._people.pop(fact.record.subject, None)
            if person is not None:  # read while its key was still there
                self._erased.add(person.number)
        else:
            self._act(fact)

    def rows(self) -> Rows:
        person = np.array(self._person, np.int32)
        at = np.array(self._at, np.int64)
        kept = self._may_stay(person, at)
        items, item = self._used(np.array(self._item, np.int32)[kept])
        people, person = _renumbered(person[kept])
        ids = np.frombuffer(b"".join(self._event), ">u8").reshape(-1, 2).astype(np.uint64)
        return Rows(
            items=items,
            people=len(people),
            person=person,
            item=item,
            at=at[kept],
            event=ids[kept],
            weight=np.array(self._weight, np.float32)[kept],
            bought=np.array(self._bought, np.bool_)[kept],
            catalogue=tuple(entry for _, entry in sorted(self._catalogue.items())),
        )

    def _act(self, fact: Fact) -> None:
        meta, event, at = fact.payload.meta, fact.payload.event, fact.record.event_time
        consents = bool(meta.consent) or meta.gpc or isinstance(event, Consented)
        acts = isinstance(event, Interaction) and bool(event.lines) and not meta.test and not meta.bot
        if not consents and not acts:
            return
        person = self._people.get(fact.record.subject)
        if person is None:
            person = self._people[fact.record.subject] = _Person(len(self._people) + len(self._erased))
        if person.consent.default_consent is not meta.default_consent:
            person.consent = Profile(
                consent=person.consent.consent, since=person.consent.since, default_consent=meta.default_consent
            )
        if consents:
            person.consent = decide(person.consent, moment(at, fact.record.event_id), meta, event)
        if acts and allowed(person.consent) and at >= person.consent.since:
            assert isinstance(event, Interaction)
            self._interaction(person.number, at, fact.record.event_id, event)

    def _interaction(self, person: int, at: int, event_id: bytes, event: Interaction) -> None:
        weight = SIGNALS[event.signal].weight * min(event.weight, WEIGHT_MAX)
        if not weight > 0:
            return
        for item in dict.fromkeys(line.item for line in event.lines if line.item):
            self._person.append(person)
            self._item.append(self._items.setdefault(item, len(self._items)))
            self._at.append(at)
            self._event.append(event_id)
            self._weight.append(weight)
            self._bought.append(event.signal == "purchase")

    def _may_stay(self, person: npt.NDArray[np.int32], at: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Rows that consent as of now lets in: a withdrawal takes everything before it along."""
        since = np.full(len(self._people) + len(self._erased), np.iinfo(np.int64).max, np.int64)
        for known in self._people.values():
            if allowed(known.consent):
                since[known.number] = known.consent.since
        stay: npt.NDArray[np.bool_] = at >= since[person]
        return stay

    def _used(self, item: npt.NDArray[np.int32]) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
        """Sorted, so that the iteration order of sets never shows."""
        names = list(self._items)
        used = sorted({names[number] for number in np.unique(item).tolist()})
        numbers = {name: number for number, name in enumerate(used)}
        place = np.array([numbers.get(name, -1) for name in names], np.int32)
        return tuple(used), place[item]
