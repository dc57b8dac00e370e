"""What a profile says, as arrays over item indices: made once per profile version, then only read.

A request must not walk 256 purchases and 50 recent items in Python. The arrays hold everything that does not depend on
the time of reading; decay to *now* is one vectorised step on top (`strengths`, `Purchases.counts`).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from actors.decay import HALF_LIVES_MS, DecayTable, landmark
from actors.item_view import ItemView
from actors.profile import Glance, Profile, Recent
from actors.signals import SIGNALS
from events.ids import Key, Millis

Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.int32]

MOMENT_HALF_LIFE = 4.0
"""Moments after which a past moment counts half. Decaying a history by order as well as by time was the largest single
gain found on ML-1M (half-lives of 2 to 10 events; EASE .0535 to .1273 NDCG@10)."""

VISIT_MS = 2 * 3_600_000
"""How long a visit lasts, for how fast the past gives way to the present: after this time a recent item counts half."""

INTERESTS_MAX = 3
"""Categories of interest that popularity looks into."""

INTERESTS_PER_TABLE = 24
"""Interests considered per half-life, brands and attributes among them."""

FAVOURITES_MAX = 6
"""Purchases that stand for lasting taste in item-kNN."""

REGULAR_GAPS_MIN = 2
"""Fewest intervals between purchases (three purchases) that can show a rhythm."""

REGULAR_VARIATION_MAX = 0.6
"""Largest coefficient of variation of the intervals that still counts as a rhythm; a memoryless buyer has 1."""

HISTORIES_KEPT = 4_096
"""Histories held by one replica, at most about 25 kB each."""

HOUR_MS: Final = 3_600_000
LOG2_MAX: Final = 64.0
_RATE: Final = {half_life: 1.0 / ms for half_life, ms in HALF_LIVES_MS.items()}
_HALVINGS: Final = landmark(1, "hour") // HALF_LIVES_MS["hour"]
"""Half-lives between two landmarks, whatever the half-life."""
_CATEGORY: Final = "category:"
_EMPTY_F: Final = np.empty(0, np.float64)
_EMPTY_I: Final = np.empty(0, np.int32)


def _decayed(log2_value: Floats) -> Floats:
    """2^x, finite also where a clock that runs behind reads facts long before they happened."""
    values: Floats = np.exp2(np.minimum(log2_value, LOG2_MAX))
    return values


@dataclass(frozen=True, slots=True)
class Purchases:
    """The items bought that the catalogue knows, one row each, ordered by item index."""

    idx: Indices
    log2_sum: Floats
    """log2 of the decayed count's stored sum, its landmark added, so that count(now) = 2^(log2_sum - now/H)."""
    last: Floats
    """Time of the last purchase, ms."""
    gap: Floats
    """Mean interval between purchases, ms, for items bought in a rhythm; 0 for others."""
    regularity: Floats
    """1 - coefficient of variation of the intervals, 0 for items without a rhythm."""

    habits: npt.NDArray[np.float32]
    """Shape (5, rows). Four times the mean over the latest purchases, one of nothing added, of their point on a clock:
    cosine and sine of the hour of the day, of the hour of the week. Then 1 for what was bought once, 0 for the rest."""
    gap_of: Mapping[int, float]
    """Item index → ``gap`` of those bought in a rhythm, for naming it."""

    def counts(self, now: Millis) -> Floats:
        """Purchases of each item decayed with a half-life of 90 days, at ``now``."""
        return _decayed(self.log2_sum - now * _RATE["quarter"])


@dataclass(frozen=True, slots=True)
class Interests:
    """Liked categories, the most specific of each path. One entry per category and half-life."""

    category: tuple[int, ...]
    log2_sum: Floats
    rate: Floats
    """Halvings per millisecond."""

    def strongest(self, now: Millis) -> list[tuple[int, float]]:
        """(category, share of the strongest in (0, 1]) at ``now``, strongest first, ties by category."""
        liked: dict[int, float] = {}
        for category, value in zip(self.category, _decayed(self.log2_sum - now * self.rate).tolist(), strict=True):
            liked[category] = liked.get(category, 0.0) + value
        first = sorted(liked.items(), key=lambda entry: (-entry[1], entry[0]))[:INTERESTS_MAX]
        return [(category, value / first[0][1]) for category, value in first if value > 0]


