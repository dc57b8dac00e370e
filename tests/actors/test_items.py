from __future__ import annotations

import pytest
from item_shop import NOW, Shop

from actors.items import ItemProjection
from actors.popularity import TOP
from actors.segment_popularity import KEPT, POPULAR_IN
from actors.state import MemoryState
from actors.steps import STEPS
from events.types import Consented, Interaction, ItemUpserted, Line, Meta, SegmentChanged, SegmentDropped, SubjectErased

CATALOGUE = {"tea": "Drinks > Tea", "milk": "Dairy > Milk", "mug": "Home > Cups", "pan": "Home > Pans"}


@pytest.fixture
def shop() -> Shop:
    shop = Shop(CATALOGUE)
    shop.bought("milk", "pan", times=3)
    return shop


def browse(shop: Shop, meta: Meta, who: str = "me") -> None:
    shop.did("view", "tea", who=who, at=NOW, meta=meta)
    shop.did("view", "mug", who=who, at=NOW + 1000, meta=meta)
    shop.fold()


def test_what_people_do_in_turn_and_together_is_learned(shop: Shop) -> None:
    browse(shop, Meta())
    assert shop.popular() == ["milk", "pan", "mug", "tea"]
    assert list(shop.similar("tea")) == ["mug"]
    assert list(shop.similar("milk")) == ["pan"]


@pytest.mark.parametrize("meta", [Meta(test=True), Meta(bot=True)], ids=["test traffic", "a bot"])
def test_it_teaches_nothing(shop: Shop, meta: Meta) -> None:
    browse(shop, meta)
    shop.did("purchase", "tea", "mug", meta=meta)
    assert shop.popular() == ["milk", "pan"]
    assert shop.similar("tea") == {}


@pytest.mark.parametrize(
    "meta",
    [Meta(consent={"personalization": False}), Meta(default_consent=False)],
    ids=["denied", "never asked where no is the default"],
)
def test_without_consent_events_count_as_anonymous_and_are_not_put_in_sequence(shop: Shop, meta: Meta) -> None:
    browse(shop, meta)
    assert "tea" in shop.popular()
    assert shop.similar("tea") == {}


def test_consent_may_be_given_where_no_is_the_default(shop: Shop) -> None:
    browse(shop, Meta(default_consent=False, consent={"personalization": True}))
    assert list(shop.similar("tea")) == ["mug"]


def test_a_withdrawal_holds_for_the_events_after_it(shop: Shop) -> None:
    shop.facts.add(Consented({"personalization": False}), NOW - 1, b"me".ljust(16, b"_"))
    browse(shop, Meta())
    assert shop.similar("tea") == {}


@pytest.mark.parametrize("signal", ["uncart", "unwish", "refund"])
def test_taking_back_is_not_popularity(shop: Shop, signal: str) -> None:
    shop.facts.add(Interaction(signal, (Line("mug"),)), NOW)  # type: ignore[arg-type]
    shop.facts.add(Interaction("rate", (Line("mug"),), weight=-0.5), NOW)
    assert "mug" not in shop.popular()


def test_erasing_a_subject_deletes_its_trail(shop: Shop) -> None:
    browse(shop, Meta())
    store = shop.items.projection._steps._store
    assert store.get(STEPS, b"me".ljust(16, b"_")) is not None
    shop.facts.add(SubjectErased(), NOW, b"me".ljust(16, b"_"))
    shop.fold()
    assert store.get(STEPS, b"me".ljust(16, b"_")) is None
    assert list(shop.similar("tea")) == ["mug"]


def test_what_a_recommendation_led_to_is_counted_apart(shop: Shop) -> None:
    for _ in range(3):
        shop.did("view", "tea", list_id="r1")
    shop.did("view", "mug")
    assert shop.popular() == ["milk", "pan", "mug", "tea"]


def test_the_items_of_an_order_count_once_however_often_they_stand_in_it(shop: Shop) -> None:
    shop.did("purchase", "tea", "tea", "mug")
    view = shop.view()
    scores = dict(zip(shop.popular(), view.popular(None, 10)[1].tolist(), strict=True))
    assert scores["tea"] == scores["mug"] == pytest.approx(5.0)


def entered(shop: Shop, segment: str, who: str = "me", entered: bool = True) -> None:
    shop.facts.add(SegmentChanged(segment, entered), NOW, who.encode().ljust(16, b"_"))


