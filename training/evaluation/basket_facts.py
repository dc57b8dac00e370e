"""Facts about candidates just before a basket: what the household did with the item, with its product type, and what
everybody did, as plain counts and times.

`Walk` goes through the baskets in the order of time, test, then learn: a basket's facts are read before anything of its
moment is added, and baskets of one moment are all asked before any of them is learned. Decayed sums are stored relative
to the first day (Cormode, Shkapenyuk, Srivastava, Xu: Forward decay, ICDE 2009), so adding a line touches one row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from training.evaluation.basket_log import BasketLog, Int32, Int64, Places, places

Float32: TypeAlias = npt.NDArray[np.float32]
Float64: TypeAlias = npt.NDArray[np.float64]

DAYS: Final = np.array([5.0, 15.0, 30.0, 90.0, 250.0])
"""Half-lives of personal counts. 90 days is the best single one; the others tell a new habit from an old one."""
BASKETS: Final = np.array([3.0, 8.0, 20.0])
"""Half-lives in the household's own baskets: who shops daily forgets in fewer days than who comes once a month."""
KIND_DAYS: Final = np.array([15.0, 90.0])
POPULAR_DAYS: Final = np.array([3.0, 10.0, 30.0, 120.0])
"""3 days follow this week's promotion, 120 the season."""
STORE_DAYS: Final = 60.0
SHARED_DAYS: Final = 90.0
HOURS: Final = 8
"""Parts of the day, three hours each."""
NEVER: Final = 999.0
"""Days and baskets since something that never happened."""

FACTS: Final = (
    "count_5d",
    "count_15d",
    "count_30d",
    "count_90d",
    "count_250d",
    "count_3b",
    "count_8b",
    "count_20b",
    "shared_90d",
    "count",
    "days_since",
    "baskets_since",
    "days_known",
    "baskets_known",
    "gap",
    "gap_rms",
    "same_hour",
    "same_weekday",
    "own",
    "kind_15d",
    "kind_90d",
    "kind_days_since",
    "kind_count",
    "kind_gap",
    "popular_3d",
    "popular_10d",
    "popular_30d",
    "popular_120d",
    "rebought",
    "rebuyable",
    "hour_lift",
    "basket_size",
    "popular_store",
    "idle_days",
    "baskets",
    "mean_size",
    "last_size",
    "hour_sin",
    "hour_cos",
)
"""Columns of the facts, float32.

``count_*``: the household's baskets with the item, decayed by days or by baskets; ``shared_90d``: each worth 1 / its
size. ``gap`` mean, ``gap_rms`` root mean square days between purchases. ``same_hour``, ``same_weekday``: Σ over
purchases of the cosine of the angle between then and now on the clock, on the week. ``own``: 1 if ever bought.
``kind_*``: the same of the item's product type. ``popular_*``: everybody's lines, decayed; ``_store`` in the store the
household was in last. ``rebought`` / ``rebuyable``: baskets that held the item again / that could have, over all
households. ``hour_lift``: log of the item's share of this part of the day over its share of the day, shrunk.
``basket_size``: mean log size of baskets with it. The last six are of the household and the clock alone."""
AT: Final = {name: number for number, name in enumerate(FACTS)}

