"""A grocer's tables become the same events every time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("pyarrow", reason="comes with the demo data")

from hypothesis import given
from hypothesis import strategies as st
from journey_tables import BARE, CHIPS, COUPON, DIP, FUEL, LINES, PRODUCTS, STRAY, UNKNOWN, UNSOLD, write_journey

from events.errors import NotFound
from events.ids import Millis
from serving.journey import WEEK_MS, Journey


def ms(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type]


NOW = Millis(ms(2025, 6, 4, 12))


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    return Journey(write_journey(tmp_path_factory.mktemp("journey")))


def of(journey: Journey, kind: str, shift_ms: int = 0) -> list[dict[str, Any]]:
    return [cast("dict[str, Any]", event) for event in journey.events(shift_ms) if event["type"] == kind]


def test_a_product_is_an_item_a_person_can_read(journey: Journey) -> None:
    items = {item["item_id"]: item for item in of(journey, "item")}
    assert items[str(CHIPS)] == {
        "type": "item",
        "timestamp": ms(2017, 3, 1, 9, 15),
        "item_id": str(CHIPS),
        "title": "Tortilla/Nacho Chips, 16 oz",
        "category": "Grocery > Bag Snacks > Tortilla/Nacho Chips",
        "brand": "Store brand",
        "item_group": "Tortilla/Nacho Chips",
        "price": 2.5,
        "recommendable": True,
    }
    assert items[str(DIP)]["title"] == items[str(DIP)]["item_group"] == "Cheese: Premium"
    assert items[str(DIP)]["brand"] == "Maker 2"
    assert items[str(UNSOLD)]["price"] == 0.0


def test_what_is_not_sold_for_itself_is_not_recommended(journey: Journey) -> None:
    shown = {item["item_id"] for item in of(journey, "item") if item["recommendable"]}
    assert shown == {str(CHIPS), str(DIP), str(UNSOLD)}
    hidden = {item["item_id"] for item in of(journey, "item")} - shown
    assert hidden == {str(FUEL), str(COUPON), str(BARE), str(STRAY)}


def test_items_come_by_their_number(journey: Journey) -> None:
    numbers = [int(item["item_id"]) for item in of(journey, "item")]
    assert numbers == sorted(numbers)


def test_a_basket_is_an_order_with_its_lines_by_product_id_as_a_number(journey: Journey) -> None:
    first = of(journey, "track")[0]
    assert first == {
        "type": "track",
        "event": "Order Completed",
        "userId": "1",
        "messageId": "basket-501",
        "timestamp": ms(2017, 3, 1, 9, 15),
        "properties": {
            "order_id": "501",
            "affiliation": "store 10",
            "revenue": 10.5,
            "discount": 1.5,
            "products": [
                {
                    "product_id": "4",
                    "quantity": 1,
                    "price": 4.5,
                    "attributes": [],
                    "category": "Grocery > Cheese > Premium",
                    "brand": "Maker 2",
                },
                {
                    "product_id": "30",
                    "quantity": 2,
                    "price": 3.0,
                    "attributes": [],
                    "category": "Grocery > Bag Snacks > Tortilla/Nacho Chips",
                    "brand": "Store brand",
                },
            ],
        },
    }


def test_an_order_says_what_was_saved_and_whether_by_coupon(journey: Journey) -> None:
    card, coupon, plain = (event["properties"] for event in of(journey, "track"))
    assert (card["discount"], "coupon" in card) == (1.5, False)
    assert (coupon["discount"], coupon["coupon"]) == (0.75, True)
    assert not {"discount", "coupon"} & set(plain)


def test_an_order_is_ranked_by_price_where_a_category_has_five_prices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = [(100 + n, 2, "GROCERY", "National", "TEA", "GREEN", None) for n in range(5)]
    monkeypatch.setattr("journey_tables.PRODUCTS", [*PRODUCTS, *shelf])
    lines = [(1, 10, 600 + n, 100 + n, 1, 1.0 + min(n, 3), LINES[0][-1]) for n in range(5)]
    orders = of(Journey(write_journey(tmp_path, [*LINES, *lines])), "track")
    assert [order["properties"].get("price_rank") for order in orders if "price_rank" in order["properties"]] == [
        0.1,
        0.3,
        0.5,
        0.8,
        0.8,
    ]


def test_lines_without_a_product_and_lines_of_nothing_stay_facts(journey: Journey) -> None:
    _, coupons, fuel = of(journey, "track")
    assert {"product_id": str(COUPON), "quantity": 0, "price": 0.0}.items() <= coupons["properties"]["products"][
        0
    ].items()
    assert fuel["properties"]["products"][-1] == {
        "product_id": str(UNKNOWN),
        "quantity": 1,
        "price": 1.0,
        "attributes": [],
    }


def test_demographics_are_traits_known_with_the_first_basket(journey: Journey) -> None:
    people = {event["userId"]: event for event in of(journey, "identify")}
    assert people["1"]["traits"] == {"age": "19-24"}
    assert people["2"]["timestamp"] == ms(2017, 3, 2, 18, 30)
    assert people["77"]["timestamp"] == ms(2017, 3, 1, 9, 15)
    assert set(people["2"]["traits"]) == {
        "age",
        "income",
        "marital_status",
        "household_size",
        "household_comp",
        "kids_count",
    }


def test_events_come_by_time_people_before_what_they_bought(journey: Journey) -> None:
    events = list(journey.events(0))
    times = [cast(int, event["timestamp"]) for event in events]
    assert times == sorted(times)
    assert len(events) == journey.total()
    assert [event["type"] for event in events if event.get("userId") == "2"] == ["identify", "track"]


def test_the_shift_moves_every_time_by_the_same_whole_weeks(journey: Journey) -> None:
    shift = journey.shift_ms(NOW)
    assert shift % WEEK_MS == 0
    plain, moved = list(journey.events(0)), list(journey.events(shift))
    assert [{**event, "timestamp": cast(int, event["timestamp"]) + shift} for event in plain] == moved
    assert 0 <= NOW - cast(int, moved[-1]["timestamp"]) < WEEK_MS


@given(now=st.integers(ms(2018, 1, 1), ms(2100, 1, 1)))
def test_the_last_basket_always_lies_within_the_past_week(journey: Journey, now: int) -> None:
    last = ms(2017, 12, 31, 23, 59, 59)
    assert 0 <= now - (last + journey.shift_ms(Millis(now))) < WEEK_MS


def test_two_readings_are_equal_and_other_data_is_another_producer(journey: Journey, tmp_path: Path) -> None:
    same = Journey(write_journey(tmp_path / "same"))
    other = Journey(write_journey(tmp_path / "other", LINES[:3]))
    assert list(same.events(5)) == list(journey.events(5))
    assert same.producer == journey.producer == f"journey-{journey.source_hash[:12]}"
    assert other.producer != journey.producer


def test_the_order_of_the_sources_rows_does_not_matter(journey: Journey, tmp_path: Path) -> None:
    turned = Journey(write_journey(tmp_path / "turned", LINES[::-1]))
    assert list(turned.events(0)) == list(journey.events(0))


def test_a_folder_without_the_tables_says_which_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="demographics"):
        Journey(tmp_path)
