"""Who is in which segment: one roaring bitmap per segment and 65,536 profile numbers.

Numbers are dense, so a chunk is one container: at most 8 kB however many are in, a few bytes while few are (Lemire,
Kaser, Kurz, Deri, O'Hara, Saint-Jacques, Ssi-Yan-Kai: "Roaring bitmaps: implementation of an optimized software
library", Software: Practice and Experience 48, 2018). Only chunks that changed are written.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from pyroaring import BitMap

from actors.state import Change, StateReader

MEMBERS: Final = "members"
"""(segment's slot, chunk) → roaring bitmap of the numbers below 65,536 within the chunk."""
CHUNK_BITS: Final = 16

_KEY: Final = struct.Struct(">HI")
_LOW: Final = (1 << CHUNK_BITS) - 1


class Members:
    """All membership sets. What changed since the last `changes` is known."""

    def __init__(self, store: StateReader) -> None:
        self._chunks: dict[tuple[int, int], BitMap] = {}
        self._counts: dict[int, int] = {}
        self._changed: set[tuple[int, int]] = set()
        for key, row in store.scan(MEMBERS):
            slot, chunk = _KEY.unpack(key)
            bitmap = self._chunks[slot, chunk] = BitMap.deserialize(row)
            self._counts[slot] = self._counts.get(slot, 0) + len(bitmap)

    def count(self, slot: int) -> int:
        return self._counts.get(slot, 0)

    def add(self, slot: int, number: int) -> None:
        """``number`` must not be in yet."""
        place = slot, number >> CHUNK_BITS
        bitmap = self._chunks.get(place)
        if bitmap is None:
            bitmap = self._chunks[place] = BitMap()
        bitmap.add(number & _LOW)
        self._counts[slot] = self._counts.get(slot, 0) + 1
        self._changed.add(place)

    def remove(self, slot: int, number: int) -> None:
        """``number`` must be in."""
        place = slot, number >> CHUNK_BITS
        self._chunks[place].remove(number & _LOW)
        self._counts[slot] -= 1
        self._changed.add(place)

    def numbers(self, slot: int, limit: int) -> list[int]:
        """Up to ``limit`` members, lowest first."""
        out: list[int] = []
        for each, chunk in sorted(place for place in self._chunks if place[0] == slot):
            base = chunk << CHUNK_BITS
            out += [base + low for low in self._chunks[each, chunk][: limit - len(out)]]
            if len(out) >= limit:
                break
        return out

    def changes(self) -> list[Change]:
        """Rows to commit, each once."""
        out: list[Change] = []
        for place in sorted(self._changed):
            bitmap = self._chunks[place]
            out.append((MEMBERS, _KEY.pack(*place), bitmap.serialize() if bitmap else None))
            if not bitmap:
                del self._chunks[place]
        self._changed.clear()
        return out

    def bytes(self) -> int:
        """Serialised size of all bitmaps, close to what they take in memory."""
        return sum(len(bitmap.serialize()) for bitmap in self._chunks.values())


def read_members(store: StateReader, slot: int, above: int = -1) -> Iterator[int]:
    """The members of a segment with numbers above ``above``, ascending, from a state of any process."""
    start = above + 1
    for key, row in store.scan(MEMBERS, _KEY.pack(slot, start >> CHUNK_BITS)):
        other, chunk = _KEY.unpack(key)
        if other != slot:
            return
        base = chunk << CHUNK_BITS
        bitmap = BitMap.deserialize(row)
        if base < start:
            bitmap.remove_range(0, start - base)
        for low in bitmap:
            yield base + low