@dataclass(frozen=True, slots=True)
class Seen:
    """Items that were really seen and not acted on since, ordered by item index: what somebody may be tired of."""

    idx: Indices
    log2_sum: Floats
    """log2 of the decayed impressions' stored sum, its landmark added, as `Purchases.log2_sum`."""

    def exposures(self, idx: Indices, now: Millis) -> Floats:
        """Impressions of each of ``idx`` (ascending) decayed with a half-life of a day, at ``now``; 0 for items not
        here. What was seen is looked for among the candidates, which are many more."""
        found = np.zeros(len(idx))
        if len(self.idx) and len(idx):
            place = idx.searchsorted(self.idx)
            place[place == len(idx)] = 0
            hit = (idx[place] == self.idx).nonzero()[0]
            found[place[hit]] = _decayed(self.log2_sum[hit] - now * _RATE["day"])
        return found


@dataclass(frozen=True, slots=True)
class History:
    """A profile's recent items, purchases and interests over item indices."""

    recent: Indices
    recent_log2: Floats
    """log2 of each recent item's strength before decay by time: signal weight over the size of its moment, halved every
    `MOMENT_HALF_LIFE` moments. The lines of one order share a moment, so every basket weighs the same."""
    recent_at: Floats
    recent_rate: Floats
    """Halvings per millisecond, by signal."""
    signals: Mapping[int, str]
    """Item index → the latest signal it got."""
    purchases: Purchases
    favourites: tuple[tuple[int, float], ...]
    """(item index, weight in (0, 1]) of the strongest purchases. All purchases share one half-life, so neither their
    order nor their ratios depend on the time of reading."""
    interests: Interests
    seen: Seen
    segments: tuple[str, ...] = ()
    """Segments the profile is in, by name."""

    def strengths(self, now: Millis) -> Floats:
        """Strength of each recent item at ``now``: decayed by its signal's half-life, and divided by 1 + the visits'
        worth of time since. A look a minute ago is what the person is after; last week's basket comes back into its
        own as soon as nothing newer stands beside it.
        """
        age = np.maximum(now - self.recent_at, 0.0)
        return _decayed(self.recent_log2 - age * self.recent_rate) / (1.0 + age / VISIT_MS)


NO_PURCHASES: Final = Purchases(_EMPTY_I, _EMPTY_F, _EMPTY_F, _EMPTY_F, _EMPTY_F, np.empty((5, 0), np.float32), {})
NO_INTERESTS: Final = Interests((), _EMPTY_F, _EMPTY_F)
NO_SEEN: Final = Seen(_EMPTY_I, _EMPTY_F)
NO_HISTORY: Final = History(_EMPTY_I, _EMPTY_F, _EMPTY_F, _EMPTY_F, {}, NO_PURCHASES, (), NO_INTERESTS, NO_SEEN)
"""Of a newcomer, and of everyone who has not consented to personalization."""


def history_of(profile: Profile, items: ItemView) -> History:
    """The arrays of one profile. Left out: items the catalogue does not know, purchases wholly refunded, and recent
    items where the last act took something back."""
    recent = [(idx, entry) for entry in profile.recent if entry.weight > 0 and (idx := items.index(entry.item)) >= 0]
    purchases = _purchases(profile, items)
    return History(
        recent=np.array([idx for idx, _ in recent], np.int32),
        recent_log2=_moment_strengths([entry for _, entry in recent]),
        recent_at=np.array([entry.at for _, entry in recent], np.float64),
        recent_rate=np.array([_RATE[SIGNALS[entry.signal].half_life] for _, entry in recent], np.float64),
        signals={idx: entry.signal for idx, entry in reversed(recent)},
        purchases=purchases,
        favourites=_favourites(purchases),
        interests=_interests(profile, items),
        seen=_seen(profile, items),
        segments=tuple(sorted(name for name, membership in profile.segments.items() if membership.entered)),
    )


