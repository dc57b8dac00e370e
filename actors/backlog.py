"""What is still to be recomputed: a set of dense numbers that survives restarts.

Half of what is taken are the latest arrivals, so that what somebody just touched is fresh while a long backlog (after
an import) is worked off; the other half the oldest, so that nothing waits for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

import numpy as np

from actors.ranked import INDEX, Ints
from actors.state import Change, StateReader

BACKLOG: Final = "backlog"
"""Name → packed numbers in order of arrival."""
WRITE_EVERY: Final = 4_096


class Backlog:
    """Numbers waiting, each once, in order of their latest arrival."""

    def __init__(self, store: StateReader, name: str) -> None:
        self._name = name.encode()
        row = store.get(BACKLOG, self._name)
        self._waiting: dict[int, None] = dict.fromkeys(np.frombuffer(row or b"", INDEX).tolist())
        self._grown = False
        self._unwritten = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._waiting.pop(number, None)
            self._waiting[number] = None
            self._grown = True

    def take(self, count: int) -> list[int]:
        """``count`` numbers, removed, ascending."""
        count = min(count, len(self._waiting))
        taken = [self._waiting.popitem()[0] for _ in range((count + 1) // 2)]
        taken += list(islice(self._waiting, count // 2))
        for number in taken[(count + 1) // 2 :]:
            del self._waiting[number]
        self._unwritten += len(taken)
        return sorted(taken)

    def numbers(self) -> Ints:
        """All of them, the latest arrival last."""
        return np.fromiter(self._waiting, np.int64, len(self._waiting))

    def drop(self, numbers: Iterable[int]) -> None:
        """Remove what was done out of turn."""
        for number in numbers:
            self._waiting.pop(number, None)
            self._unwritten += 1

    def changes(self) -> list[Change]:
        """The set as it stands. Every arrival is written, removals `WRITE_EVERY` at a time: a crash between only makes
        some rows once more."""
        if not self._grown and self._unwritten < (WRITE_EVERY if self._waiting else 1):
            return []
        self._grown, self._unwritten = False, 0
        return [(BACKLOG, self._name, self.numbers().astype(INDEX).tobytes())]
