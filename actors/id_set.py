"""A set of 16-byte ids in one numpy table: 32 to 64 bytes per id, asked for whole batches at once.

Open addressing with linear probing, at most half full; a Python set would take 100 bytes per id.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.uint64]
"""Shape (n, 2)."""

_MIX_INT = 0x9E3779B97F4A7C15
_MIX = np.uint64(_MIX_INT)
_WORD = (1 << 64) - 1
FEW = 16
_OCCUPIED = np.uint64(1)
_BITS_MIN = 12


def pack_ids(ids: Sequence[bytes] | bytes) -> Ids:
    """Ids as rows of two words. The lowest bit of the first is set, so that no row is all zero: 127 bits remain."""
    data = ids if isinstance(ids, bytes) else b"".join(ids)
    rows = np.frombuffer(data, dtype="<u8").reshape(-1, 2).astype(np.uint64)
    rows[:, 0] |= _OCCUPIED
    return rows


class IdSet:
    """Ids; the table doubles as they come.

    >>> ids = IdSet(); ids.add(pack_ids([b"a" * 16, b"b" * 16]))
    >>> ids.contains(pack_ids([b"b" * 16, b"c" * 16])).tolist(), len(ids)
    ([True, False], 2)
    """

    def __init__(self, expected: int = 0) -> None:
        """``expected`` ids find room without doubling."""
        self._count = 0
        self._resize(max(_BITS_MIN, (2 * expected - 1).bit_length()))

    def __len__(self) -> int:
        return self._count

    def contains(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """For each id, whether it was added."""
        if len(ids) <= FEW:
            return np.array([self._holds(*pair) for pair in ids.tolist()], dtype=np.bool_)
        found = np.zeros(len(ids), dtype=np.bool_)
        asked = np.arange(len(ids))
        at = self._home(ids)
        while len(asked):
            rows = self._rows[at]
            same = (rows == ids[asked]).all(axis=1)
            found[asked[same]] = True
            going = ~same & (rows[:, 0] != 0)
            asked, at = asked[going], (at[going] + 1) & self._mask
        return found

    def _holds(self, high: int, low: int) -> bool:
        """`contains` of one: for few of them quicker than a dozen calls of numpy."""
        at = (((high ^ low) * _MIX_INT) & _WORD) >> (64 - self._mask.bit_length())
        word = self._words
        while (held := word[2 * at]) != 0:
            if held == high and word[2 * at + 1] == low:
                return True
            at = (at + 1) & self._mask
        return False

    def add(self, ids: Ids) -> None:
        """Add ids that are distinct and not yet in the set."""
        self._count += len(ids)
        if 2 * self._count > len(self._rows):
            held = self._rows[self._rows[:, 0] != 0]
            self._resize((2 * self._count - 1).bit_length())
            self._place(held)
        self._place(ids)

    def _place(self, left: Ids) -> None:
        at = self._home(left)
        while len(left):
            free = self._rows[at, 0] == 0
            self._rows[at[free]] = left[free]
            going = ~(self._rows[at] == left).all(axis=1)  # where two wanted one place, the last to write has it
            left, at = left[going], (at[going] + 1) & self._mask

    def _resize(self, bits: int) -> None:
        self._rows = np.zeros((1 << bits, 2), dtype=np.uint64)
        self._words = self._rows.reshape(-1).data
        self._shift = np.uint64(64 - bits)
        self._mask = (1 << bits) - 1

    def _home(self, ids: Ids) -> npt.NDArray[np.int64]:
        return (((ids[:, 0] ^ ids[:, 1]) * _MIX) >> self._shift).astype(np.int64)
