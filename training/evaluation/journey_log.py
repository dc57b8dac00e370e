"""The Complete Journey as a `BasketLog`, with what the report groups households and items by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from training.evaluation.basket_log import BasketLog, Int32, Int64
from training.evaluation.data_folder import BadData
from training.evaluation.journey_tables import JourneyTables, recommendable_rows

Catalogue: TypeAlias = Literal["recommendable", "every-line"]
GROUPS: Final = ("age", "income", "household_size", "kids_count")
"""Demographics that the report compares."""
UNKNOWN: Final = "(not told)"
DAY_MS: Final = 86_400_000.0


@dataclass(frozen=True, slots=True)
class JourneyLog:
    """The baskets, and names for what they are about."""

    log: BasketLog
    department: Int32
    """Shape (items,)."""
    departments: int
    groups: Mapping[str, Sequence[str]]
    """Attribute → its value for each household."""
    begun: int
    """Day 0 of the log, in ms since 1970."""
    baskets: int
    """In the source, those without a line of the catalogue included."""
    lines_left_out: int


@dataclass(frozen=True, slots=True)
class _Products:
    """By product id, ascending."""

    product: Int64
    kind: Int32
    department: Int32
    recommendable: npt.NDArray[np.bool_]


def read(tables: JourneyTables, catalogue: Catalogue) -> JourneyLog:
    """The whole year.

    ``recommendable``: items are the products that the hierarchy says are sold for themselves, decided by department,
    category and type alone, never by sales. ``every-line``: every product id that a line names, fuel, coupons and ids
    without a description too. Raises `BadData` naming file, row and column.
    """
    names = ("household_id", "basket_id", "store_id", "product_id", "week")
    household, basket, store, product, week = tables.whole("transactions", *names)
    at = tables.times("transactions", "transaction_timestamp")
    _check(tables, basket, household, at, week)
    shelf = _shelf(tables, product)
    offered = shelf.recommendable if catalogue == "recommendable" else np.ones(len(shelf.product), np.bool_)
    number = np.where(offered, np.cumsum(offered) - 1, -1)[np.searchsorted(shelf.product, product)]
    order = np.flatnonzero(number >= 0)
    order = order[np.lexsort((number[order], basket[order], household[order], at[order]))]
    again = (np.diff(basket[order], prepend=-1) == 0) & (np.diff(number[order], prepend=-1) == 0)
    order = order[~again]
    if not len(order):
        raise BadData(f"{tables.path('transactions')} has no line of an item that can be recommended")
    first = np.flatnonzero(np.diff(basket[order], prepend=-1) != 0)
    households, owner = np.unique(household, return_inverse=True)
    opened = order[first]
    log = BasketLog(
        day=(at[opened] - at.min()) / DAY_MS,
        household=owner[opened].astype(np.int32),
        week=week[opened].astype(np.int32),
        store=np.unique(store, return_inverse=True)[1][opened].astype(np.int32),
        start=np.append(first, len(order)).astype(np.int64),
        item=number[order].astype(np.int32),
        kind=np.unique(shelf.kind[offered], return_inverse=True)[1].astype(np.int32),
        households=len(households),
    )
    department = np.unique(shelf.department[offered], return_inverse=True)[1].astype(np.int32)
    return JourneyLog(
        log,
        department,
        int(department.max()) + 1,
        _groups(tables, households),
        begun=int(at.min()),
        baskets=len(np.unique(basket)),
        lines_left_out=int((number < 0).sum()),
    )


def _shelf(tables: JourneyTables, sold: Int64) -> _Products:
    """All products described or sold; those without a description are of one kind and department of their own."""
    (product,) = tables.whole("products", "product_id")
    department, category, kind = tables.texts("products", "department", "product_category", "product_type")
    known, first = np.unique(product, return_index=True)
    bare = np.setdiff1d(sold, known)
    every = np.concatenate((known, bare))
    rows = first.tolist()
    kinds = [f"{category[row]}|{kind[row]}" for row in rows] + [""] * len(bare)
    departments = [department[row] for row in rows] + [""] * len(bare)
    offered = np.append(recommendable_rows(department, category, kind)[first], np.zeros(len(bare), np.bool_))
    order = np.argsort(every)
    return _Products(every[order], _numbered(kinds)[order], _numbered(departments)[order], offered[order])


def _numbered(names: Sequence[str]) -> Int32:
    return np.unique(np.array(names, dtype=str), return_inverse=True)[1].astype(np.int32)


def _check(tables: JourneyTables, basket: Int64, household: Int64, at: Int64, week: Int64) -> None:
    """A basket is one household's at one time, and weeks rise with time."""
    path = tables.path("transactions")
    order = np.argsort(basket, kind="stable")
    same = np.flatnonzero(np.diff(basket[order]) == 0)
    for name, column in (("household_id", household), ("transaction_timestamp", at), ("week", week)):
        other = same[np.diff(column[order])[same] != 0]
        if len(other):
            row = int(order[other[0] + 1])
            raise BadData(f"{path} row {row + 1}: {name} differs within basket {basket[row]}")
    by_time = np.argsort(at, kind="stable")
    back = np.flatnonzero(np.diff(week[by_time]) < 0)
    if len(back):
        row = int(by_time[back[0] + 1])
        raise BadData(
            f"{path} row {row + 1}: week is {week[row]}, but an earlier transaction_timestamp has a later one"
        )


def _groups(tables: JourneyTables, households: Int64) -> dict[str, list[str]]:
    (told,) = tables.whole("demographics", "household_id")
    values = tables.texts("demographics", *GROUPS)
    found = {}
    for name, column in zip(GROUPS, values, strict=True):
        known = dict(zip(told.tolist(), column, strict=True))
        found[name] = [known.get(number, "") or UNKNOWN for number in households.tolist()]
    return found
