"""What a segment is: a checked `SegmentDefined` with its rules understood, and the ordered set of all of them.

A segment may ask whether a profile is in another one, so definitions form an acyclic graph. They are evaluated in one
total order, those asked about first, ties by name.

>>> loyal = understood(SegmentDefined("loyal", "count(purchase) >= 5"))
>>> vip = understood(SegmentDefined("vip", 'segment("loyal") and spent > 500'))
>>> [each.name for each in Definitions().defined(vip).defined(loyal).order]
['loyal', 'vip']
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Final

import msgspec

from actors.segment_cluster import understand_cluster
from actors.segment_rules import Reads, Rule, either, understand
from events.errors import BadRequest, NotFound
from events.ids import Key, system_key
from events.types import SegmentDefined

SEGMENTS_KEY: Final[Key] = system_key("segments")
"""Owns every `SegmentDefined` and `SegmentDropped`."""

DEFINITIONS_MAX: Final = 200
"""Each is another rule for every profile that changes, and a profile remembers 256 memberships."""
DESCRIPTION_CHARS_MAX: Final = 2_000
CLUSTER_BYTES_MAX: Final = 65_536
"""Features and centroids of a clustering with 32 clusters of 32 features take 9 kB."""

_NAME: Final = re.compile(r"[a-z0-9_-]{1,64}")


class BadDefinition(BadRequest):
    """A definition that makes no sense by itself, or beside the others."""

    code = "bad_segment"


@dataclass(frozen=True)
class Definition:
    """A segment ready to be evaluated."""

    told: SegmentDefined
    enter: Rule
    stay: Rule
    """The same as ``enter`` where there is no hysteresis; else also whoever could enter may stay, so that nobody enters
    only to leave at the next look."""

    @property
    def name(self) -> str:
        return self.told.name

    @property
    def version(self) -> int:
        return self.told.version

    @cached_property
    def reads(self) -> Reads:
        """See `actors.segment_rules.Reads`."""
        return self.enter.reads | self.stay.reads

    @cached_property
    def quantiles(self) -> frozenset[tuple[str, float]]:
        """The (field, share) of the live population it compares with."""
        return self.enter.quantiles | self.stay.quantiles

    @cached_property
    def segments(self) -> frozenset[str]:
        """Those it asks about."""
        return self.enter.segments | self.stay.segments


def understood(told: SegmentDefined) -> Definition:
    """The definition in a fact. Raises `BadDefinition`, or `BadRule` with the position in the rule."""
    if _NAME.fullmatch(told.name) is None:
        raise BadDefinition(
            f"segment {told.name[:64]!r}: a name has 1 to 64 of the characters a-z, 0-9, underscore and hyphen"
        )
    if len(told.description) > DESCRIPTION_CHARS_MAX:
        raise BadDefinition(f"segment {told.name}: a description has at most {DESCRIPTION_CHARS_MAX} characters")
    definition = _clustered(told) if told.kind == "cluster" else _ruled(told)
    if told.name in definition.segments:
        raise BadDefinition(f"segment {told.name} asks whether somebody is in it to decide who is: refer to others")
    return definition


def _ruled(told: SegmentDefined) -> Definition:
    if not told.rule.strip():
        raise BadDefinition(f"segment {told.name} has no rule: say who is in it, as in `count(view, 7 days) >= 3`")
    if told.cluster:
        raise BadDefinition(f"segment {told.name} is a {told.kind}: only one of kind `cluster` has a cluster")
    enter = understand(told.rule)
    return Definition(told, enter, either(enter, understand(told.stay)) if told.stay.strip() else enter)


def _clustered(told: SegmentDefined) -> Definition:
    if told.rule or told.stay:
        raise BadDefinition(f"segment {told.name} is a cluster: its members are those nearest, it has no rule")
    if len(msgspec.msgpack.encode(told.cluster)) > CLUSTER_BYTES_MAX:
        raise BadDefinition(f"segment {told.name}: a cluster is described in at most {CLUSTER_BYTES_MAX} bytes")
    nearest = understand_cluster(told.cluster)
    return Definition(told, nearest, nearest)


@dataclass(frozen=True)
class Definitions:
    """All segments of a store. Immutable."""

    by_name: Mapping[str, Definition] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.by_name)

    @cached_property
    def order(self) -> tuple[Definition, ...]:
        """In order of evaluation."""
        return tuple(self.by_name[name] for name in _sorted({name: d.segments for name, d in self.by_name.items()}))

    def defined(self, definition: Definition) -> Definitions:
        """With ``definition`` in place of one of the same name. A segment it asks about need not exist (nobody is in it
        then): facts may come in any order. Raises `BadDefinition` for a circle, or one too many."""
        together = {**self.by_name, definition.name: definition}
        if len(together) > DEFINITIONS_MAX:
            raise BadDefinition(f"segment {definition.name}: a store has at most {DEFINITIONS_MAX}, drop one first")
        made = Definitions(together)
        circle = set(together) - {each.name for each in made.order}
        if circle:
            raise BadDefinition(
                f"segment {definition.name} would close a circle with {', '.join(sorted(circle - {definition.name}))}: "
                "segments may not decide about each other in turn"
            )
        return made

    def dropped(self, name: str) -> Definitions:
        return Definitions({each: kept for each, kept in self.by_name.items() if each != name})

    def check(self, told: SegmentDefined) -> Definition:
        """What a door asks before a definition is appended: as `understood` and `defined`, and every segment it asks
        about exists. Raises `BadDefinition` or `BadRule`."""
        definition = understood(told)
        for asked in sorted(definition.segments - set(self.by_name)):
            near = get_close_matches(asked, self.by_name, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else "define it first"
            raise BadDefinition(f"segment {told.name} asks about segment {asked[:64]!r}, which is unknown: {hint}")
        self.defined(definition)
        return definition

    def check_drop(self, name: str) -> None:
        """What a door asks before a segment is dropped. Raises `NotFound`, or `BadDefinition` while another one asks
        about it."""
        if name not in self.by_name:
            raise NotFound(f"there is no segment {name[:64]!r}")
        asking = sorted(each.name for each in self.by_name.values() if name in each.segments)
        if asking:
            raise BadDefinition(f"segment {name} is asked about by {', '.join(asking)}: change or drop those first")


def _sorted(asks: Mapping[str, frozenset[str]]) -> list[str]:
    """Names in topological order, ties by name; those of a circle are left out."""
    waiting = {name: {other for other in others if other in asks} for name, others in asks.items()}
    out: list[str] = []
    while ready := sorted(name for name, others in waiting.items() if not others):
        out += ready
        for name in ready:
            del waiting[name]
        for others in waiting.values():
            others.difference_update(ready)
    return out
