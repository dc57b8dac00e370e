"""Who did what after what: each subject's latest steps, and the pairs a further step makes; and in which segments the
subject is meanwhile.

A *step* is one event about a set of items. It pairs with up to `LAGS` steps before it (and, when it comes late, after
it) that lie within `GAP_MS`, in the order of event time, with weight `FADE`^(lag - 1), shared evenly over the later
step's items. Repeated events about the same single item (view, click, cart) are one step. The order in which steps
arrive changes the set of pairs only where more than `LAGS` steps were already known, and their lags.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

from actors.profile import SEGMENTS_MAX
from actors.state import Change, StateReader

STEPS: Final = "steps"
"""Subject → its latest steps and its segments. Deleted when the subject is erased."""

LAGS: Final = 5
FADE: Final = 0.6
"""Weight of lag k is 0.6^(k-1): the middle of the published useful range 0.5..0.8."""
GAP_MS: Final = 86_400_000
"""A day: long enough for comparing today what was looked at yesterday evening, short enough that weekly shopping trips
are not chained (what returns weekly is the repeat recommender's matter)."""

Step: TypeAlias = tuple[int, tuple[int, ...]]
"""(event time in ms, items in ascending order)."""


@dataclass(frozen=True, slots=True)
class Transition:
    """Items of an earlier step, items of a later one, and the weight per unit of the earlier item."""

    earlier: tuple[int, ...]
    later: tuple[int, ...]
    at: int
    """Time of the later step, ms."""
    weight: float


class Trail(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """What is kept of one subject."""

    granted: bool | None = None
    """Personalization as last decided explicitly; None: never. Where it is refused no step is kept or paired."""
    decided_at: int = 0
    steps: tuple[Step, ...] = ()
    segments: tuple[str, ...] = ()
    """Segments the subject is in, in order of names, at most 256; kept and forgotten like the steps."""


_EMPTY = Trail()
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Trail)


class Steps:
    """The trails; rows changed since the last `changes` are held in memory."""

    def __init__(self, store: StateReader) -> None:
        self._store = store
        self._changed: dict[bytes, Trail | None] = {}

    def decide(self, subject: bytes, at: int, granted: bool) -> None:
        """An explicit choice about personalization at ``at`` (ms); the newest counts. A refusal forgets the trail."""
        trail = self._trail(subject)
        if at >= trail.decided_at and trail.granted is not granted:
            kept = (trail.steps, trail.segments) if granted else ((), ())
            self._changed[subject] = Trail(granted, at, *kept)

    def allowed(self, subject: bytes, default: bool) -> bool:
        """Whether this subject's events may be put in sequence; ``default`` holds where nothing was decided."""
        granted = self._trail(subject).granted
        return default if granted is None else granted

    def moved(self, subject: bytes, segment: str, entered: bool) -> None:
        """The subject entered or left a segment."""
        trail = self._trail(subject)
        segments = {*trail.segments, segment} if entered else {*trail.segments} - {segment}
        if trail.granted is not False and len(segments) <= SEGMENTS_MAX and segments != {*trail.segments}:
            self._changed[subject] = Trail(trail.granted, trail.decided_at, trail.steps, tuple(sorted(segments)))

    def segments(self, subject: bytes) -> tuple[str, ...]:
        """The segments the subject is in."""
        return self._trail(subject).segments

    def forget(self, subject: bytes) -> None:
        """Drop everything kept of an erased subject."""
        self._changed[subject] = None

    def take(self, subject: bytes, at: int, items: tuple[int, ...]) -> list[Transition]:
        """The transitions a step makes; the step is kept."""
        trail = self._trail(subject)
        steps = trail.steps
        place = bisect_right(steps, at, key=lambda step: step[0])
        if place and len(items) == 1 and steps[place - 1][1] == items:
            self._keep(subject, trail, (*steps[: place - 1], (at, items), *steps[place:]))
            return []
        found = [
            Transition(was, items, at, FADE**lag)
            for lag, (then, was) in enumerate(reversed(steps[:place]))
            if at - then <= GAP_MS
        ]
        found += [
            Transition(items, then_did, then, FADE**lag)
            for lag, (then, then_did) in enumerate(steps[place:])
            if then - at <= GAP_MS
        ]
        self._keep(subject, trail, (*steps[:place], (at, items), *steps[place:]))
        return found

    def changes(self) -> list[Change]:
        """What changed since the last call."""
        out: list[Change] = [
            (STEPS, subject, None if trail is None else _ENCODER.encode(trail))
            for subject, trail in self._changed.items()
        ]
        self._changed.clear()
        return out

    def _keep(self, subject: bytes, trail: Trail, steps: tuple[Step, ...]) -> None:
        self._changed[subject] = Trail(trail.granted, trail.decided_at, steps[-LAGS:], trail.segments)

    def _trail(self, subject: bytes) -> Trail:
        if subject in self._changed:
            return self._changed[subject] or _EMPTY
        row = self._store.get(STEPS, subject)
        return _EMPTY if row is None else _DECODER.decode(row)
