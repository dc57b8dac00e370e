"""Engagement: how much, how often and how lately, whatever the item was.

Integers, maxima, sets and decayed sums only, so the order of arrival does not matter. Activity is kept as a set of half
hours; a *session* is a run of adjacent ones. So a pause under 30 minutes never parts a session and one of an hour
always does; a session split by a late fact's absence heals when the fact arrives.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from typing import Final

from actors.decay import DecayTable
from actors.profile import SLOTS_MAX, Engagement

SLOT_MS: Final = 1_800_000
"""Thirty minutes: the pause after which web analytics customarily begin a new visit."""

RATES: Final = ("day", "month")
"""Half-lives of the decayed counts: what is going on, and what is usual."""

DWELL_MAX_MS: Final = 86_400_000
"""The most one fact may add: nobody looks at one page for longer than a day."""


def engaged(
    engagement: Engagement, signal: str, at: int, attention: tuple[int, float, float] = (0, 0.0, 0.0)
) -> Engagement:
    """After one more fact. ``attention`` is (dwell in ms, scroll depth, share watched)."""
    dwell_ms, scroll, watched = attention
    counts, last = engagement.counts.copy(), engagement.last
    counts[signal] = counts.get(signal, 0) + 1
    if at > last.get(signal, at - 1):
        last = {**last, signal: at}
    rates, only = engagement.rates, (signal,)
    return Engagement(
        counts,
        last,
        {half_life: (rates.get(half_life) or DecayTable(half_life)).add(at, only, 1.0) for half_life in RATES},
        engagement.dwell_ms + min(max(dwell_ms, 0), DWELL_MAX_MS),
        engagement.scroll_permille + _permille(scroll),
        engagement.watched_permille + _permille(watched),
        _active(engagement.slots, at // SLOT_MS),
    )


def counted(engagement: Engagement, name: str) -> Engagement:
    """Only counted: it says nothing about the person."""
    counts = {**engagement.counts, name: engagement.counts.get(name, 0) + 1}
    return Engagement(
        counts,
        engagement.last,
        engagement.rates,
        engagement.dwell_ms,
        engagement.scroll_permille,
        engagement.watched_permille,
        engagement.slots,
    )


def sessions(engagement: Engagement) -> int:
    """Runs of adjacent active half hours among the latest 256.

    >>> sessions(Engagement(slots=(1, 2, 5, 8, 9)))
    3
    """
    slots = engagement.slots
    return sum(later - earlier > 1 for earlier, later in pairwise(slots)) + bool(slots)


def _active(slots: tuple[int, ...], slot: int) -> tuple[int, ...]:
    if not slots or slot > slots[-1]:
        return (*slots[1 - SLOTS_MAX :], slot) if len(slots) >= SLOTS_MAX else (*slots, slot)
    place = bisect_left(slots, slot)
    if slots[place] == slot:
        return slots
    return (*slots[:place], slot, *slots[place:])[-SLOTS_MAX:]


def _permille(share: float) -> int:
    return round(1000 * share) if 0.0 < share <= 1.0 else 1000 if share > 1.0 else 0
