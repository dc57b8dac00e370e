"""Reading a sample of the live population a slice at a time, so that nobody who changed meanwhile waits for it.

The sample is the profiles with the lowest key hashes of all partitions (`actors.segment_levels` says why).
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.segment_subject import ProfileSubject
from actors.state import HoldingReader
from actors.working_set import PROFILES


class Sampling:
    """One pass. ``values``: by field, what is known so far."""

    def __init__(self, states: Sequence[HoldingReader], fields: Sequence[str], size: int) -> None:
        self.fields = tuple(fields)
        self.values: dict[str, list[float]] = {field: [] for field in fields}
        self._states = tuple(states)
        self._start = b""
        self._left = size

    def advance(self, now: int, limit: int) -> bool:
        """Look at about ``limit`` more as they are at ``now`` (ms); whether that was all."""
        share = max(1, limit // len(self._states))
        found: list[tuple[bytes, bytes]] = []
        ends: list[bytes] = []
        for state in self._states:
            with state.held(PROFILES) as held:
                rows = held.rows(self._start, share)
            found += rows
            if len(rows) == share:
                ends.append(rows[-1][0])
        end = min(ends, default=None)
        for _, blob in sorted([row for row in found if end is None or row[0] <= end])[: self._left]:
            self._left -= 1
            self._look(ProfileSubject(blob, now))
        if end is not None:
            self._start = end + b"\x00"
        return end is None or not self._left

    def _look(self, subject: ProfileSubject) -> None:
        if not subject.counts():
            return
        for field, known in self.values.items():
            quantity = subject.number(field)
            if quantity is not None:
                known.append(quantity.now)
