"""Reading items: from another process through the follower's LMDB, or in memory in tests. One code for both.

A reader holds what every answer needs by array (ids, blocked, group, category: about 200 bytes an item) and fetches
rows as they are asked for. `snapshot` costs one lookup while nothing changed; when the catalogue did, the change list
says what, and fresh arrays are made, so that views taken before stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

from actors.catalogue import (
    CATEGORIES,
    CHANGED,
    ENTRIES,
    LEVELS,
    NAMES,
    SHOWN,
    SHOWN_ROW,
    category_path,
    entry,
    key,
    load_shown,
    scan_names,
    seq_key,
)
from actors.content import CONTENT
from actors.exploration import EXPOSURE, LISTED, POOL, impressions_of
from actors.follower import Fact
from actors.item_view import CatalogueItem
from actors.items import META, STATE_KEY, ItemProjection, ItemsState
from actors.lmdb_state import LmdbReader
from actors.neighbours import BACKOFF, COVISITED, SIMILAR
from actors.popularity import ALL, HALF_LIFE_MS, POPULAR, TOP
from actors.popularity import LISTED as LISTED_POPULAR
from actors.ranked import INDEX, NOTHING, Indices, Row, unpack_head
from actors.recency import weight
from actors.segment_popularity import POPULAR_IN
from actors.state import MemoryState, StateReader
from actors.trending import TRENDING
from actors.trending import served as served_trends
from events.errors import NotFound

FOLDER: Final = Path("followers") / "items"
"""Where the item follower keeps its state, inside the data folder."""


ROWS_KEPT: Final = 4_096
"""Rows of one table held by a view, less than 1 kB each. Until the next commit they are what the table says."""


class _Paths:
    """Category paths at one length of the table; it only grows."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths
        self.numbers = {path: number for number, path in enumerate(paths)}
        self.lineage = np.full((len(paths), LEVELS), -1, np.int32)
        for number, path in enumerate(paths):
            above = self.numbers.get(path.rpartition(" > ")[0], -1)
            self.lineage[number, 0] = number
            if above >= 0:
                self.lineage[number, 1:] = self.lineage[above, :-1]
        above_each = self.lineage[:, 1]
        self.parents: Indices = np.append(np.where(above_each >= 0, above_each, self.lineage[:, 0]), -1).astype(
            np.int32
        )
        """By category: the one above it, itself at the top; the last place, which -1 finds, is -1."""


class _Arrays:
    """The catalogue as arrays at one change number."""

    def __init__(self, seq: int, shown: npt.NDArray[np.void], paths: _Paths) -> None:
        self.seq = seq
        self.shown = shown
        self.blocked: npt.NDArray[np.bool_] = np.ascontiguousarray(shown["blocked"])
        self.group: Indices = np.ascontiguousarray(shown["group"])
        self.category: Indices = np.ascontiguousarray(shown["category"])
        for array in (self.blocked, self.group, self.category):
            array.flags.writeable = False
        self.paths = paths
        self.brand = np.full(len(shown), UNREAD, np.int32)
        """By index: a brand's number, -1 for none, `UNREAD` where nobody asked yet."""

    def keep_brands(self, known: Indices, changed: Indices) -> None:
        """Take over what was read before, but for entries that changed."""
        self.brand[: len(known)] = known
        self.brand[changed] = UNREAD


UNREAD: Final = -2


class _Branded(msgspec.Struct):
    """The one field of an entry that answers compare."""

    brand: str = ""


_BRANDED: Final = msgspec.msgpack.Decoder(_Branded)


def _brand_number(row: bytes | None) -> int:
    brand = _BRANDED.decode(row).brand if row else ""
    return xxhash.xxh32_intdigest(brand.encode()) >> 1 if brand else -1


_NO_ARRAYS: Final = _Arrays(0, np.zeros(0, SHOWN_ROW), _Paths(()))


