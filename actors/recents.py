"""Recent items: the last thing done with each of the last 50 items.

A maximum per item, and the 50 greatest of those: whatever belongs to them is compared whenever it arrives, so the
result is exactly the same for every order of arrival.
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.profile import RECENT_MAX, Recent


def remembered(recent: tuple[Recent, ...], new: Sequence[Recent]) -> tuple[Recent, ...]:
    """``recent`` (newest first, ties by item) after ``new``: at least one, of one moment, each item at most once."""
    if not recent or new[0].at > recent[0].at:
        if len(new) == 1:
            item = new[0].item
            return (new[0], *[held for held in recent if held.item != item])[:RECENT_MAX]
        items = {each.item for each in new}
        older = [held for held in recent if held.item not in items]
        return (*sorted(new, key=_newest_first), *older)[:RECENT_MAX]
    latest = {held.item: held for held in recent}
    for each in new:
        held = latest.get(each.item)
        if held is None or _precedence(each) > _precedence(held):
            latest[each.item] = each
    return tuple(sorted(latest.values(), key=_newest_first)[:RECENT_MAX])


def _newest_first(entry: Recent) -> tuple[int, str]:
    return -entry.at, entry.item


def _precedence(entry: Recent) -> tuple[int, float, str]:
    """Between two things done with one item in one millisecond, the stronger is kept."""
    return entry.at, entry.weight, entry.signal
