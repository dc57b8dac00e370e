"""How alike two items are rated, learned as ratings come: item-kNN's similarities as covariances.

    cov(i, j) = S(i, j) / (N(i, j) + shrink)

with S the sum, over people who rated both, of the product of their residuals (what is left of a rating after the mean,
the item's offset and the person's own), and N the number of such people. The shrinkage is that of Koren, Factorization
meets the neighborhood (KDD 2008), for the covariance instead of the correlation: residual variance is part of what a
prediction needs (`training.rating_residuals`).

Memory is the square of the number of items: 8 bytes a pair, 34 MB at the default 2,048. Beyond it the item rated
longest ago gives way and is like nobody until it comes back.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from training.rating_slots import START, Slots

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Halves: TypeAlias = npt.NDArray[np.float32]

SHRINK: Final = 80.0
"""People whose word is not yet believed about a pair. 50 to 200 are within .001 RMSE of each other on the first fifth
of MovieLens 100K."""

PEOPLE_MAX: Final = 65_536.0
"""When that many people rated a pair, both sums are halved: tastes may move, and float32 counts stay exact."""


class PairCovariance:
    """Over item slots; one an item never had, or lost, has covariance 0 with all."""

    def __init__(self, most: int) -> None:
        self.slots = Slots[int](most)
        """Item slot → row."""
        self._row_of = np.full(START, -1, np.int32)
        self._sum = np.zeros((START + 1, START + 1), np.float32)
        self._people = np.zeros_like(self._sum)
        # The last row and column stay zero: row number -1 means "like nobody" without a case of its own.

    def between(self, left: Ints, right: Ints) -> Floats:
        """Shape (left, right): covariances of item slots."""
        at = np.ix_(self._rows(left), self._rows(right))
        return (self._sum[at] / (self._people[at] + np.float32(SHRINK))).astype(np.float64)

    def learn(self, item: int, others: Ints, products: Floats) -> None:
        """One more person rated ``item`` after ``others`` (distinct, not ``item``), with these residuals' products."""
        row = self._admit(item)
        partners = self._rows(others)
        known = partners >= 0
        partners = partners[known]
        together = self._sum[row, partners] + products[known].astype(np.float32)
        people = self._people[row, partners] + np.float32(1)
        full = people >= PEOPLE_MAX
        if full.any():
            together[full] /= 2
            people[full] /= 2
        self._sum[row, partners] = self._sum[partners, row] = together
        self._people[row, partners] = self._people[partners, row] = people

    def remove(self, item: int) -> None:
        """An item's slot goes to another item."""
        row = self.slots.remove(item)
        if row >= 0:
            self._clear(row)
            self._row_of[item] = -1

    def tables(self) -> tuple[Halves, Halves]:
        """(sums, people) of the rows in use."""
        used = self.slots.used
        return self._sum[:used, :used], self._people[:used, :used]

    @classmethod
    def restored(cls, slots: Slots[int], total: Halves, people: Halves) -> PairCovariance:
        """What had these rows and this answer of `tables`."""
        pairs = cls(slots.most)
        pairs.slots = slots
        used = slots.used
        pairs._grow(used)
        pairs._sum[:used, :used] = total
        pairs._people[:used, :used] = people
        for item, row in slots:
            pairs._reach(item)
            pairs._row_of[item] = row
        return pairs

    def _rows(self, items: Ints) -> npt.NDArray[np.int32]:
        inside = items < len(self._row_of)
        if inside.all():
            return self._row_of[items]
        return np.where(inside, self._row_of[np.where(inside, items, 0)], np.int32(-1))

    def _admit(self, item: int) -> int:
        gives_way = self.slots.oldest() if self.slots.get(item) < 0 else None
        row, fresh = self.slots.admit(item)
        if fresh:
            self._grow(row + 1)
            if gives_way is not None:
                self._row_of[gives_way] = -1
                self._clear(row)
            self._reach(item)
            self._row_of[item] = row
        return row

    def _clear(self, row: int) -> None:
        for table in (self._sum, self._people):
            table[row] = 0
            table[:, row] = 0

    def _reach(self, item: int) -> None:
        if item >= len(self._row_of):
            longer = np.full(max(item + 1, 2 * len(self._row_of)), -1, np.int32)
            longer[: len(self._row_of)] = self._row_of
            self._row_of = longer

    def _grow(self, rows: int) -> None:
        have = len(self._sum) - 1
        if rows <= have:
            return
        size = min(max(rows, 2 * have), max(self.slots.most, START))
        for name in ("_sum", "_people"):
            larger = np.zeros((size + 1, size + 1), np.float32)
            larger[:have, :have] = getattr(self, name)[:have, :have]
            setattr(self, name, larger)
