"""Late, reordered facts: the same profile as in any other order."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping

from fold_facts import NOW, Fact, fact, folded, interaction, shopping
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import decay
from actors.decay import HALF_LIVES_MS, DecayTable
from actors.engagement import SLOT_MS, engaged, half_hours, last, runs, times
from actors.impressions import shown
from actors.profile import Engagement, Impressions, Profile, Recent
from actors.recents import remembered
from actors.registers import Moment, newest_of, noted
from actors.signals import SIGNALS, facets
from events.types import Impression, Interaction

LAYERS_OF_SUMS = {"interests", "purchases", "engagement", "impressions"}


@given(shopping(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_every_other_layer_is_exactly_the_same_in_any_order(facts: list[Fact], rng: random.Random) -> None:
    one, other = folded(facts), folded(rng.sample(facts, len(facts)))
    for layer in set(Profile.__struct_fields__) - LAYERS_OF_SUMS:
        assert getattr(one, layer) == getattr(other, layer), layer
    assert list(one.purchases) == list(other.purchases)
    for mine, theirs in zip(one.purchases.values(), other.purchases.values(), strict=True):
        assert (mine.item, mine.times, mine.count) == (theirs.item, theirs.times, theirs.count)
    assert list(one.impressions.last.items()) == list(other.impressions.last.items())
    for field in set(Engagement.__struct_fields__) - {"rates"}:
        assert getattr(one.engagement, field) == getattr(other.engagement, field), field


@given(shopping(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_every_decayed_sum_is_its_closed_form_to_a_billionth_of_its_mass(facts: list[Fact], rng: random.Random) -> None:
    profile = folded(rng.sample(facts, len(facts)))
    terms = list(_interest_terms(facts))
    _assert_sums(profile.interests, terms)
    impressions = [("day", item, each.event_time, 1.0) for each in facts for item in _items_seen(each)]
    _assert_sums({"day": profile.impressions.seen}, impressions)
    for purchase in profile.purchases.values():
        bought = [
            ("quarter", purchase.item, each.event_time, 1.0 if event.signal == "purchase" else -1.0)
            for each, event in _interactions(facts)
            if event.signal in ("purchase", "refund") and purchase.item in {line.item for line in event.lines}
        ]
        value, mass = _closed_form(bought, "quarter", purchase.item)
        assert abs(decay.read(purchase.k, purchase.s, NOW, "quarter") - value) <= 1e-9 * mass


def _interactions(facts: list[Fact]) -> Iterator[tuple[Fact, Interaction]]:
    return ((each, each.payload.event) for each in facts if isinstance(each.payload.event, Interaction))


def _items_seen(each: Fact) -> set[str]:
    return set(each.payload.event.items) if isinstance(each.payload.event, Impression) else set()


def _interest_terms(facts: list[Fact]) -> Iterator[tuple[str, str, int, float]]:
    for each, event in _interactions(facts):
        strength = SIGNALS[event.signal]
        value = strength.weight * event.weight
        if event.signal == "watch" and event.watched > 0:
            value *= event.watched
        for line in {line.item: line for line in event.lines}.values():
            for key in facets(line.category, line.brand, line.attributes):
                yield strength.half_life, key, each.event_time, value


Terms = list[tuple[str, str, int, float]]


def _closed_form(terms: Terms, half_life: str, key: str) -> tuple[float, float]:
    length = HALF_LIVES_MS[half_life]
    weighted = [v * 2.0 ** (-(NOW - at) / length) for h, k, at, v in terms if (h, k) == (half_life, key)]
    return math.fsum(weighted), math.fsum(map(abs, weighted))


def _assert_sums(tables: Mapping[str, DecayTable], terms: Terms) -> None:
    assert {key for h, key, _, _ in terms if h != "hour"} == {
        key for h, t in tables.items() if h != "hour" for key in t.sums
    }
    for half_life, key in {(h, key) for h, key, _, _ in terms}:
        value, mass = _closed_form(terms, half_life, key)
        assert abs(tables[half_life].value(key, NOW) - value) <= 1e-9 * mass + 2.0**-900


@given(shopping(), st.integers(0, 25))
@settings(max_examples=60, deadline=None)
def test_interests_of_two_halves_of_a_life_merge_into_the_whole(facts: list[Fact], cut: int) -> None:
    first, second = folded(facts[:cut]), folded(facts[cut:])
    halves = {
        name: first.interests.get(name, DecayTable(name)).merge(second.interests.get(name, DecayTable(name)))
        for name in HALF_LIVES_MS
    }
    _assert_sums(halves, list(_interest_terms(facts)))


@given(st.permutations(range(120)))
@settings(max_examples=40, deadline=None)
def test_recent_items_are_the_latest_fifty_whatever_the_order(order: list[int]) -> None:
    recent: tuple[Recent, ...] = ()
    for number in order:
        recent = remembered(recent, [Recent(f"i{number % 80}", NOW + number // 3, "view", 1.0)])
    latest = {f"i{number % 80}": NOW + number // 3 for number in range(120)}
    expected = sorted(latest.items(), key=lambda entry: (-entry[1], entry[0]))[:50]
    assert [(entry.item, entry.at) for entry in recent] == expected


@given(st.permutations(range(300)))
@settings(max_examples=15, deadline=None)
def test_bounded_sets_and_maxima_keep_the_latest_whatever_the_order(order: list[int]) -> None:
    engagement, impressions, ids = Engagement(), Impressions(), {"": 0}
    for number in order:
        engagement = engaged(engagement, "view", number * SLOT_MS)
        impressions = shown(impressions, (f"i{number}",), NOW + number // 2)
        ids = noted(ids, f"b{number}", number, 8)
    assert half_hours(engagement) == tuple(range(44, 300))
    assert times(engagement, "view") == tuple(number * SLOT_MS for number in range(268, 300))
    assert list(impressions.last) == sorted((f"i{n}" for n in range(100, 300)), key=lambda i: (int(i[1:]) // 2, i))
    assert set(impressions.seen.sums) == set(impressions.last)
    assert set(ids) == {f"b{n}" for n in range(292, 300)}


@given(st.permutations(range(290)))
@settings(max_examples=10, deadline=None)
def test_the_purchases_kept_are_those_of_the_latest_256_items(order: list[int]) -> None:
    profile = folded(fact(n, interaction("purchase", f"i{n}"), NOW + n) for n in order)
    assert list(profile.purchases) == [f"i{n}" for n in range(34, 290)]


def test_of_two_facts_of_one_millisecond_the_greater_event_id_wins() -> None:
    held = newest_of({"a": Moment(1, b"1"), "b": Moment(1, b"2"), "c": Moment(0, b"9")}, 1)
    assert held == {"b": Moment(1, b"2")}


def test_a_late_fact_joins_the_two_sessions_it_lies_between() -> None:
    apart = engaged(engaged(Engagement(), "view", 0), "view", 2 * SLOT_MS)
    together = engaged(apart, "view", SLOT_MS)
    assert (runs(half_hours(apart)), runs(half_hours(together))) == (2, 1)


def test_half_an_hour_is_active_once_however_much_happens_in_it() -> None:
    busy = engaged(engaged(engaged(Engagement(), "view", 5), "view", SLOT_MS + 1), "click", 7)
    assert (half_hours(busy), busy.counts) == ((0, 1), {"view": 2, "click": 1})


TIMES = st.lists(st.integers(NOW - 50, NOW + 50) | st.integers(-(2**63), 2**63 - 1), max_size=50)


@given(TIMES)
@settings(max_examples=80, deadline=None)
def test_the_times_kept_of_a_signal_are_the_latest_of_all_facts_equal_ones_included(arrivals: list[int]) -> None:
    engagement = Engagement()
    for at in arrivals:
        engagement = engaged(engagement, "view", at)
    assert times(engagement, "view") == tuple(sorted(arrivals)[-32:])
    assert last(engagement, "view") == max(arrivals, default=None)


def test_a_list_that_was_only_shown_is_timed_and_makes_no_half_hour_active() -> None:
    shown_only = engaged(Engagement(), "impression", NOW)
    assert (times(shown_only, "impression"), half_hours(shown_only)) == ((NOW,), ())
