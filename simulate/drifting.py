"""Generated traffic with a known moment of change: lists of ten at a click rate of 5 %, by hour and day. What drift
monitors are tested and measured on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import pi, sin

import numpy as np

from training.drift import Observed

MONDAY_MS = 4 * 86_400_000
HOUR_MS = 3_600_000
LIST = 10
MODEL = "home/click"


@dataclass(frozen=True, slots=True)
class Traffic:
    """Five segments of equal size. The model knows people and items, not the hour: its errors come back every day and
    week unless ``knows_hours``. From ``swap_hour`` on, segment ``s0`` (20 % of people) likes what the model does not
    know of, and clicks at ``swapped`` of its rate, whatever the prediction."""

    weeks: int
    lists_per_week: int
    seed: int
    rate: float = 0.05
    daily: float = 0.4
    weekly: float = 0.2
    knows_hours: bool = False
    swap_hour: int | None = None
    swapped: float = 0.4
    features: int = 0

    def season(self, hour: int) -> float:
        return 1 + self.daily * sin(2 * pi * hour / 24) + self.weekly * sin(2 * pi * hour / 168)

    def lists(self) -> Iterator[list[Observed]]:
        """One list of rows at a time, in order."""
        rng = np.random.default_rng(self.seed)
        for hour in range(self.weeks * 168):
            busy = self.lists_per_week / 168 * (1 + 0.6 * sin(2 * pi * (hour - 3) / 24))
            for at in np.sort(rng.integers(0, HOUR_MS, rng.poisson(busy))).tolist():
                yield self._list(hour, MONDAY_MS + hour * HOUR_MS + at, rng)

    def _list(self, hour: int, at: int, rng: np.random.Generator) -> list[Observed]:
        segment = int(rng.integers(5))
        person, items = np.exp(0.3 * rng.normal() - 0.045), np.exp(0.5 * rng.normal(size=LIST) - 0.125)
        said = np.clip(self.rate * person * items, 0.001, 0.9)
        true = said * self.season(hour)
        if self.knows_hours:
            said = np.clip(true, 0.001, 0.9)
        if self.swap_hour is not None and hour >= self.swap_hour and segment == 0:
            true = self.rate * self.swapped * self.season(hour) * np.exp(0.5 * rng.normal(size=LIST) - 0.125)
        clicks = rng.random(LIST) < true
        features = [tuple(row) for row in rng.normal(size=(LIST, self.features)).tolist()] if self.features else None
        return [
            Observed(MODEL, (f"s{segment}",), at, p, float(click), features[n] if features else None)
            for n, (p, click) in enumerate(zip(said.tolist(), clicks.tolist(), strict=True))
        ]
