"""What became of answered lists: decisions joined with the impressions and acts that followed, one list at a time.

The rules are those of `training.attribution`; here they run over a stream, so that only the lists whose windows are
open are held. An impression names its list, or else belongs, item by item, to the latest list answered to the same
person that holds the item and is not older than `LATE_US`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from heapq import merge
from typing import Final

from msgspec.structs import replace as with_fields

from actors.follower import Fact
from events.errors import BadId
from events.types import Impression, Interaction
from serving.decision import Place
from serving.decision_period import Answered, DecisionPeriod, Period
from training.attribution import (
    DEFAULT_WINDOWS,
    EARLY_US,
    HOUR_US,
    Act,
    Impressed,
    Row,
    Windows,
    act_of,
    counts_for,
    latest,
    waits,
)

LATE_US: Final = 24 * HOUR_US
"""An impression later than this after its answer is not one of it, as for the learner."""
TYPES: Final = frozenset({"impression", "interaction"})


@dataclass(frozen=True, slots=True)
class JoinedList:
    """A decision with what became of each slot; None for one that was not seen."""

    answered: Answered
    rows: tuple[Row | None, ...]
    closed: bool
    """Whether every window had closed when the log was read."""


@dataclass(slots=True)
class _Open:
    answered: Answered
    places: dict[str, int]
    rows: list[Row | None]
    seen: Impressed | None = None
    """The first impression of it: all its windows count from there."""
    early: list[Act] = field(default_factory=list)
    """Acts that name it, on items that were not seen yet."""


class Joining:
    """Lists whose windows are open. Facts come in the order of `moment`."""

    def __init__(self, windows: Windows = DEFAULT_WINDOWS) -> None:
        self._windows = windows
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._rows: dict[tuple[bytes, str], list[Row]] = {}
        self._answered: dict[tuple[bytes, str], _Open] = {}

    def add(self, fact: Answered | Impressed | Act) -> None:
        match fact:
            case Answered():
                self._answer(fact)
            case Impressed():
                self._see(fact)
            case Act():
                self._act(fact)

    def closed(self, now: int) -> Iterator[JoinedList]:
        """The lists to which nothing that comes after ``now`` (us) can be added, oldest first."""
        waits = LATE_US + self._windows.longest + 2 * EARLY_US
        while self._open:
            first = next(iter(self._open.values()))
            if first.answered.at + waits >= now:
                return
            yield self._pop(closed=True)

    def rest(self, now: int) -> Iterator[JoinedList]:
        """Everything that is left at the end of the log, ``now``."""
        yield from self.closed(now)
        while self._open:
            yield self._pop(closed=False)

    def _pop(self, *, closed: bool) -> JoinedList:
        _, one = self._open.popitem(last=False)
        for item, row in zip(one.places, one.rows, strict=True):
            key = (one.answered.subject, item)
            if self._answered.get(key) is one:
                del self._answered[key]
            if row is not None:
                self._rows[row.subject, item].remove(row)
                if not self._rows[row.subject, item]:
                    del self._rows[row.subject, item]
        return JoinedList(one.answered, tuple(one.rows), closed)

    def _answer(self, answered: Answered) -> None:
        items = [shown.item for shown in answered.decision.slate]
        one = _Open(answered, {item: place for place, item in enumerate(items)}, [None] * len(items))
        self._open[answered.place.text] = one
        for item in items:
            self._answered[answered.subject, item] = one
        if answered.decision.rules.impression == "assumed":
            self._see(Impressed(answered.place.text, answered.subject, items, answered.at))

    def _see(self, seen: Impressed) -> None:
        for item in seen.items:
            one = self._list_of(seen, item)
            if one is None or item not in one.places or seen.at - one.answered.at > LATE_US:
                continue
            opened = one.seen = one.seen or seen
            if seen.at - opened.at > self._windows.click:
                continue
            place = one.places[item]
            row = one.rows[place]
            if row is None:
                row = one.rows[place] = Row(one.answered.place.text, item, opened.subject, opened.at)
                self._rows.setdefault((row.subject, item), []).append(row)
                for act in one.early:
                    if item in act.items and seen.at - act.at <= waits(self._windows):
                        self._late(row, act)

    def _list_of(self, seen: Impressed, item: str) -> _Open | None:
        """The list an item was seen in. An id of ours that is not here leads nowhere else: that list was answered
        before the period, or must not be read. An id of the client's own says nothing about which answer it was."""
        if seen.list_id:
            named = self._open.get(seen.list_id)
            if named is not None or _is_ours(seen.list_id):
                return named
        return self._answered.get((seen.subject, item))

    def _late(self, row: Row, act: Act) -> None:
        if counts_for(row.at, act, self._windows, named=True):
            row.outcome_at.setdefault(act.outcome, act.at)

    def _act(self, act: Act) -> None:
        listed = self._open.get(act.list_id) if act.list_id else None
        if listed is not None and any(
            listed.rows[listed.places[item]] is None for item in act.items if item in listed.places
        ):
            listed.early.append(act)
        for item in act.items:
            place = listed.places.get(item) if listed is not None else None
            row = listed.rows[place] if listed is not None and place is not None else None
            if row is None or not counts_for(row.at, act, self._windows, named=True):
                row = latest(self._rows.get((act.subject, item), ()), act.at)
                if row is None or not counts_for(row.at, act, self._windows, named=False):
                    continue
            row.outcome_at.setdefault(act.outcome, act.at)


