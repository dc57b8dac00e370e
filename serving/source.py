"""What can be imported: a named, repeatable sequence of events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeAlias

from events.ids import Millis

SourceEvent: TypeAlias = dict[str, object]
"""A Segment event, or ``{"type": "item", ...}``, as `events.import_intake` takes it."""


class Source(Protocol):
    """The same source yields the same events in the same order every time: an import that was interrupted goes on by
    counting. ``producer`` names it by its content, so the same data is never imported twice."""

    name: str
    source_hash: str
    """SHA-256 of the source files, hexadecimal."""
    producer: str

    def total(self) -> int | None:
        """How many events there are, if that is known without reading them."""
        ...

    def shift_ms(self, now: Millis) -> int:
        """What to add to every time: a whole number of weeks, 0 to leave them."""
        ...

    def events(self, shift_ms: int) -> Iterator[SourceEvent]:
        """The events in order of time, shifted."""
        ...
