"""Segment actors from outside: each addressed by its name alone, read from the state the segment follower commits.

    segments = SegmentActors(LmdbReader(data / FOLDER), partitions=2)
    segments.actor("vip").live()
    segments.actor("vip").members(also=["loyal"])

A handle makes nothing and asks nobody; it needs neither the follower nor its process to be alive. Members
come in the order of their profile numbers, which are given once and for good: a total order that pages may stop in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from actors.segment_members import read_members
from actors.segment_rows import mask_of, unpack
from actors.segment_tables import (
    BUCKETS_KEPT,
    COUNTS,
    MEMBERSHIPS,
    META,
    META_KEY,
    RESOLUTIONS,
    ROWS,
    SEGMENTS,
    Counted,
    Membership,
    Meta,
    Phase,
    SegmentState,
    clock_name,
    count_key,
    count_of,
    membership_key,
    number_key,
    unpack_counted,
)
from actors.state import StateReader

MINUTES: Final = 0
HOURS: Final = 1
"""Indices into `RESOLUTIONS`."""
_CHUNK: Final = 512
_META: Final = msgspec.msgpack.Decoder(Meta)
_STATE: Final = msgspec.msgpack.Decoder(SegmentState)
_HELD: Final = msgspec.msgpack.Decoder(Membership)


class Live(NamedTuple):
    """What a segment actor says of itself."""

    slot: int
    name: str
    version: int
    phase: Phase
    progress: float
    """Share of all profiles that were looked at with this definition; 1 once its members are exact."""
    members: int
    entered: int
    """Ever."""
    exited: int
    changed_at: int
    """When somebody last entered or left, ms; 0: never."""


class Bucket(NamedTuple):
    """A minute or an hour in which somebody entered or left."""

    begins: int
    """ms."""
    members: int
    """At its end."""
    entered: int
    exited: int


class Moved(NamedTuple):
    entered: int
    exited: int


class Member(NamedTuple):
    number: int
    name: bytes
    """Key hash of the profile, in partition ``number % partitions``."""
    membership: Membership


class SegmentActors:
    """All segment actors of a store. For one thread. Everything raises `Unavailable` while there is no state."""

    def __init__(self, state: StateReader, partitions: int) -> None:
        self._state = state
        self.partitions = partitions
        self._known: dict[bytes, tuple[bytes, SegmentState]] = {}
        self._at: dict[str, int] = {}
        self._named: dict[str, SegmentState] = {}

    def actor(self, name: str) -> SegmentActor:
        return SegmentActor(name, self, self._state)

    def all(self) -> list[Live]:
        """Every segment, by name; dropped ones while somebody still leaves them."""
        meta = self.meta()
        return sorted((_live(state, meta) for state in self.states()), key=lambda live: live.name)

    def clock(self) -> int:
        """The moment (ms) that every membership is exact for at least; 0 before the first."""
        offsets = self._state.offsets()
        return min((offsets.get(clock_name(number), 0) for number in range(self.partitions)), default=0)

    def refused(self) -> dict[str, str]:
        """Segment → why its latest definition was not taken."""
        return self.meta().refused

    def meta(self) -> Meta:
        row = self._state.get(META, META_KEY)
        return Meta("", 0) if row is None else _META.decode(row)

    def states(self) -> list[SegmentState]:
        return list(self._by_name().values())

    def _by_name(self) -> dict[str, SegmentState]:
        """Read again only after another round: each moves the follower's clock on."""
        offsets = self._state.offsets()
        if not offsets or offsets != self._at:
            self._at, self._named = offsets, {state.told.name: state for state in self._read()}
        return self._named

    def _read(self) -> list[SegmentState]:
        found: dict[bytes, tuple[bytes, SegmentState]] = {}
        for key, row in self._state.scan(SEGMENTS):
            known = self._known.get(key)
            found[key] = known if known is not None and known[0] == row else (row, _STATE.decode(row))
        self._known = found
        return [state for _, state in found.values()]

    def state(self, name: str) -> SegmentState | None:
        return self._by_name().get(name)

    def of(self, number: int) -> dict[str, Membership]:
        """The segments of the profile of this number, by name: since when, and why."""
        row = self._state.get(ROWS, number_key(number))
        mask = 0 if row is None else mask_of(row)
        inside = [state for state in self.states() if mask >> state.slot & 1]
        rows = self._state.get_many(MEMBERSHIPS, [membership_key(number, state.slot) for state in inside])
        pairs = ((state.told.name, held) for state, held in zip(inside, rows, strict=True) if held is not None)
        return {name: _HELD.decode(held) for name, held in sorted(pairs)}


