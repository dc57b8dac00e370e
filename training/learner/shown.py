"""What the learner needs to know of an answered list. Where it comes from is the caller's matter: decision records, or
a table in a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from training.blend import FEATURES
from training.learned import CONTEXT

Matrix: TypeAlias = npt.NDArray[np.float64]

WIDTH = len(FEATURES)


@dataclass(frozen=True, slots=True)
class ShownList:
    """A list as it was answered. Rows are slots, from the top."""

    surface: str
    at: int
    """When it was answered, us."""
    personal: bool
    """Answered with personalization consent. Nothing is learned from one without."""
    test: bool
    items: tuple[str, ...]
    propensities: tuple[float, ...]
    names: tuple[str, ...]
    """Recommenders, in the order of the columns of ``features``."""
    features: Matrix
    """Shape (slots, recommenders · `WIDTH`)."""
    context: Matrix
    """Shape (slots, len(`CONTEXT`))."""
    forced: frozenset[int] = frozenset()
    """Slots the caller filled: no choice, so they teach nothing."""
    segments: tuple[str, ...] = ()
    """Segments of the person who was answered: each has a Hedge of its own on every surface."""


class ShownSource(Protocol):
    """Finds answered lists."""

    def shown(self, list_id: str) -> ShownList | None:
        """The list of this id; None where there is none, or no longer (erased with its subject, past its retention).
        The same id always leads to the same list."""
        ...


class Columns:
    """The learner's own columns: recommender by recommender, then `CONTEXT`, then a constant 1."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.bias = len(self.names) * WIDTH + len(CONTEXT)
        self.count = self.bias + 1
        self._places: dict[tuple[str, ...], tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]] = {}

    def of(self, shown: ShownList) -> Matrix:
        """Shape (slots, `count`). Recommenders the list's surface did not ask are 0 throughout."""
        here, there = self.places(shown.names)
        rows = np.zeros((len(shown.items), self.count))
        rows[:, here] = shown.features[:, there]
        rows[:, self.bias - len(CONTEXT) : self.bias] = shown.context
        rows[:, self.bias] = 1.0
        return rows

    def spoke(self, rows: Matrix) -> Matrix:
        """How many recommenders scored the item, of each of ``rows`` as `of` makes them."""
        ranks = rows[:, FEATURES.index("reciprocal_rank") : len(self.names) * WIDTH : WIDTH]
        spoke: Matrix = (ranks > 0).sum(axis=1, dtype=np.float64)
        return spoke

    def places(self, names: tuple[str, ...]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Columns of ours, and where they stand among those of ``names``."""
        known = self._places.get(names)
        if known is None:
            mine: Mapping[str, int] = {name: place for place, name in enumerate(self.names)}
            pairs = [(mine[name], place) for place, name in enumerate(names) if name in mine]
            width = np.arange(WIDTH)
            here = np.array([own * WIDTH + width for own, _ in pairs], np.intp).reshape(-1)
            there = np.array([place * WIDTH + width for _, place in pairs], np.intp).reshape(-1)
            known = self._places[names] = here, there
        return known


def sparse(rows: Matrix) -> list[dict[int, float]]:
    """Each row as River takes it: column → value, zeros left out, columns ascending (the order sums are made in).

    >>> sparse(np.array([[0.0, 2.0, 1.0]]))
    [{1: 2.0, 2: 1.0}]
    """
    out = []
    for row in rows:
        columns = np.flatnonzero(row)
        out.append(dict(zip(columns.tolist(), row[columns].tolist(), strict=True)))
    return out
