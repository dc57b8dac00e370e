"""A person's next rating from their earlier ones: item offsets, the person's own level, their mood, and item-kNN on
residuals, in one linear estimate.

A rating is r(u, i) = μ + b(i) + x(u, i) + ε. μ and b are running means shrunk towards the middle of the scale and 0. x
is a Gaussian process over the ratings of one person: two of them, n ratings apart, on items i and j, covary by

    k = L + M · exp(-n / T) + P · cov(i, j)

L: some people give high ratings; M: so do people in a good mood, for some T ratings; cov: those who liked i like j
(`training.rating_pairs`). With residuals y over the last `HISTORY` ratings, the expected x is kᵀ (K + V·I)⁻¹ y
(Rasmussen and Williams, Gaussian Processes for Machine Learning, MIT Press 2006, equation 2.23). Item-kNN with
weights that share credit between neighbours, and the shrunk mean of a person, are its two halves.

Variances are in stars², on a scale from 1 to 5. They were chosen on the first fifth of MovieLens 100K, where each can
be halved or doubled for at most .002 RMSE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dposv

from training.rating_pairs import PairCovariance
from training.rating_slots import grown

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]

MIDDLE: Final = 3.0
"""Middle of the scale, stars."""
MEAN_WEIGHT: Final = 10.0
"""Ratings the middle of the scale counts as in the overall mean."""
ITEM_WEIGHT: Final = 3.0
"""Ratings the offset 0 counts as for an item. Noise over the variance of offsets is .85 / .3 ≈ 3."""
PERSON_WEIGHT: Final = 4.0
"""The same for a person's mean residual. .85 / .25 ≈ 4."""
LENIENCE: Final = 0.25
MOOD: Final = 0.15
MOOD_RATINGS: Final = 10.0
KINSHIP: Final = 0.5
"""L, M, T and P of the formula."""
NOISE: Final = 0.85
"""V: variance of a rating that nothing explains."""
HISTORY: Final = 64
"""Ratings kept per person. 128 gain nothing and cost four times the time."""


def _lasting() -> Floats:
    """L + M · exp(-n / T) between the ratings of a full history and the one that comes next."""
    apart = np.abs(np.subtract.outer(np.arange(HISTORY + 1.0), np.arange(HISTORY + 1.0)))
    lasting: Floats = LENIENCE + MOOD * np.exp(-apart / MOOD_RATINGS)
    return lasting


_LASTING: Final = _lasting()


@dataclass(frozen=True, slots=True)
class Parts:
    """An estimate for several items of one person, stars; the estimate is the sum of the four."""

    mean: float
    offset: Floats
    """Per item."""
    level: float
    """The person's own level and mood, the same for all items."""
    kin: Floats
    """Per item: item-kNN's residual."""

    @property
    def total(self) -> Floats:
        return self.mean + self.offset + self.level + self.kin


@dataclass(frozen=True, slots=True)
class Past:
    """A person's ratings, oldest first, as far as their items are still known."""

    item: Ints
    residual: Floats
    """Stars above mean and offset."""


_NO_PAST: Final = Past(np.empty(0, np.int64), np.empty(0))


