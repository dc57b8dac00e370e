"""When each profile has to be looked at again: one moment per profile, in an array with a minimum per block.

8 bytes a profile; asking what is due looks at one minimum per 4,096 profiles and into the blocks where something is. A
moment may be set at will, so nothing is ever cancelled.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

BLOCK: Final = 4_096
NEVER_DUE: Final = (1 << 63) - 1


class Timers:
    """Moments (ms) by the profile's place in its partition."""

    def __init__(self) -> None:
        self._due: npt.NDArray[np.int64] = np.full(BLOCK, NEVER_DUE, dtype=np.int64)
        self._least: npt.NDArray[np.int64] = np.full(1, NEVER_DUE, dtype=np.int64)
        self.pending = 0
        """Profiles that have a moment."""

    def set(self, place: int, at: int) -> None:
        """``at`` = `NEVER_DUE`: none."""
        if place >= len(self._due):
            self._grow(place)
        before = int(self._due[place])
        self._due[place] = at
        self.pending += (at != NEVER_DUE) - (before != NEVER_DUE)
        block = place // BLOCK
        if at < self._least[block]:
            self._least[block] = at
        elif before == self._least[block]:
            self._least[block] = self._due[block * BLOCK : (block + 1) * BLOCK].min()

    def next(self) -> int:
        """The earliest moment of all; `NEVER_DUE` for none."""
        return int(self._least.min())

    def due(self, now: int, limit: int) -> list[int]:
        """Up to ``limit`` places whose moment is ``now`` or earlier: the earliest moments, ties by place."""
        blocks = np.flatnonzero(self._least <= now)
        if not len(blocks):
            return []
        places = np.concatenate(
            [block * BLOCK + np.flatnonzero(self._due[block * BLOCK : (block + 1) * BLOCK] <= now) for block in blocks]
        )
        order = np.lexsort((places, self._due[places]))[:limit]
        return [int(place) for place in places[order]]

    def _grow(self, place: int) -> None:
        size = max(2 * len(self._due), (place // BLOCK + 1) * BLOCK)
        grown = np.full(size, NEVER_DUE, dtype=np.int64)
        grown[: len(self._due)] = self._due
        least = np.full(size // BLOCK, NEVER_DUE, dtype=np.int64)
        least[: len(self._least)] = self._least
        self._due, self._least = grown, least
