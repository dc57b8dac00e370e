"""Moments, tokens and query values as clients write them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.errors import BadRequest
from events.ids import Micros
from serving.moments import AHEAD_MAX, moment_text, parse_moment
from serving.pixel import event_of
from serving.query import flag_in, number_in
from serving.token import Token

NOW = Micros(1_800_000_000_000_000)


@given(st.integers(0, NOW))
@settings(max_examples=200, deadline=None)
def test_a_moment_is_read_back_exactly(at: int) -> None:
    assert parse_moment("as_of", moment_text(Micros(at)), NOW) == at


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2026-01-31T12:00:00Z", 1_769_860_800_000_000),
        ("2026-01-31T12:00:00", 1_769_860_800_000_000),
        ("2026-01-31T13:00:00+01:00", 1_769_860_800_000_000),
        ("2026-01-31T13:00:00 01:00", 1_769_860_800_000_000),
        ("2026-01-31 12:00:00", 1_769_860_800_000_000),
        ("2026-01-31", 1_769_817_600_000_000),
        ("1769860800000", 1_769_860_800_000_000),
    ],
)
def test_moments_come_as_iso_or_milliseconds(text: str, micros: int) -> None:
    assert parse_moment("as_of", text, NOW) == micros


def test_a_client_whose_clock_runs_ahead_asks_for_now() -> None:
    assert parse_moment("as_of", moment_text(Micros(NOW + AHEAD_MAX)), NOW) == NOW


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "yesterday",
        "1769860800",
        "-5",
        "1e12",
        "9" * 30,
        "２０２６",
        "2026-13-01",
        "0001-01-01",
        "9999-12-31",
        "\x00",
    ],
)
def test_what_is_no_moment_is_a_bad_request(text: str) -> None:
    with pytest.raises(BadRequest, match="as_of"):
        parse_moment("as_of", text, NOW)


@given(st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 2**63)), max_size=8), st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_token_comes_back_as_it_went(written: list[tuple[int, int]], items: bool) -> None:
    token = Token.of(written, items=items)
    assert Token.parse(token.text()) == token
    assert dict(token.marks) == {p: max(lsn for q, lsn in written if q == p) for p, _ in written}


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_anything_else_is_no_token(text: str) -> None:
    try:
        token = Token.parse(text)
    except BadRequest:
        return
    assert Token.parse(token.text()) == token


@pytest.mark.parametrize("text", ["x", "w5aSAf8", "A" * 5000, "é", "ksKRkv8A"])
def test_a_damaged_token_is_a_bad_request(text: str) -> None:
    with pytest.raises(BadRequest, match="after"):
        Token.parse(text)


def test_numbers_and_flags_are_checked() -> None:
    assert number_in({"n": "7"}, "n", 1, 0, 10) == 7
    assert flag_in({"f": "TRUE"}, "f")
    assert not flag_in({}, "f")
    for wrong in ("11", "-1", "x", "", "1.5", "٣", "9" * 25):
        with pytest.raises(BadRequest, match="`n`"):
            number_in({"n": wrong}, "n", 1, 0, 10)
    with pytest.raises(BadRequest, match="`f`"):
        flag_in({"f": "maybe"}, "f")


@pytest.mark.parametrize(
    "query",
    [{"data": "a"}, {"a.b": "1", "a": "2", "a.b.c": "3"}, {".".join("abcdefghij"): "1"}, {"a": "1", "a.b": "2"}],
)
def test_a_pixel_that_makes_no_sense_is_a_bad_request(query: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        event_of(query)
