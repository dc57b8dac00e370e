"""Each recommender that needs no model does what its name says."""

from __future__ import annotations

import math

import pytest
from recommender_contract import SHOP, names, query
from small_shop import DAY, NOW, described, did, profile_of, small_shop

from actors.item_view import ItemView
from events.ids import Millis
from training.content import Content
from training.covisitation import Covisitation
from training.history import REGULAR_VARIATION_MAX, history_of
from training.item_knn import ItemKnn
from training.newest import Newest
from training.popularity import Popularity
from training.recommender import Query, ranked
from training.repeat_purchase import HABITS, RHYTHM_BONUS, RepeatPurchase
from training.surface import SURFACES


@pytest.fixture
def items() -> ItemView:
    return SHOP.snapshot()


class TestRepeatPurchase:
    def test_without_purchases_it_abstains(self, items: ItemView) -> None:
        assert len(RepeatPurchase().recommend(query(items, profile_of((did("view", "tea"), NOW)))).idx) == 0

    def test_a_score_is_the_count_decayed_by_half_in_90_days(self, items: ItemView) -> None:
        """84 days are the same hour and weekday."""
        profile = profile_of((did("purchase", "tea"), NOW - 84 * DAY), (did("purchase", "milk"), NOW))
        scores = {items.ids[idx]: score for idx, score in ranked(RepeatPurchase().recommend(query(items, profile)))}
        habit = math.exp(HABITS[0] / 2 + HABITS[2] / 2 + HABITS[4])
        assert scores == pytest.approx({"milk": habit, "tea": habit * 2 ** -(84 / 90)}, rel=1e-6)

    @pytest.mark.parametrize(("aside", "larger"), [(DAY / 2, 1.5), (3 * DAY, 1.2)])
    def test_what_is_bought_at_this_hour_and_weekday_comes_before_the_rest(
        self, items: ItemView, aside: float, larger: float
    ) -> None:
        orders = [(did("purchase", "tea"), NOW - weeks * 7 * DAY) for weeks in range(3, 0, -1)]
        orders += [(did("purchase", "milk"), Millis(int(at + aside))) for _, at in orders]
        profile = profile_of(*sorted(orders, key=lambda order: order[1]))
        scored = dict(ranked(RepeatPurchase().recommend(query(items, profile))))
        assert scored[items.index("tea")] > larger * scored[items.index("milk")]

    def test_twice_says_more_than_two_times_once(self, items: ItemView) -> None:
        orders = [(did("purchase", "tea"), NOW - 14 * DAY), (did("purchase", "tea", "milk"), NOW - 7 * DAY)]
        scored = dict(ranked(RepeatPurchase().recommend(query(items, profile_of(*orders)))))
        assert scored[items.index("tea")] > 2 * scored[items.index("milk")]

    def test_what_is_due_comes_before_what_was_just_bought(self, items: ItemView) -> None:
        """Both bought four times; crisps every 10 days and now due, nachos every 10 days and bought yesterday."""
        orders = [(did("purchase", "crisps"), NOW - days * DAY) for days in (40, 30, 20, 10)]
        orders += [(did("purchase", "nachos"), NOW - days * DAY) for days in (31, 21, 11, 1)]
        profile = profile_of(*sorted(orders, key=lambda order: order[1]))
        scored = dict(ranked(RepeatPurchase().recommend(query(items, profile))))
        counts = {p.item: sum(2 ** -((NOW - at) / (90 * DAY)) for at in p.times) for p in profile.purchases.values()}
        due, fresh = scored[items.index("crisps")], scored[items.index("nachos")]
        assert due > fresh * counts["crisps"] / counts["nachos"] * (1 + 0.9 * RHYTHM_BONUS)

    def test_irregular_purchases_have_no_rhythm(self, items: ItemView) -> None:
        profile = profile_of(*[(did("purchase", "tea"), NOW - days * DAY) for days in (60, 59, 20, 19)])
        bought = history_of(profile, items).purchases
        assert bought.gap.tolist() == [0.0]
        assert REGULAR_VARIATION_MAX < 1

    def test_what_was_returned_is_not_bought(self, items: ItemView) -> None:
        profile = profile_of((did("purchase", "tea", "milk"), NOW - DAY), (did("refund", "tea"), NOW))
        assert names(RepeatPurchase().recommend(query(items, profile)), items) == ["milk"]


