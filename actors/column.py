"""A column of numbers per item or category that grows with the catalogue."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Scalar = TypeVar("Scalar", bound=np.generic)


class Column(Generic[Scalar]):
    """A numpy array whose length can be raised; growth doubles the room, so that n appends cost O(n).

    >>> column = Column(np.int32, -1); column.grow(3); column.values[1] = 7; column.values.tolist()
    [-1, 7, -1]
    """

    def __init__(self, dtype: type[Scalar], fill: float) -> None:
        self._fill = fill
        self._room: npt.NDArray[Scalar] = np.full(16, fill, dtype)
        self._size = 0

    @property
    def values(self) -> npt.NDArray[Scalar]:
        """The column as a view: writing to it writes to the column; it ends where the column ended when asked for."""
        return self._room[: self._size]

    def grow(self, size: int) -> None:
        """Lengthen to ``size``; never shortens."""
        if size > len(self._room):
            wider = np.full(max(size, 2 * len(self._room)), self._fill, self._room.dtype)
            wider[: self._size] = self._room[: self._size]
            self._room = wider
        self._size = max(self._size, size)
