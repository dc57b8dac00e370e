"""Scores: their range, what moves them, and that no rule misses the moment they cross a level."""

from __future__ import annotations

import pytest
from fold_facts import DAY, NOW, Fact, fact, folded, interaction, shopping
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.decay import HALF_LIVES_MS
from actors.profile import EMPTY, Profile
from actors.quantity import NEVER, first_crossing, steady
from actors.scores import RFM, RHYTHM_MS, SCORES, number, quintile, rhythm, saturated
from actors.segment_rules import DURATIONS, NUMBERS
from events.types import Interaction, Visited

CUTS = {"recency": (DAY, 7.0 * DAY, 30.0 * DAY, 90.0 * DAY), "frequency": (0, 1, 2, 4), "monetary": (1, 5, 9, 20.0)}
MOMENTS = st.integers(NOW - 10 * DAY, NOW + 400 * DAY)


def read(profile: Profile, field: str, now: int = NOW) -> float:
    value = number(profile, field, now, CUTS)
    assert value is not None
    return value.now


@given(shopping(), MOMENTS)
@settings(max_examples=100, deadline=None)
def test_every_score_lies_between_0_and_1_and_every_field_can_be_read(facts: list[Fact], now: int) -> None:
    profile = folded(facts)
    for score in SCORES:
        assert 0.0 <= read(profile, score, now) <= 1.0
    for field in (*NUMBERS, *DURATIONS, *RFM):
        number(profile, field, now)
        number(profile, field, now, CUTS)


@given(
    shopping(),
    st.sampled_from([*SCORES, "recency_quintile", "frequency_quintile", "monetary_quintile"]),
    MOMENTS,
    st.floats(0, 1),
    st.floats(0, 1),
)
@settings(max_examples=400, deadline=None)
def test_no_score_crosses_a_level_before_the_bound(
    facts: list[Fact], field: str, now: int, level: float, share: float
) -> None:
    profile = folded(facts)
    value = number(profile, field, now, CUTS)
    if value is None:
        return
    level = level if field in SCORES else round(1 + 4 * level)
    bound = first_crossing(value - steady(level))
    assert bound >= 1
    later = number(profile, field, now + int(share * (min(bound, 10**12) - 1)), CUTS)
    assert later is not None
    before, after = value.now - level, later.now - level
    same = (before > 0) - (before < 0) == (after > 0) - (after < 0)
    assert same or min(abs(before), abs(after)) < 1e-12


@given(st.floats(0.01, 1000), st.sampled_from(["day", "month"]), st.floats(-6, 2).map(lambda power: 10.0**power))
@settings(max_examples=200, deadline=None)
def test_what_saturates_falls_as_fast_as_it_says_at_most(value: float, half_life: str, lives: float) -> None:
    start = saturated(value, 4.0, half_life)
    later = saturated(value * 2.0**-lives, 4.0, half_life).now
    assert 0.0 <= start.now - later <= start.fall * lives * HALF_LIVES_MS[half_life] + 1e-12
    if value <= 4.0 and lives <= 1e-3:
        assert start.now - later >= 0.99 * start.fall * lives * HALF_LIVES_MS[half_life] - 1e-12


@given(shopping(), st.sampled_from(SCORES), MOMENTS, st.floats(0.01, 0.99))
@settings(max_examples=100, deadline=None)
def test_asked_again_at_every_bound_a_crossing_is_met_after_few_looks(
    facts: list[Fact], field: str, now: int, level: float
) -> None:
    profile = folded(facts)
    above, end = read(profile, field, now) > level, now + 2000 * DAY
    for _ in range(200):
        value = number(profile, field, now, CUTS)
        assert value is not None
        if (value.now > level) != above:
            break
        step = first_crossing(value - steady(level))
        if step >= end - now:
            assert (read(profile, field, end) > level) == above
            break
        now += step
    else:
        raise AssertionError("two hundred looks, and no end")


def test_a_score_that_only_falls_never_waits_for_a_level_above_it() -> None:
    profile = folded([fact(1, interaction("view", "a"))])
    for score in ("engagement", "loyalty", "purchase_intent"):
        value = number(profile, score, NOW)
        assert value is not None
        assert first_crossing(value - steady(0.99)) == NEVER