class StoredView:
    """`actors.item_view.ItemView` over the follower's tables."""

    def __init__(self, store: StateReader, state: ItemsState, names: _Names, arrays: _Arrays) -> None:
        self._store = store
        self._names = names
        self._arrays = arrays
        self._paths = arrays.paths
        self.size = len(arrays.shown)
        self.version = f"{state.catalogue_seq}.{state.commits}"
        self.numbering = str(state.generation)
        self.ids: Sequence[str] = names.ids
        self.blocked = arrays.blocked
        self.group = arrays.group
        self.category = arrays.category
        self._clock = state.clock
        self._now = weight(state.clock, HALF_LIFE_MS)
        self._trending: Row | None = None
        self._pool: Row | None = None
        self._popular: dict[int, Row] = {}
        self._popular_in: dict[str, Row] = {}
        self._rows: dict[tuple[str, int], dict[int, Row]] = {}

    def packed_ids(self, idx: Indices) -> bytes:
        return self._names.packed.of(self._names.ids, idx)

    def kinds(self, idx: Indices) -> Indices:
        kinds = np.empty((4, len(idx)), np.int32)
        label, leaf, parent, brand = kinds
        label[:], leaf[:] = self.group[idx], self.category[idx]
        parent[:], brand[:] = self._paths.parents[leaf], self._brands(idx)
        return kinds

    def impressions(self, idx: Indices) -> npt.NDArray[np.float64]:
        rows = self._store.get_many(EXPOSURE, [key(number) for number in idx.tolist()])
        return np.array([impressions_of(row) for row in rows]) / self._now

    def hashes(self, idx: Indices) -> npt.NDArray[np.uint64]:
        return self._names.hashed.of(self._names.ids, idx)

    def index(self, item: str) -> int:
        idx = self._names.index.get(item, -1)
        return idx if idx < self.size else -1

    def item(self, idx: int) -> CatalogueItem:
        row = self._store.get(ENTRIES, key(idx)) if 0 <= idx < self.size else None
        if row is None:
            raise NotFound(f"there is no item number {idx}: numbers run from 0 to {self.size - 1}")
        return entry(row)

    def category_id(self, path: str) -> int:
        number = self._paths.numbers.get(path)
        return self._paths.numbers.get(category_path(path), -1) if number is None else number

    def category_path(self, category: int) -> str:
        return self._paths.paths[category] if 0 <= category < len(self._paths.paths) else ""

    def within(self, category: int) -> npt.NDArray[np.bool_]:
        inside: npt.NDArray[np.bool_] = (self._paths.lineage == category).any(axis=1) & (category >= 0)
        return inside

    def popular(self, category: int | None, limit: int) -> Row:
        place = ALL if category is None else category
        known = self._popular.get(place)
        if known is None:
            known = self._popular[place] = self._top(place) if category != -1 else NOTHING
        return known[0][:limit], known[1][:limit]

    def popular_in(self, segment: str, limit: int) -> Row:
        known = self._popular_in.get(segment)
        if known is None:
            known = self._popular_in[segment] = self._served(self._store.get(POPULAR_IN, segment.encode()))
        return known[0][:limit], known[1][:limit]

    def trending(self, limit: int) -> Row:
        if self._trending is None:
            row = self._store.get(TRENDING, key(ALL))
            self._trending = served_trends(row, self._clock) if row else NOTHING
        return self._trending[0][:limit], self._trending[1][:limit]

    def worth_trying(self, limit: int) -> Row:
        if self._pool is None:
            self._pool = unpack_head(self._store.get(POOL, key(ALL)) or b"", LISTED)
        return self._pool[0][:limit], self._pool[1][:limit]

    def covisited(self, items: Sequence[int], limit: int) -> list[Row]:
        return self._found(COVISITED, items, limit)

    def similar(self, items: Sequence[int], limit: int) -> list[Row]:
        return self._found(SIMILAR, items, limit)

    def content(self, items: Sequence[int], limit: int) -> list[Row]:
        return self._found(CONTENT, items, limit)

    def _brands(self, idx: Indices) -> Indices:
        """Read from the entries the first time an item is asked for: the array follows their changes."""
        column = self._arrays.brand
        found = column[idx]
        if found.size and found.min() == UNREAD:
            missing = idx[found == UNREAD]
            rows = self._store.get_many(ENTRIES, [key(number) for number in missing.tolist()])
            column[missing] = [_brand_number(row) for row in rows]
            found = column[idx]
        return found

    def _top(self, place: int) -> Row:
        return self._served(self._store.get(POPULAR, key(place)))

    def _served(self, row: bytes | None) -> Row:
        """A row of `TOP` with its sums as of now."""
        if not row:
            return NOTHING
        top = np.frombuffer(row, TOP)[:LISTED_POPULAR]
        return top["idx"].astype(np.int32), (top["sum"] / self._now).astype(np.float32)

    def _found(self, table: str, items: Sequence[int], limit: int) -> list[Row]:
        """The rows of ``items``; what is missing comes in one read."""
        known = self._rows.setdefault((table, limit), {})
        missing = [idx for idx in items if idx not in known]
        if missing:
            if len(known) + len(missing) > ROWS_KEPT:
                known.clear()
                missing = list(items)
            rows = self._store.get_many(table, [key(idx) for idx in missing if idx >= 0])
            found = iter(rows)
            for idx in missing:
                row = next(found) if idx >= 0 else None
                if row:
                    known[idx] = unpack_head(row, limit)
                else:
                    known[idx] = self._backoff(idx, limit) if table == COVISITED else NOTHING
        return [known[idx] for idx in items]

    def _backoff(self, idx: int, limit: int) -> Row:
        """What goes with the item's type, or else with the categories above it."""
        leaf = int(self.category[idx]) if 0 <= idx < self.size else -1
        for number in self._paths.lineage[leaf].tolist() if leaf >= 0 else ():
            row = self._store.get(BACKOFF, key(number)) if number >= 0 else None
            if row:
                return unpack_head(row, limit)
        return NOTHING