def _seen(profile: Profile, items: ItemView) -> Seen:
    """Whoever acted on an item at or after its last impression is not tired of it (`actors.impressions.fatigue`)."""
    last = profile.impressions.last
    if not last:
        return NO_SEEN
    acted = {entry.item: entry.at for entry in profile.recent}
    for name in last.keys() & profile.purchases.keys():
        times = profile.purchases[name].times
        if times:
            acted[name] = max(acted.get(name, times[-1]), times[-1])
    table, index = profile.impressions.seen, items.index
    tiring = {
        idx: table.sums.get(item, 0.0)
        for item, at in last.items()
        if acted.get(item, at - 1) < at and (idx := index(item)) >= 0
    }
    numbers = sorted(number for number, stored in tiring.items() if stored > 0)
    sums = np.array([tiring[number] for number in numbers], np.float64)
    return Seen(np.array(numbers, np.int32), np.log2(sums) + table.k * _HALVINGS)


def _moment_strengths(recent: list[Recent]) -> Floats:
    """log2(signal weight) - log2(items in the moment) - moments ago / `MOMENT_HALF_LIFE`, newest moment 0."""
    sizes: dict[int, int] = {}
    for entry in recent:
        sizes[entry.at] = sizes.get(entry.at, 0) + 1
    moment = {at: number for number, at in enumerate(sorted(sizes, reverse=True))}
    weights = np.array([entry.weight for entry in recent], np.float64)
    shared = np.array([sizes[entry.at] for entry in recent], np.float64)
    ago = np.array([moment[entry.at] for entry in recent], np.float64)
    strengths: Floats = np.log2(weights) - np.log2(shared) - ago / MOMENT_HALF_LIFE
    return strengths


def _purchases(profile: Profile, items: ItemView) -> Purchases:
    index = items.index
    numbered = [(index(purchase.item), purchase) for purchase in profile.purchases.values()]
    known = [(idx, p) for idx, p in numbered if idx >= 0 and p.s > 0 and p.count > 0 and p.times]
    if not known:
        return NO_PURCHASES
    idx = np.array([number for number, _ in known], np.int32)
    purchases = [purchase for _, purchase in known]
    order = np.argsort(idx)
    log2_sum = np.log2([purchase.s for purchase in purchases])
    log2_sum += np.array([purchase.k for purchase in purchases], np.float64) * _HALVINGS
    count = np.array([len(purchase.times) for purchase in purchases])
    times = np.array(list(chain.from_iterable(purchase.times for purchase in purchases)), np.float64)
    gap, regularity = _rhythms(times, count)
    return Purchases(
        idx=idx[order],
        log2_sum=log2_sum[order],
        last=np.array([purchase.times[-1] for purchase in purchases], np.float64)[order],
        gap=gap[order],
        regularity=regularity[order],
        habits=_habits(times, count)[:, order],
        gap_of=dict(zip(idx[gap > 0].tolist(), gap[gap > 0].tolist(), strict=True)),
    )