class Residuals:
    """Over person slots and item slots, which the caller gives out; slot -1 is somebody or something unknown."""

    def __init__(self, people_max: int, items_max: int, pairs_max: int) -> None:
        self._people_max, self._items_max = people_max, items_max
        self.sum, self.count = 0.0, 0
        self.item_sum: Floats = np.zeros(0)
        self.item_count: Ints = np.zeros(0, np.int64)
        self.item_serial: Ints = np.zeros(0, np.int64)
        """Which of the items that ever had this slot has it now."""
        self.serials = 0
        self.past_item: npt.NDArray[np.int32] = np.zeros((0, HISTORY), np.int32)
        self.past_serial: Ints = np.zeros((0, HISTORY), np.int64)
        self.past_stars: npt.NDArray[np.float32] = np.zeros((0, HISTORY), np.float32)
        self.past_length: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self.pairs = PairCovariance(pairs_max)

    @property
    def mean(self) -> float:
        return (MIDDLE * MEAN_WEIGHT + self.sum) / (MEAN_WEIGHT + self.count)

    def admit_person(self, person: int) -> None:
        """Slot ``person`` is somebody new."""
        rows, most = person + 1, self._people_max
        self.past_item = grown(self.past_item, rows, most)
        self.past_serial = grown(self.past_serial, rows, most)
        self.past_stars = grown(self.past_stars, rows, most)
        self.past_length = grown(self.past_length, rows, most)
        self.past_item[person] = self.past_serial[person] = self.past_stars[person] = self.past_length[person] = 0

    def admit_item(self, item: int) -> None:
        """Slot ``item`` is something new; what histories hold of the item before it counts no more."""
        rows, most = item + 1, self._items_max
        self.item_sum = grown(self.item_sum, rows, most)
        self.item_count = grown(self.item_count, rows, most)
        self.item_serial = grown(self.item_serial, rows, most)
        self.item_sum[item] = self.item_count[item] = 0
        self.serials += 1
        self.item_serial[item] = self.serials
        self.pairs.remove(item)

    def offsets(self, items: Ints) -> Floats:
        """b: 0 for unknown items."""
        if not len(self.item_sum):
            return np.zeros(len(items))
        return np.where(items >= 0, self.item_sum[items] / (self.item_count[items] + ITEM_WEIGHT), 0.0)

    def past(self, person: int) -> Past:
        """What the estimates of ``person`` go by."""
        if person < 0:
            return _NO_PAST
        length = int(self.past_length[person])
        items = self.past_item[person, :length].astype(np.int64)
        known = self.item_serial[items] == self.past_serial[person, :length]
        items = items[known]
        residual = self.past_stars[person, :length][known] - self.mean - self.offsets(items)
        return Past(items, residual)

    def estimate(self, past: Past, items: Ints) -> Parts:
        """What somebody with this past would rate ``items`` next."""
        offset = self.offsets(items)
        length = len(past.item)
        if not length:
            return Parts(self.mean, offset, 0.0, np.zeros(len(items)))
        alike = KINSHIP * self.pairs.between(np.concatenate((past.item, items)), past.item)
        lasting = _LASTING[: length + 1, : length + 1]
        weights = _solved(lasting[:length, :length] + alike[:length], past.residual)
        if weights is None:  # covariances of pairs seen by different people need not fit together
            weights = _solved(lasting[:length, :length].copy(), past.residual)
            alike[length:] = 0.0
        assert weights is not None, "a stationary kernel and noise are positive definite"
        return Parts(self.mean, offset, float(lasting[length, :length] @ weights), alike[length:] @ weights)

    def learn(self, person: int, item: int, stars: float, past: Past, parts: Parts) -> None:
        """One rating, with what was estimated for it; ``person`` and ``item`` have been admitted."""
        residual = stars - parts.mean - float(parts.offset[0])
        others = past.item != item
        theirs = past.residual[others]
        level = float(theirs.sum()) / (len(theirs) + PERSON_WEIGHT)
        self.pairs.learn(item, past.item[others], (theirs - level) * (residual - level))
        self.sum += stars
        self.count += 1
        self.item_sum[item] += stars - parts.mean - parts.level - float(parts.kin[0])
        self.item_count[item] += 1
        self._remember(person, item, stars)

    def _remember(self, person: int, item: int, stars: float) -> None:
        """The latest rating goes to the end; an earlier one of the same item, or else the oldest, makes room."""
        length = int(self.past_length[person])
        rated = (self.past_item[person, :length] == item) & (
            self.past_serial[person, :length] == self.item_serial[item]
        )
        again = np.flatnonzero(rated)
        if len(again) or length == HISTORY:
            gone = int(again[0]) if len(again) else 0
            for row in (self.past_item[person], self.past_serial[person], self.past_stars[person]):
                row[gone : length - 1] = row[gone + 1 : length].copy()
            length -= 1
        self.past_item[person, length] = item
        self.past_serial[person, length] = self.item_serial[item]
        self.past_stars[person, length] = stars
        self.past_length[person] = length + 1


def _solved(kernel: Floats, residual: Floats) -> Floats | None:
    """(K + V·I)⁻¹ y; None where the matrix is not positive definite. Overwrites ``kernel``."""
    kernel.flat[:: len(kernel) + 1] += NOISE
    _, weights, failed = dposv(kernel, residual)
    return None if failed else weights