OWN_PER: Final = 150
"""Own items per request, those bought most lately and often: beyond, a wanted item is missed by every model alike."""
POPULAR_MAX: Final = 50
"""Most popular items not bought before, per request."""
KINDS_MAX: Final = 6
PER_KIND: Final = 6
"""Of the household's six favourite product types, the six most popular items each."""
CANDIDATES_MAX: Final = OWN_PER + POPULAR_MAX + KINDS_MAX * PER_KIND
LISTED: Final = 10
"""Popular items reported as they stand, for the baseline."""
CLOCK: Final = 2.0 * np.pi


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: candidates with their facts. Household items first, each part ascending by item."""

    basket: int
    item: Int32
    facts: Float32
    """Shape (candidates, facts)."""
    wanted: npt.NDArray[np.bool_]
    history: tuple[Int32, Float32]
    """Every item bought before and its count decayed by 90 days."""
    popular: Int32
    """The most popular items of all, best first."""


class Walk:
    """Reads a log once; `ask` chooses the baskets whose facts are wanted."""

    def __init__(self, log: BasketLog) -> None:
        self._log = log
        kinds = int(log.kind.max()) + 1
        owner = log.household[log.line_basket]
        self._mine = _Mine(places(owner, log.item, log.households, log.items), log.items)
        self._types = _Types(places(owner, log.kind[log.item], log.households, kinds), kinds)
        self._everybody = _Everybody(log.items, int(log.store.max()) + 1)
        self._shelf = _Shelf(log.kind, kinds)
        self._households = [_Household() for _ in range(log.households)]

    def ask(self, chosen: npt.NDArray[np.bool_]) -> Iterator[Asked]:
        """Facts before each basket where ``chosen``, in the order of the log."""
        log = self._log
        moment = np.flatnonzero(np.append(np.diff(log.day, prepend=-1.0) != 0, True))
        for begin, end in zip(moment[:-1].tolist(), moment[1:].tolist(), strict=True):
            for basket in range(begin, end):
                if chosen[basket]:
                    yield self._asked(basket)
            for basket in range(begin, end):
                self._learn(basket)

    def _asked(self, basket: int) -> Asked:
        log = self._log
        day, household = float(log.day[basket]), int(log.household[basket])
        known = self._households[household]
        self._shelf.refresh(day, self._everybody.popular)
        own = self._mine.known(household, known.items)
        count = self._mine.decayed(own, day)
        kept = own.start + _largest(self._mine.strength(own, day, known.baskets), OWN_PER)
        new = self._new(household, known, day)
        item = np.concatenate((self._mine.item[kept], new))
        facts = np.zeros((len(item), len(FACTS)), np.float32)
        self._mine.describe(facts[: len(kept)], kept, day, known.baskets)
        facts[len(kept) :, AT["days_since"] : AT["gap_rms"] + 1] = NEVER
        self._types.describe(facts, log.kind[item], household, known.kinds, day)
        self._everybody.describe(facts, item, day, known.store)
        facts[:, AT["idle_days"] :] = known.describe(day)
        wanted = np.isin(item, log.item[log.start[basket] : log.start[basket + 1]])
        return Asked(basket, item, facts, wanted, (self._mine.item[own], count), self._shelf.best)

    def _new(self, household: int, known: _Household, day: float) -> Int32:
        """Items not bought before: popular ones, and those of favourite types."""
        own = self._mine.item[self._mine.known(household, known.items)]
        favourites = self._types.favourites(household, known.kinds)
        return self._shelf.unknown(own, favourites)

    def _learn(self, basket: int) -> None:
        log = self._log
        lines = slice(int(log.start[basket]), int(log.start[basket + 1]))
        day, item = float(log.day[basket]), log.item[lines]
        household = int(log.household[basket])
        known = self._households[household]
        again = self._mine.learn(lines, day, known.baskets)
        self._everybody.rebuyable(self._mine.item[self._mine.known(household, known.items)], item[again])
        self._types.learn(lines, day)
        self._everybody.learn(item, day, int(log.store[basket]))
        known.items = max(known.items, self._mine.reach(lines, household))
        known.kinds = max(known.kinds, self._types.reach(lines, household))
        known.learn(day, len(item), int(log.store[basket]))


class _Household:
    """What a household's baskets add up to."""

    __slots__ = ("baskets", "items", "kinds", "last_day", "last_size", "lines", "store")

    def __init__(self) -> None:
        self.baskets = self.items = self.kinds = self.lines = self.last_size = 0
        self.last_day, self.store = float("nan"), -1

    def describe(self, day: float) -> tuple[float, ...]:
        """From ``idle_days`` on."""
        idle = day - self.last_day if self.baskets else NEVER
        turn = CLOCK * (int(day % 1.0 * HOURS) / HOURS)
        mean = self.lines / max(self.baskets, 1)
        return idle, self.baskets, mean, self.last_size, float(np.sin(turn)), float(np.cos(turn))

    def learn(self, day: float, size: int, store: int) -> None:
        self.baskets += 1
        self.lines += size
        self.last_day, self.last_size, self.store = day, size, store


