"""Forward decay against its closed form, and the algebra that the rest relies on."""

from __future__ import annotations

import math
import random

import pytest
from fold_facts import INT64, NOW
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import decay
from actors.decay import HALF_LIVES_MS, DecayTable, landmark

HALF_LIFE = st.sampled_from(sorted(HALF_LIVES_MS))
VALUES = st.floats(-1e6, 1e6).filter(lambda v: v == 0 or abs(v) > 1e-6)
KEYS = st.sampled_from(["a", "b", "c"])


@st.composite
def terms_within_memory(draw: st.DrawFn) -> tuple[str, list[tuple[int, str, float]]]:
    """A half-life and (time, key, value) terms that span up to 850 half-lives, so up to two landmarks."""
    half_life = draw(HALF_LIFE)
    span = 850 * HALF_LIVES_MS[half_life]
    term = st.tuples(st.integers(NOW, NOW + span), KEYS, VALUES)
    return half_life, draw(st.lists(term, min_size=1, max_size=30))


def table_of(half_life: str, terms: list[tuple[int, str, float]], k: int = 0) -> DecayTable:
    table = DecayTable(half_life, k)
    for at, key, value in terms:
        table = table.add(at, (key,), value)
    return table


def exact(terms: list[tuple[int, str, float]], key: str, now: int, half_life: str) -> tuple[float, float]:
    """(Σ v·2^(-(now-t)/H), Σ |v|·2^(-(now-t)/H)) by the definition."""
    weighted = [v * 2.0 ** (-(now - at) / HALF_LIVES_MS[half_life]) for at, k, v in terms if k == key]
    return math.fsum(weighted), math.fsum(map(abs, weighted))


def test_after_one_half_life_half_is_left() -> None:
    table = DecayTable("hour").add(NOW, ("tea",), 8.0)
    assert [table.value("tea", NOW + n * HALF_LIVES_MS["hour"]) for n in range(4)] == pytest.approx([8, 4, 2, 1])


@given(terms_within_memory(), st.randoms(use_true_random=False))
@settings(max_examples=120, deadline=None)
def test_any_order_gives_the_closed_form_to_a_billionth_of_its_mass(
    given_terms: tuple[str, list[tuple[int, str, float]]], rng: random.Random
) -> None:
    half_life, terms = given_terms
    now = max(at for at, _, _ in terms)
    shuffled = rng.sample(terms, len(terms))
    table = table_of(half_life, shuffled)
    for key in "abc":
        value, mass = exact(terms, key, now, half_life)
        assert abs(table.value(key, now) - value) <= 1e-9 * mass


@given(terms_within_memory(), st.lists(st.integers(0, 30), max_size=4))
@settings(max_examples=120, deadline=None)
def test_when_landmarks_move_cannot_change_a_bit(
    given_terms: tuple[str, list[tuple[int, str, float]]], moves: list[int]
) -> None:
    half_life, terms = given_terms
    last = max(at for at, _, _ in terms)
    final = last // (512 * HALF_LIVES_MS[half_life])
    lazily, early = DecayTable(half_life), DecayTable(half_life, final)
    sometimes = DecayTable(half_life)
    for number, (at, key, value) in enumerate(terms):
        if number in moves:
            sometimes = sometimes.merge(DecayTable(half_life, final))
        lazily, early, sometimes = (table.add(at, (key,), value) for table in (lazily, early, sometimes))
    lazily = lazily.merge(DecayTable(half_life, final))
    for key in "abc":
        reads = {table.value(key, last).hex() for table in (lazily, early, sometimes) if table.value(key, last) != 0}
        assert len(reads) <= 1


@given(terms_within_memory(), st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_parts_folded_apart_add_up(given_terms: tuple[str, list[tuple[int, str, float]]], cut: int) -> None:
    half_life, terms = given_terms
    now = max(at for at, _, _ in terms)
    merged = table_of(half_life, terms[:cut]).merge(table_of(half_life, terms[cut:]))
    for key in "abc":
        value, mass = exact(terms, key, now, half_life)
        assert abs(merged.value(key, now) - value) <= 1e-9 * mass


@given(terms_within_memory(), st.integers(0, 40), st.integers(0, 10**9))
@settings(max_examples=100, deadline=None)
def test_reading_later_is_reading_now_and_waiting(
    given_terms: tuple[str, list[tuple[int, str, float]]], halvings: int, rest: int
) -> None:
    half_life, terms = given_terms
    now = max(at for at, _, _ in terms)
    wait = halvings * HALF_LIVES_MS[half_life] + rest
    table = table_of(half_life, terms)
    for key, value in table.values(now).items():
        later = value * 2.0 ** (-wait / HALF_LIVES_MS[half_life])
        assert table.value(key, now + wait) == pytest.approx(later, rel=1e-12, abs=0)


@given(HALF_LIFE, st.lists(st.tuples(INT64, KEYS, st.floats()), max_size=20), INT64)
@settings(max_examples=200, deadline=None)
def test_no_time_and_no_value_can_overflow(half_life: str, terms: list[tuple[int, str, float]], now: int) -> None:
    table = table_of(half_life, terms)
    assert all(map(math.isfinite, table.values(now).values()))
    k, stored = 0, 0.0
    for at, _, value in terms:
        k, stored = decay.add(k, stored, at, value, half_life)
    assert math.isfinite(decay.read(k, stored, now, half_life))


@given(terms_within_memory())
@settings(max_examples=60, deadline=None)
def test_a_single_sum_is_a_table_of_one(given_terms: tuple[str, list[tuple[int, str, float]]]) -> None:
    half_life, terms = given_terms
    terms = [(at, "a", value) for at, _, value in terms]
    now = max(at for at, _, _ in terms)
    k, stored = 0, 0.0
    for at, _, value in terms:
        k, stored = decay.add(k, stored, at, value, half_life)
    assert decay.read(k, stored, now, half_life) == table_of(half_life, terms).value("a", now)


def test_a_landmark_stands_every_512_half_lives() -> None:
    table = DecayTable("day").add(landmark(3, "day"), ("a",), 1.0)
    assert (table.k, table.sums) == (3, {"a": 1.0})
    assert table.add(landmark(3, "day") - 1, ("a",), 0.0).k == 3


def test_what_was_neglected_for_960_half_lives_is_dropped_from_the_table() -> None:
    old = DecayTable("hour").add(NOW, ("old",), 1.0)
    new = old.add(NOW + 2000 * HALF_LIVES_MS["hour"], ("new",), 1.0)
    assert set(new.sums) == {"new"}
    assert new.add(NOW, ("old",), 1e6) is new


def test_the_weakest_keys_give_way_and_ties_are_broken_by_key() -> None:
    table = DecayTable("day").add(NOW, [f"k{n}" for n in range(8)], 1.0, bound=8).add(NOW, ("strong",), -9.0, bound=8)
    assert list(table.sums) == ["strong", "k0", "k1", "k2", "k3", "k4", "k5"]


def test_adding_leaves_the_table_it_was_added_to_alone() -> None:
    before = DecayTable("day").add(NOW, ("a",), 1.0)
    copy = dict(before.sums)
    before.add(NOW + 10**12, ("a", "b"), 1.0)
    before.merge(before)
    assert before.sums == copy
