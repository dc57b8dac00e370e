"""A fixed-capacity set of 16-byte ids in two numpy columns: 32 bytes per id at most, asked for whole batches at once.

Open addressing with linear probing at a load of at most one half; a Python set would take 100 bytes per id.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.uint64]
"""Shape (n, 2)."""

_MIX = np.uint64(0x9E3779B97F4A7C15)
_OCCUPIED = np.uint64(1)


def pack_ids(ids: Sequence[bytes] | bytes) -> Ids:
    """Ids as rows of two words. The lowest bit of the first is set, so that no row is all zero: 127 bits remain."""
    data = ids if isinstance(ids, bytes) else b"".join(ids)
    rows = np.frombuffer(data, dtype="<u8").reshape(-1, 2).astype(np.uint64)
    rows[:, 0] |= _OCCUPIED
    return rows


class IdSet:
    """Up to ``capacity`` ids; grows to no more.

    >>> ids = IdSet(8); ids.add(pack_ids([b"a" * 16, b"b" * 16]))
    >>> ids.contains(pack_ids([b"b" * 16, b"c" * 16])).tolist(), len(ids)
    ([True, False], 2)
    """

    def __init__(self, capacity: int) -> None:
        bits = max(3, (2 * capacity - 1).bit_length())
        self._rows = np.zeros((1 << bits, 2), dtype=np.uint64)
        self._shift = np.uint64(64 - bits)
        self._mask = (1 << bits) - 1
        self._count = 0
        self.capacity = capacity

    def __len__(self) -> int:
        return self._count

    def contains(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """For each id, whether it was added."""
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

    def add(self, ids: Ids) -> None:
        """Add ids that are distinct and not yet in the set; at most ``capacity`` in all."""
        assert self._count + len(ids) <= self.capacity
        left = ids
        at = self._home(ids)
        while len(left):
            free = self._rows[at, 0] == 0
            self._rows[at[free]] = left[free]
            going = ~(self._rows[at] == left).all(axis=1)  # where two wanted one place, the last to write has it
            left, at = left[going], (at[going] + 1) & self._mask
        self._count += len(ids)

    def _home(self, ids: Ids) -> npt.NDArray[np.int64]:
        return (((ids[:, 0] ^ ids[:, 1]) * _MIX) >> self._shift).astype(np.int64)
