"""People compared with each other: a profile as rules read it, beside a population whose levels are exact where the
service samples them, and read only when a rule asks.

Nothing here keeps memberships: who asks about many people at once says in which segments each of them is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from actors.quantity import Quantity
from actors.scores import RFM, Cuts, number
from actors.segment_evaluation import QUINTILE_SHARES
from actors.segment_subject import ProfileSubject, Surroundings


class Person(ProfileSubject):
    """See the module."""

    def __init__(
        self, blob: bytes, now: int, population: Population | None = None, inside: Collection[str] = ()
    ) -> None:
        """``blob``: as in the state store; ``inside``: the segments the person is in; ``now`` in ms."""
        super().__init__(blob, now, Surroundings(inside.__contains__, {}))
        self._population = population

    def number(self, field: str) -> Quantity | None:
        if self._population is not None and field.endswith("_quintile"):
            return number(self, field, self.now, self._population.cuts)
        return super().number(field)

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
            field: [self.quantile(field, share) for share in QUINTILE_SHARES] for field in RFM
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
        people = (ProfileSubject(blob, self._now) for blob in self._blobs)
        found = [each.number(field) for each in people if each.counts()]
        return np.array([value.now for value in found if value is not None], np.float64)
