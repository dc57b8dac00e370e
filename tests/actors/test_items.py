from __future__ import annotations

import pytest
from item_shop import NOW, Shop

from actors.items import ItemProjection
from actors.state import MemoryState
from actors.steps import STEPS
from events.types import Consented, Interaction, Line, Meta, SubjectErased

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


@pytest.mark.parametrize("batch", [1, 2, 7, 1000])
def test_the_size_of_batches_and_restarts_between_them_change_nothing(batch: int) -> None:
    shop = Shop(CATALOGUE)
    for number in range(40):
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
    for table in ("names", "entries", "shown", "categories", "steps", "popular"):
        assert dict(store.scan(table)) == dict(reference.scan(table)), table
    for table in ("covisited", "similar", "content"):
        for (key, got), (other, want) in zip(store.scan(table), reference.scan(table), strict=True):
            assert (key, got[: len(got) // 2]) == (other, want[: len(want) // 2]), table
