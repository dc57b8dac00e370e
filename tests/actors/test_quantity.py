"""Numbers that move with time, against a walk in small steps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.quantity import NEVER, Quantity, decaying, first_crossing, growing, steady

VALUES = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))
DECAYS = st.lists(st.tuples(VALUES, st.sampled_from([500, 3_600_000, 86_400_000])), max_size=3).map(tuple)


def sign(value: float) -> int:
    return (value > 0) - (value < 0)


@given(VALUES, st.sampled_from([0.0, 1.0, -0.5, 2.5]), DECAYS, st.data())
def test_no_sign_changes_before_the_bound(
    constant: float, slope: float, decays: tuple[tuple[float, int], ...], data: st.DataObject
) -> None:
    quantity = Quantity(constant, slope, decays)
    bound = first_crossing(quantity)
    assert bound >= 1
    horizon = min(bound, 10**12)
    looked = data.draw(st.floats(0, 1).map(lambda share: int(share * (horizon - 1))))
    terms = [constant, slope * looked, *[value for value, _ in decays]]
    rounding = sum(abs(term) for term in terms) * 1e-12
    before, after = quantity.now, quantity.at(looked)
    assert sign(before) == sign(after) or min(abs(before), abs(after)) <= rounding


@given(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6), st.integers(1, 10**9))
def test_one_decay_crosses_a_constant_exactly_when_it_says(value: float, level: float, life: int) -> None:
    crossing = first_crossing(decaying(value, life) - steady(level))
    if value <= level:
        assert crossing == (1 if value == level else NEVER)
    else:
        difference = decaying(value, life) - steady(level)
        assert difference.at(crossing + 1) <= 1e-9 * level
        assert difference.at(crossing - 1) >= -1e-9 * level


@given(st.lists(st.floats(1e-3, 1e6), min_size=2, max_size=4), st.floats(1e-3, 1e6))
def test_a_sum_over_half_lives_is_found_by_bisection(values: list[float], level: float) -> None:
    total = steady(0.0)
    for value, life in zip(values, (1000, 60_000, 3_600_000, 86_400_000), strict=False):
        total = total + decaying(value, life)
    crossing = first_crossing(total - steady(level))
    if total.now > level and crossing != NEVER:
        assert total.at(crossing + 2) <= level * (1 + 1e-9)


def test_a_time_since_reaches_a_limit_when_it_has_passed() -> None:
    assert first_crossing(growing(1_000.0) - steady(1_800_000.0)) == 1_799_000
    assert first_crossing(growing(5.0) - steady(3.0)) == NEVER


def test_a_count_in_a_window_is_read_anew_when_the_oldest_leaves_it() -> None:
    assert first_crossing(steady(3.0, until=400) - steady(1.0)) == 400


@given(VALUES, VALUES, st.floats(-100, 100))
def test_arithmetic_is_that_of_numbers(a: float, b: float, factor: float) -> None:
    left, right = decaying(a, 1000), growing(b)
    assert abs((left + right).at(500) - (left.at(500) + right.at(500))) <= 1e-6
    assert abs((left - right).at(500) - (left.at(500) - right.at(500))) <= 1e-6
    assert abs(left.times(factor).at(500) - factor * left.at(500)) <= 1e-6


SPEEDS = st.floats(0, 10)


@given(VALUES, DECAYS, SPEEDS, SPEEDS, st.floats(0, 1), st.floats(0, 1))
def test_what_falls_and_rises_besides_crosses_no_sooner_than_its_speeds_allow(
    constant: float, decays: tuple[tuple[float, int], ...], fall: float, rise: float, share: float, pace: float
) -> None:
    quantity = Quantity(constant, 0.0, decays, fall=fall, rise=rise)
    bound = first_crossing(quantity)
    looked = int(share * (min(bound, 10**12) - 1))
    besides = looked * (pace * (fall + rise) - fall)
    before, after = quantity.now, quantity.at(looked) + besides
    rounding = (abs(constant) + abs(besides) + sum(abs(value) for value, _ in decays)) * 1e-9
    assert sign(before) == sign(after) or min(abs(before), abs(after)) <= rounding


def test_what_only_falls_crosses_no_level_above_it_and_turned_around_only_rises() -> None:
    falling = Quantity(0.5, fall=0.001)
    assert first_crossing(falling - steady(0.6)) == NEVER
    assert first_crossing(falling - steady(0.4)) == 100
    assert first_crossing(steady(0.4) - falling) == 100
    assert first_crossing(steady(0.6) - falling) == NEVER