class _Mine:
    """Household and item."""

    def __init__(self, where: Places, items: int) -> None:
        count = len(where)
        self._where = where
        self.item = where.thing
        self._by_day = np.zeros((count, len(DAYS)))
        self._by_basket = np.zeros((count, len(BASKETS)))
        self._shared = np.zeros(count)
        self._count = np.zeros(count)
        self._first, self._last = np.zeros(count), np.zeros(count)
        self._first_basket, self._last_basket = np.zeros(count), np.zeros(count)
        self._squares = np.zeros(count)
        self._clock = np.zeros((count, 4))

    def known(self, household: int, items: int) -> slice:
        first = int(self._where.first[household])
        return slice(first, first + items)

    def reach(self, lines: slice, household: int) -> int:
        return int(self._where.of_line[lines].max()) + 1 - int(self._where.first[household])

    def decayed(self, own: slice, day: float) -> Float32:
        """``count_90d``."""
        return np.asarray(self._by_day[own, 3] * np.exp2(-day / DAYS[3]), np.float32)

    def strength(self, own: slice, day: float, baskets: int) -> Float64:
        """By what own items are kept as candidates: counts of three memories, added."""
        by_day = self._by_day[own] * np.exp2(-day / DAYS)
        by_basket = self._by_basket[own, 2] * np.exp2(-baskets / BASKETS[2])
        return np.asarray(by_day[:, 3] + by_day[:, 1] + 0.5 * by_basket, np.float64)

    def describe(self, out: Float32, at: Int64, day: float, baskets: int) -> None:
        count = self._count[at]
        gaps = np.maximum(count - 1.0, 1.0)
        clock = self._clock[at]
        hour, weekday = CLOCK * day, CLOCK * day / 7.0
        out[:, 0:5] = self._by_day[at] * np.exp2(-day / DAYS)
        out[:, 5:8] = self._by_basket[at] * np.exp2(-baskets / BASKETS)
        out[:, AT["shared_90d"]] = self._shared[at] * np.exp2(-day / SHARED_DAYS)
        out[:, AT["count"]] = count
        out[:, AT["days_since"]] = day - self._last[at]
        out[:, AT["baskets_since"]] = baskets - self._last_basket[at]
        out[:, AT["days_known"]] = day - self._first[at]
        out[:, AT["baskets_known"]] = baskets - self._first_basket[at]
        out[:, AT["gap"]] = (self._last[at] - self._first[at]) / gaps
        out[:, AT["gap_rms"]] = np.sqrt(self._squares[at] / gaps)
        out[:, AT["same_hour"]] = clock[:, 0] * np.cos(hour) + clock[:, 1] * np.sin(hour)
        out[:, AT["same_weekday"]] = clock[:, 2] * np.cos(weekday) + clock[:, 3] * np.sin(weekday)
        out[:, AT["own"]] = 1.0

    def learn(self, lines: slice, day: float, baskets: int) -> npt.NDArray[np.bool_]:
        """Whether each line's item had been bought before."""
        at = self._where.of_line[lines]
        again: npt.NDArray[np.bool_] = self._count[at] > 0
        self._by_day[at] += np.exp2(day / DAYS)
        self._by_basket[at] += np.exp2(baskets / BASKETS)
        self._shared[at] += np.exp2(day / SHARED_DAYS) / len(at)
        self._squares[at] += np.where(again, day - self._last[at], 0.0) ** 2
        self._first[at] = np.where(again, self._first[at], day)
        self._first_basket[at] = np.where(again, self._first_basket[at], baskets)
        self._last[at], self._last_basket[at] = day, baskets
        self._count[at] += 1.0
        hour, weekday = CLOCK * day, CLOCK * day / 7.0
        self._clock[at] += (np.cos(hour), np.sin(hour), np.cos(weekday), np.sin(weekday))
        return again


class _Types:
    """Household and product type."""

    def __init__(self, where: Places, kinds: int) -> None:
        self._where = where
        self._sums = np.zeros((len(where), len(KIND_DAYS)))
        self._count = np.zeros(len(where))
        self._first, self._last = np.zeros(len(where)), np.zeros(len(where))
        self._place = np.full(kinds, -1, np.int64)
        """Scratch: the place of each type of the household at hand."""

    def reach(self, lines: slice, household: int) -> int:
        return int(self._where.of_line[lines].max()) + 1 - int(self._where.first[household])

    def favourites(self, household: int, kinds: int) -> Int32:
        """Product types bought most, best first."""
        first = int(self._where.first[household])
        own = slice(first, first + kinds)
        return self._where.thing[own][np.argsort(-self._sums[own, 1], kind="stable")[:KINDS_MAX]]

    def describe(self, out: Float32, kind: Int32, household: int, kinds: int, day: float) -> None:
        first = int(self._where.first[household])
        own = self._where.thing[first : first + kinds]
        self._place[own] = np.arange(first, first + kinds)
        at = self._place[kind]
        self._place[own] = -1
        met = at >= 0
        at = at[met]
        count = self._count[at]
        out[:, AT["kind_days_since"]] = NEVER
        out[met, AT["kind_15d"] : AT["kind_90d"] + 1] = self._sums[at] * np.exp2(-day / KIND_DAYS)
        out[met, AT["kind_days_since"]] = day - self._last[at]
        out[met, AT["kind_count"]] = count
        out[met, AT["kind_gap"]] = (self._last[at] - self._first[at]) / np.maximum(count - 1.0, 1.0)

    def learn(self, lines: slice, day: float) -> None:
        at = np.unique(self._where.of_line[lines])
        self._first[at] = np.where(self._count[at] > 0, self._first[at], day)
        self._last[at] = day
        self._count[at] += 1.0
        self._sums[at] += np.exp2(day / KIND_DAYS)