def popular_in(shop: Shop, segment: str) -> dict[str, float]:
    view = shop.view()
    idx, scores = view.popular_in(segment, 99)
    return dict(zip([view.ids[each] for each in idx.tolist()], scores.tolist(), strict=True))


def test_an_act_counts_in_every_segment_its_person_is_in_by_then(shop: Shop) -> None:
    shop.did("purchase", "pan", who="me")
    entered(shop, "loyal")
    entered(shop, "vip")
    shop.did("purchase", "tea", "mug", who="me")
    entered(shop, "vip", entered=False)
    shop.did("view", "tea", who="me")
    shop.did("purchase", "milk", who="somebody else")
    loyal, vip = popular_in(shop, "loyal"), popular_in(shop, "vip")
    assert list(loyal) == ["tea", "mug"]
    assert loyal["tea"] > loyal["mug"] == vip["tea"] == vip["mug"] == pytest.approx(5.0)
    assert popular_in(shop, "unheard of") == {}


def test_within_segments_too_what_a_list_led_to_counts_a_quarter(shop: Shop) -> None:
    entered(shop, "loyal")
    shop.did("purchase", "tea", who="me")
    shop.did("purchase", "mug", who="me", list_id="l")
    found = popular_in(shop, "loyal")
    assert found["mug"] == pytest.approx(found["tea"] / 4)


def test_who_refuses_is_counted_in_no_segment_and_what_was_known_is_forgotten(shop: Shop) -> None:
    entered(shop, "loyal")
    browse(shop, Meta(consent={"personalization": False}))
    browse(shop, Meta(consent={"personalization": True}))
    assert popular_in(shop, "loyal") == {}


def test_a_segment_that_is_dropped_has_no_list(shop: Shop) -> None:
    entered(shop, "loyal")
    shop.did("purchase", "tea", who="me")
    assert list(popular_in(shop, "loyal")) == ["tea"]
    shop.facts.add(SegmentDropped("loyal"), NOW)
    assert popular_in(shop, "loyal") == {}


def test_a_full_segment_keeps_its_strongest() -> None:
    shop = Shop({f"i{n:04}": "Many > Things" for n in range(2 * KEPT)})
    entered(shop, "loyal")
    for number in range(2 * KEPT):
        for _ in range(2 if number % 50 == 0 else 1):
            shop.did("view", f"i{number:04}", who="me")
    found = popular_in(shop, "loyal")
    assert list(found)[:21] == [f"i{n:04}" for n in range(0, 2 * KEPT, 50)]
    row = shop.items.projection.segments._store.get(POPULAR_IN, b"loyal") or b""
    assert len(row) // TOP.itemsize <= KEPT


def test_rows_are_made_anew_while_a_category_is_new_and_nothing_happened_in_it() -> None:
    shop = Shop(CATALOGUE)
    named = len(shop.facts.made)
    shop.did("purchase", "tea", "milk", "mug", "pan")
    shop.facts.add(ItemUpserted("bath", category="Garden > Birds > Baths"), NOW)
    made, store = shop.facts.made, MemoryState()
    projection = ItemProjection(store)
    for facts in (made[:named], made[named : named + 1], made[named + 1 :]):
        store.commit(projection.apply(facts).changes)
    while changes := projection.tidy():
        store.commit(changes)
    assert len(list(store.scan("backoff"))) > 0


@pytest.mark.parametrize("batch", [1, 2, 7, 1000])
def test_the_size_of_batches_and_restarts_between_them_change_nothing(batch: int) -> None:
    shop = Shop(CATALOGUE)
    for number in range(40):
        entered(shop, f"s{number % 3}", who=f"p{number % 4}", entered=number % 5 > 0)
        items = sorted(CATALOGUE)[number % 3 : number % 3 + 2]
        shop.did("purchase", *items, who=f"p{number % 4}", at=NOW + number * 1000)
    shop.did("view", "unheard of", who="p1")
    store = MemoryState()
    facts = shop.facts.made
    for start in range(0, len(facts), batch):
        store.commit(ItemProjection(store).apply(facts[start : start + batch]).changes)
    while changes := ItemProjection(store).tidy():
        store.commit(changes)
    shop.fold()
    reference = shop.items.projection._steps._store
    for table in ("names", "entries", "shown", "categories", "steps", "popular", POPULAR_IN):
        assert dict(store.scan(table)) == dict(reference.scan(table)), table
    for table in ("covisited", "similar", "content"):
        for (key, got), (other, want) in zip(store.scan(table), reference.scan(table), strict=True):
            assert (key, got[: len(got) // 2]) == (other, want[: len(want) // 2]), table