class TestCovisitation:
    def test_nachos_bring_salsa_and_dip(self, items: ItemView) -> None:
        assert set(names(Covisitation().recommend(query(items, given=["nachos"])), items)[:2]) == {"salsa", "dip"}

    def test_a_click_just_now_weighs_more_than_one_item_of_last_months_basket(self, items: ItemView) -> None:
        profile = profile_of((did("purchase", "tea", "milk", "nappies"), NOW - 30 * DAY), (did("view", "nachos"), NOW))
        assert names(Covisitation().recommend(query(items, profile)), items)[0] == "salsa"

    def test_the_cause_is_the_heaviest_anchor_that_leads_there(self, items: ItemView) -> None:
        profile = profile_of((did("view", "crisps"), NOW - 10_000), (did("view", "nachos"), NOW))
        scored = Covisitation().recommend(query(items, profile))
        causes = dict(zip(scored.idx.tolist(), scored.because.tolist(), strict=True))
        assert items.ids[causes[items.index("dip")]] == "nachos"

    def test_an_item_named_by_two_anchors_gets_both_their_weights(self, items: ItemView) -> None:
        one = dict(ranked(Covisitation().recommend(query(items, given=["crisps"]))))
        two = dict(ranked(Covisitation().recommend(query(items, given=["crisps", "nachos"]))))
        assert two[items.index("dip")] > one[items.index("dip")]


class TestItemKnn:
    def test_lasting_taste_speaks_without_any_recent_event(self, items: ItemView) -> None:
        profile = profile_of((did("purchase", "nappies"), NOW - 80 * DAY))
        assert names(ItemKnn().recommend(query(items, profile)), items)[0] == "wipes"


class TestContent:
    def test_it_knows_an_item_that_nobody_has_touched(self) -> None:
        items = small_shop([described("green tea", category="Drinks > Tea")]).snapshot()
        assert items.index("green tea") in dict(ranked(Content().recommend(query(items, given=["tea"]))))


class TestPopularity:
    def test_a_newcomer_gets_what_everybody_buys(self, items: ItemView) -> None:
        assert names(Popularity().recommend(query(items)), items)[0] == "milk"

    def test_the_categories_of_interest_count_more(self, items: ItemView) -> None:
        profile = profile_of(*[(did("view", "mint tea"), NOW - n) for n in range(3)])
        overall = names(Popularity().recommend(query(items)), items)
        own = names(Popularity().recommend(query(items, profile)), items)
        assert own.index("tea") < overall.index("tea")

    def test_a_category_asked_for_is_where_it_looks(self, items: ItemView) -> None:
        asked = Query(items, NOW, SURFACES["home"], category=items.category_id("Snacks"))
        found = names(Popularity().recommend(asked), items)
        assert set(found) == {"nachos", "crisps", "salsa", "dip"}

    def test_interests_fade_by_their_own_half_life(self, items: ItemView) -> None:
        """A look at tea outshines an old purchase of nappies on the day, and no longer a month later."""
        history = history_of(profile_of((did("purchase", "nappies"), NOW - 60 * DAY), (did("view", "tea"), NOW)), items)
        tea, nappies = items.category_id("Drinks > Tea"), items.category_id("Baby > Nappies")
        later = type(NOW)(NOW + 30 * DAY)
        assert [category for category, _ in history.interests.strongest(NOW)] == [nappies, tea]
        fresh, faded = dict(history.interests.strongest(NOW)), dict(history.interests.strongest(later))
        assert fresh[tea] > 0.3
        assert faded[tea] < 1e-6


class TestNewest:
    def test_it_names_untouched_items_newest_first_and_only_those(self, items: ItemView) -> None:
        assert names(Newest().recommend(query(items)), items) == ["vinegar", "new"]

    def test_it_falls_silent_where_enough_is_popular(self, items: ItemView) -> None:
        assert len(Newest().recommend(Query(items, NOW, SURFACES["home"], depth=10)).idx) == 0
        assert len(Newest().recommend(Query(items, NOW, SURFACES["home"], depth=11)).idx) == 1

    def test_under_a_category_it_keeps_to_it(self, items: ItemView) -> None:
        asked = Query(items, NOW, SURFACES["home"], category=items.category_id("Pantry"))
        assert names(Newest().recommend(asked), items) == ["vinegar"]
        assert len(Newest().recommend(Query(items, NOW, SURFACES["home"], category=-1)).idx) == 0

    def test_what_is_hidden_does_not_take_its_places(self) -> None:
        items = small_shop([described("shown"), described("hidden", hidden=True)]).snapshot()
        assert names(Newest().recommend(query(items)), items) == ["shown"]
