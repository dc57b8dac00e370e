"""Dense numbers for a bounded set of ids: whoever was used longest ago gives way, and its number is used again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

K = TypeVar("K", bound=Hashable)
T = TypeVar("T", bound=np.generic)

START = 64
"""Rows an array starts with; it doubles until the bound."""


class Slots(Generic[K]):
    """id → slot in 0..most-1. Only `admit` counts as use; looking up changes nothing.

    >>> slots = Slots[str](2)
    >>> slots.admit("a"), slots.admit("b"), slots.admit("a"), slots.admit("c"), slots.get("b")
    ((0, True), (1, True), (0, False), (1, True), -1)
    """

    def __init__(self, most: int) -> None:
        """``most`` ids are kept, at least 1."""
        assert most >= 1
        self.most = most
        self._slot: OrderedDict[K, int] = OrderedDict()
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._slot)

    @property
    def used(self) -> int:
        """Slots that were ever given out: arrays over slots need that many rows."""
        return len(self._slot) + len(self._free)

    def get(self, key: K) -> int:
        """The slot of ``key``, -1 where it has none."""
        return self._slot.get(key, -1)

    def oldest(self) -> K | None:
        """Who gives way to the next newcomer; None while there is room."""
        return next(iter(self._slot)) if len(self._slot) >= self.most else None

    def admit(self, key: K) -> tuple[int, bool]:
        """The slot of ``key``, and whether it is new there: then the slot's rows hold what another id left."""
        slot = self._slot.get(key)
        if slot is not None:
            self._slot.move_to_end(key)
            return slot, False
        if self._free:
            slot = self._free.pop()
        elif len(self._slot) >= self.most:
            _, slot = self._slot.popitem(last=False)
        else:
            slot = len(self._slot)
        self._slot[key] = slot
        return slot, True

    def remove(self, key: K) -> int:
        """Forget ``key``; the slot it had, -1 where it had none."""
        slot = self._slot.pop(key, -1)
        if slot >= 0:
            self._free.append(slot)
        return slot

    def __iter__(self) -> Iterator[tuple[K, int]]:
        """(id, slot), the one used longest ago first."""
        return iter(self._slot.items())

    @property
    def free(self) -> Sequence[int]:
        """Slots nobody has, in the order they became free."""
        return tuple(self._free)

    @classmethod
    def restored(cls, most: int, pairs: Sequence[tuple[K, int]], free: Sequence[int]) -> Slots[K]:
        """What had these pairs, in the order of `__iter__`, and these free slots."""
        slots = cls(most)
        slots._slot.update(pairs)
        slots._free.extend(free)
        return slots


def grown(array: npt.NDArray[T], rows: int, most: int) -> npt.NDArray[T]:
    """``array`` with at least ``rows`` rows, new ones zero: doubled, so that growing costs a constant per row."""
    if len(array) >= rows:
        return array
    size = min(max(rows, 2 * len(array), START), most)
    out = np.zeros((size, *array.shape[1:]), array.dtype)
    out[: len(array)] = array
    return out
