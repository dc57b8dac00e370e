"""Features as they were: what a model may be fitted on, for decisions made long ago.

Features of shown items are in the decision log. *Profile* features are made again by replay: a decision names the last
record its profile held, and folding a person's records up to that one gives the very same profile, bit for bit, because
the fold depends on nothing else. A *new* item feature takes two passes: tables of every item by the hour, then a join
that takes the value of the last hour that had ended, so an hour's own events never speak for themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from actors.fold import fold
from actors.follower import Fact
from actors.profile import EMPTY, Profile
from training.interactions import Int32, Int64, Interactions

HOUR_MS: Final = 3_600_000
Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A profile as it was."""

    subject: bytes
    lsn: int
    """The last record it holds."""
    profile: Profile


def profiles_at(facts: Iterable[Fact], wanted: Mapping[bytes, Sequence[int]]) -> Iterator[Rebuilt]:
    """The profiles of subjects at the LSNs wanted of each, in one pass over the facts of one partition in the order of
    its log. An LSN that is not one of the subject's own means the profile as of it. Subjects of whom the log holds
    nothing readable (erased ones) yield nothing.
    """
    left = {subject: sorted(set(lsns), reverse=True) for subject, lsns in wanted.items()}
    known: dict[bytes, Profile] = {}
    for fact in facts:
        record = fact.record
        ahead = left.get(record.subject)
        if ahead is None:
            continue
        profile = known.get(record.subject)
        while ahead and ahead[-1] < record.lsn:
            lsn = ahead.pop()
            if profile is not None:
                yield Rebuilt(record.subject, lsn, profile)
        if profile is None:
            profile = replace(EMPTY, subject=record.subject)
        known[record.subject] = fold(profile, record.lsn, record.event_time, record.event_id, fact.payload)
    for subject, ahead in left.items():
        if subject in known:
            yield from (Rebuilt(subject, lsn, known[subject]) for lsn in reversed(ahead))


class HourlyItems:
    """First pass: the decayed weight of every item at the end of every hour in which it was touched.

        value(i, h) = Σ over rows of i in hours before h of weight · 2^-((h - hour of the row) / H)

    with hours as whole numbers, so a row's age within its hour does not count. Held as one sorted list of (item, hour);
    what decays in between is worked out when it is asked for.
    """

    def __init__(self, interactions: Interactions, half_life_hours: float) -> None:
        """``half_life_hours`` > 0. Rows of one hour that lie 500 half-lives and more after an item's first would
        overflow float64, so sums are kept relative to each hour."""
        hour = interactions.at // HOUR_MS
        cell, place = np.unique(
            np.stack((interactions.item.astype(np.int64), hour), axis=1), axis=0, return_inverse=True
        )
        own = np.bincount(place.ravel(), interactions.weight, len(cell)).astype(np.float64)
        self._item = cell[:, 0]
        self._hour = cell[:, 1]
        self._half_life = half_life_hours
        self._value = self._decayed(own)

    def at(self, item: Int32, at: Int64) -> Floats:
        """Second pass: of each (item, event time in ms) the value when its hour began; 0 where nothing was known."""
        hour = at // HOUR_MS
        place = self._last_before(item.astype(np.int64), hour)
        known = place >= 0
        row = np.maximum(place, 0)
        if not len(self._item):
            return np.zeros(len(item))
        known &= self._item[row] == item
        age = (hour - self._hour[row]) / self._half_life
        return np.where(known, self._value[row] * np.exp2(-np.maximum(age, 0.0)), 0.0)

    def _decayed(self, own: Floats) -> Floats:
        """Running sum per item, each step decayed by the hours since the last."""
        value = own.copy()
        same = np.flatnonzero(self._item[1:] == self._item[:-1]) + 1
        for row in same.tolist():
            value[row] += value[row - 1] * 2.0 ** (-(self._hour[row] - self._hour[row - 1]) / self._half_life)
        return value

    def _last_before(self, item: Int64, hour: Int64) -> Int64:
        """Row of the last hour before ``hour`` that is not past ``item``; -1 for none."""
        order = np.lexsort((hour, item))
        found = np.empty(len(item), np.int64)
        items, hours = np.concatenate((self._item, item[order])), np.concatenate((self._hour, hour[order]))
        ours = np.concatenate((np.ones(len(self._item), np.int8), np.zeros(len(item), np.int8)))
        merged = np.lexsort((ours, hours, items))  # at equal hours the question comes first
        found[order] = np.cumsum(ours[merged])[np.argsort(merged, kind="stable")[len(self._item) :]] - 1
        return found
