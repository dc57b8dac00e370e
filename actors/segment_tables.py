"""The tables of the segment follower's state: what its writer and its readers agree on."""

from __future__ import annotations

import struct
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from events.types import Json, SegmentDefined

FOLDER: Final = "followers/segments"
FOLLOWER: Final = "segments"
"""The follower's name."""

SEGMENTS: Final = "segments"
"""Slot → `SegmentState`."""
ROWS: Final = "rows"
"""Profile number → `actors.segment_rows.Row`."""
MEMBERSHIPS: Final = "memberships"
"""(number, slot) → `Membership`."""
COUNTS: Final = "counts"
"""(resolution, slot, bucket) → `Counted`."""
META: Final = "meta"
META_KEY: Final = b"segments"

Phase: TypeAlias = Literal["filling", "live", "leaving"]

RESOLUTIONS: Final = (60_000, 3_600_000)
"""Minutes and hours, ms."""
BUCKETS_KEPT: Final = (2_880, 17_520)
"""Two days of minutes, two years of hours."""

_SLOT: Final = struct.Struct(">H")
_NUMBER: Final = struct.Struct(">I")
_MEMBERSHIP: Final = struct.Struct(">IH")
_COUNT: Final = struct.Struct(">BHI")


class SegmentState(msgspec.Struct):
    """One segment actor's own state, but for who its members are."""

    slot: int
    told: SegmentDefined
    phase: Phase
    """``filling``: the definition is new, not every profile was looked at with it yet. ``leaving``: dropped, its
    members are being told."""
    defined_at: int
    """When this definition was taken, ms."""
    changed_at: int = 0
    """When somebody last entered or left, ms; 0: never."""
    members: int = 0
    entered: int = 0
    """Ever."""
    exited: int = 0


class Sweep(msgspec.Struct, frozen=True):
    """A pass over all profiles with new definitions."""

    slots: bytes
    """The bits of the slots it is made for, little-endian: there may be more than an integer of msgpack has."""
    partition: int = 0
    """Index of the partition it is at."""
    key: bytes = b""
    """Key hash it goes on from."""
    done: int = 0
    total: int = 0

    @property
    def bits(self) -> int:
        """Bit s: it is made for slot s."""
        return int.from_bytes(self.slots, "little")


def slots_of(bits: int) -> bytes:
    """``bits`` as a `Sweep` keeps them."""
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


class Moving(msgspec.Struct, frozen=True):
    """Levels that moved from here to there; whoever lies between is being looked at again."""

    field: str
    low: float
    high: float


class Meta(msgspec.Struct, frozen=True):
    """``generation``: names this state among all that a store ever had; facts are numbered under it."""

    generation: str
    rules: int
    """Version of what rules mean, `actors.segments.RULES_VERSION`."""
    folds: dict[int, bytes] = {}
    """Partition → the fold version its profiles were made by, as its state has it."""
    fields: tuple[str, ...] = ()
    """Fields whose quantiles were ever asked for; only ever added to, rows refer to them by place."""
    sweep: Sweep | None = None
    read_at: int = 0
    """When levels were last read, ms."""
    levels: tuple[tuple[str, float, float | None], ...] = ()
    """(field, share, level)."""
    moving: tuple[Moving, ...] = ()
    refused: dict[str, str] = {}
    """Segment → why its latest definition was not taken."""
    unnamed: int = 0
    """Transitions of profiles whose external id is not in them, so that no fact could be written."""


class Membership(msgspec.Struct, frozen=True, array_like=True):
    """Since when (ms) a profile is in a segment, and why."""

    since: int
    evidence: dict[str, Json]


class Counted(NamedTuple):
    """A segment in one minute or hour."""

    members: int
    """At its end."""
    entered: int
    exited: int


_COUNTED: Final = struct.Struct(">III")


def slot_key(slot: int) -> bytes:
    return _SLOT.pack(slot)


def number_key(number: int) -> bytes:
    return _NUMBER.pack(number)


def number_of(key: bytes) -> int:
    return int(_NUMBER.unpack(key)[0])


def membership_key(number: int, slot: int) -> bytes:
    return _MEMBERSHIP.pack(number, slot)


def membership_of(key: bytes) -> tuple[int, int]:
    """(number, slot)."""
    number, slot = _MEMBERSHIP.unpack(key)
    return number, slot


def count_key(resolution: int, slot: int, bucket: int) -> bytes:
    """``resolution``: index into `RESOLUTIONS`."""
    return _COUNT.pack(resolution, slot, bucket)


def count_of(key: bytes) -> tuple[int, int, int]:
    resolution, slot, bucket = _COUNT.unpack(key)
    return resolution, slot, bucket


def pack_counted(counted: Counted) -> bytes:
    return _COUNTED.pack(*counted)


def unpack_counted(row: bytes) -> Counted:
    return Counted(*_COUNTED.unpack(row))


def offset_name(partition: int) -> str:
    return f"p{partition}"


def clock_name(partition: int) -> str:
    """Name of the offset that holds a partition's clock, ms."""
    return f"clock{partition}"


def number_at(subject: bytes, partition: int, partitions: int) -> int:
    """The number of a profile: its vault slot, the last four bytes of its subject id, interleaved over partitions.
    Never given twice."""
    return int.from_bytes(subject[12:], "big") * partitions + partition