def _is_ours(list_id: str) -> bool:
    try:
        Place.parse(list_id)
    except BadId:
        return False
    return True


def moment(fact: Answered | Impressed | Act) -> int:
    """The order facts are joined in, us: an impression stands before acts that may name it, its answer before both."""
    match fact:
        case Answered():
            return fact.at - 2 * EARLY_US
        case Impressed():
            return fact.at - EARLY_US
        case Act():
            return fact.at


def joined(
    decisions: Iterable[Answered], facts: Iterable[Impressed | Act], end: int, windows: Windows = DEFAULT_WINDOWS
) -> Iterator[JoinedList]:
    """Every decision with what became of it, in the order they came; ``end``: the time of the log's end, us.

    Args:
        decisions: by time.
        facts: in the order of `moment`.
    """
    joining = Joining(windows)
    for fact in merge(decisions, facts, key=moment):
        yield from joining.closed(moment(fact))
        joining.add(fact)
    yield from joining.rest(end)


def what_became(
    reading: DecisionPeriod, period: Period, now: int, windows: Windows = DEFAULT_WINDOWS
) -> Iterator[JoinedList]:
    """The decisions of ``period`` and what the log says of them up to ``now``, us. Candidates are dropped: they are
    most of a record, and a list is held for as long as its windows are open."""
    until = min(period.until + LATE_US + windows.longest + EARLY_US, now)
    facts = in_moments(told(reading.facts(period.since, until, TYPES)))
    light = (_light(one) for one in reading.decisions(period))
    yield from joined(light, facts, now, windows)


def _light(one: Answered) -> Answered:
    return replace(one, decision=with_fields(one.decision, candidates=(), scores=b"", kinds=b""))


def told(facts: Iterable[Fact]) -> Iterator[Impressed | Act]:
    """Impressions and acts among facts. Those of bots and tests are none."""
    for fact in facts:
        meta, event, record = fact.payload.meta, fact.payload.event, fact.record
        if meta.bot or meta.test:
            continue
        if isinstance(event, Impression):
            yield Impressed(event.list_id, record.subject, event.items, record.appended)
        elif isinstance(event, Interaction):
            act = act_of(record.subject, record.appended, event)
            if act is not None:
                yield act


def in_moments(facts: Iterable[Impressed | Act]) -> Iterator[Impressed | Act]:
    """Facts that come by time, put into the order of `moment`. Holds those of `EARLY_US`."""
    waiting: list[Act] = []
    for fact in facts:
        ready = fact.at - EARLY_US
        cut = 0
        while cut < len(waiting) and waiting[cut].at <= ready:
            cut += 1
        yield from waiting[:cut]
        del waiting[:cut]
        if isinstance(fact, Impressed):
            yield fact
        else:
            waiting.append(fact)
    yield from waiting
