"""Who there is: tastes, activity, devices (`People`, made once), and what changes by living here (`Mood`, one per
person who ever came)."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import cos, sin
from typing import Final

import numpy as np
import numpy.typing as npt

from simulate.chance import Floats, Words, key_of, words
from simulate.shelf import Ints, Shelf, minority_categories, unit
from simulate.world_spec import DAY_MS, HOUR_MS, WEEK_MS, WorldSpec

NEVER: Final = 255
_KEPT: Final = 64
"""Shown and viewed items that a mood remembers."""
_FORGOTTEN_MS: Final = 7 * DAY_MS
_START_SATISFACTION: Final = 0.3
_SATISFACTION_SHARE: Final = 0.15


@dataclass(frozen=True)
class People:
    """Columns by person, 0..people-1."""

    tastes: npt.NDArray[np.float32]
    """Shape (people, intents, dims), unit rows, as they are at the start."""
    mixture: npt.NDArray[np.float32]
    """Cumulative chance of each intent, shape (people, intents)."""
    segment: npt.NDArray[np.int8]
    rate: npt.NDArray[np.float32]
    """Sessions per hour, on average over the week."""
    thrift: npt.NDArray[np.float32]
    """Log-odds lost per unit of dearness."""
    turn: npt.NDArray[np.float32]
    """Radians per week that tastes turn."""
    born: Ints
    login_visit: npt.NDArray[np.uint8]
    """The session (from 1) a person logs in at; `NEVER`: not at all."""
    second_from: Ints
    """When the second device is there, ms."""
    centres: Floats
    """Of the segments, shape (segments, dims)."""
    words: Words

    def __len__(self) -> int:
        return len(self.segment)

    @classmethod
    def of(cls, spec: WorldSpec, shelf: Shelf, seed: int) -> People:
        rng = np.random.Generator(np.random.PCG64(key_of(seed, "people")))
        count = spec.people
        centres = _segment_centres(spec, shelf, rng)
        segment = rng.choice(len(spec.segments), count, p=np.array(spec.segments) / sum(spec.segments))
        later = min(spec.new_people_per_week * spec.weeks, 0.8)
        at = spec.start_ms + (rng.random(count) * spec.weeks * WEEK_MS).astype(np.int64)
        born = np.where(rng.random(count) < later, at, 0)
        login = np.where(rng.random(count) < spec.anonymous_share, NEVER, rng.integers(2, 5, count))
        second = np.maximum(born, spec.start_ms) + (rng.exponential(6, count) * WEEK_MS).astype(np.int64)
        shares = rng.dirichlet(np.full(spec.tastes, 2.0), count)
        return cls(
            tastes=_tastes(spec, centres, segment, rng),
            mixture=np.cumsum(shares, axis=1).astype(np.float32),
            segment=segment.astype(np.int8),
            rate=(spec.sessions_per_week / 168 * np.exp(spec.activity_sigma * rng.standard_normal(count))).astype(
                np.float32
            ),
            thrift=(spec.price_sensitivity * rng.gamma(2.0, 0.5, count)).astype(np.float32),
            turn=(spec.wander / 10 * rng.standard_normal(count)).astype(np.float32),
            born=born,
            login_visit=login.astype(np.uint8),
            second_from=np.where(rng.random(count) < spec.second_device, second, 1 << 60),
            centres=centres,
            words=words(key_of(seed, "person"), np.arange(count, dtype=np.uint64)),
        )


def turned(vector: Floats, angle: float) -> Floats:
    """The vector turned by this angle in the planes of coordinates (0, 1), (2, 3), ...: length stays.

    >>> turned(np.array([1.0, 0.0]), np.pi / 2).round(6).tolist()
    [0.0, 1.0]
    """
    across = np.empty_like(vector)
    across[..., 0::2], across[..., 1::2] = -vector[..., 1::2], vector[..., 0::2]
    result: Floats = cos(angle) * vector + sin(angle) * across
    return result


def _segment_centres(spec: WorldSpec, shelf: Shelf, rng: np.random.Generator) -> Floats:
    """Each segment likes four categories; the last those of the last department."""
    centres = []
    for number in range(len(spec.segments)):
        liked = rng.choice(spec.categories, min(4, spec.categories), replace=False)
        if number == len(spec.segments) - 1:
            liked = minority_categories(spec)
        centres.append(shelf.centres[liked].mean(axis=0))
    return unit(np.array(centres))


def _tastes(spec: WorldSpec, centres: Floats, segment: Ints, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    found = np.empty((len(segment), spec.tastes, spec.dims), np.float32)
    for first in range(0, len(segment), 65_536):
        part = segment[first : first + 65_536]
        own = unit(rng.standard_normal((len(part), spec.tastes, spec.dims)))
        found[first : first + len(part)] = unit(own + spec.segment_pull * centres[part][:, None, :])
    return found


@dataclass(slots=True)
class Mood:
    """What one person carries from visit to visit."""

    bored: Floats
    """Clicks by category, decayed by half in a day, as of ``at``."""
    at: int = 0
    seen: dict[int, tuple[float, int]] = field(default_factory=dict)
    """Item → (times shown, decayed by half in a day, as of; when)."""
    bought: dict[int, int] = field(default_factory=dict)
    """Item → when last."""
    viewed: list[int] = field(default_factory=list)
    """Latest last."""
    satisfaction: float = _START_SATISFACTION
    """Decayed mean of clicks per list."""
    sessions: list[int] = field(default_factory=lambda: [0, 0])
    """By device."""

    def decay(self, at: int) -> None:
        """Bring ``bored`` to this moment."""
        if at > self.at:
            self.bored *= 0.5 ** ((at - self.at) / DAY_MS)
            self.at = at

    def show(self, items: Ints, at: int) -> None:
        for item in items.tolist():
            level, since = self.seen.pop(item, (0.0, at))
            self.seen[item] = (level * 0.5 ** ((at - since) / DAY_MS) + 1.0, at)
        while len(self.seen) > _KEPT or (self.seen and next(iter(self.seen.values()))[1] < at - _FORGOTTEN_MS):
            del self.seen[next(iter(self.seen))]

    def view(self, item: int) -> None:
        self.viewed.append(item)
        del self.viewed[:-5]

    def please(self, clicks: int) -> None:
        self.satisfaction += _SATISFACTION_SHARE * (clicks - self.satisfaction)

    def weariness(self, spec: WorldSpec, shelf: Shelf, at: int) -> Floats:
        """What utilities lose (and gain, by habit) at this moment, by item."""
        self.decay(at)
        excess = np.maximum(self.bored - spec.boredom_threshold, 0.0)
        loss: Floats = spec.boredom * excess[shelf.category]
        if self.seen:
            levels = np.array([level * 0.5 ** ((at - since) / DAY_MS) for level, since in self.seen.values()])
            loss[np.fromiter(self.seen, np.int64, len(self.seen))] += spec.fatigue * levels
        if self.bought:
            items = np.fromiter(self.bought, np.int64, len(self.bought))
            since = np.maximum(at - np.fromiter(self.bought.values(), np.int64, len(self.bought)), 0)
            loss[items] -= need(spec, shelf.cycle[items], since)
        return loss


def need(spec: WorldSpec, cycle: Ints, since: Ints) -> Floats:
    """Log-odds of wanting again what was bought ``since`` ms ago: satiated at first; a consumable is a habit once its
    cycle is over, another thing is wanted again after months."""
    left = np.exp(-since / np.where(cycle > 0, cycle, 90 * DAY_MS))
    return -spec.satiation * left + np.where(cycle > 0, spec.habit * (1 - left), 0.0)


def hour_of_week(at: int) -> int:
    """From Monday 0:00 UTC; 1 January 1970 was a Thursday.

    >>> hour_of_week(0), hour_of_week(4 * DAY_MS)
    (72, 0)
    """
    return (at // HOUR_MS + 72) % 168
