"""The exploration pool: new and promising items, until they were shown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from item_shop import DAY, NOW, Shop
from small_shop import Facts

from actors.exploration import LISTED, NEW_MS, REFRESH, Exploration, worth_trying
from actors.items import ItemProjection
from actors.ranked import unpack
from actors.state import MemoryState
from events.types import Impression, ItemDeleted, ItemUpserted, Meta

CATALOGUE = {"old": "A", "known": "A", "promising": "B"}


def pool(shop: Shop) -> list[str]:
    view = shop.view()
    return [view.ids[idx] for idx in view.worth_trying(LISTED)[0].tolist()]


def seen(shop: Shop, *items: str, times: int = 1, meta: Meta | None = None) -> None:
    for _ in range(times):
        shop.facts.add(Impression(items), NOW, b"", meta or Meta())
    shop.fold()


def shop() -> Shop:
    made = Shop(CATALOGUE)
    made.did("purchase", "promising")
    for _ in range(60):
        made.did("purchase", "known")
    made.facts.add(ItemUpserted("new", title="New"), NOW)
    made.fold()
    return made


def test_new_and_promising_items_come_before_what_everybody_buys_and_what_nobody_wanted() -> None:
    assert pool(shop()) == ["new", "promising", "known", "old"]


def test_what_was_shown_gives_way() -> None:
    made = shop()
    seen(made, "new", "promising", times=REFRESH)
    assert pool(made)[0] == "known"


def test_impressions_by_bots_and_tests_do_not_count() -> None:
    made = shop()
    seen(made, "new", times=REFRESH, meta=Meta(bot=True))
    seen(made, "new", times=REFRESH, meta=Meta(test=True))
    assert pool(made)[0] == "new"


def test_an_impression_of_something_unknown_is_no_obstacle() -> None:
    made = shop()
    seen(made, "unheard of", "new", "new")
    assert "unheard of" not in pool(made)


def test_what_may_not_be_shown_is_not_in_the_pool() -> None:
    made = shop()
    made.facts.add(ItemDeleted("new"), NOW)
    made.facts.add(ItemUpserted("later", title="Later"), NOW)
    made.fold()
    assert "new" not in pool(made)
    assert pool(made)[0] == "later"


def test_impressions_outlive_a_restart() -> None:
    store = MemoryState()
    projection = ItemProjection(store)
    facts = Facts()
    for item in CATALOGUE:
        facts.add(ItemUpserted(item), NOW)
    facts.add(Impression(("known", "promising", "known")), NOW)
    facts.add(Impression(("promising",)), NOW)
    store.commit(projection.apply(facts.made).changes)
    again = Exploration(store, projection.catalogue, projection.popularity)
    for each in (again, projection.exploration):
        each.acted(REFRESH)
    pools = [each.refresh(NOW) for each in (again, projection.exploration)]
    assert pools[0] == pools[1]
    names = list(projection.catalogue.names)
    assert [names[idx] for idx in unpack(pools[0][0][2] or b"")[0]] == ["old", "known", "promising"]


def test_a_shop_on_its_first_day_explores_its_newest() -> None:
    made = Shop()
    for number in range(3):
        made.facts.add(ItemUpserted(str(number)), NOW + number * DAY)
    made.did("view", "1", at=NOW + 3 * DAY)
    made.fold()
    assert set(pool(made)) == {"0", "1", "2"}


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(-1e15, 1e18))
def test_the_score_is_a_finite_number_that_impressions_lower(acts: float, seen_: float, age: float) -> None:
    one = worth_trying(np.array([acts]), np.array([seen_]), np.array([age]))[0]
    more = worth_trying(np.array([acts]), np.array([seen_ + 1.0]), np.array([age]))[0]
    assert 0 <= more <= one <= 2
    assert np.isfinite(one)


def test_newness_halves_in_a_fortnight() -> None:
    none = np.zeros(2)
    assert worth_trying(none, none, np.array([0.0, NEW_MS])).tolist() == pytest.approx([1.0, 0.5])
