"""The online rating model: what a person would rate an item, learned one rating at a time.

For surfaces whose people rate. A blend, by recursive least squares on what each part missed, of

    residuals   means, offsets, the person's level and mood, item-kNN on residuals (`training.rating_residuals`)
    factors     two `reco.BiasedMF` of River, a slow and a fast one (`training.rating_factors`)

    prediction = g + w·x,  x = (1, log1p(ratings of the person), log1p(ratings of the item), f₁ - g, f₂ - g,
                                kin, kin · log1p(ratings of the item), g - μ, the person's shrunk mean - μ)

with g the estimate from residuals and kin its item-kNN part. It starts as g and learns how far to trust what. The
counts matter because people rate what they know, and what many know is better liked.

Asking changes nothing. Memory is bounded: people and items rated longest ago give way, their number is in the
constructor; at the defaults at most about 1.5 kB for each of 50,000 people, 0.5 kB for each of 65,536 items and 34 MB
of pairs, together 140 MB. `rating_state.pack` and `unpack` keep every bit.

MovieLens 100K in time order, each rating predicted before it is learned, everything chosen on the first fifth: see
``docs/evaluation.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from training.rating_factors import Factors, Variant
from training.rating_residuals import PERSON_WEIGHT, Parts, Residuals
from training.rating_slots import Slots, grown
from training.recursive_least_squares import RecursiveLeastSquares

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]

LOW: Final = 1.0
HIGH: Final = 5.0
"""The scale everything inside is measured on: stars."""

VARIANTS: Final = (Variant(10, 0.025, 0.05, seed=1), Variant(10, 0.05, 0.02, seed=2))
"""River's documented setting, and one whose biases follow faster."""

FEATURES: Final = 9
RIDGE: Final = 20.0
FORGET: Final = 0.99998
"""50,000 ratings are remembered. On the first fifth of MovieLens 100K no worse than all of them, and a blend that
remembers everything stops learning."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The lowest and highest rating a client can give; (-1, 1) for the weights of "Product Rated" facts."""

    low: float = LOW
    high: float = HIGH

    def stars(self, rating: float) -> float:
        """``rating`` on the scale from 1 to 5; outside ones are cut to it.

        >>> Scale(-1, 1).stars(0.5), Scale(0, 10).stars(11)
        (4.0, 5.0)
        """
        share = (min(max(rating, self.low), self.high) - self.low) / (self.high - self.low)
        return LOW + (HIGH - LOW) * share

    def ratings(self, stars: Floats) -> Floats:
        """The inverse of `stars`, cut to the scale."""
        return self.low + (self.high - self.low) * (np.clip(stars, LOW, HIGH) - LOW) / (HIGH - LOW)


class Rating:
    """See the module. Ids are any strings; a subject that may not be learned from is the caller's business."""

    def __init__(
        self, scale: Scale = Scale(), people_max: int = 50_000, items_max: int = 65_536, pairs_max: int = 2_048
    ) -> None:
        """``pairs_max`` items take part in item-kNN, the ones rated last; memory grows with its square."""
        self.scale = scale
        self.people, self.items = Slots[str](people_max), Slots[str](items_max)
        self.residuals = Residuals(people_max, items_max, pairs_max)
        self.factors = tuple(Factors(variant, people_max, items_max) for variant in VARIANTS)
        self.blend = RecursiveLeastSquares(FEATURES, RIDGE, FORGET)
        self.person_count: Ints = np.zeros(0, np.int64)
        self.person_sum: Floats = np.zeros(0)

    def predict_one(self, user: str, item: str) -> float:
        """The expected rating, on the scale's bounds at most. Newcomers and new items get what is known of all."""
        return float(self._predicted(user, [item])[0])

    def scores(self, user: str, items: Sequence[str]) -> Floats | None:
        """Expected ratings of ``items`` by one person, in their order; None where the person never rated: abstain."""
        return self._predicted(user, items) if self.people.get(user) >= 0 else None

    def learn_one(self, user: str, item: str, rating: float) -> float:
        """Learn a rating, and return what `predict_one` would have said just before. Raises `ValueError` for NaN."""
        if rating != rating:
            raise ValueError(f"rating of item {item!r} is not a number")
        stars = self.scale.stars(rating)
        person, slot = self._admit_person(user), self._admit_item(item)
        at = np.array([slot])
        past = self.residuals.past(person)
        parts = self.residuals.estimate(past, at)
        estimate = parts.total
        x = self._features(person, at, parts, estimate)
        said = estimate + x @ self.blend.weights
        self.blend.learn_one(x[0], stars - float(estimate[0]))
        self.residuals.learn(person, slot, stars, past, parts)
        for factors in self.factors:
            factors.learn(person, slot, stars)
        self.person_count[person] += 1
        self.person_sum[person] += stars
        return float(self.scale.ratings(said)[0])

    def forget(self, user: str) -> None:
        """Drop what is held of one person. What items learned from all stays."""
        person = self.people.remove(user)
        if person >= 0:
            self._clear_person(person, "")

    def _predicted(self, user: str, items: Sequence[str]) -> Floats:
        person = self.people.get(user)
        at = np.array([self.items.get(item) for item in items], np.int64)
        parts = self.residuals.estimate(self.residuals.past(person), at)
        estimate = parts.total
        return self.scale.ratings(estimate + self._features(person, at, parts, estimate) @ self.blend.weights)

    def _features(self, person: int, items: Ints, parts: Parts, estimate: Floats) -> Floats:
        """Shape (items, `FEATURES`)."""
        rated = int(self.person_count[person]) if person >= 0 else 0
        above = float(self.person_sum[person]) - parts.mean * rated if person >= 0 else 0.0
        log_count = np.zeros(len(items))
        known = items >= 0
        log_count[known] = np.log1p(self.residuals.item_count[items[known]])
        x = np.empty((len(items), FEATURES))
        x[:, 0] = 1.0
        x[:, 1] = np.log1p(rated)
        x[:, 2] = log_count
        for column, factors in enumerate(self.factors, start=3):
            x[:, column] = factors.estimate(person, items) - estimate
        x[:, 5] = parts.kin
        x[:, 6] = parts.kin * log_count
        x[:, 7] = estimate - parts.mean
        x[:, 8] = above / (rated + PERSON_WEIGHT)
        return x

    def _admit_person(self, user: str) -> int:
        person, fresh = self.people.admit(user)
        if fresh:
            self.person_count = grown(self.person_count, person + 1, self.people.most)
            self.person_sum = grown(self.person_sum, person + 1, self.people.most)
            self._clear_person(person, user)
        return person

    def _clear_person(self, person: int, name: str) -> None:
        self.person_count[person] = 0
        self.person_sum[person] = 0.0
        self.residuals.admit_person(person)
        for factors in self.factors:
            factors.admit_person(person, name)

    def _admit_item(self, item: str) -> int:
        slot, fresh = self.items.admit(item)
        if fresh:
            self.residuals.admit_item(slot)
            for factors in self.factors:
                factors.admit_item(slot, item)
        return slot
