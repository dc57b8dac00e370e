"""Names of the Segment specifications mean what the table says, however they are written."""

from __future__ import annotations

import pytest

from events.errors import BadSettings
from events.vocabulary import SEGMENT, TRACKED, Meaning, Place, Vocabulary, read_table

ECOMMERCE = {
    "Products Searched",
    "Product List Viewed",
    "Product List Filtered",
    "Promotion Viewed",
    "Promotion Clicked",
    "Product Clicked",
    "Product Viewed",
    "Product Added",
    "Product Removed",
    "Cart Viewed",
    "Checkout Started",
    "Checkout Step Viewed",
    "Checkout Step Completed",
    "Payment Info Entered",
    "Order Updated",
    "Order Completed",
    "Order Refunded",
    "Order Cancelled",
    "Coupon Entered",
    "Coupon Applied",
    "Coupon Denied",
    "Coupon Removed",
    "Product Added to Wishlist",
    "Product Removed from Wishlist",
    "Wishlist Product Added to Cart",
    "Product Shared",
    "Cart Shared",
    "Product Reviewed",
}
VIDEO = {
    f"Video {what}"
    for what in (
        "Playback Started",
        "Playback Paused",
        "Playback Interrupted",
        "Playback Buffer Started",
        "Playback Buffer Completed",
        "Playback Seek Started",
        "Playback Seek Completed",
        "Playback Resumed",
        "Playback Completed",
        "Playback Exited",
        "Content Started",
        "Content Playing",
        "Content Completed",
        "Ad Started",
        "Ad Playing",
        "Ad Completed",
        "Quality Updated",
    )
}


def test_every_event_of_the_commerce_and_video_specifications_has_a_row() -> None:
    assert set(SEGMENT) >= ECOMMERCE | VIDEO


@pytest.mark.parametrize(
    "name", ["Order Completed", "order completed", "order_completed", "orderCompleted", "ORDER-COMPLETED"]
)
def test_case_and_spaces_do_not_matter(name: str) -> None:
    assert Vocabulary().meaning(name) == SEGMENT["Order Completed"]


def test_an_unknown_name_is_a_fact_and_nothing_more() -> None:
    assert Vocabulary().meaning("Anvil Dropped") == TRACKED


def test_a_stores_own_row_replaces_ours_in_every_spelling() -> None:
    mine = Meaning("interaction", "cart", 0.5)
    vocabulary = Vocabulary({"product_viewed": mine, "Article Read": mine})
    for name in ("Product Viewed", "productviewed", "article read", "Article_Read"):
        assert vocabulary.meaning(name) == mine
    assert vocabulary.meaning("Product Added") == SEGMENT["Product Added"]


def test_rows_are_read_from_the_settings() -> None:
    rows = read_table({"Article Read": {"items": "article_id", "weight": 2}, "Noise": {"kind": "tracked"}})
    assert rows == {
        "Article Read": Meaning("interaction", "view", 2.0, Place("", ("article_id",))),
        "Noise": Meaning("tracked", "view", 1.0, None),
    }


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"wieght": 2}, "did you mean 'weight'"),
        ({"kind": "view"}, "kind 'view' must be one of"),
        ({"signal": "stare"}, "signal 'stare' must be one of"),
        ({"weight": "much"}, "must be a number"),
        ({"weight": True}, "must be a number"),
        ({"weight": float("nan")}, "must be a number"),
        ({"weight": 1e7}, "beyond"),
        ({"items": 5}, "must be a text"),
        ({"items": "a||b"}, "must look like"),
        ({"items": "[].id"}, "must look like"),
    ],
)
def test_a_wrong_row_is_named(row: dict[str, object], message: str) -> None:
    with pytest.raises(BadSettings, match="Article Read") as error:
        read_table({"Article Read": row})
    assert message in str(error.value)
