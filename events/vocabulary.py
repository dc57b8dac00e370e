"""The public vocabulary: what an event's name means.

A table from the names of Segment's e-commerce and video specifications to what Everfold makes of them: which kind of
fact, which signal, how strong, and where in the properties the item ids stand. Names are compared without regard to
case, spaces, ``_`` and ``-``. A name not in the table is kept as a fact of weight 0 and never refused; a store adds
its own rows under ``[vocabulary]`` in ``everfold.toml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from typing import Final, Literal, TypeAlias, cast, get_args

from events.errors import BadSettings
from events.types import Signal

Kind: TypeAlias = Literal["interaction", "impression", "exposure", "consent", "tracked"]

WEIGHT_MAX: Final = 1e6


@dataclass(frozen=True, slots=True)
class Place:
    """Where the item ids are: in the objects (or plain ids) of the list property ``list_at``, or, when that is empty,
    in the properties themselves; under the first of ``ids`` that is present."""

    list_at: str = ""
    ids: tuple[str, ...] = ("product_id", "productId", "item_id", "itemId", "sku", "id")


ONE: Final = Place()
MANY: Final = Place("products")
ASSET: Final = Place("", ("asset_id", "assetId", "content_asset_id", "contentAssetId"))


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a name means. ``weight`` multiplies what the signal weighs by itself; without a place there are no items."""

    kind: Kind
    signal: Signal = "view"
    weight: float = 1.0
    place: Place | None = None


TRACKED: Final = Meaning("tracked")


def _does(signal: Signal, place: Place | None = ONE, weight: float = 1.0) -> Meaning:
    return Meaning("interaction", signal, weight, place)


_SEEN = Meaning("impression", place=MANY)

SEGMENT: Final[Mapping[str, Meaning]] = {
    # Browsing
    "Products Searched": _does("search", None),
    "Product List Viewed": _SEEN,
    "Product List Filtered": _SEEN,
    # Promotions name a campaign, not an item
    "Promotion Viewed": TRACKED,
    "Promotion Clicked": TRACKED,
    # Core ordering
    "Product Clicked": _does("click"),
    "Product Viewed": _does("view"),
    "Product Added": _does("cart"),
    "Product Removed": _does("uncart"),
    # A look at the cart repeats what its products said when they were added: little that is new
    "Cart Viewed": _does("view", MANY, 0.2),
    "Checkout Started": _does("cart", MANY, 0.5),
    "Checkout Step Viewed": TRACKED,
    "Checkout Step Completed": TRACKED,
    "Payment Info Entered": TRACKED,
    # Order Completed counts; an update sends the same lines again
    "Order Updated": TRACKED,
    "Order Completed": _does("purchase", MANY),
    "Order Refunded": _does("refund", MANY),
    "Order Cancelled": _does("refund", MANY),
    # Coupons
    "Coupon Entered": TRACKED,
    "Coupon Applied": TRACKED,
    "Coupon Denied": TRACKED,
    "Coupon Removed": TRACKED,
    # Wishlists
    "Product Added to Wishlist": _does("wish"),
    "Product Removed from Wishlist": _does("unwish"),
    "Wishlist Product Added to Cart": _does("cart"),
    # Sharing and reviewing
    "Product Shared": _does("share"),
    "Cart Shared": _does("share", MANY),
    "Product Reviewed": _does("rate"),
    "Product Rated": _does("rate"),
    # Video: the content events name what is watched; "Playing" is a heartbeat every few seconds
    "Video Content Started": _does("watch", ASSET, 0.3),
    "Video Content Playing": _does("watch", ASSET, 0.05),
    "Video Content Completed": _does("watch", ASSET),
    "Video Playback Started": TRACKED,
    "Video Playback Paused": TRACKED,
    "Video Playback Interrupted": TRACKED,
    "Video Playback Buffer Started": TRACKED,
    "Video Playback Buffer Completed": TRACKED,
    "Video Playback Seek Started": TRACKED,
    "Video Playback Seek Completed": TRACKED,
    "Video Playback Resumed": TRACKED,
    "Video Playback Completed": TRACKED,
    "Video Playback Exited": TRACKED,
    "Video Quality Updated": TRACKED,
    "Video Ad Started": TRACKED,
    "Video Ad Playing": TRACKED,
    "Video Ad Completed": TRACKED,
    "Video Ad Skipped": TRACKED,
    "Video Ad Clicked": TRACKED,
    # Experiments and consent
    "Experiment Viewed": Meaning("exposure"),
    "Segment Consent Preference Updated": Meaning("consent"),
    # The first version of the e-commerce specification, still sent by old integrations
    "Viewed Product": _does("view"),
    "Clicked Product": _does("click"),
    "Added Product": _does("cart"),
    "Removed Product": _does("uncart"),
    "Completed Order": _does("purchase", MANY),
    "Refunded Order": _does("refund", MANY),
    "Viewed Product Category": TRACKED,
    "Viewed Checkout Step": TRACKED,
    "Completed Checkout Step": TRACKED,
    "Viewed Promotion": TRACKED,
    "Clicked Promotion": TRACKED,
}
"""Weights other than 1 say that the event is a weaker (or repeated) sign than the signal by itself."""

