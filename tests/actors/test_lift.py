"""What goes with what, on baskets small enough to reckon by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from item_shop import NOW, Shop

from actors.item_knn import SHRINK, cosine
from actors.lift import posterior
from events.types import ItemUpserted

GROCERIES = {
    "nachos": "Snacks > Chips",
    "crisps": "Snacks > Chips",
    "salsa": "Snacks > Dips",
    "guacamole": "Snacks > Dips",
    "milk": "Dairy > Milk",
    "bananas": "Fruit > Bananas",
    "nappies": "Baby > Nappies",
    "wipes": "Baby > Care",
    "soap": "Home > Soap",
    "sponge": "Home > Sponges",
}


@pytest.fixture
def shop() -> Shop:
    """Everybody buys milk and bananas; nachos with salsa, nappies with wipes, only sometimes."""
    shop = Shop(GROCERIES)
    shop.bought("milk", "bananas", times=40)
    shop.bought("milk", "bananas", "soap", times=10)
    shop.bought("milk", "nachos", times=10)
    shop.bought("bananas", "nachos", times=8)
    shop.bought("milk", "nachos", "salsa", times=6)
    shop.bought("nappies", "wipes", "milk", times=6)
    shop.bought("nappies", "bananas", times=4)
    return shop


def test_what_everybody_buys_with_everything_does_not_come_first(shop: Shop) -> None:
    assert shop.goes_with("nachos")[0] == "salsa"
    assert shop.goes_with("nappies")[0] == "wipes"
    assert shop.goes_with("wipes")[0] == "nappies"


def test_what_goes_together_less_than_by_chance_is_not_named() -> None:
    shop = Shop(GROCERIES)
    shop.bought("soap", "sponge", times=20)
    shop.bought("wipes", "nappies", times=20)
    shop.bought("soap", "wipes")
    assert shop.goes_with("soap") == ["sponge"]
    assert list(shop.similar("soap")) == ["sponge", "wipes"]


def test_an_item_never_bought_borrows_what_goes_with_its_type(shop: Shop) -> None:
    assert shop.goes_with("crisps")[0] == "salsa"
    assert shop.goes_with("guacamole")[0] == "nachos"


def test_a_type_never_bought_borrows_from_its_category(shop: Shop) -> None:
    shop.bought("sponge", "wipes", times=2)
    shop.did("view", "new", at=NOW)
    shop.facts.add(_upsert("bath foam", "Baby > Bath"), NOW)
    assert shop.goes_with("bath foam") != []
    assert set(shop.goes_with("bath foam")) <= set(GROCERIES) - {"bath foam"}


def test_an_item_without_type_and_evidence_has_no_row(shop: Shop) -> None:
    shop.facts.add(_upsert("mystery", ""), NOW)
    assert shop.goes_with("mystery") == []


def test_one_chance_basket_does_not_beat_steady_company(shop: Shop) -> None:
    shop.bought("nachos", "sponge")
    assert shop.goes_with("nachos")[0] == "salsa"


def test_own_evidence_overrules_the_type(shop: Shop) -> None:
    shop.bought("crisps", "sponge", times=12)
    assert shop.goes_with("crisps")[0] == "sponge"


def test_thin_evidence_is_filled_up_from_the_type(shop: Shop) -> None:
    shop.bought("crisps", "sponge")
    assert shop.goes_with("crisps")[:2] == ["sponge", "salsa"]


def test_of_two_partners_met_once_the_one_whose_type_fits_comes_first() -> None:
    shop = Shop({"sponge": "Home > Sponges", **GROCERIES})
    shop.bought("nachos", "salsa", times=8)
    shop.bought("milk", "bananas", times=8)
    shop.bought("crisps", "sponge")
    shop.bought("crisps", "guacamole")
    row = shop.goes_with("crisps")
    assert row.index("guacamole") < row.index("sponge")


def test_no_item_goes_with_itself(shop: Shop) -> None:
    for item in GROCERIES:
        assert item not in shop.goes_with(item)
        assert item not in shop.similar(item)


def test_rows_are_in_a_total_order(shop: Shop) -> None:
    view = shop.view()
    for idx in range(view.size):
        for ids, scores in (view.covisited((idx,), 64)[0], view.similar((idx,), 64)[0]):
            order = sorted(zip((-scores).tolist(), ids.tolist(), strict=True))
            assert [item for _, item in order] == ids.tolist()


def test_views_after_each_other_lead_one_way(shop: Shop) -> None:
    for number in range(6):
        shop.did("view", "soap", who=f"p{number}", at=NOW + 1)
        shop.did("view", "sponge", who=f"p{number}", at=NOW + 60_000)
    assert shop.goes_with("soap")[0] == "sponge"
    assert "soap" not in shop.similar("sponge")


def test_similarity_is_the_shrunk_cosine() -> None:
    shop = Shop(GROCERIES)
    shop.bought("nachos", "salsa", times=3)
    shop.bought("nachos", "milk", times=1)
    assert shop.similar("nachos") == pytest.approx(
        {"salsa": 3 / (np.sqrt(4 * 3) + SHRINK), "milk": 1 / (np.sqrt(4 * 1) + SHRINK)}
    )
    assert list(shop.similar("nachos")) == ["salsa", "milk"]


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.01, 100), st.floats(0.01, 100))
def test_the_posterior_lies_between_prior_and_evidence(n: float, e: float, prior: float, strength: float) -> None:
    got = float(posterior(np.array([n]), np.array([e]), prior, strength)[0])
    bounds = sorted([prior, n / e if e > 0 else np.inf if n > 0 else prior])
    assert bounds[0] * (1 - 1e-9) <= got <= bounds[1] * (1 + 1e-9)


@given(st.floats(0, 1e6), st.floats(1, 1e6), st.floats(1, 1e6))
def test_shrinkage_only_lowers_a_cosine(n: float, out: float, into: float) -> None:
    plain, shrunk = (float(cosine(np.array([n]), np.array([out]), np.array([into]), s)[0]) for s in (0.0, 3.0))
    assert shrunk <= plain


def _upsert(item: str, category: str) -> ItemUpserted:
    return ItemUpserted(item, title=item, category=category)
