from __future__ import annotations

import pytest
from item_shop import NOW, Shop

from actors.content import BLOCK_MIN, CONTENT, NEAREST
from events.types import ItemUpserted

KINDS = ["green tea", "black tea", "mint tea", "rooibos"]


def upsert(shop: Shop, item: str, title: str, **fields: object) -> None:
    given = {"category": "Drinks > Tea", **fields}
    shop.facts.add(ItemUpserted(item, title=title, **given), NOW)  # type: ignore[arg-type]
    shop.fold()


@pytest.fixture
def shop() -> Shop:
    """Forty teas of four kinds, and a drawer of tools."""
    shop = Shop()
    for number in range(40):
        upsert(shop, f"tea{number}", f"{KINDS[number % 4]} size {number}", brand=f"brand{number % 3}")
    for number in range(40):
        upsert(
            shop,
            f"tool{number}",
            "green tea hammer" if number == 0 else f"claw hammer {number}",
            category="Tools > Hammers",
        )
    return shop


def test_the_nearest_are_described_alike_and_of_the_same_category(shop: Shop) -> None:
    near = shop.content("tea0")
    assert len(near) == NEAREST
    assert set(near[:9]) == {f"tea{number}" for number in range(4, 40, 4)}
    assert not any(item.startswith("tool") for item in near)


def test_a_brand_new_item_has_neighbours_and_is_one_at_once(shop: Shop) -> None:
    upsert(shop, "new", "rooibos size 3", brand="brand0")
    assert shop.content("new")[0] == "tea3"
    assert "new" in shop.content("tea3")
    assert len(shop.content("tea3")) == NEAREST


def test_a_changed_description_changes_the_row(shop: Shop) -> None:
    upsert(shop, "tea0", "rooibos size 0", brand="brand0")
    assert set(shop.content("tea0")[:9]) < {f"tea{number}" for number in range(3, 40, 4)}


def test_a_new_price_makes_nothing_anew(shop: Shop) -> None:
    store = shop.items.projection.content._store
    before = dict(store.scan(CONTENT))
    facts = shop.facts
    facts.add(ItemUpserted("tea0", title="green tea size 0", brand="brand0", category="Drinks > Tea", price=9.0), NOW)
    changes = shop.items.projection.apply(facts.made[shop.folded :]).changes
    assert not any(table in {CONTENT, "terms"} for table, _, _ in changes)
    assert dict(store.scan(CONTENT)) == before


def test_a_small_category_looks_among_its_neighbours_categories(shop: Shop) -> None:
    upsert(shop, "mate", "green mate tea", category="Drinks > Mate")
    assert BLOCK_MIN > 1
    assert shop.content("mate")
    assert all(item.startswith("tea") for item in shop.content("mate"))


def test_items_without_a_category_are_compared_with_each_other() -> None:
    shop = Shop({"red cup": "", "red cups": "", "red mug": "", "pan": ""})
    assert shop.content("red cup")[0] in {"red cups", "red mug"}
    assert shop.content("pan") == []