PACKED_BYTES_MAX: Final = 32
"""Longest packed id that a table of fixed width is made for."""


class _PackedIds:
    """Item ids as msgpack strings in rows of one width, filled up with zeros: no id holds one. A thousand strings lie
    all over the memory and take 60 us to gather; rows of a small table take 10."""

    def __init__(self) -> None:
        self._rows: npt.NDArray[np.bytes_] = np.empty(0, "S1")

    def of(self, ids: Sequence[str], idx: Indices) -> bytes:
        known = len(self._rows)
        if known < len(ids):
            fresh = np.array([msgspec.msgpack.encode(item) for item in ids[known:]])
            self._rows = np.concatenate((self._rows, fresh))
        if self._rows.itemsize > PACKED_BYTES_MAX:
            return msgspec.msgpack.encode([ids[number] for number in idx.tolist()])
        return _array_head(len(idx)) + self._rows.take(idx).tobytes().translate(None, b"\0")


class _HashedIds:
    """XXH3-64 of every id, made once: 0.3 us each."""

    def __init__(self) -> None:
        self._hashes: npt.NDArray[np.uint64] = np.empty(0, np.uint64)

    def of(self, ids: Sequence[str], idx: Indices) -> npt.NDArray[np.uint64]:
        known = len(self._hashes)
        if known < len(ids):
            self._hashes = np.concatenate((self._hashes, id_hashes(ids[known:])))
        return self._hashes[idx]


def id_hashes(ids: Sequence[str]) -> npt.NDArray[np.uint64]:
    """XXH3-64 of item ids.

    >>> id_hashes(["tea"]).tolist()
    [13401501658203149440]
    """
    return np.array([xxhash.xxh3_64_intdigest(item.encode()) for item in ids], np.uint64)


def _array_head(length: int) -> bytes:
    """What a msgpack array of ``length`` begins with."""
    return b"\xdd" + length.to_bytes(4, "big")


