"""What the lists were worth, by the truth: clicks, regret against the oracle, lift over baselines, how it grows with
acquaintance, and how varied it is. No log knows this; a simulated world does.

Values are *expected* clicks of a list at the moment it was shown, so that a few thousand lists tell what in clicks
takes hundreds of thousands. Baselines are given the same visit: `popular` shows what people did most so far in this
run, `chance` shows a random list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulate.latency import stretch_of, stretches_of
from simulate.shelf import Shelf
from simulate.truth import Truth
from simulate.world import Act, Outcome, Visit

VISITS: Final = (0, 1, 2, 3, 5, 10, 20, 50)
"""Steps of the cold-start curve: visits before this one, from here to the next."""
MEASURES: Final = ("shown", "oracle", "popular", "chance")
_WEIGHTS: Final = {"view": 1.0, "click": 1.0, "cart": 2.0, "purchase": 3.0}


@dataclass(frozen=True, slots=True)
class Worth:
    """Expected clicks of the list and of others in its place."""

    shown: float
    oracle: float
    popular: float
    chance: float

    def row(self) -> NDArray[np.float64]:
        return np.array([self.shown, self.oracle, self.popular, self.chance])


@dataclass
class Business:
    """Sums over lists, by stretch of time (`simulate.latency`) and by visits before. ``worth`` columns: `MEASURES`."""

    seconds: float
    lists: NDArray[np.int64]
    clicks: NDArray[np.int64]
    seen: NDArray[np.int64]
    """Slots that came into view."""
    judged: NDArray[np.int64]
    """Lists whose worth was asked for: a sample."""
    worth: NDArray[np.float64]
    judged_by_visits: NDArray[np.int64]
    worth_by_visits: NDArray[np.float64]
    exposure: NDArray[np.int64]
    """Times each item was seen."""
    categories: int = 0
    """Sum over lists of the different categories in them."""
    foreign: int = 0
    """Shown items that are not of this world."""
    carts: int = 0
    orders: int = 0
    """Items bought out of lists."""

    @classmethod
    def over(cls, seconds: float, items: int) -> Business:
        stretches = stretches_of(seconds)
        return cls(
            seconds,
            lists=np.zeros(stretches, np.int64),
            clicks=np.zeros(stretches, np.int64),
            seen=np.zeros(stretches, np.int64),
            judged=np.zeros(stretches, np.int64),
            worth=np.zeros((stretches, len(MEASURES))),
            judged_by_visits=np.zeros(len(VISITS), np.int64),
            worth_by_visits=np.zeros((len(VISITS), len(MEASURES))),
            exposure=np.zeros(items, np.int64),
        )

    def add(self, at_s: float, outcome: Outcome, numbers: NDArray[np.int64], shelf: Shelf) -> None:
        """One answered list. ``numbers``: its items by number, -1 for those of elsewhere."""
        at = self._stretch(at_s)
        self.lists[at] += 1
        self.clicks[at] += outcome.clicks
        self.seen[at] += outcome.seen
        known = numbers[numbers >= 0]
        self.foreign += len(numbers) - len(known)
        self.categories += len(set(shelf.category[known].tolist()))
        np.add.at(self.exposure, numbers[: outcome.seen][numbers[: outcome.seen] >= 0], 1)
        self.carts += sum(act.deed == "cart" for act in outcome.acts)
        self.orders += sum(act.deed == "purchase" for act in outcome.acts)

    def judge(self, at_s: float, visits_before: int, worth: Worth) -> None:
        """The truth about one list."""
        at, row = self._stretch(at_s), worth.row()
        step = int(np.searchsorted(VISITS, max(visits_before, 0), side="right")) - 1
        self.judged[at] += 1
        self.worth[at] += row
        self.judged_by_visits[step] += 1
        self.worth_by_visits[step] += row

    def merge(self, other: Business) -> None:
        """Take in what another process of the same run saw."""
        for mine, theirs in (
            (self.lists, other.lists),
            (self.clicks, other.clicks),
            (self.seen, other.seen),
            (self.judged, other.judged),
            (self.judged_by_visits, other.judged_by_visits),
            (self.exposure, other.exposure),
        ):
            mine += theirs
        self.worth += other.worth
        self.worth_by_visits += other.worth_by_visits
        self.categories += other.categories
        self.foreign += other.foreign
        self.carts += other.carts
        self.orders += other.orders

    def _stretch(self, at_s: float) -> int:
        return min(max(int(at_s / stretch_of(self.seconds)), 0), len(self.lists) - 1)


@dataclass
class Taken:
    """What people did most so far, as a store without any learning would know it."""

    shelf: Shelf
    weight: NDArray[np.float64] = field(repr=False)

    @classmethod
    def nothing(cls, shelf: Shelf) -> Taken:
        return cls(shelf, np.zeros(len(shelf.ids)))

    def add(self, acts: Sequence[Act]) -> None:
        for act in acts:
            number = self.shelf.numbers.get(act.item)
            if number is not None:
                self.weight[number] += _WEIGHTS[act.deed]

    def most(self, slots: int, at: int, without: Sequence[str]) -> tuple[str, ...]:
        """The ``slots`` items on the shelf that people did most with, ties by number."""
        weight = np.where(self.shelf.alive(at), self.weight, -1.0)
        for item in without:
            weight[self.shelf.numbers[item]] = -1.0
        best = np.argpartition(-weight, min(slots, len(weight) - 1))[:slots]
        return tuple(self.shelf.ids[number] for number in best[np.lexsort((best, -weight[best]))].tolist())


def worth_of(truth: Truth, visit: Visit, slate: Sequence[str], taken: Taken, chance: np.random.Generator) -> Worth:
    """Asked before the world answers the visit. Lists of as many slots as were shown."""
    shelf, slots = taken.shelf, len(slate)
    on_shelf = np.flatnonzero(shelf.alive(visit.at))
    drawn = chance.choice(on_shelf, min(slots, len(on_shelf)), replace=False).tolist()
    return Worth(
        truth.value(visit, slate),
        truth.oracle(visit, slots)[1],
        truth.value(visit, taken.most(slots, visit.at, visit.items)),
        truth.value(visit, [shelf.ids[number] for number in drawn]),
    )


@dataclass(frozen=True)
class Verdict:
    """`Business` in ratios; NaN where nothing is known."""

    lists: int
    judged: int
    clicks_per_list: float
    clicks_per_seen: float
    """The click rate of slots that came into view."""
    regret_per_list: float
    """Expected clicks that a list misses of the best one."""
    regret_share: float
    """Regret as a share of the popularity baseline's."""
    of_oracle: float
    """Value as a share of the oracle's."""
    lift_over_popular: float
    lift_over_chance: float
    """Value over the baseline's, less 1."""
    categories_per_list: float
    coverage: float
    """Share of the world's items that were seen at all."""
    gini: float
    """Of exposure: 0 all alike, 1 all on one item."""
    foreign: int
    carts: int
    orders: int