def _rhythms(flat: Floats, count: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Of each item's purchase times (``count`` of them, distinct, ascending): mean gap in ms and regularity, zeros
    without a rhythm."""
    stop = np.cumsum(count)
    start = stop - count
    step = np.append(np.diff(flat), 0.0)
    step[stop - 1] = 0.0
    gaps = np.maximum(count - 1, 1)
    mean = (flat[stop - 1] - flat[start]) / gaps
    unit = np.where(mean > 0, mean, 1.0)
    squares = np.add.reduceat((step / np.repeat(unit, count)) ** 2, start)
    variation = np.sqrt(np.maximum(squares / gaps - 1.0, 0.0))
    regular = (count > REGULAR_GAPS_MIN) & (variation <= REGULAR_VARIATION_MAX)
    return np.where(regular, mean, 0.0), np.where(regular, 1.0 - variation, 0.0)


def hour_of_week(at: Millis) -> int:
    """0..167, on a clock that shows UTC: what counts is how far two times are apart."""
    return at // HOUR_MS % len(CLOCK)


def _clock() -> Floats:
    hours = np.arange(7 * 24)
    day, week = 2.0 * np.pi * hours / 24, 2.0 * np.pi * hours / (7 * 24)
    return np.stack([np.cos(day), np.sin(day), np.cos(week), np.sin(week)], axis=1)


CLOCK: Final = _clock()
"""By hour of the week: cosine and sine of its angle on the clock of the day, and on that of the week."""


def _habits(flat: Floats, count: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Of each item's purchase times: see `Purchases.habits`."""
    points = CLOCK.take((flat // HOUR_MS).astype(np.int64) % len(CLOCK), axis=0)
    sums = np.add.reduceat(points, np.cumsum(count) - count, axis=0)
    return np.concatenate([sums.T / (count + 1), [count == 1]]).astype(np.float32)


def _favourites(purchases: Purchases) -> tuple[tuple[int, float], ...]:
    if not len(purchases.idx):
        return ()
    order = np.lexsort((purchases.idx, -purchases.log2_sum))[:FAVOURITES_MAX]
    weights = np.exp2(purchases.log2_sum[order] - purchases.log2_sum[order[0]])
    return tuple(zip(purchases.idx[order].tolist(), weights.tolist(), strict=True))


def _interests(profile: Profile, items: ItemView) -> Interests:
    liked = [(stored, table, path) for table in profile.interests.values() for stored, path in _liked(table)]
    general = {path.rpartition(" > ")[0] for _, _, path in liked}
    known = [
        (category, math.log2(stored) + table.k * _HALVINGS, _RATE[table.half_life])
        for stored, table, path in liked
        if path not in general and (category := items.category_id(path)) >= 0
    ]
    return Interests(
        category=tuple(category for category, _, _ in known),
        log2_sum=np.array([log2_sum for _, log2_sum, _ in known], np.float64),
        rate=np.array([rate for _, _, rate in known], np.float64),
    )


def _liked(table: DecayTable) -> list[tuple[float, str]]:
    """(stored sum, category path) of the categories liked best under one half-life, ties by path."""
    sums = table.sums
    cut = max(sorted(sums.values())[-INTERESTS_PER_TABLE:][0], 0.0) if sums else 0.0
    best = [(-v, key) for key, v in sums.items() if v >= cut and v > 0 and key.startswith(_CATEGORY)]
    return [(-v, key[len(_CATEGORY) :]) for v, key in sorted(best)[:INTERESTS_PER_TABLE]]


class HistoryCache:
    """Histories of the profiles asked for lately, so that the arrays are made once per profile version.

    A profile of one version and log position never is another profile, and item indices never change within one
    numbering; new items may make an unknown one known, hence the catalogue's size. One history is kept per profile.
    """

    def __init__(self, kept: int = HISTORIES_KEPT) -> None:
        self._kept = kept
        self._made: OrderedDict[Key, tuple[tuple[bytes, int, int, str, int], History]] = OrderedDict()

    def of(self, key: Key, profile: Glance, items: ItemView) -> History:
        state = (profile.subject, profile.version, profile.lsn, items.numbering, items.size)
        known = self._made.get(key)
        if known is not None and known[0] == state:
            self._made.move_to_end(key)
            return known[1]
        history = history_of(profile.whole(), items)
        self._made[key] = state, history
        self._made.move_to_end(key)
        if len(self._made) > self._kept:
            self._made.popitem(last=False)
        return history
