"""Baskets in the order of time, as arrays: what next-basket evaluation walks through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Int32: TypeAlias = npt.NDArray[np.int32]
Int64: TypeAlias = npt.NDArray[np.int64]
Float64: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BasketLog:
    """Baskets by time; the lines of basket b are ``start[b]:start[b + 1]``, each item once."""

    day: Float64
    """Shape (baskets,): days since the first one, not falling."""
    household: Int32
    week: Int32
    store: Int32
    start: Int64
    """Shape (baskets + 1,), rising: no basket is empty."""
    item: Int32
    """Shape (lines,)."""
    kind: Int32
    """Shape (items,): number of the item's product type."""
    households: int

    def __len__(self) -> int:
        return len(self.day)

    @property
    def items(self) -> int:
        return len(self.kind)

    @property
    def sizes(self) -> Int64:
        return np.diff(self.start)

    @property
    def line_basket(self) -> Int64:
        """The basket of each line."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.sizes)

    def weeks(self, first: int, last: int) -> npt.NDArray[np.bool_]:
        """Shape (baskets,): whether it lies in these weeks, both included."""
        inside: npt.NDArray[np.bool_] = (self.week >= first) & (self.week <= last)
        return inside

    def head(self, baskets: int) -> BasketLog:
        """The first ``baskets``."""
        return BasketLog(
            self.day[:baskets],
            self.household[:baskets],
            self.week[:baskets],
            self.store[:baskets],
            self.start[: baskets + 1],
            self.item[: self.start[baskets]],
            self.kind,
            self.households,
        )


@dataclass(frozen=True, slots=True)
class Places:
    """A place for every (owner, thing) that ever meet, such as a household and an item. An owner's places lie side by
    side in the order in which it met the things, so what it knew at any time is the head of its stretch: laying them
    out ahead tells nothing of the future."""

    of_line: Int64
    """Shape (lines,)."""
    thing: Int32
    """Shape (places,)."""
    first: Int64
    """Shape (owners + 1,): owner o has ``first[o]:first[o + 1]``."""

    def __len__(self) -> int:
        return len(self.thing)


def places(owner: Int32, thing: Int32, owners: int, things: int) -> Places:
    """Places of the pairs of two columns, which stand in the order of time.

    >>> places(np.array([1, 0, 1]), np.array([5, 5, 2]), 2, 6).thing.tolist()
    [5, 5, 2]
    """
    pair, first_line, number = np.unique(
        owner.astype(np.int64) * things + thing, return_index=True, return_inverse=True
    )
    order = np.lexsort((first_line, pair // things))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    first = np.searchsorted((pair // things)[order], np.arange(owners + 1))
    return Places(place[number], (pair % things)[order].astype(np.int32), first.astype(np.int64))