class _Names:
    """Item ids both ways. Only grows, so all views share it."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.index: dict[str, int] = {}
        self.packed = _PackedIds()
        self.hashed = _HashedIds()

    def extend(self, store: StateReader, size: int) -> None:
        for start in range(len(self.ids), size, 4096):
            keys = [key(idx) for idx in range(start, min(start + 4096, size))]
            for row in store.get_many(NAMES, keys):
                assert row is not None, f"item {len(self.ids)} is counted but has no name"
                self._add(row.decode())

    def load(self, store: StateReader) -> None:
        for idx, item in scan_names(store):
            if idx == len(self.ids):
                self._add(item)

    def _add(self, item: str) -> None:
        self.index[item] = len(self.ids)
        self.ids.append(item)


class StoredItems:
    """`actors.item_view.ItemSource` over any store the item projection is committed to. One thread at a time."""

    def __init__(self, store: StateReader) -> None:
        self._store = store
        self._names = _Names()
        self._state = ItemsState()
        self._view: StoredView | None = None
        self._arrays = _NO_ARRAYS

    def snapshot(self) -> StoredView:
        """The items as of the last commit. Raises `Unavailable` while there is no trustworthy state."""
        state = ItemsState.of(self._store.get(META, STATE_KEY))
        if self._view is None or state != self._state:
            if state.generation != self._state.generation:
                self._names, self._arrays = _Names(), _NO_ARRAYS
            if state.catalogue_seq != self._arrays.seq:
                self._arrays = self._advanced(state)
            self._state = state
            self._view = StoredView(self._store, state, self._names, self._arrays)
        return self._view

    def applied(self, partition: int) -> int:
        return self._store.offsets().get(f"p{partition}", 0)

    def close(self) -> None:
        self._store.close()

    def _advanced(self, state: ItemsState) -> _Arrays:
        changed = self._changed_since(self._arrays.seq, state.catalogue_seq)
        if changed is None:
            self._names.load(self._store)
            self._names.extend(self._store, state.size)
            return _Arrays(state.catalogue_seq, load_shown(self._store)[: state.size], self._paths(_NO_ARRAYS.paths))
        self._names.extend(self._store, state.size)
        shown = np.empty(state.size, SHOWN_ROW)
        shown[: len(self._arrays.shown)] = self._arrays.shown
        ids = np.unique(np.concatenate(changed))
        ids = ids[ids < state.size]
        rows = self._store.get_many(SHOWN, [key(idx) for idx in ids.tolist()])
        shown[ids] = np.frombuffer(b"".join([row for row in rows if row is not None]), SHOWN_ROW)
        fresh = _Arrays(state.catalogue_seq, shown, self._paths(self._arrays.paths))
        fresh.keep_brands(self._arrays.brand, ids)
        return fresh

    def _changed_since(self, seen: int, now: int) -> list[Indices] | None:
        """The changed indices of every change number after ``seen``; None when loading anew is better."""
        if seen == 0 or now < seen:
            return None
        rows = self._store.get_many(CHANGED, [seq_key(seq) for seq in range(seen + 1, now + 1)])
        found = [np.frombuffer(row, INDEX) for row in rows if row is not None]
        return found if len(found) == len(rows) else None

    def _paths(self, known: _Paths) -> _Paths:
        fresh = [path.decode() for _, path in self._store.scan(CATEGORIES, key(len(known.paths)))]
        return _Paths((*known.paths, *fresh)) if fresh else known


class LocalItems(StoredItems):
    """The items of the data folder on this machine, kept up to date by the item follower of another process."""

    def __init__(self, data: Path) -> None:
        super().__init__(LmdbReader(data / FOLDER))


class MemoryItems(StoredItems):
    """Items in memory, folded in the caller's thread."""

    def __init__(self) -> None:
        self._state_store = MemoryState()
        self.projection = ItemProjection(self._state_store)
        super().__init__(self._state_store)

    def fold(self, facts: Sequence[Fact]) -> None:
        """Fold facts (of one partition or several, in order) and do all deferred work."""
        offsets: dict[str, int] = {}
        for fact in facts:
            offsets[f"p{fact.partition}"] = fact.record.lsn + 1
        self._state_store.commit(self.projection.apply(facts).changes, offsets)
        while changes := self.projection.tidy():
            self._state_store.commit(changes)
