"""The catalogue's door is strict, and an update says only what changes."""

from __future__ import annotations

import json

import pytest
from bodies import NOW, SECRET, accepted, payload_of, rejected

from events.catalogue_intake import CatalogueIntake
from events.errors import BadId, BadRequest, TooLarge
from events.ids import Millis
from events.intake import Outcome
from events.types import Event, ItemDeleted, ItemUpserted

LAMP = ItemUpserted("lamp", title="Lamp", category="Home > Light", price=20.0, stock=3, attributes=("colour:red",))


def send(*items: object, request: str = "r1") -> list[Outcome]:
    shelf = {"lamp": LAMP}
    return CatalogueIntake(SECRET, shelf.get).batch(json.dumps({"items": items}).encode(), request, NOW)


def entry(*items: object) -> Event:
    return payload_of(send(*items)[-1]).event


def test_a_new_item_is_written_whole() -> None:
    item = {
        "item_id": 7,
        "name": "Chair",
        "category": ["Home", "Seats"],
        "brand": "B",
        "item_group": "Chairs",
        "price": 5,
        "stock": 2.0,
        "hidden": True,
        "recommendable": False,
        "attributes": {"colour": "blue", "oak": True},
        "description": "To sit on.",
        "url": "/c",
        "image_url": "/c.png",
    }
    assert entry(item) == ItemUpserted(
        "7",
        "Chair",
        "Home > Seats",
        "B",
        "Chairs",
        5.0,
        2,
        True,
        False,
        ("colour:blue", "oak:true"),
        "To sit on.",
        "/c",
        "/c.png",
    )


def test_fields_left_out_keep_what_the_item_has_and_null_takes_the_default() -> None:
    assert entry({"item_id": "lamp", "stock": 0}) == ItemUpserted(
        "lamp", title="Lamp", category="Home > Light", price=20.0, stock=0, attributes=("colour:red",)
    )
    assert entry({"item_id": "lamp", "stock": None, "attributes": [], "price": None}) == ItemUpserted(
        "lamp", title="Lamp", category="Home > Light"
    )


def test_updates_of_one_item_in_one_body_see_each_other() -> None:
    assert entry({"id": "new", "title": "T"}, {"id": "new", "price": 2}) == ItemUpserted("new", "T", price=2.0)


def test_a_plain_list_is_a_body_too() -> None:
    outcomes = CatalogueIntake(SECRET).batch(b'[{"item_id": "x"}]', "r", NOW)
    assert accepted(outcomes[0]).key == "i:x"


def test_a_request_sent_twice_is_one_fact_and_the_same_content_in_two_requests_two() -> None:
    item = {"item_id": "lamp", "price": 5}
    first, again, later = (accepted(send(item, request=name)[0]).event_id for name in ("r1", "r1", "r2"))
    assert first == again != later
    one, two = (accepted(outcome).event_id for outcome in send(item, item))
    assert one != two


@pytest.mark.parametrize(
    ("item", "why", "says"),
    [
        ({"item_id": "x", "prise": 1}, "unknown_field", "did you mean 'price'"),
        ({"title": "T"}, "missing_item", "item_id"),
        ({"item_id": ""}, "bad_id", "empty"),
        ({"item_id": "i" * 10_000}, "bad_id", "256"),
        ({"item_id": "x", "price": "5"}, "bad_type", "price must be a number"),
        ({"item_id": "x", "price": -1}, "bad_type", "price"),
        ({"item_id": "x", "stock": 1.5}, "bad_type", "whole number"),
        ({"item_id": "x", "hidden": "no"}, "bad_type", "true or false"),
        ({"item_id": "x", "title": "t" * 300}, "bad_type", "256"),
        ({"item_id": "x", "category": 5}, "bad_type", "path"),
        ({"item_id": "x", "attributes": [[]]}, "bad_type", "attributes"),
        ({"item_id": "x", "attributes": ["a"] * 65}, "bad_type", "64"),
        ({"item_id": "x", "text": "t" * 33_000}, "too_large", "32768"),
        ([], "not_an_object", "object"),
        (None, "not_an_object", "object"),
    ],
)
def test_a_bad_item_is_named_and_those_beside_it_are_written(item: object, why: str, says: str) -> None:
    first, second = send(item, {"item_id": "good"})
    assert rejected(first).reason == why
    assert says in rejected(first).detail
    assert accepted(second).key == "i:good"


@pytest.mark.parametrize("text", [b"", b"5", b"{}", b'{"items": 5}', b"[NaN]", b"\xff"])
def test_a_body_that_is_no_list_of_items_is_a_bad_request(text: bytes) -> None:
    with pytest.raises(BadRequest):
        CatalogueIntake(SECRET).batch(text, "r", NOW)


def test_more_items_than_the_limit_are_refused_as_a_whole() -> None:
    with pytest.raises(TooLarge):
        CatalogueIntake(SECRET).batch(b"[" + b"0," * 10_000 + b"0]", "r", NOW)


def test_deleting_is_a_fact_of_the_item() -> None:
    gone = CatalogueIntake(SECRET).deleted("lamp", "r", Millis(5))
    assert payload_of(gone).event == ItemDeleted("lamp")
    assert (gone.draft.key, gone.draft.event_time) == ("i:lamp", 5)
    with pytest.raises(BadId):
        CatalogueIntake(SECRET).deleted("", "r", NOW)
