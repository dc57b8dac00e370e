"""The catalogue: item ids to stable dense indices, entries, label groups, category paths, and what may be shown.

Readers in other processes hold three arrays (blocked, group, category). Every commit that changes them appends the
changed indices to a change list under a counter, so that a reader applies deltas; the list keeps the latest
`CHANGES_KEPT` commits, a reader further behind loads anew.

An item first heard of in an event is *provisional*: it gets its index at once, so that no evidence is lost when its
catalogue entry arrives later through another partition. Provisional items are shown only in a store that has never
had a catalogue: the write key is public, and whoever holds it must not be able to put items on a shop's pages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

from actors.column import Column
from actors.item_view import CatalogueItem
from actors.ranked import INDEX, Indices, Ints
from actors.state import Change, StateReader
from events.types import ItemUpserted, Line

NAMES: Final = "names"
"""idx → item id."""
ENTRIES: Final = "entries"
"""idx → CatalogueItem."""
SHOWN: Final = "shown"
"""idx → (blocked, group, leaf category)."""
CATEGORIES: Final = "categories"
"""category → path."""
GROUPS: Final = "groups"
"""Digest of a label → group."""
CHANGED: Final = "changed"
"""Change counter → packed indices."""

SHOWN_ROW: Final = np.dtype([("blocked", "?"), ("group", "<i4"), ("category", "<i4")])
LEVELS: Final = 4
"""Parts of a category path that count, as in the profile's interests."""
CHANGES_KEPT: Final = 256
PROVISIONAL_MAX: Final = 1_000_000
"""Ids accepted without a catalogue entry; further ones are counted and left out, so that made-up ids cannot fill the
memory (about 200 bytes each)."""

_KEY = struct.Struct(">I")
_SEQ = struct.Struct(">Q")
_ENCODER = msgspec.msgpack.Encoder()
_ENTRY = msgspec.msgpack.Decoder(CatalogueItem)


def key(number: int) -> bytes:
    """The table key of a dense number: four bytes, ascending."""
    return _KEY.pack(number)


def keys(numbers: Ints) -> list[bytes]:
    """`key` of many."""
    data = numbers.astype(">u4").tobytes()
    return [data[at : at + 4] for at in range(0, len(data), 4)]


def seq_key(seq: int) -> bytes:
    return _SEQ.pack(seq)


def entry(row: bytes) -> CatalogueItem:
    return _ENTRY.decode(row)


def category_path(raw: str) -> str:
    """A path in its one spelling: parts trimmed, empty ones dropped, at most `LEVELS`.

    >>> category_path(" Snacks >Chips > ")
    'Snacks > Chips'
    """
    parts = [part.strip() for part in raw.split(">")]
    return " > ".join([part for part in parts if part][:LEVELS])


class Categories:
    """Category paths to dense numbers; every prefix of a path is a category of its own."""

    def __init__(self, store: StateReader) -> None:
        self._numbers: dict[str, int] = {}
        self._ancestors: Column[np.int32] = Column(np.int32, -1)
        self._fresh: list[str] = []
        for _, path in store.scan(CATEGORIES):
            self._place(path.decode())
        self._fresh.clear()

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, raw: str) -> int:
        """The number of a path, made when new; -1 for the empty path."""
        known = self._numbers.get(raw)
        if known is not None:
            return known
        path = category_path(raw)
        return self._place(path) if path else -1

    @property
    def lineage(self) -> npt.NDArray[np.int32]:
        """(categories, `LEVELS`): every category's path of numbers, itself first, then its parent, ...; -1 beyond."""
        return self._ancestors.values.reshape(-1, LEVELS)

    @property
    def parent(self) -> Indices:
        return self.lineage[:, 1]

    def changes(self) -> list[Change]:
        """What came in since the last call."""
        first = len(self._numbers) - len(self._fresh)
        fresh: list[Change] = [(CATEGORIES, key(first + at), path.encode()) for at, path in enumerate(self._fresh)]
        self._fresh.clear()
        return fresh

    def _place(self, path: str) -> int:
        known = self._numbers.get(path)
        if known is not None:
            return known
        head, _, _ = path.rpartition(" > ")
        parent = self._place(head) if head else -1
        number = len(self._numbers)
        self._numbers[path] = number
        self._fresh.append(path)
        self._ancestors.grow((number + 1) * LEVELS)
        lineage = self.lineage
        lineage[number, 0] = number
        if parent >= 0:
            lineage[number, 1:] = lineage[parent, :-1]
        return number


