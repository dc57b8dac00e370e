from __future__ import annotations

import numpy as np
import pytest

from actors.catalogue import CHANGED, CHANGES_KEPT, Catalogue, category_path, seq_key
from actors.state import MemoryState
from events.types import ItemUpserted, Line


@pytest.fixture
def store() -> MemoryState:
    return MemoryState()


@pytest.fixture
def catalogue(store: MemoryState) -> Catalogue:
    return Catalogue(store)


def test_an_item_keeps_its_index_whatever_happens_to_it(store: MemoryState, catalogue: Catalogue) -> None:
    seen = catalogue.observe(Line("tea"))
    assert catalogue.upsert(ItemUpserted("milk")) == 1
    assert catalogue.upsert(ItemUpserted("tea", title="Tea")) == seen == 0
    catalogue.delete("tea")
    store.commit(catalogue.changes(1))
    again = Catalogue(store)
    assert again.names == {"tea": 0, "milk": 1}
    assert again.upsert(ItemUpserted("tea")) == 0
    assert again.upsert(ItemUpserted("oats")) == 2


@pytest.mark.parametrize(
    ("fields", "blocked"),
    [
        ({}, False),
        ({"stock": 3}, False),
        ({"stock": 0}, True),
        ({"hidden": True}, True),
        ({"recommendable": False}, True),
    ],
)
def test_what_is_hidden_gone_or_not_recommendable_is_blocked(
    store: MemoryState, catalogue: Catalogue, fields: dict[str, object], blocked: bool
) -> None:
    catalogue.upsert(ItemUpserted("tea", **fields))  # type: ignore[arg-type]
    store.commit(catalogue.changes(1))
    assert catalogue.blocked.tolist() == Catalogue(store).blocked.tolist() == [blocked]


def test_a_deleted_item_is_blocked_until_it_comes_back(catalogue: Catalogue) -> None:
    catalogue.upsert(ItemUpserted("tea", title="Tea"))
    catalogue.delete("tea")
    assert catalogue.blocked.tolist() == [True]
    assert catalogue.entry(0).title == "Tea"
    catalogue.upsert(ItemUpserted("tea"))
    assert catalogue.blocked.tolist() == [False]


def test_deleting_an_unknown_item_is_no_error(catalogue: Catalogue) -> None:
    assert catalogue.delete("nothing") == -1
    assert catalogue.changes(1) == []


def test_a_store_without_a_catalogue_shows_what_its_events_name(catalogue: Catalogue) -> None:
    catalogue.observe(Line("tea", category="Drinks > Tea", brand="A"))
    assert catalogue.blocked.tolist() == [False]
    assert catalogue.entry(0).category == "Drinks > Tea"


def test_in_a_store_with_a_catalogue_nobody_can_make_up_items(store: MemoryState, catalogue: Catalogue) -> None:
    catalogue.observe(Line("early"))
    catalogue.upsert(ItemUpserted("tea"))
    catalogue.observe(Line("made up"))
    assert catalogue.blocked.tolist() == [True, False, True]
    store.commit(catalogue.changes(1))
    again = Catalogue(store)
    assert again.blocked.tolist() == [True, False, True]
    again.observe(Line("after a restart"))
    assert again.blocked.tolist() == [True, False, True, True]
    again.upsert(ItemUpserted("early"))
    assert again.blocked.tolist() == [False, False, True, True]


def test_items_of_one_label_share_a_group_and_nameless_ones_do_not(store: MemoryState, catalogue: Catalogue) -> None:
    for event in (
        ItemUpserted("1", title="Milk"),
        ItemUpserted("2", title="Fresh milk", item_group="Milk"),
        ItemUpserted("3"),
        ItemUpserted("4"),
    ):
        catalogue.upsert(event)
    store.commit(catalogue.changes(1))
    again = Catalogue(store)
    again.upsert(ItemUpserted("5", title="Milk"))
    names = sorted(again.names, key=again.names.__getitem__)
    rows = store.get_many("shown", [number.to_bytes(4, "big") for number in range(4)])
    groups = [int.from_bytes(row[1:5], "little") for row in rows if row]
    assert names == ["1", "2", "3", "4", "5"]
    assert groups[0] == groups[1]
    assert len(set(groups)) == 3
    again_row = {key: row for _, key, row in again.changes(2)}[(4).to_bytes(4, "big")]
    assert again_row is not None
    assert int.from_bytes(again_row[1:5], "little") == groups[0]


def test_every_prefix_of_a_path_is_a_category(store: MemoryState, catalogue: Catalogue) -> None:
    catalogue.upsert(ItemUpserted("tea", category="Drinks > Hot > Tea"))
    catalogue.upsert(ItemUpserted("mug", category=" Home>Cups "))
    store.commit(catalogue.changes(1))
    for each in (catalogue, Catalogue(store)):
        number = each.categories.number
        tea, hot, drinks = number("Drinks > Hot > Tea"), number("Drinks > Hot"), number("Drinks")
        assert each.categories.lineage[tea].tolist() == [tea, hot, drinks, -1]
        assert each.categories.parent[drinks] == -1
        assert each.leaf.tolist() == [tea, number("Home > Cups")]
        assert each.members(drinks).tolist() == [0]
        assert len(each.categories) == 5


def test_an_item_without_a_category_has_none(catalogue: Catalogue) -> None:
    catalogue.upsert(ItemUpserted("tea"))
    assert catalogue.leaf.tolist() == [-1]
    assert catalogue.categories.number(" > ") == -1


def test_only_four_parts_of_a_path_count() -> None:
    assert category_path("a > b > c > d > e > f") == "a > b > c > d"


def test_the_change_list_names_what_changed_and_stays_bounded(store: MemoryState, catalogue: Catalogue) -> None:
    for item in ("a", "b", "c"):
        catalogue.upsert(ItemUpserted(item))
    store.commit(catalogue.changes(1))
    catalogue.upsert(ItemUpserted("b", hidden=True))
    store.commit(catalogue.changes(2))
    assert np.frombuffer(store.get(CHANGED, seq_key(2)) or b"", "<i4").tolist() == [1]
    for seq in range(3, CHANGES_KEPT + 10):
        catalogue.upsert(ItemUpserted("b", price=float(seq)))
        store.commit(catalogue.changes(seq))
    assert len(list(store.scan(CHANGED))) == CHANGES_KEPT
