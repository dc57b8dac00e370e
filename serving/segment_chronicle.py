"""What was said about segments, in order: the facts under `actors.segment_definition.SEGMENTS_KEY` as definitions now,
as definitions at an earlier moment, and as versions of one name.

A fact that makes no sense beside those before it (two doors may decide at once) is passed over, here and by whoever
evaluates segments: the order of the log decides, and the door that lost finds out by looking again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from actors.history import Told
from actors.segment_definition import SEGMENTS_KEY, Definitions, understood
from events import payload
from events.errors import BadRequest
from events.ids import Micros, Millis, event_id
from events.record import Draft
from events.types import Meta, SegmentDefined, SegmentDropped

Fact: TypeAlias = SegmentDefined | SegmentDropped

FACTS_MAX: Final = 100_000
"""Facts about segments looked at: 32 clusters refitted daily for eight years."""


class Said(NamedTuple):
    at: Micros
    """When it was appended."""
    fact: Fact


@dataclass(frozen=True)
class Chronicle:
    """Immutable; ``said`` is oldest first and holds what made sense."""

    said: tuple[Said, ...] = ()
    now: Definitions = field(default_factory=Definitions)

    def at(self, moment: Micros) -> Chronicle:
        """As it stood at ``moment``, inclusive."""
        return chronicle(one for one in self.said if one.at <= moment)

    def versions(self, name: str) -> list[Said]:
        """Everything said about ``name``, oldest first."""
        return [one for one in self.said if one.fact.name == name]

    def latest(self, name: str) -> int:
        """The highest version ``name`` ever had; 0: never defined. A name that was dropped and comes back goes on."""
        return max((told.version for _, told in self._definitions(name)), default=0)

    def since(self, name: str) -> Micros:
        """When the definition in force was said; 0 for none."""
        return max((at for at, _ in self._definitions(name)), default=Micros(0))

    def _definitions(self, name: str) -> list[tuple[Micros, SegmentDefined]]:
        return [(at, fact) for at, fact in self.said if isinstance(fact, SegmentDefined) and fact.name == name]


def chronicle(said: Iterable[Said], before: Chronicle | None = None) -> Chronicle:
    """The facts, oldest first, folded; after those of ``before``."""
    kept: list[Said] = [] if before is None else list(before.said)
    now = Definitions() if before is None else before.now
    for one in said:
        try:
            now = _after(now, one.fact)
        except BadRequest:
            continue
        kept.append(one)
    return Chronicle(tuple(kept), now)


def _after(now: Definitions, fact: Fact) -> Definitions:
    return now.dropped(fact.name) if isinstance(fact, SegmentDropped) else now.defined(understood(fact))


def told_chronicle(newest_first: Sequence[Told], before: Chronicle | None = None) -> Chronicle:
    """From the history of `SEGMENTS_KEY`, or from what came in it after ``before``."""
    said = (
        Said(Micros(told.record.appended), event)
        for told in reversed(newest_first)
        if isinstance(event := told.payload.event, SegmentDefined | SegmentDropped)
    )
    return chronicle(said, before)


def draft_of(fact: Fact, message_id: str, at: Millis, secret: bytes) -> Draft:
    """``fact`` on its way to the log; the same ``message_id`` is kept once. ``secret`` is `Secrets.event_id`."""
    name, version = payload.type_of(fact)
    return Draft(
        key=SEGMENTS_KEY,
        event_id=event_id(secret, "segments", message_id),
        event_time=at,
        type=name,
        version=version,
        payload=payload.encode(Meta(message_id=message_id, received_at=at), fact),
    )


def same(one: SegmentDefined, other: SegmentDefined) -> bool:
    """Whether they define alike, whoever said so."""
    return _content(one) == _content(other)


def _content(told: SegmentDefined) -> tuple[object, ...]:
    return told.name, told.kind, told.rule, told.stay, told.description, told.cluster