class _Everybody:
    """Items over all households."""

    def __init__(self, items: int, stores: int) -> None:
        self._sums = np.zeros((items, len(POPULAR_DAYS)))
        self._by_store = np.zeros((stores, items), np.float32)
        self._by_hour = np.zeros((HOURS, items), np.float32)
        self._hours = np.zeros(HOURS)
        self._lines = np.zeros(items)
        self._log_sizes = np.zeros(items)
        self._again, self._could = np.zeros(items), np.zeros(items)

    @property
    def popular(self) -> Float64:
        """Lines decayed by 30 days, up to a factor that is the same for all."""
        return self._sums[:, 2]

    def describe(self, out: Float32, item: Int32, day: float, store: int) -> None:
        out[:, AT["popular_3d"] : AT["popular_120d"] + 1] = self._sums[item] * np.exp2(-day / POPULAR_DAYS)
        out[:, AT["rebought"]] = self._again[item]
        out[:, AT["rebuyable"]] = self._could[item]
        hour = int(day % 1.0 * HOURS)
        usual = max(self._hours[hour], 1.0) / max(float(self._hours.sum()), 1.0)
        share = (self._by_hour[hour, item] + 20.0 * usual) / (self._lines[item] + 20.0)
        out[:, AT["hour_lift"]] = np.log(share / usual)
        out[:, AT["basket_size"]] = (self._log_sizes[item] + 4.0) / (self._lines[item] + 2.0)
        if store >= 0:
            out[:, AT["popular_store"]] = self._by_store[store, item] * np.exp2(-day / STORE_DAYS)

    def rebuyable(self, own: Int32, again: Int32) -> None:
        """A household that owned ``own`` came, and bought ``again`` of it."""
        self._could[own] += 1.0
        self._again[again] += 1.0

    def learn(self, item: Int32, day: float, store: int) -> None:
        hour = int(day % 1.0 * HOURS)
        self._sums[item] += np.exp2(day / POPULAR_DAYS)
        self._by_store[store, item] += np.float32(np.exp2(day / STORE_DAYS))
        self._by_hour[hour, item] += 1.0
        self._hours[hour] += len(item)
        self._lines[item] += 1.0
        self._log_sizes[item] += np.log(len(item))


class _Shelf:
    """The most popular items, overall and by product type, made anew twice a day."""

    def __init__(self, kind: Int32, kinds: int) -> None:
        self._kind = kind
        self._half_day = -1
        self._top = np.empty(0, np.int32)
        self._of_kind = np.full((kinds, PER_KIND), -1, np.int32)
        self._mine = np.zeros(len(kind), bool)

    def refresh(self, day: float, popular: Float64) -> None:
        if int(day * 2) == self._half_day:
            return
        self._half_day = int(day * 2)
        sold = np.flatnonzero(popular > 0)
        order = sold[np.lexsort((sold, -popular[sold]))].astype(np.int32)
        self._top = order[: 4 * POPULAR_MAX]
        by_kind = order[np.argsort(self._kind[order], kind="stable")]
        kind = self._kind[by_kind]
        rank = np.arange(len(kind)) - np.searchsorted(kind, kind)
        within = rank < PER_KIND
        self._of_kind[:] = -1
        self._of_kind[kind[within], rank[within]] = by_kind[within]

    @property
    def best(self) -> Int32:
        return self._top[:LISTED]

    def unknown(self, own: Int32, kinds: Int32) -> Int32:
        """Of the most popular and of those of ``kinds``, the ones not in ``own``, ascending."""
        self._mine[own] = True
        top = self._top[~self._mine[self._top]][:POPULAR_MAX]
        of_kind = self._of_kind[kinds].ravel()
        of_kind = of_kind[(of_kind >= 0) & ~self._mine[of_kind]]
        self._mine[own] = False
        return np.union1d(top, of_kind).astype(np.int32)


def _largest(values: Float64, count: int) -> Int64:
    """Positions of the ``count`` largest, ties by lower position, ascending."""
    if len(values) <= count:
        return np.arange(len(values))
    return np.sort(np.argsort(-values, kind="stable")[:count])