def verdict(business: Business) -> Verdict:
    """The run as a whole."""
    lists, seen, judged = int(business.lists.sum()), int(business.seen.sum()), int(business.judged.sum())
    shown, oracle, popular, chance = business.worth.sum(axis=0).tolist()
    clicks = int(business.clicks.sum())
    return Verdict(
        lists=lists,
        judged=judged,
        clicks_per_list=_ratio(clicks, lists),
        clicks_per_seen=_ratio(clicks, seen),
        regret_per_list=_ratio(oracle - shown, judged),
        regret_share=_ratio(oracle - shown, oracle - popular),
        of_oracle=_ratio(shown, oracle),
        lift_over_popular=_ratio(shown, popular) - 1,
        lift_over_chance=_ratio(shown, chance) - 1,
        categories_per_list=_ratio(business.categories, lists),
        coverage=_ratio(int((business.exposure > 0).sum()), len(business.exposure)),
        gini=gini(business.exposure),
        foreign=business.foreign,
        carts=business.carts,
        orders=business.orders,
    )


def gini(counts: NDArray[np.int64]) -> float:
    """How unequally counts are spread, in [0, 1); NaN where there are none.

    >>> gini(np.array([5, 5, 5, 5])), gini(np.array([0, 0, 0, 12]))
    (0.0, 0.75)
    """
    total = int(counts.sum())
    if not total:
        return float("nan")
    ordered, n = np.sort(counts), len(counts)
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered) / (n * total)


def _ratio(over: float, under: float) -> float:
    return over / under if under > 0 else float("nan")
