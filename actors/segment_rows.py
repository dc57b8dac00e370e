"""What the segment follower keeps of each profile: when to look again, what was seen, and which segments it is in.

A row is 75 to 110 bytes. ``seen`` tells without opening any fact what changed since the last look, however many facts
came in between: the counts of every signal (modulo 65,536), the times of the first and the latest fact (modulo 2^32
ms), and a checksum over consent, traits and groups.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import Final

from actors.segment_evaluation import TOUCHES
from actors.segment_rules import SIGNALS_KNOWN
from actors.segment_subject import Glimpse
from actors.segment_timers import NEVER_DUE

_HEAD: Final = struct.Struct("<q16sqB")
_SEEN: Final = struct.Struct(f"<{len(SIGNALS_KNOWN)}HIII")
_LEVEL: Final = struct.Struct("<df")
_SIGNALS: Final = (*SIGNALS_KNOWN,)
_LOW: Final = 0xFFFFFFFF


@dataclass(slots=True)
class Row:
    """One profile, as the follower saw it last."""

    name: bytes
    """Key hash: where the profile stands in its partition's state."""
    due: int = NEVER_DUE
    """When to look again without any fact, ms."""
    at: int = 0
    """When it was looked at last, ms."""
    seen: bytes = b""
    mask: int = 0
    """Bit s: it is in the segment of slot s."""
    levels: list[tuple[float, float]] = field(default_factory=list)
    """For each field whose quantiles are asked for: value at ``at`` (NaN: unknown), and the most it moves, per ms."""


def pack(row: Row) -> bytes:
    levels = b"".join([_LEVEL.pack(*level) for level in row.levels])
    mask = row.mask.to_bytes((row.mask.bit_length() + 7) // 8, "little")
    return b"".join((_HEAD.pack(row.due, row.name, row.at, len(row.levels)), row.seen or _UNSEEN, levels, mask))


def unpack(data: bytes) -> Row:
    due, name, at, count = _HEAD.unpack_from(data)
    middle = _HEAD.size + _SEEN.size
    end = middle + count * _LEVEL.size
    levels = list(_LEVEL.iter_unpack(data[middle:end])) if count else []
    return Row(name, due, at, data[_HEAD.size : middle], int.from_bytes(data[end:], "little"), levels)


def due_of(data: bytes) -> int:
    """`Row.due` without the rest."""
    return int.from_bytes(data[:8], "little", signed=True)


def mask_of(data: bytes) -> int:
    """`Row.mask` without the rest."""
    count = data[_HEAD.size - 1]
    return int.from_bytes(data[_HEAD.size + _SEEN.size + count * _LEVEL.size :], "little")


def seen_of(glimpse: Glimpse) -> bytes:
    """What `Row.seen` is for a profile."""
    get = glimpse.engagement.counts.get
    check = zlib.crc32(glimpse.consent, int(glimpse.default_consent))
    check = zlib.crc32(glimpse.groups, zlib.crc32(glimpse.traits, check))
    first, last = (glimpse.first_at or 0) & _LOW, (glimpse.last_at or 0) & _LOW
    return _SEEN.pack(*[get(signal, 0) & 0xFFFF for signal in _SIGNALS], first, last, check)


def changed(before: bytes, after: bytes) -> tuple[list[str], bool]:
    """Which of `TOUCHES` came in between, and whether consent, traits or groups changed."""
    if before == after:
        return [], False
    *old, old_check = _SEEN.unpack(before)
    *new, new_check = _SEEN.unpack(after)
    return [signal for signal, a, b in zip(TOUCHES, old, new, strict=True) if a != b], old_check != new_check


_UNSEEN: Final = bytes(_SEEN.size)
