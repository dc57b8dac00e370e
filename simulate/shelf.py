"""What there is: items with place in the space of tastes, quality, price, category, provider, appeal, life and re-buy
cycle. Made once from the seed; nothing of it changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from simulate.chance import Floats, Words, key_of, words
from simulate.world_spec import DAY_MS, WEEK_MS, WorldSpec

Ints: TypeAlias = npt.NDArray[np.int64]

ALWAYS_MS = 1 << 60
_CYCLE_SIGMA = 0.6
_WITHIN_CATEGORY = 0.6
"""How far items of a category lie from its centre, both in units of the centre's length."""
_PRICE_SIGMA = 0.6


def unit(vectors: Floats) -> Floats:
    """Each row divided by its length."""
    lengths: Floats = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)


@dataclass(frozen=True)
class Shelf:
    """Columns by item number, 0..items-1."""

    vectors: Floats
    """Shape (items, dims), unit rows."""
    quality: Floats
    price: Floats
    dearness: Floats
    """log price, standardised within the category."""
    category: Ints
    provider: Ints
    appeal: Floats
    """Log of how often an item catches the eye of people who look around by themselves."""
    born: Ints
    dies: Ints
    cycle: Ints
    """Re-buy cycle in ms; 0: bought once."""
    centres: Floats
    """Of the categories, shape (categories, dims)."""
    peaks: Floats
    """Hour of the day a category is wanted most, by category."""
    departments: int

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(f"item-{number}" for number in range(len(self.price)))

    @cached_property
    def numbers(self) -> dict[str, int]:
        return {item: number for number, item in enumerate(self.ids)}

    @cached_property
    def words(self) -> Words:
        """An item's own word, for noise."""
        return words(key_of("item"), np.arange(len(self.price), dtype=np.uint64))

    def alive(self, at: int) -> npt.NDArray[np.bool_]:
        return (self.born <= at) & (at < self.dies)

    def changed(self, start: int, end: int) -> tuple[Ints, Ints]:
        """Numbers of the items that came, and of those that went, at ``start`` < time <= ``end``."""
        came = np.flatnonzero((self.born > start) & (self.born <= end))
        return came, np.flatnonzero((self.dies > start) & (self.dies <= end))

    def department(self, category: int) -> int:
        return category % self.departments

    def path(self, item: int) -> str:
        """Of an item's category, general first."""
        category = int(self.category[item])
        return f"Department {self.department(category)} > Category {category}"

    def provider_name(self, item: int) -> str:
        return f"Provider {int(self.provider[item])}"

    @classmethod
    def of(cls, spec: WorldSpec, seed: int) -> Shelf:
        rng = np.random.Generator(np.random.PCG64(key_of(seed, "shelf")))
        count, dims = spec.items, spec.dims
        centres = unit(rng.standard_normal((spec.categories, dims)))
        size = rng.gamma(2.0, 1.0, spec.categories)
        size[minority_categories(spec)] *= spec.minority_share_of_shelf
        category = rng.choice(spec.categories, count, p=size / size.sum())
        away = unit(rng.standard_normal((count, dims)))
        provider = rng.integers(0, spec.providers, count)
        log_price = rng.normal(1.5, 0.7, spec.categories)[category] + _PRICE_SIGMA * rng.standard_normal(count)
        known = spec.appeal_sigma * (0.6 * rng.standard_normal(count) + 0.8 * 3**0.5 * rng.uniform(-1.0, 1.0, count))
        appeal = (1 - spec.appeal_liked) * known + np.where(
            provider == spec.providers - 1, np.log(spec.starved_provider), 0.0
        )
        born, dies = _lives(spec, rng)
        cycle = spec.cycle_days * DAY_MS * np.exp(_CYCLE_SIGMA * rng.standard_normal(count))
        return cls(
            vectors=unit(centres[category] + _WITHIN_CATEGORY * away),
            quality=spec.quality_sigma * rng.standard_normal(count) + spec.appeal_liked * known,
            price=np.asarray(np.round(np.exp(log_price), 2) + 0.01, np.float64),
            dearness=_standard(log_price, category),
            category=category.astype(np.int64),
            provider=provider.astype(np.int64),
            appeal=appeal,
            born=born,
            dies=dies,
            cycle=np.where(rng.random(count) < spec.consumable, cycle, 0).astype(np.int64),
            centres=centres,
            peaks=rng.integers(8, 22, spec.categories).astype(np.float64),
            departments=spec.departments,
        )


def minority_categories(spec: WorldSpec) -> Ints:
    """Those of the last department, which the last segment likes most."""
    return np.arange(spec.departments - 1, spec.categories, spec.departments)


def _lives(spec: WorldSpec, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Most are there from the start; the others come evenly over the weeks."""
    later = min(spec.new_items_per_week * spec.weeks, 0.8)
    at = spec.start_ms + (rng.random(spec.items) * spec.weeks * WEEK_MS).astype(np.int64)
    born = np.where(rng.random(spec.items) < later, at, 0)
    life = (rng.exponential(spec.item_life_weeks, spec.items) * WEEK_MS).astype(np.int64)
    return born, np.minimum(np.maximum(born, spec.start_ms) + life, ALWAYS_MS)


def _standard(values: Floats, group: Ints) -> Floats:
    counts = np.maximum(np.bincount(group), 1)
    mean = (np.bincount(group, values) / counts)[group]
    spread = np.sqrt(np.bincount(group, (values - mean) ** 2) / counts)[group]
    return (values - mean) / np.maximum(spread, 1e-9)
