"""From facts about candidates to numbers a model can weigh: inputs of the network, and rows of the blend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from training.evaluation.basket_facts import AT, CANDIDATES_MAX, FACTS, LISTED, Asked, Float32
from training.evaluation.basket_log import Int32, Int64

Bools: TypeAlias = npt.NDArray[np.bool_]

LOGS: Final = (
    *FACTS[: AT["count"] + 1],
    "baskets_known",
    "kind_15d",
    "kind_90d",
    "kind_count",
    "kind_gap",
    "popular_3d",
    "popular_10d",
    "popular_30d",
    "popular_120d",
    "popular_store",
    "rebuyable",
    "baskets_since",
    "gap",
    "gap_rms",
    "mean_size",
    "baskets",
    "last_size",
    "idle_days",
)
"""Taken as log(1 + x): a tenth purchase says less than a second one."""
TIMES: Final = ("days_since", "days_known", "kind_days_since", "idle_days")
"""Taken as log(x + half an hour): a minute ago is another trip's end, a day ago is not."""
AS_THEY_ARE: Final = ("hour_lift", "basket_size", "own", "hour_sin", "hour_cos")
WITHIN: Final = (
    "count_5d",
    "count_15d",
    "count_30d",
    "count_90d",
    "count_250d",
    "count_3b",
    "count_8b",
    "count_20b",
    "shared_90d",
    "kind_15d",
    "kind_90d",
    "popular_3d",
    "popular_30d",
    "popular_store",
    "kind_share",
    "log_count",
    "log_popular_3d",
    "log_popular_30d",
    "rebuy_rate",
    "recency",
    "recency_baskets",
    "per_basket",
    "hour_mean",
    "weekday_mean",
    "due",
    "kind_overdue",
    "store_lift",
)
"""Taken as z within the request besides: what counts is being ahead of the other candidates."""
DERIVED: Final = (
    "overdue",
    "kind_overdue",
    "per_basket",
    "rebuy",
    "hour_mean",
    "weekday_mean",
    "kind_share",
    "again",
    "regular",
    "rebuy_rate",
    "store_lift",
    "log_count",
    "log_popular_3d",
    "log_popular_30d",
    "due",
    "recency_baskets",
    "recency",
)
"""Ratios and products that `derived` makes."""
INPUTS: Final = len(LOGS) + len(TIMES) + len(AS_THEY_ARE) + len(DERIVED) + len(WITHIN)
_BLOCK: Final = 512
HALF_HOUR: Final = 0.02
YEAR: Final = 400.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests under each other: those of request r are the rows ``start[r]:start[r + 1]``."""

    basket: Int64
    """Shape (requests,)."""
    start: Int64
    item: Int32
    facts: Float32
    wanted: Bools
    histories: Sequence[tuple[Int32, Float32]]
    popular: Int32
    """Shape (requests, 10), -1 fills up."""

    def __len__(self) -> int:
        return len(self.basket)

    def fact(self, name: str) -> Float32:
        return self.facts[:, AT[name]]

    @property
    def sizes(self) -> Int64:
        return np.diff(self.start)

    def part(self, first: int, last: int) -> Batch:
        """Requests ``first`` to ``last``, the latter excluded."""
        start = self.start[first : last + 1]
        rows = slice(int(start[0]), int(start[-1]))
        return Batch(
            self.basket[first:last],
            start - start[0],
            self.item[rows],
            self.facts[rows],
            self.wanted[rows],
            self.histories[first:last],
            self.popular[first:last],
        )


class Rows:
    """Rows that come block by block, under each other in one table from the start.

    The table is asked for at its largest, and memory never written to is never taken; blocks joined at the end would
    stand in memory twice.
    """

    def __init__(self, most: int, width: tuple[int, ...], kind: npt.DTypeLike) -> None:
        self._table = np.empty((most, *width), kind)
        self._count = 0

    def add(self, block: npt.NDArray[np.generic]) -> None:
        """In the table's own number format."""
        self._table[self._count : self._count + len(block)] = block
        self._count += len(block)

    @property
    def table(self) -> npt.NDArray[np.generic]:
        """What came until now, not copied."""
        return self._table[: self._count]


def trimmed(asked: Asked, most: int) -> Asked:
    """The ``most`` likeliest candidates alone, by counts of three memories and then popularity; order kept."""
    if len(asked.item) <= most:
        return asked
    fact = asked.facts[:, [AT[name] for name in ("count_90d", "count_15d", "count_20b", "popular_30d")]]
    kept = np.sort(np.argsort(-(fact @ np.array([1.0, 1.0, 0.5, 1e-4], np.float32)), kind="stable")[:most])
    return replace(asked, item=asked.item[kept], facts=asked.facts[kept], wanted=asked.wanted[kept])


