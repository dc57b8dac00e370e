"""The table every loader makes and every split cuts: who did what when, person by person, oldest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

Int32: TypeAlias = npt.NDArray[np.int32]
Int64: TypeAlias = npt.NDArray[np.int64]
Float32: TypeAlias = npt.NDArray[np.float32]
Rows: TypeAlias = npt.NDArray[np.int64]
"""Row numbers of a table, ascending."""


@dataclass(frozen=True)
class HistoryTable:
    """Rows ordered by (user, ``at``, position in the file). Numbers of users, items and sessions are dense."""

    user_ids: Sequence[str]
    item_ids: Sequence[str]
    user: Int32
    item: Int32
    at: Int64
    """Time in ms; for data that only has an order, the row's place in its user's history, from 0."""
    session: Int32
    """Which session the row belongs to; all of one user's rows where the data has no sessions."""
    timed: bool
    """Whether ``at`` is a time that can be compared between users."""
    rating: Float32 | None = None
    attributes: sparse.csr_matrix | None = None
    """Shape (items, attributes), 1 where the item has the attribute."""
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Attribute of people, such as gender → its value for each user."""
    validation_users: npt.NDArray[np.bool_] | None = None
    """Shape (users,): whose second-last item the data's publisher reserves for validation; None: everybody's."""

    def __len__(self) -> int:
        return len(self.user)

    def only(self, kept: npt.NDArray[np.bool_]) -> HistoryTable:
        """Those of the rows; ids and numbers stay."""
        return replace(
            self,
            user=self.user[kept],
            item=self.item[kept],
            at=self.at[kept],
            session=self.session[kept],
            rating=None if self.rating is None else self.rating[kept],
        )

    @property
    def users(self) -> int:
        return len(self.user_ids)

    @property
    def items(self) -> int:
        return len(self.item_ids)

    @cached_property
    def start(self) -> Int64:
        """Shape (users + 1,): rows of user u are ``start[u]:start[u + 1]``."""
        return np.searchsorted(self.user, np.arange(self.users + 1)).astype(np.int64)

    @cached_property
    def place(self) -> Int64:
        """Each row's place in its user's history, from 0."""
        return np.arange(len(self), dtype=np.int64) - self.start[self.user]


def table(
    users: Sequence[str],
    items: Sequence[str],
    at: Int64 | None = None,
    *,
    sessions: Sequence[str] | None = None,
    rating: Float32 | None = None,
) -> HistoryTable:
    """From columns in file order. Ids are numbered in the order of their text, so that the order of rows in a file
    decides nothing but ties in time. Without ``at`` each user's rows keep the file's order.

    >>> table(["b", "a", "b"], ["x", "x", "y"], np.array([2, 1, 1])).item.tolist()
    [0, 1, 0]
    """
    user_ids, user = np.unique(np.asarray(users, dtype=str), return_inverse=True)
    item_ids, item = np.unique(np.asarray(items, dtype=str), return_inverse=True)
    written = np.arange(len(user), dtype=np.int64)
    order = np.lexsort((written, written if at is None else at, user))
    numbered = user if sessions is None else np.unique(np.asarray(sessions, dtype=str), return_inverse=True)[1]
    user_in_order = user[order].astype(np.int32)
    first = np.searchsorted(user_in_order, np.arange(len(user_ids)))
    place = written - first[user_in_order]
    return HistoryTable(
        [str(name) for name in user_ids],
        [str(name) for name in item_ids],
        user_in_order,
        item[order].astype(np.int32),
        place if at is None else np.asarray(at, np.int64)[order],
        numbered[order].astype(np.int32),
        at is not None,
        None if rating is None else rating[order],
    )
