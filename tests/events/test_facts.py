"""Calls of the Segment spec, as Segment's and RudderStack's SDKs send them, become the facts they state."""

from __future__ import annotations

import pytest
from bodies import fact, read, reason, track

from events import facts
from events.envelope import Envelope
from events.lines import no_enrichment
from events.payload import encode
from events.types import (
    Aliased,
    Consented,
    Exposed,
    Grouped,
    Identified,
    Impression,
    Interaction,
    Line,
    Meta,
    Tracked,
    Visited,
)
from events.vocabulary import Vocabulary


def interaction(event: dict[str, object]) -> Interaction:
    found = fact(event)
    assert isinstance(found, Interaction)
    return found


def test_a_viewed_product_is_a_line_with_what_the_client_said_of_it() -> None:
    found = interaction(
        track("Product Viewed", product_id="x", category="Home>Kitchen", brand="B", price="9.5", url="/x")
    )
    assert found.signal == "view"
    assert found.lines == (Line("x", "Home > Kitchen", "B", 1.0, 9.5),)
    assert found.properties == {"url": "/x"}


def test_what_the_client_left_out_comes_from_the_catalogue() -> None:
    assert interaction(track("Product Viewed", product_id="p1", brand="Mine")).lines == (
        Line("p1", "Games > Board", "Mine", attributes=("players:4",)),
    )
    assert interaction(track("Product Viewed", product_id="p1", category="Mine", attributes=["new"])).lines == (
        Line("p1", "Mine", "Hasbro", attributes=("new",)),
    )
    plain = interaction(track("Product Viewed", product_id="p1", attributes=[]))
    assert (plain.lines, plain.properties) == ((Line("p1", "Games > Board", "Hasbro"),), {})
    assert interaction(track("Product Viewed", product_id="unknown")).lines == (Line("unknown"),)


@pytest.mark.parametrize("name", ["product_id", "productId", "item_id", "sku", "id"])
def test_the_item_id_may_stand_under_several_names_and_be_a_number(name: str) -> None:
    assert interaction(track("Product Added", **{name: 507})).lines[0].item == "507"


def test_an_order_has_its_lines_and_keeps_what_else_was_sent() -> None:
    order = track(
        "Order Completed",
        order_id=50314,
        total="27.50",
        currency="USD",
        products=[{"product_id": "x", "quantity": 2, "price": 5, "coupon": "C"}, {"sku": 7}, "9", {"price": 4}],
    )
    found = interaction(order)
    assert found.signal == "purchase"
    assert found.order_id == "50314"
    assert found.revenue == 27.5
    assert found.lines == (Line("x", quantity=2.0, price=5.0), Line("7"), Line("9"))
    assert found.properties == {"currency": "USD", "products": [{"product_id": "x", "coupon": "C"}, {"price": 4}]}


def test_an_order_knows_its_discount_its_coupons_and_how_dear_it_is() -> None:
    ranks = {"x": 0.25, "y": 0.75}
    sources = facts.Sources(Vocabulary(), no_enrichment, lambda item, _: ranks.get(item))

    def order(**properties: object) -> Interaction:
        found = facts.fact("track", Envelope(event="Order Completed", properties=properties), {}, sources)
        assert isinstance(found, Interaction)
        return found

    plain = order(products=[{"product_id": "z"}])
    assert (plain.discount, plain.coupon, plain.price_rank) == (0.0, False, -1.0)
    assert not [word for word in (b"discount", b"coupon", b"price_rank") if word in encode(Meta(), plain)]
    dear = order(discount="2.50", coupon="SPRING", products=[{"product_id": item} for item in "xyz"])
    assert (dear.discount, dear.coupon, dear.price_rank, dear.properties) == (2.5, True, 0.5, {"coupon": "SPRING"})
    assert order(products=[{"product_id": "x", "coupon": "C"}]).coupon
    assert order(products=[{"product_id": "x"}], price_rank=0.9).price_rank == 0.9
    assert order(discount=-3).properties == {"discount": -3}


@pytest.mark.parametrize("name", ["Order Refunded", "Order Cancelled"])
def test_a_refund_without_products_is_a_fact_of_the_order(name: str) -> None:
    found = interaction(track(name, order_id="o"))
    assert (found.signal, found.order_id, found.lines) == ("refund", "o", ())


def test_a_value_that_cannot_be_used_stays_where_it_was() -> None:
    found = interaction(track("Product Viewed", product_id="x", price="on request", quantity={}, category=["a", 1]))
    assert found.lines == (Line("x"),)
    assert found.properties == {"price": "on request", "quantity": {}, "category": ["a", 1]}


def test_a_list_seen_is_an_impression_of_the_recommendation() -> None:
    found = fact(track("Product List Viewed", list_id="r1", products=[{"product_id": "p1"}, {"product_id": "p2"}]))
    assert found == Impression(("p1", "p2"), "r1", "Product List Viewed", {})


def test_a_click_says_which_recommendation_led_to_it() -> None:
    assert interaction(track("Product Clicked", product_id="p1", recommendation_id="r1")).list_id == "r1"


