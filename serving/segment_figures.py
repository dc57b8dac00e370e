"""How many are in each segment, how that moved, and how far a new definition has come: now, or at an earlier moment.

Counts of the past are kept by the minute for two days and by the hour for two years; a figure as of a moment is that of
the end of its minute, or hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from actors.segment_reader import HOURS, MINUTES, Live, SegmentActor, SegmentActors
from events.ids import Micros
from serving.moments import moment_text

HOUR_MS: Final = 3_600_000
GROWTH: Final[Mapping[str, int]] = {"hour": HOUR_MS, "day": 24 * HOUR_MS, "week": 168 * HOUR_MS}
"""What growth is told over, ms."""
HOURS_MAX: Final = 2_160
"""Of history in one answer: 90 days."""
BY_MINUTES_MAX: Final = 6
"""Up to so many hours, history is by the minute."""

_UNKNOWN: Final[Mapping[str, object]] = {
    "members": None,
    "growth": None,
    "phase": "waiting",
    "progress": 0.0,
    "changed": None,
}


@dataclass(frozen=True)
class Figures:
    """What is known of segments, by name."""

    known: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    history: list[dict[str, object]] = field(default_factory=list)
    """Of the one segment whose history was asked for."""

    def of(self, name: str) -> Mapping[str, object]:
        return self.known.get(name, _UNKNOWN)


def figures_of(
    segments: SegmentActors, now: int, as_of: Micros | None = None, name: str = "", hours: int = 0
) -> Figures:
    """At ``now`` (ms), or as they were at ``as_of`` (us), with ``hours`` of the history of segment ``name``. Raises
    `Unavailable` while there is no state to read."""
    known = {
        live.name: _figures(segments.actor(live.name), live, now, as_of)
        for live in segments.all()
        if live.phase != "leaving" and (not name or live.name == name)
    }
    at = now if as_of is None else as_of // 1000
    return Figures(known, _history(segments.actor(name), at, hours) if name and hours else [])


def _figures(actor: SegmentActor, live: Live, now: int, as_of: Micros | None) -> Mapping[str, object]:
    at = now if as_of is None else as_of // 1000
    members = live.members if as_of is None else actor.count_at(at, now)
    growth = {name: members - actor.count_at(at - length, now) for name, length in GROWTH.items()}
    changed = None if not live.changed_at else moment_text(Micros(live.changed_at * 1000))
    return {
        "members": members,
        "growth": growth,
        "phase": live.phase,
        "progress": round(live.progress, 4),
        "changed": changed,
    }


def _history(actor: SegmentActor, at: int, hours: int) -> list[dict[str, object]]:
    resolution = MINUTES if hours <= BY_MINUTES_MAX else HOURS
    return [
        {
            "at": moment_text(Micros(bucket.begins * 1000)),
            "members": bucket.members,
            "entered": bucket.entered,
            "exited": bucket.exited,
        }
        for bucket in actor.history(resolution, at - hours * HOUR_MS, at)
    ]
