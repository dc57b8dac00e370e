"""What every source of items must do. A backend's test class inherits `ItemSourceContract` and says how to make one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from partition_stream import NOW, Stream

from actors.item_reader import StoredItems, id_hashes
from actors.item_view import ItemSource, ItemView
from events.errors import NotFound
from events.types import Impression, Interaction, ItemDeleted, ItemUpserted, Line

CATALOGUE = {
    "nachos": "Snacks > Chips",
    "crisps": "Snacks > Chips",
    "salsa": "Snacks > Dips",
    "dip": "Snacks > Dips",
    "tea": "Drinks > Tea",
}


class World:
    """A log, and the items that are known of it once `fold` was called."""

    def __init__(self, items: StoredItems, fold: Callable[[Stream], None]) -> None:
        self.stream = Stream()
        self.items: ItemSource = items
        self._fold = fold

    def fold(self) -> ItemView:
        self._fold(self.stream)
        return self.items.snapshot()

    def upsert(self, item: str, **fields: object) -> None:
        given = {"title": item.title(), "category": CATALOGUE.get(item, ""), **fields}
        self.stream.add(f"i:{item}", ItemUpserted(item, **given))  # type: ignore[arg-type]

    def bought(self, *items: str) -> None:
        self.stream.add(
            f"u:{self.stream.log.bounds()[1]}", Interaction("purchase", tuple(Line(item) for item in items)), NOW
        )


def names(view: ItemView, row: tuple[np.ndarray, np.ndarray]) -> list[str]:  # type: ignore[type-arg]
    assert row[0].dtype == np.int32
    assert row[1].dtype == np.float32
    assert len(row[0]) == len(row[1])
    return [view.ids[idx] for idx in row[0].tolist()]


class ItemSourceContract:
    @abstractmethod
    @pytest.fixture
    def world(self) -> World: ...

    @pytest.fixture
    def shop(self, world: World) -> World:
        for item in CATALOGUE:
            world.upsert(item)
        for basket in (("nachos", "salsa"), ("nachos", "salsa"), ("nachos", "dip"), ("tea", "dip")):
            world.bought(*basket)
        world.fold()
        return world

    def test_a_view_knows_items_by_id_and_by_number(self, shop: World) -> None:
        view = shop.items.snapshot()
        assert view.size == 5
        assert list(view.ids[: view.size]) == list(CATALOGUE)
        for number, (item, category) in enumerate(CATALOGUE.items()):
            assert view.index(item) == number
            assert view.item(number).title == item.title()
            assert view.category_path(int(view.category[number])) == category
        assert view.index("unheard of") == -1

    @pytest.mark.parametrize("later", ["", "ü", "a longer id", "x" * 31, "x" * 32, "x" * 256, "€" * 256])
    def test_ids_are_packed_as_one_array(self, shop: World, later: str) -> None:
        before = shop.fold()
        assert msgspec.msgpack.decode(before.packed_ids(np.array([], np.int32))) == []
        assert msgspec.msgpack.decode(before.packed_ids(np.array([2, 0, 2], np.int32))) == [
            before.ids[2], before.ids[0], before.ids[2],
        ]  # fmt: skip
        if later:
            shop.upsert(later)
            view = shop.fold()
            assert msgspec.msgpack.decode(view.packed_ids(np.arange(view.size, dtype=np.int32))) == list(view.ids)

    def test_a_number_that_does_not_exist_is_not_found(self, shop: World) -> None:
        for number in (-1, 5):
            with pytest.raises(NotFound, match=str(number)):
                shop.items.snapshot().item(number)

    def test_categories_of_all_levels_are_known(self, shop: World) -> None:
        view = shop.items.snapshot()
        snacks, chips, dips = (view.category_id(path) for path in ("Snacks", "Snacks > Chips", " Snacks >Dips"))
        assert min(snacks, chips, dips) >= 0
        assert view.category_id("Toys") == view.category_id("") == -1
        assert view.category_path(-1) == ""
        assert np.flatnonzero(view.within(snacks)).tolist() == sorted([snacks, chips, dips])
        assert np.flatnonzero(view.within(dips)).tolist() == [dips]
        assert not view.within(-1).any()

    def test_popular_items_of_the_store_and_of_a_category(self, shop: World) -> None:
        view = shop.items.snapshot()
        assert names(view, view.popular(None, 10)) == ["nachos", "salsa", "dip", "tea"]
        assert names(view, view.popular(None, 2)) == ["nachos", "salsa"]
        assert names(view, view.popular(view.category_id("Snacks > Dips"), 10)) == ["salsa", "dip"]
        assert names(view, view.popular(-1, 10)) == []
        assert view.popular(None, 10)[1].tolist() == pytest.approx([15, 10, 10, 5])

    def test_neighbours_come_best_first(self, shop: World) -> None:
        view = shop.items.snapshot()
        assert names(view, view.covisited((view.index("nachos"),), 64)[0])[0] == "salsa"
        assert names(view, view.similar((view.index("nachos"),), 64)[0]) == ["salsa", "dip"]
        assert names(view, view.content((view.index("nachos"),), 64)[0])[0] == "crisps"

    def test_an_item_never_bought_has_what_goes_with_its_type(self, shop: World) -> None:
        view = shop.items.snapshot()
        assert names(view, view.covisited((view.index("crisps"),), 64)[0])[0] == "salsa"
        assert names(view, view.similar((view.index("crisps"),), 64)[0]) == []

    def test_an_unknown_item_has_no_neighbours(self, shop: World) -> None:
        view = shop.items.snapshot()
        for row in (
            view.covisited((-1,), 64)[0],
            view.similar((-1,), 64)[0],
            view.content((-1,), 64)[0],
            view.covisited((99,), 64)[0],
        ):
            assert names(view, row) == []

    def test_hiding_shows_in_the_next_view_and_not_in_the_last(self, shop: World) -> None:
        before = shop.items.snapshot()
        shop.upsert("salsa", hidden=True)
        shop.stream.add("i:tea", ItemDeleted("tea"))
        after = shop.fold()
        assert before.blocked.tolist() == [False] * 5
        assert after.blocked.tolist() == [False, False, True, False, True]
        assert after.version != before.version
        shop.upsert("salsa")
        assert shop.fold().blocked.tolist() == [False] * 4 + [True]

    def test_items_and_categories_that_came_later_are_seen(self, shop: World) -> None:
        before = shop.items.snapshot()
        shop.upsert("mug", category="Home > Cups", item_group="Tea")
        after = shop.fold()
        assert (before.size, after.size) == (5, 6)
        assert before.index("mug") == -1
        assert after.index("mug") == 5
        assert after.category_path(int(after.category[5])) == "Home > Cups"
        assert after.group[5] == after.group[after.index("tea")]
        assert len(before.blocked) == len(before.group) == len(before.category) == 5

    def test_kinds_say_what_items_share(self, shop: World) -> None:
        for item, brand in (("nachos", "Tex"), ("salsa", "Tex"), ("tea", "Leaf")):
            shop.upsert(item, brand=brand, item_group="Party" if brand == "Tex" else "")
        view = shop.fold()
        asked = ("nachos", "crisps", "salsa", "tea")
        nachos, crisps, salsa, tea = (view.index(name) for name in asked)
        label, leaf, parent, brand_of = view.kinds(np.array([nachos, crisps, salsa, tea], np.int32))
        assert view.kinds(np.zeros(0, np.int32)).shape == (4, 0)
        assert [label[0] == other for other in label[1:]] == [False, True, False]
        assert [view.category_path(number) for number in leaf.tolist()] == [
            CATALOGUE[n] for n in ("nachos", "crisps", "salsa", "tea")
        ]
        assert [view.category_path(number) for number in parent.tolist()] == ["Snacks"] * 3 + ["Drinks"]
        assert (brand_of[0] == brand_of[2], brand_of[0] == brand_of[3], brand_of[1]) == (True, False, -1)
        shop.upsert("salsa", brand="Leaf")
        shop.upsert("mug", category="Home")
        later = shop.fold()
        _, leaf, parent, brand_of = later.kinds(np.array([salsa, later.index("mug"), tea], np.int32))
        assert brand_of[0] == brand_of[2]
        assert leaf[1] == parent[1], "a category at the top is its own parent"

    def test_hashes_are_of_the_ids_and_impressions_are_counted(self, shop: World) -> None:
        shop.stream.add("u:looker", Impression(("tea", "dip")), NOW)
        view = shop.fold()
        idx = np.array([view.index(name) for name in ("tea", "nachos", "dip")], np.int32)
        assert view.hashes(idx).tolist() == id_hashes(["tea", "nachos", "dip"]).tolist()
        assert view.impressions(idx).tolist() == pytest.approx([1.0, 0.0, 1.0])

    def test_the_same_state_is_the_same_view(self, shop: World) -> None:
        assert shop.items.snapshot() is shop.items.snapshot()

    def test_evidence_changes_the_version_but_not_the_arrays(self, shop: World) -> None:
        before = shop.items.snapshot()
        shop.bought("tea", "nachos")
        after = shop.fold()
        assert after.version != before.version
        assert after.blocked is before.blocked
        assert names(after, after.similar((after.index("tea"),), 64)[0]) == ["dip", "nachos"]

    def test_nobody_can_write_to_a_view(self, shop: World) -> None:
        view = shop.items.snapshot()
        for array in (view.blocked, view.group, view.category):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = array[0]

    def test_how_far_each_partition_is_in_the_view_is_told(self, shop: World) -> None:
        assert shop.items.applied(0) == 9
        assert shop.items.applied(7) == 0
        shop.bought("tea", "nachos")
        shop.fold()
        assert shop.items.applied(0) == 10
