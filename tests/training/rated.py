"""People who rate: generated, with a truth to find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Rated:
    user: str
    item: str
    rating: float


def ratings(
    count: int, seed: int, people: int = 40, items: int = 30, lenience: float = 0.4, taste: float = 0.6
) -> list[Rated]:
    """Whole stars from 1 to 5. Higher numbered people are more lenient; even people like even items, odd people odd
    ones."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, people, count), rng.integers(0, items, count)
    alike = np.where((user % 2) == (item % 2), taste, -taste)
    level = lenience * (2 * user / (people - 1) - 1)
    stars = np.clip(np.rint(3.2 + level + alike + 0.3 * np.sin(item) + rng.normal(0, 0.7, count)), 1, 5)
    return [Rated(f"u{u}", f"i{i}", float(r)) for u, i, r in zip(user, item, stars, strict=True)]