def test_nobody_scores_nothing_and_has_no_rank() -> None:
    assert [read(EMPTY, score) for score in SCORES] == [0.0] * 5
    assert [number(EMPTY, field, NOW, CUTS) for field in ("recency_quintile", "monetary", "idle", "session.depth")] == [
        None
    ] * 4


def test_a_purchase_raises_loyalty_at_once_and_a_refund_takes_it_back() -> None:
    before = [fact(1, interaction("view", "a"))]
    bought = [*before, fact(2, interaction("purchase", "a"))]
    assert read(folded(before), "loyalty") == 0.0
    assert read(folded(bought), "loyalty") == pytest.approx(0.6 / 2 + 0.4 / 5)
    assert read(folded([*bought, fact(3, interaction("purchase", "b"))]), "loyalty") > 0.5
    assert read(folded([*bought, fact(3, interaction("refund", "a"))]), "loyalty") == 0.0


def test_attention_in_every_form_raises_engagement() -> None:
    plain = [fact(1, Visited())]
    start = read(folded(plain), "engagement")
    for more in (
        Visited(dwell_ms=60_000),
        Visited(scroll=1.0),
        Interaction("watch", watched=0.5),
        interaction("click", "a"),
        Visited(),
    ):
        assert read(folded([*plain, fact(2, more)]), "engagement") > start
    assert read(folded(plain), "engagement", NOW + 7 * DAY) < start


def test_who_buys_cheap_and_on_coupons_is_price_sensitive() -> None:
    def orders(**more: object) -> Profile:
        return folded(fact(n, Interaction("purchase", revenue=10.0, **more), NOW + n) for n in range(8))  # type: ignore[arg-type]

    assert read(orders(), "price_sensitivity") == 0.0
    discounted = read(orders(discount=2.5), "price_sensitivity")
    assert discounted == pytest.approx(8 / 10 * 0.4 * 0.4 / 0.7)
    assert read(orders(discount=2.5, coupon=True), "price_sensitivity") == pytest.approx(8 / 10 * 0.46 / 0.7)
    assert read(orders(price_rank=0.1), "price_sensitivity") > read(orders(price_rank=0.9), "price_sensitivity")


def test_silence_is_judged_by_a_persons_own_rhythm() -> None:
    daily = folded(fact(n, Visited(), NOW - n * DAY) for n in range(60))
    monthly = folded(fact(n, Visited(), NOW - n * 30 * DAY) for n in range(60))
    assert rhythm(daily) < 2 * DAY < 29 * DAY < rhythm(monthly)
    assert rhythm(folded([fact(1, Visited())])) == RHYTHM_MS
    week = NOW + 7 * DAY
    assert read(daily, "churn_risk", week) > 0.75 > 0.1 > read(monthly, "churn_risk", week)
    assert read(daily, "churn_risk", NOW + 2 * rhythm(daily)) == pytest.approx(0.5)


def test_a_cart_left_alone_is_intent_until_it_is_bought_or_forgotten() -> None:
    cart = [fact(1, interaction("view", "a")), fact(2, interaction("cart", "a"))]
    intent = read(folded(cart), "purchase_intent")
    assert intent > 0.5
    assert read(folded([*cart, fact(3, interaction("purchase", "a"))]), "purchase_intent") == 0.0
    assert read(folded(cart), "purchase_intent", NOW + 5 * DAY) < 0.1


def test_quintiles_rank_among_the_population_and_move_with_time() -> None:
    profile = folded([fact(1, Interaction("purchase", revenue=6.0)), fact(2, Interaction("purchase", revenue=6.0))])
    ranks = [read(profile, f"{name}_quintile", NOW + DAY // 2) for name in RFM]
    assert ranks == [5.0, 3.0, 4.0]
    recency = number(profile, "recency", NOW)
    assert recency is not None
    ranked = quintile(recency, CUTS["recency"], low_is_best=True)
    assert (ranked.now, ranked.until) == (5.0, DAY)
    assert read(profile, "recency_quintile", NOW + 100 * DAY) == 1.0
    assert number(profile, "recency_quintile", NOW) is None


def test_a_field_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(KeyError):
        number(EMPTY, "karma", NOW)
