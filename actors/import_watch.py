"""Whether history is being written into a store right now.

An import that stamps its facts with their own times has to be alone in the log: times of a partition's records rise, so
any other fact would push the rest of the history to the present. Followers that conclude wait until it is complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from actors.ledger import IMPORTS, Import
from actors.state import StateReader
from events.log import LogReader

PAUSE_US: Final = 60_000_000
"""An import whose facts stop coming for so long is not waited for: it was given up, or somebody ponders."""

_IMPORT: Final = msgspec.msgpack.Decoder(Import)


class ImportWatch:
    """Looks at all partitions of a store. One thread at a time."""

    def __init__(self, partitions: Sequence[tuple[StateReader, LogReader]]) -> None:
        self._partitions = tuple(partitions)
        self._ends: list[int] = []
        self._moved = 0

    def busy(self, now: int) -> bool:
        """Whether to wait; ``now`` in us."""
        if not any(_unfinished(state) for state, _ in self._partitions):
            return False
        ends = [log.bounds()[1] for _, log in self._partitions]
        if ends != self._ends:
            self._ends, self._moved = ends, now
        return now < self._moved + PAUSE_US


def _unfinished(state: StateReader) -> bool:
    rows = (_IMPORT.decode(row) for _, row in state.scan(IMPORTS))
    return any(row.stamped and not row.completed for row in rows)
