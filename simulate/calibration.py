"""How like a grocer's year the world is: the same figures of The Complete Journey and of the world, side by side.

An item of the world stands for a product type ("Corn Chips"), which is what its catalogue is cut from: The Complete
Journey's types are as many as the world's items, its products thirty times as many. Only what people take by
themselves is compared; what they do with lists of recommendations no such source knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from simulate.chance import Floats
from simulate.shelf import Ints
from simulate.shopper import hour_of_week
from simulate.world import World
from simulate.world_spec import DAY_MS, HOUR_MS, WEEK_MS, WorldSpec
from training.evaluation.journey_tables import JourneyTables, recommendable_rows

WEEKS: Final = 53
QUANTILES: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
SHARES: Final = (0.01, 0.05, 0.1, 0.2, 0.5)
REPEAT_WEEKS: Final = (1, 2, 4, 8, 13, 26, 39, 52)


@dataclass(frozen=True, slots=True)
class Orders:
    """Lines of orders: one row per distinct item of an order."""

    person: Ints
    order: Ints
    at: Ints
    item: Ints

    @classmethod
    def of(cls, person: Ints, order: Ints, at: Ints, item: Ints) -> Orders:
        """Sorted by order and item, each item once per order."""
        rows = np.lexsort((item, order))
        person, order, at, item = person[rows], order[rows], at[rows], item[rows]
        new = np.r_[True, (order[1:] != order[:-1]) | (item[1:] != item[:-1])]
        return cls(person[new], order[new], at[new], item[new])


@dataclass(frozen=True, slots=True)
class Likeness:
    """The figures that are compared."""

    orders_per_week: tuple[float, ...]
    """Of people who order at all, at `QUANTILES`."""
    basket: tuple[float, ...]
    """Distinct items of an order, at `QUANTILES`."""
    basket_mean: float
    top: tuple[float, ...]
    """Share of lines of the best-selling `SHARES` of the items that sell."""
    repeats: tuple[float, ...]
    """Share of lines of what the same person took before, in `REPEAT_WEEKS` (from 0)."""
    popular: float
    """Recall@10 of the best-selling items on the orders of the last four weeks."""
    personal: float
    """The same of what each person bought most, by a 90-day half-life, filled up with best-selling items."""
    gaps: tuple[float, ...]
    """Days between taking an item and taking it again, of the last eight weeks' repeats, at `QUANTILES`. Not searched
    for: what habit and satiation come to."""
    hours: tuple[float, ...]
    """Orders by hour of the week, of mean 1."""

    def rows(self) -> Mapping[str, float]:
        """Name → value, hours apart."""
        named = {
            f"orders a week, {q:.0%} of people below": v for q, v in zip(QUANTILES, self.orders_per_week, strict=True)
        }
        named |= {f"items in an order, {q:.0%} of orders below": v for q, v in zip(QUANTILES, self.basket, strict=True)}
        named["items in an order, mean"] = self.basket_mean
        named |= {f"lines of the best-selling {s:.0%} of items": v for s, v in zip(SHARES, self.top, strict=True)}
        named |= {
            f"days until taken again, {q:.0%} of repeats below": v for q, v in zip(QUANTILES, self.gaps, strict=True)
        }
        named["recall@10 of the best-selling"] = self.popular
        named["recall@10 of what the person bought most"] = self.personal
        return named | {
            f"lines bought before, week {w + 1}": v for w, v in zip(REPEAT_WEEKS, self.repeats, strict=True)
        }


def likeness(orders: Orders, start: int, weeks: int = WEEKS) -> Likeness:
    """Figures of these orders over ``weeks`` from ``start`` (ms)."""
    _, first, size = np.unique(orders.order, return_index=True, return_counts=True)
    each = np.bincount(orders.person[first])
    sold = np.sort(np.bincount(orders.item))[::-1]
    sold = sold[sold > 0]
    share = np.cumsum(sold) / sold.sum()
    return Likeness(
        orders_per_week=tuple(np.quantile(each[each > 0] / weeks, QUANTILES).tolist()),
        basket=tuple(np.quantile(size, QUANTILES).tolist()),
        basket_mean=float(size.mean()),
        top=tuple(float(share[max(int(len(share) * part) - 1, 0)]) for part in SHARES),
        repeats=_repeats(orders, start),
        gaps=_gaps(orders, start + (weeks - 8) * WEEK_MS),
        **_recalls(orders, start + (weeks - 4) * WEEK_MS),
        hours=tuple(_hours(orders.at[first]).tolist()),
    )


def journey_orders() -> tuple[Orders, int]:
    """The Complete Journey's orders of product types, and when its year begins. Raises `NotFound` if it is not
    installed."""
    tables = JourneyTables.installed()
    household, basket, product = tables.whole("transactions", "household_id", "basket_id", "product_id")
    at = tables.times("transactions", "transaction_timestamp")
    (known,) = tables.whole("products", "product_id")
    department, category, kind = tables.texts("products", "department", "product_category", "product_type")
    wanted = recommendable_rows(department, category, kind)
    numbers: dict[tuple[str, str], int] = {}
    number = np.array(
        [
            numbers.setdefault(name, len(numbers)) if good else -1
            for name, good in zip(zip(category, kind, strict=True), wanted.tolist(), strict=True)
        ],
        np.int64,
    )
    sorted_ = np.argsort(known)
    place = np.minimum(np.searchsorted(known[sorted_], product), len(known) - 1)
    item = np.where(known[sorted_][place] == product, number[sorted_][place], -1)
    good = item >= 0
    return Orders.of(household[good], basket[good], at[good], item[good]), int(at.min())


def world_orders(spec: WorldSpec, seed: int, weeks: int = WEEKS, share: tuple[int, int] = (0, 1)) -> Orders:
    """What people who are there from the start take without any list."""
    world = World(spec, seed, share=share)
    rows: list[tuple[int, int, int, int]] = []
    for number, visit in enumerate(world.visits(spec.start_ms, spec.start_ms + weeks * WEEK_MS)):
        order = world.organic(visit).order
        if world.people.born[visit.person] == 0:
            rows += [(visit.person, number, visit.at, world.shelf.numbers[line.item]) for line in order]
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    return Orders.of(columns[0], columns[1], columns[2], columns[3])


def _repeats(orders: Orders, start: int) -> tuple[float, ...]:
    rows = np.lexsort((orders.at, orders.item, orders.person))
    person, item, at = orders.person[rows], orders.item[rows], orders.at[rows]
    again = np.r_[False, (person[1:] == person[:-1]) & (item[1:] == item[:-1])]
    week = (at - start) // WEEK_MS
    return tuple(float(again[week == wanted].mean()) if (week == wanted).any() else 0.0 for wanted in REPEAT_WEEKS)


def _gaps(orders: Orders, since: int) -> tuple[float, ...]:
    rows = np.lexsort((orders.at, orders.item, orders.person))
    person, item, at = orders.person[rows], orders.item[rows], orders.at[rows]
    again = (person[1:] == person[:-1]) & (item[1:] == item[:-1]) & (at[1:] >= since)
    days = (at[1:] - at[:-1])[again] / DAY_MS
    return tuple(np.quantile(days, QUANTILES).tolist()) if len(days) else (0.0,) * len(QUANTILES)


def _recalls(orders: Orders, since: int) -> dict[str, float]:
    """See `Likeness`. Orders in the order of time; each is judged before it is counted."""
    rows = np.argsort(orders.at, kind="stable")
    order, person, at, item = orders.order[rows], orders.person[rows], orders.at[rows], orders.item[rows]
    starts = np.flatnonzero(np.r_[True, order[1:] != order[:-1], True])
    sold = np.zeros(int(item.max()) + 1)
    own: dict[int, dict[int, float]] = {}
    hits: list[tuple[float, float]] = []
    best: list[int] = []
    for number, (first, last) in enumerate(pairwise(starts.tolist())):
        who, lines, now = int(person[first]), item[first:last].tolist(), int(at[first])
        growth = 2.0 ** ((now - since) / (90 * DAY_MS))
        known = own.setdefault(who, {})
        if now >= since:
            if number % 100 == 0 or not best:
                best = np.argsort(-sold, kind="stable")[:10].tolist()
            mine = sorted(known, key=lambda one: (-known[one], one))[:10]
            mine += [one for one in best if one not in mine][: 10 - len(mine)]
            hits.append(tuple(len(set(lines) & set(shown)) / len(lines) for shown in (best, mine)))  # type: ignore[arg-type]
        for line in lines:
            known[line] = known.get(line, 0.0) + growth
            sold[line] += 1
    popular, personal = np.mean(hits, axis=0).tolist() if hits else (0.0, 0.0)
    return {"popular": popular, "personal": personal}


def _hours(at: Ints) -> Floats:
    counts = np.bincount((at // HOUR_MS + hour_of_week(0)) % 168, minlength=168)
    hours: Floats = counts / len(at) * 168
    return hours