class SegmentActor:
    """One segment. A name nobody defined is an empty one."""

    def __init__(self, name: str, segments: SegmentActors, state: StateReader) -> None:
        self.name = name
        self._segments = segments
        self._state = state

    def live(self) -> Live | None:
        """None: no such segment is being evaluated (yet)."""
        state = self._segments.state(self.name)
        return None if state is None else _live(state, self._segments.meta())

    def numbers(self, above: int = -1) -> Iterator[int]:
        """The members' profile numbers above ``above``, ascending."""
        state = self._segments.state(self.name)
        return iter(()) if state is None else read_members(self._state, state.slot, above)

    def members(self, above: int = -1, also: Sequence[str] = (), without: Sequence[str] = ()) -> Iterator[Member]:
        """Members with numbers above ``above`` who are in every segment of ``also`` and in none of ``without``."""
        states = {state.told.name: state.slot for state in self._segments.states()}
        slot = states.get(self.name)
        if slot is None or not set(also) <= set(states):
            return
        asked = sum(1 << states[name] for name in also)
        refused = sum(1 << states[name] for name in without if name in states)
        numbers = read_members(self._state, slot, above)
        while chunk := list(islice(numbers, _CHUNK)):
            rows = self._state.get_many(ROWS, [number_key(number) for number in chunk])
            held = self._state.get_many(MEMBERSHIPS, [membership_key(number, slot) for number in chunk])
            for number, row, membership in zip(chunk, rows, held, strict=True):
                if row is None or membership is None:
                    continue  # left between two looks
                mask = mask_of(row)
                if mask & asked == asked and not mask & refused:
                    yield Member(number, unpack(row).name, _HELD.decode(membership))

    def membership(self, number: int) -> Membership | None:
        state = self._segments.state(self.name)
        row = None if state is None else self._state.get(MEMBERSHIPS, membership_key(number, state.slot))
        return None if row is None else _HELD.decode(row)

    def history(self, resolution: int, since: int, until: int) -> list[Bucket]:
        """What `MINUTES` or `HOURS` that begin within [since, until] (ms) brought, oldest first; quiet ones are left
        out."""
        state = self._segments.state(self.name)
        if state is None:
            return []
        length = RESOLUTIONS[resolution]
        found: list[Bucket] = []
        for key, row in self._state.scan(COUNTS, count_key(resolution, state.slot, max(0, -(-since // length)))):
            other, slot, bucket = count_of(key)
            if (other, slot) != (resolution, state.slot) or bucket * length > until:
                break
            counted: Counted = unpack_counted(row)
            found.append(Bucket(bucket * length, counted.members, counted.entered, counted.exited))
        return found

    def moved(self, since: int, until: int) -> Moved:
        """How many entered and left in whole minutes from ``since`` on, whole hours where that is too long ago."""
        resolution = MINUTES if until - since <= RESOLUTIONS[MINUTES] * (BUCKETS_KEPT[MINUTES] - 1) else HOURS
        buckets = self.history(resolution, since, until)
        return Moved(sum(each.entered for each in buckets), sum(each.exited for each in buckets))

    def count_at(self, moment: int, now: int) -> int:
        """How many were in at ``moment`` (ms): exact at the end of its minute, its hour beyond two days ago."""
        live = self.live()
        if live is None:
            return 0
        entered, exited = self.moved(moment, now + RESOLUTIONS[HOURS])
        return max(0, live.members - entered + exited)


def _live(state: SegmentState, meta: Meta) -> Live:
    sweep = meta.sweep
    progress = 1.0
    if state.phase == "filling":
        under_way = sweep is not None and sweep.bits >> state.slot & 1
        progress = min(1.0, sweep.done / max(1, sweep.total)) if sweep is not None and under_way else 0.0
    told = state.told
    return Live(
        state.slot,
        told.name,
        told.version,
        state.phase,
        progress,
        state.members,
        state.entered,
        state.exited,
        state.changed_at,
    )
