"""People as clusters and reports measure them: `actors.segment_rules.Subject` over a whole profile at a moment, and the
population that a rule may compare somebody with, exact where the service samples it.

Nothing here keeps memberships: who asks about many people at once says in which segments each of them is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from actors import sessions
from actors.decay import HALF_LIVES_MS, read
from actors.engagement import times
from actors.profile import PERSONALIZATION, Profile, allowed, decode
from actors.quantity import NEVER, Quantity, decaying, steady
from actors.scores import NO_CUTS, RFM, Cuts, number
from actors.segment_rules import Verdict
from events.types import Json

FIFTHS: Final = (0.2, 0.4, 0.6, 0.8)


class Person:
    """See the module. ``now`` in ms."""

    def __init__(
        self, blob: bytes, now: int, population: Population | None = None, inside: Collection[str] = ()
    ) -> None:
        """``blob``: as in the state store; ``inside``: the segments the person is in."""
        self.now = now
        self.profile: Profile = decode(blob)
        self._population = population
        self._inside = inside

    def counts(self) -> bool:
        """Whether anything is known of the person that may be used."""
        return self.profile.last_at is not None and allowed(self.profile, PERSONALIZATION)

    def times(self, signal: str) -> tuple[int, ...]:
        return times(self.profile.engagement, signal)

    def total(self, signal: str) -> int:
        return self.profile.engagement.counts.get(signal, 0)

    def decayed(self, signal: str, half_life: str) -> Quantity:
        table = self.profile.engagement.rates.get(half_life)
        return steady(0.0) if table is None else decaying(table.value(signal, self.now), HALF_LIVES_MS[half_life])

    def interest(self, key: str) -> Quantity:
        total = steady(0.0)
        for half_life, table in sorted(self.profile.interests.items()):
            if key in table.sums:
                value = read(table.k, table.sums[key], self.now, half_life)
                total = total + decaying(value, HALF_LIVES_MS[half_life])
        return total

    def bought(self, item: str) -> tuple[int, ...]:
        held = self.profile.purchases.get(item)
        return held.times if held is not None else ()

    def trait(self, name: str) -> Json:
        held = self.profile.traits.get(name)
        return held.value if held is not None else None

    def grouped(self, group: str) -> bool:
        return group in self.profile.groups

    def consented(self, purpose: str) -> bool:
        return allowed(self.profile, purpose)

    def member(self, segment: str) -> bool:
        return segment in self._inside

    def number(self, field: str) -> Quantity | None:
        return number(self.profile, field, self.now, NO_CUTS if self._population is None else self._population.cuts)

    def text(self, field: str) -> str | None:
        return sessions.text(self.profile, field)

    def flag(self, field: str) -> Verdict:
        return Verdict(sessions.flag(self.profile, field), NEVER)

    def quantile(self, field: str, share: float) -> float | None:
        return None if self._population is None else self._population.quantile(field, share)


class Population:
    """Everybody who counts, at one moment."""

    def __init__(self, blobs: Sequence[bytes], now: int) -> None:
        """``blobs``: stored profiles. They are read anew for every field that is asked for."""
        self._blobs = blobs
        self._now = now
        self._values: dict[str, npt.NDArray[np.float64]] = {}

    @cached_property
    def cuts(self) -> Cuts:
        """What parts the population into fifths, by recency, frequency and monetary value."""
        found: Mapping[str, list[float | None]] = {
            field: [self.quantile(field, share) for share in FIFTHS] for field in RFM
        }
        return {
            field: tuple(level for level in levels if level is not None)
            for field, levels in found.items()
            if None not in levels
        }

    def quantile(self, field: str, share: float) -> float | None:
        """The level below which ``share`` of those lie of whom the field is known; None where it is known of nobody."""
        values = self._values.get(field)
        if values is None:
            values = self._values[field] = self._read(field)
        return float(np.quantile(values, share)) if len(values) else None

    def _read(self, field: str) -> npt.NDArray[np.float64]:
        people = (Person(blob, self._now) for blob in self._blobs)
        found = [number(each.profile, field, self._now) for each in people if each.counts()]
        return np.array([value.now for value in found if value is not None], np.float64)
