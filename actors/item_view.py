"""What the answer path reads of items: one consistent snapshot per request.

Items have dense numbers (indices) that never change within one item table, so that candidates are arrays and not
strings. `actors.item_reader` holds the two implementations, over LMDB and in memory, under one contract suite.
Rows may hold blocked items, because blocking acts at answer time and evidence outlives it; arrays are read-only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from actors.ranked import Indices, Row


class CatalogueItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One item of the catalogue as it stands now (see `events.types.ItemUpserted` for the fields)."""

    item: str
    title: str = ""
    category: str = ""
    brand: str = ""
    item_group: str = ""
    price: float = 0.0
    stock: int = -1
    hidden: bool = False
    recommendable: bool = True
    attributes: tuple[str, ...] = ()
    text: str = ""
    url: str = ""
    image: str = ""
    deleted: bool = False
    provisional: bool = False
    """Known from events only: the catalogue has not named it (yet)."""


class ItemView(Protocol):
    """A snapshot. Cheap to take, holds nothing open, stays as it is while newer ones are taken."""

    @property
    def size(self) -> int:
        """Items ever numbered; indices are 0..size-1, also of deleted ones."""
        ...

    @property
    def version(self) -> str:
        """Names the state of the item table: equal versions, equal answers."""
        ...

    @property
    def numbering(self) -> str:
        """Names the table that gave the indices: those of two numberings must never meet."""
        ...

    @property
    def ids(self) -> Sequence[str]:
        """Item id by index; may already hold items beyond `size`."""
        ...

    def packed_ids(self, idx: Indices) -> bytes:
        """The ids of these items as one msgpack array."""
        ...

    @property
    def blocked(self) -> npt.NDArray[np.bool_]:
        """By index: hidden, deleted, out of stock, not recommendable, or never named by the store's catalogue; fresh as
        of this snapshot."""
        ...

    @property
    def group(self) -> Indices:
        """By index: number of the label a person sees; two items of one group never stand in one row."""
        ...

    @property
    def category(self) -> Indices:
        """By index: number of the most specific category, -1 for none."""
        ...

    def kinds(self, idx: Indices) -> Indices:
        """What makes these items alike, shape (4, items): numbers of label, most specific category, the category above
        it (itself at the top) and brand; -1 for none. A brand's number is a hash of its name."""
        ...

    def impressions(self, idx: Indices) -> npt.NDArray[np.float64]:
        """How often these items were seen, by anybody, decayed with a half-life of a month."""
        ...

    def hashes(self, idx: Indices) -> npt.NDArray[np.uint64]:
        """XXH3-64 of these items' ids: names for noise that outlive any numbering."""
        ...

    def index(self, item: str) -> int:
        """-1 when the item was never seen."""
        ...

    def item(self, idx: int) -> CatalogueItem: ...

    def category_id(self, path: str) -> int:
        """Number of a category at any level, -1 when unknown."""
        ...

    def category_path(self, category: int) -> str:
        """Parts joined by ``" > "``, general first."""
        ...

    def within(self, category: int) -> npt.NDArray[np.bool_]:
        """By category number: whether it is this category or lies under it."""
        ...

    def popular(self, category: int | None, limit: int) -> Row:
        """Decayed popularity, overall or of a category of any level; at most 200 are known."""
        ...

    def popular_in(self, segment: str, limit: int) -> Row:
        """Decayed popularity among the people of a segment; at most 200 are known."""
        ...

    def trending(self, limit: int) -> Row:
        """What is done more these days than its own month suggests, by excess; at most 200 are known."""
        ...

    def worth_trying(self, limit: int) -> Row:
        """The exploration pool: new and promising items that were hardly shown; at most 200 are known."""
        ...

    def covisited(self, items: Sequence[int], limit: int) -> list[Row]:
        """Of each item, what is done next or bought together, by lift, backed off; at most 64 are known."""
        ...

    def similar(self, items: Sequence[int], limit: int) -> list[Row]:
        """Of each item, item-kNN, cosine with shrinkage; at most 64 are known."""
        ...

    def content(self, items: Sequence[int], limit: int) -> list[Row]:
        """Of each item, those described alike; at most 20 are known."""
        ...


class ItemSource(Protocol):
    """Where a request gets its view from."""

    def snapshot(self) -> ItemView: ...

    def applied(self, partition: int) -> int:
        """The LSN after the last one of ``partition`` that is in a view taken now: what read-your-writes waits for."""
        ...
