"""Ranked rows: item indices with their scores, best first, packed the way they are served.

Wire form: n little-endian int32 indices, then n little-endian float32 scores; n = bytes / 8.
"""

from __future__ import annotations

from typing import Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

Indices: TypeAlias = npt.NDArray[np.int32]
Scores: TypeAlias = npt.NDArray[np.float32]
Row: TypeAlias = tuple[Indices, Scores]
"""Items and their scores, strongest first, ties by index."""
Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]

INDEX: Final = np.dtype("<i4")
SCORE: Final = np.dtype("<f4")


def pack(indices: npt.NDArray[np.integer], scores: npt.NDArray[np.floating]) -> bytes:
    """The wire form of one row.

    >>> [part.tolist() for part in unpack(pack(np.array([7, 3]), np.array([2.0, 0.5])))]
    [[7, 3], [2.0, 0.5]]
    """
    return indices.astype(INDEX).tobytes() + scores.astype(SCORE).tobytes()


def unpack(row: bytes) -> Row:
    """Indices and scores as read-only views of ``row``."""
    count = len(row) >> 3
    return np.frombuffer(row, INDEX, count), np.frombuffer(row, SCORE, count, count << 2)


def unpack_head(row: bytes, limit: int) -> Row:
    """As `unpack`, the first ``limit`` only."""
    count = len(row) >> 3
    some = min(count, limit)
    return np.frombuffer(row, INDEX, some), np.frombuffer(row, SCORE, some, count << 2)


NOTHING: Final[Row] = unpack(b"")


Integer = TypeVar("Integer", bound=np.signedinteger)


def firsts(ordered: npt.NDArray[Integer]) -> npt.NDArray[np.bool_]:
    """Whether each element of a sorted array is the first of its value.

    >>> firsts(np.array([3, 3, 5])).tolist()
    [True, False, True]
    """
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return first


def distinct(numbers: npt.NDArray[Integer]) -> npt.NDArray[Integer]:
    """``numbers`` ascending, each once (np.unique without its 30 us).

    >>> distinct(np.array([3, 1, 3])).tolist()
    [1, 3]
    """
    ordered: npt.NDArray[Integer] = np.sort(numbers)
    return ordered[firsts(ordered)]


def best(indices: npt.NDArray[np.integer], scores: npt.NDArray[np.floating], limit: int) -> Ints:
    """Positions of the ``limit`` best, by (score descending, index ascending): a total order.

    >>> best(np.array([5, 1, 9]), np.array([1.0, 1.0, 2.0]), 2).tolist()
    [2, 1]
    """
    return np.lexsort((indices, -scores))[:limit]


def best_of_rows(rows: Ints, scores: Floats, limit: int) -> Ints:
    """Positions of the ``limit`` best of every row, row by row, best first.

    ``rows`` must ascend, and within a row the positions must stand in index order, which breaks ties.

    >>> best_of_rows(np.array([0, 0, 0, 1]), np.array([1.0, 3.0, 1.0, 0.0]), 2).tolist()
    [1, 0, 3]
    """
    if not len(rows):
        return np.zeros(0, np.int64)
    order = np.argsort(-scores, kind="stable")
    order = order[np.argsort(rows[order], kind="stable")]
    ordered = rows[order]
    rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return order[rank < limit]