@pytest.mark.parametrize(
    ("rating", "scale", "weight"),
    [(5, None, 1.0), (3, None, 0.0), ("1", None, -1.0), (10, 10, 1.0), ("good", None, 0.0)],
)
def test_a_rating_is_centred_on_its_scale(rating: object, scale: object, weight: float) -> None:
    extra = {} if scale is None else {"rating_scale": scale}
    found = interaction(track("Product Reviewed", product_id="p1", rating=rating, **extra))
    assert (found.signal, found.weight) == ("rate", weight)


def test_watching_says_how_much_was_watched() -> None:
    playing = interaction(track("Video Content Playing", asset_id="v1", position=30, total_length=120))
    assert (playing.signal, playing.watched, playing.weight) == ("watch", 0.25, 0.05)
    assert interaction(track("Video Content Completed", asset_id="v1")).watched == 1.0


def test_a_search_keeps_its_query() -> None:
    found = interaction(track("Products Searched", query="blue roses"))
    assert (found.signal, found.query, found.lines) == ("search", "blue roses", ())


def test_an_unknown_event_is_kept_as_it_came() -> None:
    assert fact(track("Anvil Dropped", height=3)) == Tracked("Anvil Dropped", {"height": 3})


def test_an_experiment_viewed_is_an_exposure() -> None:
    found = fact(track("Experiment Viewed", experiment_id="e", experiment_name="E", variation_name="blue"))
    assert found == Exposed("e", "blue", {"experiment_name": "E"})
    assert fact(track("Experiment Viewed", experiment_id="e")) == Tracked("Experiment Viewed", {})


def test_a_consent_event_is_consent_by_whoever_asked() -> None:
    event = track("Segment Consent Preference Updated")
    event["context"] = {"consent": {"categoryPreferences": {"Functional": True}, "provider": "OneTrust"}}
    payload = read(event)
    assert payload.event == Consented({"personalization": True}, "OneTrust")
    assert payload.meta.consent == {"personalization": True}


def test_identify_takes_traits_from_the_top_and_from_the_context() -> None:
    segment = {"type": "identify", "userId": "u", "traits": {"plan": "b", "age": None}}
    rudder = {"type": "identify", "userId": "u", "traits": None, "context": {"traits": {"plan": "a", "city": "X"}}}
    assert fact(segment) == Identified({"plan": "b", "age": None})
    assert fact(rudder) == Identified({"plan": "a", "city": "X"})
    assert fact(rudder | {"traits": {"plan": "b"}}) == Identified({"plan": "b", "city": "X"})


@pytest.mark.parametrize("kind", ["page", "screen"])
def test_a_pages_name_and_category_may_stand_in_either_place(kind: str) -> None:
    top = {"type": kind, "anonymousId": "a", "name": "Home", "category": "Docs", "properties": {"scroll": 0.5}}
    inside = {"type": kind, "anonymousId": "a", "properties": {"name": "Home", "category": "Docs", "dwell_ms": 1500}}
    assert fact(top) == Visited("Home", "Docs", 0, 0.5)
    assert fact(inside) == Visited("Home", "Docs", 1500)


def test_a_group_call_names_its_group() -> None:
    event = {"type": "group", "userId": "u", "groupId": 7, "traits": {"plan": "x"}}
    assert fact(event) == Grouped("7", {"plan": "x"})
    assert reason(event | {"groupId": None}) == "missing_group"


def test_an_alias_names_the_previous_id() -> None:
    event = {"type": "alias", "userId": "u2", "previousId": "u1"}
    assert fact(event) == Aliased("u1")
    assert reason(event | {"previousId": ""}) == "missing_previous_id"


def test_an_alias_to_itself_merges_nothing() -> None:
    assert fact({"type": "alias", "userId": "u1", "previousId": "u1"}) == Tracked("alias", {"previousId": "u1"})


def test_the_type_of_a_call_is_read_in_any_case() -> None:
    assert fact({"type": "Identify", "userId": "u"}) == Identified({})


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ({"type": "track", "userId": "u"}, "missing_event"),
        ({"type": "track", "userId": "u", "event": "  "}, "missing_event"),
        ({"type": "track", "userId": "u", "event": "n" * 10_000}, "bad_name"),
        ({"type": "track", "userId": "u", "event": {}}, "bad_type"),
        ({"type": "dance", "userId": "u"}, "unknown_type"),
        ({"userId": "u", "event": "x"}, "unknown_type"),
        (track("Product Viewed"), "missing_item"),
        (track("Product Viewed", product_id="i" * 10_000), "bad_id"),
        (track("Product Viewed", product_id="\x00"), "bad_id"),
        (track("Product Viewed", product_id={}), "bad_type"),
        (track("Order Completed", products={}), "bad_type"),
        ({"type": "track", "userId": "u", "event": "x", "properties": []}, "bad_type"),
        ({"type": "identify", "userId": "u", "traits": "tall"}, "bad_type"),
        ({"type": "group", "userId": "u", "groupId": "g" * 10_000}, "bad_id"),
        ({"type": "alias", "userId": "u", "previousId": "\x07"}, "bad_id"),
    ],
)
def test_what_states_no_fact_has_a_reason(event: dict[str, object], why: str) -> None:
    assert reason(event) == why
