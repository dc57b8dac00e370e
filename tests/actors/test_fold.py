"""The fold, layer by layer, and what holds for every fact there can be."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import pytest
from fold_facts import BODIES, DAY, NOW, Fact, any_fact, fact, folded, interaction, shopping
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.decay import read
from actors.fold import TRAIT_BYTES_MAX
from actors.impressions import fatigue
from actors.profile import (
    EMPTY,
    EXPERIMENTS_MAX,
    IMPRESSIONS_MAX,
    PURCHASES_MAX,
    PURPOSES_MAX,
    RECENT_MAX,
    SLOTS_MAX,
    TIMES_MAX,
    TRAITS_MAX,
    Profile,
    decode,
    digest,
    encode,
)
from actors.view import interests, view
from events import types
from events.types import (
    EVENTS,
    Exposed,
    Identified,
    Impression,
    Interaction,
    Line,
    SegmentChanged,
    SubjectErased,
    Visited,
)


def signal(number: int, name: str, *items: str, at: int = NOW, **more: object) -> Fact:
    return fact(number, interaction(name, *items, **more), at)


# ---- every fact ----------------------------------------------------------------------------------------------------


def test_every_event_type_is_generated_here() -> None:
    assert set(BODIES) == set(EVENTS.values())


@given(st.lists(any_fact(), max_size=8))
@settings(max_examples=250, deadline=None)
def test_whatever_decodes_folds_encodes_and_shows(facts: list[Fact]) -> None:
    profile = folded(facts)
    assert decode(encode(profile)) == profile
    assert len(digest(profile)) == 16
    for now in (NOW, -(2**63), 2**63 - 1):
        json.dumps(view(profile, now), allow_nan=False)
    _assert_bounded(profile)


def _assert_bounded(profile: Profile) -> None:
    sizes = [
        (profile.recent, RECENT_MAX), (profile.purchases, PURCHASES_MAX), (profile.impressions.last, IMPRESSIONS_MAX),
        (profile.impressions.seen.sums, IMPRESSIONS_MAX), (profile.engagement.slots, 4 * SLOTS_MAX),
        (profile.traits, TRAITS_MAX), (profile.consent, PURPOSES_MAX), (profile.experiments, EXPERIMENTS_MAX),
        *((table.sums, 256) for table in profile.interests.values()),
        *((stamps, 8 * TIMES_MAX) for stamps in profile.engagement.stamps.values()),
    ]  # fmt: skip
    assert all(len(held) <= most for held, most in sizes)


def test_a_flood_of_distinct_names_stays_within_every_bound() -> None:
    facts = []
    for n in range(0, 3000, 10):
        names = [f"n{n + k}" for k in range(10)]
        facts += [
            fact(n, Interaction("purchase", tuple(Line(name, f"A > {name}", name) for name in names)), NOW + n),
            fact(n + 1, Impression(tuple(names)), NOW + n),
            fact(n + 2, Identified(dict.fromkeys(names, 1)), NOW + n),
            fact(n + 3, types.Consented(dict.fromkeys(names, False)), NOW + n),
            fact(n + 4, Exposed(names[0], "A"), NOW + n * DAY),
            fact(n + 5, SegmentChanged(names[0], True), NOW + n, anonymous_id=names[0]),
        ]
    profile = folded(facts)
    _assert_bounded(profile)
    assert len(profile.segments) == 256
    assert len(profile.anonymous) == 8


@given(shopping(most=12), any_fact())
@settings(max_examples=80, deadline=None)
def test_folding_leaves_the_profile_it_is_given_alone(facts: list[Fact], last: Fact) -> None:
    before = folded(facts)
    blob = encode(before)
    folded([last], before)
    assert encode(before) == blob


@given(shopping(), st.integers(0, 25))
@settings(max_examples=80, deadline=None)
def test_a_profile_put_away_and_taken_out_again_goes_on_bit_by_bit(facts: list[Fact], cut: int) -> None:
    stored = decode(encode(folded(facts[:cut])))
    assert encode(folded(facts[cut:], stored)) == encode(folded(facts))


def test_what_a_fact_does_not_change_is_shared() -> None:
    before = folded([signal(1, "purchase", "a"), fact(2, Identified({"x": 1})), fact(3, Impression(("a",)))])
    after = folded([signal(4, "view", "b", at=NOW + 1)], before)
    for layer in ("purchases", "traits", "impressions", "segments", "experiments", "consent"):
        assert getattr(after, layer) is getattr(before, layer), layer
    assert after.interests["quarter"] is before.interests["quarter"]


def test_digests_do_not_depend_on_the_hash_seed_and_differ_by_profile() -> None:
    program = (
        "import sys; sys.path.insert(0, 'tests/actors')\n"
        "from fold_facts import *\nfrom actors.profile import digest\n"
        "orders = [interaction('purchase', f'i{n}', f'i{n + 1}', category=f'A > {n}') for n in range(300)]\n"
        "facts = [fact(n, order, NOW + n) for n, order in enumerate(orders)]\n"
        "print(digest(folded(facts)).hex(), digest(folded(facts[:-1])).hex())"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1
    one, other = told.pop().split()
    assert one != other


# ---- layers --------------------------------------------------------------------------------------------------------


def test_a_view_speaks_for_every_level_of_its_category_and_for_its_brand() -> None:
    profile = folded([signal(1, "view", "x", category="Drinks > Tea > Green")])
    assert interests(profile, NOW) == {
        "category:Drinks": 1.0,
        "category:Drinks > Tea": 1.0,
        "category:Drinks > Tea > Green": 1.0,
        "brand:Brand": 1.0,
    }
    assert interests(profile, NOW + DAY)["brand:Brand"] == 0.5


def test_taking_something_out_of_the_cart_undoes_putting_it_in_whenever_it_is_read() -> None:
    profile = folded([signal(1, "cart", "x"), signal(2, "uncart", "x")])
    assert set(interests(profile, NOW + 40 * DAY).values()) == {0.0}


def test_a_bad_rating_speaks_against_what_was_rated() -> None:
    profile = folded([signal(1, "rate", "x", weight=-1.0)])
    assert interests(profile, NOW)["category:A"] == -3.0


def test_an_order_speaks_once_for_each_item_whatever_the_quantity() -> None:
    order = Interaction("purchase", (Line("x", "A", quantity=10), Line("x", "A", quantity=2), Line("y", "B")))
    profile = folded([fact(1, order)])
    assert interests(profile, NOW) == {"category:A": 5.0, "category:B": 5.0}
    assert (profile.purchases["x"].count, profile.purchases["x"].quantity) == (1, 12.0)


def test_purchases_know_their_latest_times_and_a_refund_takes_one_back() -> None:
    profile = folded([signal(n, "purchase", "x", at=NOW + n * DAY) for n in range(10)])
    held = profile.purchases["x"]
    assert held.times == tuple(NOW + n * DAY for n in range(2, 10))
    after = folded([signal(11, "refund", "x", at=NOW + 9 * DAY)], profile).purchases["x"]
    assert (held.count, after.count, after.times) == (10, 9, held.times)
    now = NOW + 9 * DAY
    assert read(after.k, after.s, now, "quarter") == pytest.approx(read(held.k, held.s, now, "quarter") - 1)


def test_a_recent_item_stands_once_with_the_last_thing_done_to_it() -> None:
    profile = folded([signal(1, "view", "x"), signal(2, "cart", "x", at=NOW + 5), signal(3, "view", "y", at=NOW + 6)])
    assert [(entry.item, entry.signal, entry.at) for entry in profile.recent] == [
        ("y", "view", NOW + 6),
        ("x", "cart", NOW + 5),
    ]


def test_engagement_counts_and_times_every_signal() -> None:
    profile = folded(
        [
            signal(1, "view", "x", dwell_ms=4000),
            signal(2, "view", "y", at=NOW + 3 * 3_600_000, dwell_ms=10**15),
            signal(3, "watch", "v", watched=0.5),
            fact(4, Visited(scroll=0.25)),
            fact(5, Visited(scroll=math.nan, dwell_ms=-5)),
        ]
    )
    shown = view(profile, NOW + 3 * 3_600_000)["engagement"]
    assert isinstance(shown, dict)
    assert {key: shown[key] for key in ("view", "visit", "watch", "sessions", "scroll", "watched", "dwell_ms")} == {
        "view": 2, "visit": 2, "watch": 1, "sessions": 2, "scroll": 0.125, "watched": 0.5, "dwell_ms": 86_404_000,
    }  # fmt: skip
    assert shown["last"]["view"] == NOW + 3 * 3_600_000
    assert shown["rates"]["day"]["view"] == pytest.approx(1 + 2 ** -(3 / 24), abs=1e-4)


def test_an_impression_tires_until_the_item_is_acted_on() -> None:
    seen = folded([fact(n, Impression(("x", "y", "x")), NOW + n) for n in range(3)])
    assert fatigue(seen, NOW + 2) == pytest.approx({"x": 3.0, "y": 3.0})
    acted = folded([signal(9, "click", "x", at=NOW + 3)], seen)
    assert fatigue(acted, NOW + 3) == pytest.approx({"x": 0.0, "y": 3.0})
    assert fatigue(acted, NOW + 3 + DAY)["y"] == pytest.approx(1.5)
    again = folded([fact(10, Impression(("x",)), NOW + 4)], acted)
    assert fatigue(again, NOW + 4)["x"] == pytest.approx(4.0)


def test_a_trait_is_what_was_said_last_and_stays_removed() -> None:
    facts = [
        fact(1, Identified({"a": 1, "b": 1}), NOW),
        fact(2, Identified({"a": 3}), NOW + 3),
        fact(3, Identified({"a": 2, "b": None}), NOW + 2),
        fact(4, Identified({"b": "late"}), NOW + 1),
        fact(5, Identified({"c": "x" * TRAIT_BYTES_MAX}), NOW + 1),
    ]
    assert view(folded(facts), NOW)["traits"] == {"a": 3}


def test_segments_follow_the_last_change_and_experiments_the_first_exposure() -> None:
    facts = [
        fact(1, SegmentChanged("s", True), NOW),
        fact(2, SegmentChanged("t", False), NOW + 2),
        fact(3, SegmentChanged("t", True), NOW + 1),
        fact(4, Exposed("e", "B"), NOW + 1),
        fact(5, Exposed("e", "A"), NOW),
    ]
    shown = view(folded(facts), NOW)
    assert (shown["segments"], shown["experiments"]) == (["s"], {"e": "A"})


def test_being_sorted_into_a_segment_is_no_sign_of_life() -> None:
    before = folded([fact(1, interaction("view", "tea"), NOW)])
    after = folded([fact(1, interaction("view", "tea"), NOW), fact(2, SegmentChanged("s", True), NOW + DAY)])
    assert (after.first_at, after.last_at, after.engagement) == (before.first_at, before.last_at, before.engagement)
    assert after.segments["s"].entered


def test_ids_are_collected_and_an_alias_to_oneself_is_no_link() -> None:
    facts = [
        fact(1, types.Aliased("u"), NOW),
        fact(2, types.Aliased("old"), NOW, anonymous_id="b1"),
        fact(3, types.Tracked("x"), NOW + 1, anonymous_id="b2"),
    ]
    profile = folded(facts)
    assert (profile.user_id, profile.anonymous_ids, profile.previous_ids) == ("u", ("b2", "b1"), ("old",))


def test_a_bot_is_counted_and_teaches_nothing_while_a_test_folds() -> None:
    bot = folded([fact(1, interaction("view", "x"), bot=True)])
    assert (bot.interests, bot.recent, bot.engagement.counts) == ({}, (), {"bot": 1})
    tested = folded([fact(1, interaction("view", "x"), test=True)])
    assert tested.interests
    assert tested.engagement.counts == {"test": 1, "view": 1}


def test_facts_of_items_move_the_chain_and_nothing_else() -> None:
    profile = folded([fact(7, types.ItemUpserted("x"))])
    assert (profile.version, profile.lsn, profile.interests, profile.recent) == (1, 7, {}, ())


def test_erasure_leaves_a_profile_of_which_nothing_is_known() -> None:
    profile = folded([signal(1, "view", "x"), fact(2, SubjectErased())])
    assert profile == Profile(version=2, lsn=2)


def test_nobody_is_the_empty_profile() -> None:
    assert view(EMPTY, NOW)["version"] == 0
    assert decode(encode(EMPTY)) == EMPTY


def test_a_view_ranks_interests_by_value_then_key_and_items_latest_first() -> None:
    profile = folded(
        [
            signal(1, "view", "x", category="B"),
            signal(2, "view", "y", category="A"),
            signal(3, "purchase", "z", category="C"),
            signal(4, "purchase", "w", category="C", at=NOW + 1),
        ]
    )
    shown = view(profile, NOW + 1)
    assert isinstance(shown["interests"], list)
    assert isinstance(shown["purchases"], list)
    assert [entry["key"] for entry in shown["interests"]] == ["brand:Brand", "category:C", "category:A", "category:B"]
    assert [entry["item"] for entry in shown["purchases"]] == ["w", "z"]
    assert shown["totals"] == {"interests": 24.0, "recent": 4, "purchases": 2, "impressions": 0, "facts": 4}


def test_a_view_shows_sessions_latest_first_with_their_journey_and_the_scores() -> None:
    laptop, phone = {"userAgent": "Mozilla/5.0 (X11; Linux x86_64)"}, {"device": {"type": "ios"}}
    profile = folded(
        [
            fact(1, Visited(properties={"path": "/"}), NOW - DAY, context=laptop),
            fact(2, interaction("view", "a"), NOW - 60_000, context=phone),
            fact(3, Interaction("purchase", (Line("a"),), revenue=8.0, discount=2.0, coupon=True), context=phone),
        ]
    )
    shown = view(profile, NOW)
    assert isinstance(shown["sessions"], list)
    assert [(one["landing"], one["depth"], one["device"]) for one in shown["sessions"]] == [
        ("a", 2, "mobile"),
        ("/", 1, "desktop"),
    ]
    assert shown["sessions"][0]["steps"] == [
        {"at": NOW - 60_000, "what": "view", "label": "a", "device": "mobile"},
        {"at": NOW, "what": "purchase", "label": "a", "device": "mobile"},
    ]
    assert shown["spending"] == {"spent": 8.0, "saved": 2.0, "orders_with_coupon": 1, "price_rank": None}
    assert shown["rfm"] == {"recency_ms": 0.0, "frequency": 1.0, "monetary": 8.0}
    assert isinstance(shown["scores"], dict)
    assert shown["scores"]["loyalty"] == 0.38
