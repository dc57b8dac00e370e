"""Interactions: who did what with which item when, as arrays. What batch models are fitted on.

Made from the log by retraining (point in time: nothing appended after the log offsets given) and from data folders by
evaluation. Item and user numbers are this table's own, dense, in order of first appearance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Int32: TypeAlias = npt.NDArray[np.int32]
Int64: TypeAlias = npt.NDArray[np.int64]
Float32: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Interactions:
    """One row per (event, item), ordered by (``at``, ``event``, ``item``)."""

    item_ids: Sequence[str]
    """By item number. Items of the catalogue that nobody has touched may stand at the end: they have no rows."""
    users: int
    """User numbers are 0..users-1."""
    user: Int32
    item: Int32
    at: Int64
    """Event time, ms."""
    event: Int32
    """Number of the event; the lines of one order share it."""
    weight: Float32
    """The signal's weight times the event's (`actors.signals.SIGNALS`), positive; 1 for data without signals."""
    bought: npt.NDArray[np.bool_]
    """Whether the row is a purchase."""

    @property
    def items(self) -> int:
        return len(self.item_ids)

    def __len__(self) -> int:
        return len(self.user)

    def before(self, at: int) -> Interactions:
        """The rows of an event time below ``at`` ms; ids and numbers stay."""
        end = int(np.searchsorted(self.at, at, "left"))
        return self.rows(slice(0, end))

    def rows(self, which: slice | npt.NDArray[np.bool_]) -> Interactions:
        """Some of the rows, in order; ids and numbers stay."""
        return Interactions(
            self.item_ids,
            self.users,
            self.user[which],
            self.item[which],
            self.at[which],
            self.event[which],
            self.weight[which],
            self.bought[which],
        )


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """What the catalogue says of each item, by item number; empty where it says nothing."""

    category: Sequence[str]
    """Path, parts joined by ``" > "``, general first."""
    brand: Sequence[str]
    attributes: Sequence[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.category)

    def tokens(self, item: int) -> tuple[str, ...]:
        """What describes an item: every level of its category path, its brand, its attributes.

        >>> ItemFacts(["Drinks > Tea"], ["Acme"], [("green",)]).tokens(0)
        ('c:Drinks', 'c:Drinks > Tea', 'b:Acme', 'a:green')
        """
        parts = self.category[item].split(" > ") if self.category[item] else []
        levels = tuple("c:" + " > ".join(parts[:depth]) for depth in range(1, len(parts) + 1))
        brand = (f"b:{self.brand[item]}",) if self.brand[item] else ()
        return (*levels, *brand, *(f"a:{attribute}" for attribute in self.attributes[item]))


def no_facts(items: int) -> ItemFacts:
    """Of items that nothing is known of."""
    return ItemFacts([""] * items, [""] * items, [()] * items)