_SKELETON = str.maketrans("", "", " _-")


class Vocabulary:
    """Looks names up. ``table`` replaces rows of `SEGMENT` or adds to them."""

    def __init__(self, table: Mapping[str, Meaning] = {}) -> None:
        rows = {_skeleton(name): meaning for name, meaning in SEGMENT.items()}
        self._rows = dict(SEGMENT) | rows
        for name, meaning in table.items():
            self._rows = {known: m for known, m in self._rows.items() if _skeleton(known) != _skeleton(name)}
            self._rows[_skeleton(name)] = meaning

    def meaning(self, name: str) -> Meaning:
        """
        >>> Vocabulary().meaning("product_viewed").signal, Vocabulary().meaning("Anvil Dropped").kind
        ('view', 'tracked')
        """
        found = self._rows.get(name)
        return found if found is not None else self._rows.get(_skeleton(name), TRACKED)


def _skeleton(name: str) -> str:
    return name.casefold().translate(_SKELETON)


def read_table(rows: Mapping[str, Mapping[str, object]]) -> dict[str, Meaning]:
    """Rows as they stand in ``everfold.toml``. Raises `BadSettings` naming the row and what it may hold.

    >>> read_table({"Album Bought": {"signal": "purchase", "items": "albums[].album_id|id"}})["Album Bought"].place
    Place(list_at='albums', ids=('album_id', 'id'))
    """
    return {name: _row(name, row) for name, row in rows.items()}


def _row(name: str, row: Mapping[str, object]) -> Meaning:
    where = f"vocabulary {name!r}"
    for key in row:
        if key not in ("kind", "signal", "weight", "items"):
            near = get_close_matches(key, ("kind", "signal", "weight", "items"), 1, 0)
            raise BadSettings(f"{where}: unknown key {key!r}, did you mean {near[0]!r}?")
    kind, signal = row.get("kind", "interaction"), row.get("signal", "view")
    if kind not in get_args(Kind):
        raise BadSettings(f"{where}: kind {kind!r} must be one of {', '.join(get_args(Kind))}")
    if signal not in get_args(Signal):
        raise BadSettings(f"{where}: signal {signal!r} must be one of {', '.join(get_args(Signal))}")
    weight = row.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not isfinite(weight):
        raise BadSettings(f"{where}: weight {weight!r} must be a number")
    if abs(weight) > WEIGHT_MAX:
        raise BadSettings(f"{where}: weight {weight!r} is beyond {WEIGHT_MAX:g}")
    return Meaning(cast(Kind, kind), cast(Signal, signal), float(weight), _place(where, row.get("items", "")))


def _place(where: str, items: object) -> Place | None:
    """``"products[].product_id|sku"`` or ``"article_id"``; empty: no items."""
    if not isinstance(items, str):
        raise BadSettings(f"{where}: items {items!r} must be a text such as 'products[].product_id' or 'article_id'")
    if not items:
        return None
    list_at, brackets, ids = items.rpartition("[].")
    names = tuple(ids.split("|"))
    if not all(names) or (brackets and not list_at):
        raise BadSettings(f"{where}: items {items!r} must look like 'products[].product_id' or 'article_id'")
    return Place(list_at, names)
