"""A device's clock is believed unless it is more than five minutes off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.ids import Millis
from events.reasons import Unfit
from events.skew import SKEW_QUANTUM_MS, SKEW_THRESHOLD_MS, event_time, parse_time

NOW = Millis(1_714_557_600_000)
MINUTE = 60_000
moments = st.integers(1, 2 * NOW)


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-01T10:00:00Z",
        "2024-05-01T10:00:00.000Z",
        "2024-05-01T12:00:00+02:00",
        "2024-05-01 10:00:00",
        "2024-05-01T10:00:00.000000123Z",
        1_714_557_600,
        1_714_557_600.0,
        1_714_557_600_000,
    ],
)
def test_one_moment_may_be_written_in_many_ways(text: object) -> None:
    assert parse_time(text) == NOW


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2024-13-01",
        "0001-01-01T00:00:00+23:00",
        "1969-12-31",
        -1,
        True,
        [],
        {},
        1e300,
        10**400,
        "9" * 9_999,
    ],
)
def test_what_is_no_time_is_unfit(text: object) -> None:
    with pytest.raises(Unfit) as unfit:
        parse_time(text)
    assert unfit.value.reason == "bad_time"


def test_nothing_sent_is_the_moment_of_arrival() -> None:
    assert parse_time(None) == parse_time("") == 0
    assert event_time(0, 0, NOW) == NOW


def test_transit_delay_does_not_move_events() -> None:
    for delay in (0, 30_000, 5 * MINUTE):
        assert event_time(NOW - 10 * MINUTE, NOW - delay, NOW) == NOW - 10 * MINUTE


def test_a_clock_an_hour_slow_is_moved_by_an_hour() -> None:
    sent = NOW - 60 * MINUTE - 1_500
    assert event_time(sent - 5_000, sent, NOW) == sent - 5_000 + 60 * MINUTE


def test_a_clock_two_days_fast_is_moved_back_by_two_days() -> None:
    sent = NOW + 48 * 60 * MINUTE
    assert event_time(sent - 5_000, sent, NOW) == NOW - 5_000


def test_sent_before_it_happened_is_legal() -> None:
    assert event_time(NOW - 1_000, NOW - 1_900, NOW) == NOW - 1_000


@given(moments, st.just(0) | moments)
def test_no_event_lies_in_the_future(original: int, sent: int) -> None:
    assert 0 <= event_time(original, sent, NOW) <= NOW


@given(moments, moments, moments)
def test_events_of_one_batch_keep_their_order(one: int, other: int, sent: int) -> None:
    first, second = sorted((one, other))
    assert event_time(first, sent, NOW) <= event_time(second, sent, NOW)


@given(st.integers(1, NOW // 2), st.integers(NOW // 2, NOW))
def test_the_correction_is_a_multiple_of_five_minutes_close_to_the_skew(original: int, sent: int) -> None:
    moved, skew = event_time(original, sent, NOW) - original, NOW - sent
    assert moved % SKEW_QUANTUM_MS == 0
    assert abs(moved - skew) <= SKEW_QUANTUM_MS // 2 or abs(skew) <= SKEW_THRESHOLD_MS