def batch(asked: Iterable[Asked], requests: int) -> Batch:
    """The requests in the order given, at most ``requests``."""
    most = requests * CANDIDATES_MAX
    facts, item = Rows(most, (len(FACTS),), np.float32), Rows(most, (), np.int32)
    wanted, popular = Rows(most, (), np.bool_), Rows(requests, (LISTED,), np.int32)
    basket, sizes, histories = [], [0], []
    for one in asked:
        facts.add(one.facts)
        item.add(one.item)
        wanted.add(one.wanted)
        popular.add(np.pad(one.popular, (0, LISTED - len(one.popular)), constant_values=-1)[None])
        basket.append(one.basket)
        sizes.append(len(one.item))
        histories.append(one.history)
    return Batch(
        np.array(basket, np.int64),
        np.cumsum(sizes, dtype=np.int64),
        np.asarray(item.table, np.int32),
        np.asarray(facts.table, np.float32),
        np.asarray(wanted.table, np.bool_),
        histories,
        np.asarray(popular.table, np.int32),
    )


def z_within(values: Float32, start: Int64) -> Float32:
    """(value - mean) / deviation of each column within its request; 0 where a column is constant there."""
    sizes = np.diff(start)
    shape = (-1,) + (1,) * (values.ndim - 1)
    mean = np.add.reduceat(values, start[:-1], axis=0) / sizes.reshape(shape)
    z = values - np.repeat(mean, sizes, axis=0)
    deviation = np.sqrt(np.add.reduceat(z * z, start[:-1], axis=0) / sizes.reshape(shape))
    speaks = deviation > 1e-6 * np.maximum(np.abs(mean), 1e-6)
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=speaks)
    return np.asarray(z * np.repeat(scale, sizes, axis=0), np.float32)


def inputs(given: Batch) -> Float32:
    """Shape (rows, inputs): what the network sees, not standardised yet. Made block by block: the table is the largest
    thing there is, and a second one of its size would not fit beside it."""
    table = np.empty((len(given.item), INPUTS), np.float32)
    for first in range(0, len(given), _BLOCK):
        last = min(first + _BLOCK, len(given))
        _describe(given.part(first, last), table[given.start[first] : given.start[last]])
    return table


def _describe(given: Batch, out: Float32) -> None:
    made = derived(given)
    within = np.stack([made[name] if name in made else given.fact(name) for name in WITHIN], axis=1)
    parts = [np.log1p(np.clip(given.fact(name), 0.0, YEAR * 10)) for name in LOGS]
    parts += [np.log(np.clip(given.fact(name), 0.0, YEAR) + HALF_HOUR) for name in TIMES]
    parts += [given.fact(name) for name in AS_THEY_ARE]
    parts += [made[name] for name in DERIVED]
    for column, values in enumerate(parts):
        out[:, column] = values
    out[:, len(parts) :] = np.clip(z_within(within, given.start), -3.0, 8.0)


def derived(given: Batch) -> Mapping[str, Float32]:
    """Ratios that a network would need many units to find."""
    fact = given.fact
    count, own = fact("count"), fact("own")
    overdue = np.log((np.minimum(fact("days_since"), YEAR) + 0.1) / np.maximum(np.minimum(fact("gap"), YEAR), 0.5))
    kind_overdue = np.log((np.clip(fact("kind_days_since"), 0.0, YEAR) + 0.1) / np.maximum(fact("kind_gap"), 0.5))
    steady = np.minimum(1.0, fact("gap") / np.maximum(fact("gap_rms"), 1e-3))
    waited = fact("days_since") / np.maximum(fact("gap"), 1.0)
    due = np.where(count >= 3, np.exp(-(((waited - 1.0) / 0.5) ** 2)) * steady, 0.0)
    rebuy = np.log((fact("rebought") + 0.04) / (fact("rebuyable") + 2.0))
    return {
        "overdue": np.asarray(overdue, np.float32),
        "kind_overdue": np.asarray(kind_overdue, np.float32),
        "per_basket": np.asarray(np.log((count + 0.1) / (fact("baskets_known") + 2.0)), np.float32),
        "rebuy": np.asarray(rebuy, np.float32),
        "hour_mean": np.asarray(fact("same_hour") / (count + 1.0), np.float32),
        "weekday_mean": np.asarray(fact("same_weekday") / (count + 1.0), np.float32),
        "kind_share": np.asarray(np.sqrt(fact("count_90d") / (fact("kind_90d") + 0.5)), np.float32),
        "again": np.asarray(count >= 2, np.float32),
        "regular": np.asarray(count >= 3, np.float32),
        "rebuy_rate": np.asarray(own * np.log1p(fact("count_90d")) * (rebuy + 8.0), np.float32),
        "store_lift": np.asarray(
            np.log((fact("popular_store") + 0.05) / (fact("popular_30d") * 0.1 + 0.5)), np.float32
        ),
        "log_count": np.asarray(np.log1p(count), np.float32),
        "log_popular_3d": np.asarray(np.log1p(fact("popular_3d")), np.float32),
        "log_popular_30d": np.asarray(np.log1p(fact("popular_30d")), np.float32),
        "due": np.asarray(due, np.float32),
        "recency_baskets": np.asarray(own / np.sqrt(1.0 + np.minimum(fact("baskets_since"), YEAR)), np.float32),
        "recency": np.asarray(own / np.sqrt(1.0 + np.minimum(fact("days_since"), YEAR)), np.float32),
    }
