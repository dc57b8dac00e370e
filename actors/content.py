"""Items described alike: TF-IDF over title, category parts, brand, attributes and text; cosine; the nearest 20.

    v_i(f) = tf_i(f) · (ln((1 + N) / (1 + df(f))) + 1),   sim(i, j) = v_i · v_j / (|v_i| |v_j|)

tf is a sum of field weights, features are hashed (XXH3, 2^18), so there is no vocabulary to fit: a new item is
described and compared on its own in a few milliseconds, and nothing is ever refitted. df follows every change; a row
keeps the df of its time until its item changes or the catalogue has doubled, when all rows are made anew.

Neighbours are looked for within a block: the item's leaf category, or, where that holds fewer than `BLOCK_MIN` items,
the nearest category above that holds as many; items without a category are one block. Of a block of more than
`BLOCK_MAX` only the newest are looked at. A new item also enters the rows of its own neighbours at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import xxhash

from actors.backlog import Backlog
from actors.catalogue import Catalogue, key, keys
from actors.item_view import CatalogueItem
from actors.ranked import Ints, best, pack, unpack
from actors.state import Change, StateReader

if TYPE_CHECKING:
    from scipy import sparse

CONTENT: Final = "content"
"""idx → row by similarity."""
TERMS: Final = "terms"
"""idx → (feature, tf)."""
TERM: Final = np.dtype([("feature", "<i4"), ("tf", "<f4")])

NEAREST: Final = 20
BLOCK_MIN: Final = 32
BLOCK_MAX: Final = 8_192
"""Bounds the comparison of one item to about 30 ms; the largest leaf of The Complete Journey has 1,005 items."""
FEATURES: Final = 1 << 18
"""92,000 grocery items have about 12,000 different words: few collisions."""
TITLE: Final = 2.0
CATEGORY: Final = 1.0
BRAND: Final = 1.0
ATTRIBUTE: Final = 1.0
TEXT: Final = 0.5
"""A word of a long text says less than one of the title."""
TEXT_CHARS_MAX: Final = 4_096
CHUNK: Final = 128
"""Items compared with their block at a time: 128 x 8,192 similarities are 4 MB."""

_WORD = re.compile(r"\w+")


def terms(item: CatalogueItem) -> Iterator[tuple[str, float]]:
    """(feature name, weight) of everything that describes an item.

    >>> dict(terms(CatalogueItem("1", title="Blue cup", category="Home > Cups", brand="A")))
    {'blue': 2.0, 'cup': 2.0, 'c:home': 1.0, 'c:home > cups': 1.0, 'b:a': 1.0}
    """
    for word in _WORD.findall(item.title.casefold()):
        yield word, TITLE
    path = ""
    for part in item.category.casefold().split(" > "):
        path = f"{path} > {part}" if path else part
        if path:
            yield f"c:{path}", CATEGORY
    if item.brand:
        yield f"b:{item.brand.casefold()}", BRAND
    for attribute in item.attributes:
        yield f"a:{attribute.casefold()}", ATTRIBUTE
    for word in _WORD.findall(item.text[:TEXT_CHARS_MAX].casefold()):
        yield word, TEXT


def hashed(item: CatalogueItem) -> npt.NDArray[np.void]:
    """The description as (feature, tf), features ascending. (scikit-learn's hasher does the same for 130 MB more.)"""
    weights: dict[int, float] = {}
    for name, weight in terms(item):
        feature = xxhash.xxh3_64_intdigest(name.encode()) % FEATURES
        weights[feature] = weights.get(feature, 0.0) + weight
    return np.array(sorted(weights.items()), TERM)


class Content:
    """Described items; the document frequencies (1 MB) in memory, all else in the store."""

    def __init__(self, store: StateReader, catalogue: Catalogue) -> None:
        self._store = store
        self._catalogue = catalogue
        self.waiting = Backlog(store, "content")
        rows = [row for _, row in store.scan(TERMS)]
        self._df = np.bincount(_parsed(rows)["feature"], minlength=FEATURES)
        self._described = len(rows)
        self._compared = len(rows)
        """How many items there were when all rows were last put up for making."""

    def describe(self, changed: Iterable[int]) -> list[Change]:
        """Take over the descriptions of ``changed`` items; those whose description really changed wait for a row."""
        ids = sorted(changed)
        if not ids:
            return []
        known = self._store.get_many(TERMS, [key(idx) for idx in ids])
        out: list[Change] = []
        for idx, old in zip(ids, known, strict=True):
            row = hashed(self._catalogue.entry(idx))
            new = row.tobytes()
            if new == old:
                continue
            if old is None:
                self._described += 1
            else:
                np.subtract.at(self._df, np.frombuffer(old, TERM)["feature"], 1)
            np.add.at(self._df, row["feature"], 1)
            self.waiting.add([idx])
            out.append((TERMS, key(idx), new))
        if self._described >= 2 * max(1, self._compared):
            self._compared = self._described
            self.waiting.add(self._all())
        return out

    def _all(self) -> list[int]:
        """Items with a description as of the last commit or since."""
        stored = {int.from_bytes(name, "big") for name, _ in self._store.scan(TERMS)}
        return sorted(stored | set(self.waiting.numbers().tolist()))

    def refresh(self, count: int) -> list[Change]:
        """Rows of waiting items, the latest arrival's category first and one category after the other, until ``count``
        are made; from descriptions of the last commit. While few wait they also enter their neighbours' rows (when
        many do, most of those are waiting themselves)."""
        entering = len(self.waiting) <= count
        waiting = self.waiting.numbers()
        out: dict[int, bytes] = {}
        made = 0
        while made < count and len(waiting):
            leaf = self._catalogue.leaf[waiting]
            alike = leaf == leaf[-1]
            asking = np.sort(waiting[alike][-count:])
            self._refresh_block(asking, entering, out)
            self.waiting.drop(asking.tolist())
            waiting = waiting[~alike]
            made += len(asking)
        return [(CONTENT, key(idx), row) for idx, row in out.items()]

    def _refresh_block(self, asking: Ints, entering: bool, out: dict[int, bytes]) -> None:
        block = self._block(int(self._catalogue.leaf[asking[0]]))
        if len(block) > BLOCK_MAX:
            block = np.union1d(block[-BLOCK_MAX:], asking)
        vectors = self._vectors(block)
        for start in range(0, len(asking), CHUNK):
            self._compare(asking[start : start + CHUNK], block, vectors, out, entering)

    def _compare(
        self, asking: Ints, block: Ints, vectors: sparse.csr_matrix, out: dict[int, bytes], entering: bool
    ) -> None:
        at = np.searchsorted(block, asking)
        similar = np.asarray((vectors[at] @ vectors.T).todense())
        similar[np.arange(len(at)), at] = 0.0
        near = np.argsort(-similar, axis=1, kind="stable")[:, :NEAREST]
        for row, idx in enumerate(asking.tolist()):
            there = near[row][similar[row, near[row]] > 0]
            out[idx] = pack(block[there], similar[row, there])
            if entering:
                for other, how in zip(block[there].tolist(), similar[row, there].tolist(), strict=True):
                    self._enter(other, idx, how, out)

    def _enter(self, row_of: int, idx: int, how: float, out: dict[int, bytes]) -> None:
        row = out.get(row_of) or self._store.get(CONTENT, key(row_of)) or b""
        near, similar = unpack(row)
        if len(near) == NEAREST and similar[-1] > how:
            return
        others = near != idx
        near, similar = np.append(near[others], np.int32(idx)), np.append(similar[others], np.float32(how))
        order = best(near, similar, NEAREST)
        out[row_of] = pack(near[order], similar[order])

    def _block(self, leaf: int) -> Ints:
        """The items that items of a leaf category are compared with, ascending."""
        lineage = self._catalogue.categories.lineage[leaf].tolist() if leaf >= 0 else []
        for number in lineage:
            if number >= 0:
                block = self._catalogue.members(number)
                if len(block) >= BLOCK_MIN:
                    return block
        return np.flatnonzero(self._catalogue.leaf == -1) if leaf < 0 else block

    def _vectors(self, block: Ints) -> sparse.csr_matrix:
        """Normalised TF-IDF rows of a block."""
        from scipy import sparse

        rows = [row or b"" for row in self._store.get_many(TERMS, keys(block))]
        parsed = _parsed(rows)
        feature = parsed["feature"]
        value = parsed["tf"] * (np.log((1 + self._described) / (1 + self._df[feature])) + 1).astype(np.float32)
        ends = np.cumsum([0, *(len(row) // TERM.itemsize for row in rows)])
        owner = np.repeat(np.arange(len(rows)), np.diff(ends))
        norm = np.sqrt(np.bincount(owner, value * value, minlength=len(rows)))
        value = value / np.maximum(norm[owner], 1e-12).astype(np.float32)
        return sparse.csr_matrix((value, feature, ends), shape=(len(rows), FEATURES))


def _parsed(rows: list[bytes]) -> npt.NDArray[np.void]:
    return np.frombuffer(b"".join(rows), TERM)
