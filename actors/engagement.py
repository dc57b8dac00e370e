"""Engagement: how much, how often and how lately, whatever the item was.

Integers, sets and decayed sums only, so the order of arrival does not matter. What grows with a person is kept packed,
as bytes that decode and copy as one: a profile is read on every request, and few readers look inside.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from operator import sub
from struct import Struct, unpack
from typing import Final

from msgspec.structs import replace

from actors.decay import DecayTable
from actors.profile import SLOTS_MAX, TIMES_MAX, Engagement

SLOT_MS: Final = 1_800_000
"""Thirty minutes: the pause after which web analytics customarily begin a new visit."""

RATES: Final = ("day", "month")
"""Half-lives of the decayed counts: what is going on, and what is usual."""

_UNRATED: Final = {half_life: DecayTable(half_life) for half_life in RATES}

DWELL_MAX_MS: Final = 86_400_000
"""The most one fact may add: nobody looks at one page for longer than a day."""

PASSIVE: Final = frozenset({"impression"})
"""What somebody was shown rather than did: counted and timed, but no half hour is active by it alone."""

_TIME: Final = Struct(">q")
_TIME_BYTES: Final = 8
_EARLIER_BYTES: Final = (TIMES_MAX - 1) * _TIME_BYTES
_SLOT: Final = Struct(">i")
_SLOT_BYTES: Final = 4
_EARLIER_SLOTS_BYTES: Final = (SLOTS_MAX - 1) * _SLOT_BYTES
_SLOT_LIMIT: Final = 2**31 - 1
"""Half hours up to the year 122,000; what lies beyond shares the last one."""


def engaged(
    engagement: Engagement, signal: str, at: int, attention: tuple[int, float, float] = (0, 0.0, 0.0)
) -> Engagement:
    """After one more fact. ``attention`` is (dwell in ms, scroll depth, share watched)."""
    dwell_ms, scroll, watched = attention
    counts, stamps = engagement.counts.copy(), engagement.stamps.copy()
    counts[signal] = counts.get(signal, 0) + 1
    stamps[signal] = _stamped(stamps.get(signal, b""), at)
    only = (signal,)
    rates = engagement.rates or _UNRATED
    return Engagement(
        counts,
        stamps,
        {half_life: table.add(at, only, 1.0) for half_life, table in rates.items()},
        engagement.dwell_ms + min(max(dwell_ms, 0), DWELL_MAX_MS),
        engagement.scroll_permille + _permille(scroll),
        engagement.watched_permille + _permille(watched),
        engagement.slots if signal in PASSIVE else _active(engagement.slots, at),
    )


def counted(engagement: Engagement, name: str) -> Engagement:
    """Only counted: it says nothing about the person."""
    return replace(engagement, counts={**engagement.counts, name: engagement.counts.get(name, 0) + 1})


def times(engagement: Engagement, signal: str) -> tuple[int, ...]:
    """When it was done, in ms, ascending: the latest 32, every fact with its own.

    >>> times(engaged(engaged(Engagement(), "view", 7), "view", 5), "view")
    (5, 7)
    """
    return _times(engagement.stamps.get(signal, b""))


def last(engagement: Engagement, signal: str) -> int | None:
    """When it was done last; None for never."""
    held = engagement.stamps.get(signal)
    return _TIME.unpack_from(held, len(held) - _TIME_BYTES)[0] if held else None


def half_hours(engagement: Engagement) -> tuple[int, ...]:
    """The latest 256 half hours (event time // 1,800,000) in which something was done, ascending."""
    held = engagement.slots
    return unpack(f">{len(held) // _SLOT_BYTES}i", held)


def runs(slots: tuple[int, ...]) -> int:
    """Runs of adjacent half hours (ascending, each once). A pause under 30 minutes never parts one, one of an hour
    always does.

    >>> runs((1, 2, 5, 8, 9))
    3
    """
    return len(slots) - list(map(sub, slots[1:], slots)).count(1)


def _times(held: bytes) -> tuple[int, ...]:
    return unpack(f">{len(held) // _TIME_BYTES}q", held)


def _stamped(held: bytes, at: int) -> bytes:
    if not held or at >= _TIME.unpack_from(held, len(held) - _TIME_BYTES)[0]:
        return held[-_EARLIER_BYTES:] + _TIME.pack(at)
    stamps = list(_times(held))
    insort(stamps, at)
    return b"".join([_TIME.pack(each) for each in stamps[-TIMES_MAX:]])


def _active(held: bytes, at: int) -> bytes:
    slot = at // SLOT_MS
    if not -_SLOT_LIMIT <= slot <= _SLOT_LIMIT:
        slot = _SLOT_LIMIT if slot > 0 else -_SLOT_LIMIT
    latest = _SLOT.unpack_from(held, len(held) - _SLOT_BYTES)[0] if held else slot - 1
    if slot == latest:
        return held
    if slot > latest:
        return held[-_EARLIER_SLOTS_BYTES:] + _SLOT.pack(slot)
    slots = unpack(f">{len(held) // _SLOT_BYTES}i", held)
    place = bisect_right(slots, slot)
    if place and slots[place - 1] == slot:
        return held
    place *= _SLOT_BYTES
    return (held[:place] + _SLOT.pack(slot) + held[place:])[-SLOTS_MAX * _SLOT_BYTES :]


def _permille(share: float) -> int:
    return round(1000 * share) if 0.0 < share <= 1.0 else 1000 if share > 1.0 else 0
