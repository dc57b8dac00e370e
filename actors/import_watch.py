"""Whether history is being written into a store right now.

An import that stamps its facts with their own times has to be alone in the log: times of a partition's records rise, so
any other fact would push the rest of the history to the present. Followers that conclude wait until it is complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from actors.ledger import IMPORTS, PRODUCERS, Import
from actors.state import StateReader

PAUSE_US: Final = 60_000_000
"""An import whose facts stop coming for so long is not waited for: it was given up, or somebody ponders."""

_IMPORT: Final = msgspec.msgpack.Decoder(Import)


class ImportWatch:
    """Looks at all partitions of a store. One thread at a time."""

    def __init__(self, states: Sequence[StateReader]) -> None:
        self._states = tuple(states)
        self._marks: list[bytes | None] = []
        self._moved = 0

    def busy(self, now: int) -> bool:
        """Whether to wait; ``now`` in us."""
        producers = sorted({name for state in self._states for name in _unfinished(state)})
        if not producers:
            return False
        marks = [state.get(PRODUCERS, name.encode()) for name in producers for state in self._states]
        if marks != self._marks:
            self._marks, self._moved = marks, now
        return now < self._moved + PAUSE_US


def _unfinished(state: StateReader) -> list[str]:
    """The producers of imports that are not complete."""
    rows = (_IMPORT.decode(row) for _, row in state.scan(IMPORTS))
    return [row.producer for row in rows if row.stamped and not row.completed]
