"""Values of which only one counts: the one with the greatest (event time, tie), in whatever order they arrive.

The tie is the first 8 bytes of the event id, a keyed hash, so that two facts of one millisecond have one order
everywhere. A map of such values is bounded by keeping the newest: the survivors, too, do not depend on the order of
arrival, because what would belong to them is compared whenever it arrives.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeVar


class Moment(NamedTuple):
    """When a fact happened, totally ordered."""

    at: int
    """Event time, ms."""
    tie: bytes


class Stamped(Protocol):
    """A value with its moment."""

    @property
    def at(self) -> int: ...
    @property
    def tie(self) -> bytes: ...


S = TypeVar("S", bound=Stamped)


def moment(event_time: int, event_id: bytes) -> Moment:
    return Moment(event_time, event_id[:8])


def wins(new: Stamped, held: Stamped | None) -> bool:
    """Whether ``new`` replaces ``held``."""
    return held is None or (new.at, new.tie) > (held.at, held.tie)


def newest_of(held: dict[str, S], bound: int) -> dict[str, S]:
    """``held``, cut to the ``bound`` newest entries, ties by key."""
    if len(held) <= bound:
        return held
    ranked = sorted(held.items(), key=lambda entry: (entry[1].at, entry[1].tie, entry[0]), reverse=True)
    return dict(ranked[:bound])


def noted(seen: dict[str, int], key: str, at: int, bound: int) -> dict[str, int]:
    """A map of key → latest time after one more sighting; the ``bound`` latest stay, ties by key.

    >>> noted({"a": 1, "b": 2}, "c", 3, 2)
    {'b': 2, 'c': 3}
    """
    before = seen.get(key)
    if before is not None and before >= at:
        return seen
    seen = {**seen, key: at}
    if len(seen) > bound:
        del seen[min(seen, key=lambda each: (seen[each], each))]
    return seen