class Catalogue:
    """The catalogue's state in the follower: indices and arrays in memory, entries in the store."""

    def __init__(self, store: StateReader) -> None:
        self._store = store
        self.categories = Categories(store)
        self.names: dict[str, int] = {}
        self.left_out = 0
        """Lines of ids left out because of `PROVISIONAL_MAX`."""
        self._blocked: Column[np.bool_] = Column(np.bool_, True)
        self._group: Column[np.int32] = Column(np.int32, -1)
        self._leaf: Column[np.int32] = Column(np.int32, -1)
        self._named = 0
        """Items the catalogue itself has named."""
        self._groups: dict[bytes, int] = {}
        self._changed: dict[int, CatalogueItem] = {}
        self._fresh_groups: list[bytes] = []
        self._load()

    @property
    def size(self) -> int:
        return len(self.names)

    @property
    def leaf(self) -> Indices:
        return self._leaf.values

    @property
    def blocked(self) -> npt.NDArray[np.bool_]:
        return self._blocked.values

    def entry(self, idx: int) -> CatalogueItem:
        """The entry as of the last commit or since."""
        changed = self._changed.get(idx)
        if changed is not None:
            return changed
        row = self._store.get(ENTRIES, key(idx))
        assert row is not None, f"item {idx} has an index but no entry"
        return entry(row)

    def upsert(self, event: ItemUpserted) -> int:
        """Take over a whole entry; returns its index."""
        idx = self.names.get(event.item, -1)
        if idx < 0 or self.entry(idx).provisional:
            self._named += 1
        if self._named == 1:
            self._hide_provisional()
        idx = self._index(event.item)
        self._set(idx, CatalogueItem(**{name: getattr(event, name) for name in _FIELDS}))
        return idx

    def delete(self, item: str) -> int:
        """Take an item out; its index and its entry stay, so that older answers can still be explained. -1: unknown."""
        idx = self.names.get(item, -1)
        if idx >= 0:
            self._set(idx, msgspec.structs.replace(self.entry(idx), deleted=True))
        return idx

    def observe(self, line: Line) -> int:
        """The index of an item met in an event; -1 when it is unknown and there are too many of those already."""
        idx = self.names.get(line.item, -1)
        if idx >= 0:
            return idx
        if self.size - self._named >= PROVISIONAL_MAX:
            self.left_out += 1
            return -1
        idx = self._index(line.item)
        seen = CatalogueItem(
            item=line.item,
            category=line.category,
            brand=line.brand,
            price=line.price,
            attributes=line.attributes,
            provisional=True,
        )
        self._set(idx, seen)
        return idx

    def changes(self, seq: int) -> list[Change]:
        """What changed since the last call, as commit number ``seq`` of the change list; empty when nothing did."""
        if not self._changed:
            return []
        ids = np.fromiter(self._changed, np.int64, len(self._changed))
        shown = np.empty(len(ids), SHOWN_ROW)
        shown["blocked"], shown["group"] = self._blocked.values[ids], self._group.values[ids]
        shown["category"] = self._leaf.values[ids]
        rows, width = shown.tobytes(), SHOWN_ROW.itemsize
        out = self.categories.changes()
        out += [(GROUPS, digest, key(self._groups[digest])) for digest in self._fresh_groups]
        for at, (idx, item) in enumerate(self._changed.items()):
            name = key(idx)
            out.append((NAMES, name, item.item.encode()))
            out.append((ENTRIES, name, _ENCODER.encode(item)))
            out.append((SHOWN, name, rows[at * width : (at + 1) * width]))
        out.append((CHANGED, seq_key(seq), ids.astype(INDEX).tobytes()))
        if seq > CHANGES_KEPT:
            out.append((CHANGED, seq_key(seq - CHANGES_KEPT), None))
        self._changed.clear()
        self._fresh_groups.clear()
        return out

    def members(self, category: int) -> Ints:
        """Indices of all items in a category of any level or below it."""
        inside = (self.categories.lineage == category).any(axis=1)
        leaf = self.leaf
        return np.flatnonzero((leaf >= 0) & inside[leaf]) if len(inside) else np.zeros(0, np.int64)

    def _index(self, item: str) -> int:
        idx = self.names.get(item)
        if idx is None:
            idx = len(self.names)
            self.names[item] = idx
            for column in (self._blocked, self._group, self._leaf):
                column.grow(idx + 1)
        return idx

    def _set(self, idx: int, item: CatalogueItem) -> None:
        self._changed[idx] = item
        self._leaf.values[idx] = self.categories.number(item.category)
        self._group.values[idx] = self._group_of(item)
        self._blocked.values[idx] = (
            item.hidden
            or item.deleted
            or item.stock == 0
            or not item.recommendable
            or (item.provisional and self._named > 0)
        )

    def _group_of(self, item: CatalogueItem) -> int:
        label = item.item_group or item.title
        digest = xxhash.xxh3_128_digest((f"label:{label}" if label else f"item:{item.item}").encode())
        number = self._groups.get(digest)
        if number is None:
            number = self._groups[digest] = len(self._groups)
            self._fresh_groups.append(digest)
        return number

    def _hide_provisional(self) -> None:
        for idx in range(self.size):
            self._changed[idx] = self.entry(idx)
        self._blocked.values[:] = True

    def _load(self) -> None:
        for digest, number in self._store.scan(GROUPS):
            self._groups[digest] = _KEY.unpack(number)[0]
        for name, item in scan_names(self._store):
            self.names[item] = name
        shown = load_shown(self._store)
        for column in (self._blocked, self._group, self._leaf):
            column.grow(len(self.names))
        self._blocked.values[:], self._group.values[:] = shown["blocked"], shown["group"]
        self._leaf.values[:] = shown["category"]
        self._named = sum(not entry(row).provisional for _, row in self._store.scan(ENTRIES))


_FIELDS = tuple(field for field in ItemUpserted.__struct_fields__)


def scan_names(store: StateReader) -> Iterator[tuple[int, str]]:
    """(idx, item id), ascending."""
    for name, item in store.scan(NAMES):
        yield _KEY.unpack(name)[0], item.decode()


def load_shown(store: StateReader) -> npt.NDArray[np.void]:
    """All rows of `SHOWN`, by index."""
    return np.frombuffer(b"".join(row for _, row in store.scan(SHOWN)), SHOWN_ROW)
