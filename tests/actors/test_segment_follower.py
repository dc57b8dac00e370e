"""The segment follower: membership is what asking everybody would give, each transition is told once, whoever dies."""

from __future__ import annotations

from typing import Any

import pytest
from crashing_state import Crash
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_world import DAY, HOUR, MINUTE, SegmentWorld

from actors.segment_definition import DEFINITIONS_MAX
from actors.segment_follower import PACE, Pace
from events.types import Consented, Exposed, Grouped, Identified, Impression, Visited

SLOW = Pace(records=2, due=1, slice=1, backlog=2, send=1, sample=3, sampled=1)
USERS = ["ann", "bob", "cid", "dee"]
RULES = [
    ("count(view, 60 minutes) >= 2", ""),
    ("count(cart, 90 minutes) == 1", ""),
    ("did(purchase, 45 minutes) or since(view) > 3 hours", ""),
    ("sequence(cart then no purchase for 30 minutes, 1 day)", ""),
    ("sequence(view then cart, 2 hours)", ""),
    ('decayed(view, "day") > 1.5', 'decayed(view, "day") > 0.7'),
    ('trait("plan") == "gold" or group("acme")', ""),
    ("engagement > 0.3", "engagement > 0.2"),
    ("spent > quantile(spent, 0.5)", ""),
    ("engagement >= quantile(engagement, 0.6)", "engagement >= quantile(engagement, 0.4)"),
    ("churn_risk > 0.1 and not did(refund)", ""),
    ("monetary_quintile >= 4 or recency_quintile <= 2", ""),
    ('interest("category:Drinks") > 1', 'interest("category:Drinks") > 0.5'),
    ('bought("tea", 2 days) >= 1', ""),
    ("idle > 2 hours and age < 3 days", ""),
    ("weekend or sessions >= 2", ""),
    ('segment("s0") and not segment("s1")', ""),
    ('segment("s2") or did(wish, 1 hour)', 'segment("s2") or did(wish, 4 hours)'),
    ("purchase_intent > 0.2", ""),
    ("count(view) >= 3", ""),
]
SIGNALS = ["view", "view", "cart", "purchase", "refund", "wish", "click"]

USER = st.sampled_from(USERS)
ACTIONS = st.one_of(
    st.tuples(st.just("does"), USER, st.sampled_from(SIGNALS), st.sampled_from([0, 0, 0, 20, 300])),
    st.tuples(st.just("does"), USER, st.sampled_from(SIGNALS), st.sampled_from([0, 0, 0, 20, 300])),
    st.tuples(st.just("does"), USER, st.sampled_from(SIGNALS), st.sampled_from([0, 0, 0, 20, 300])),
    st.tuples(st.just("passes"), st.sampled_from([1, 7_000, 11 * MINUTE, 31 * MINUTE, 5 * HOUR, 2 * DAY])),
    st.tuples(st.just("passes"), st.sampled_from([1, 7_000, 11 * MINUTE, 31 * MINUTE, 5 * HOUR, 2 * DAY])),
    st.tuples(st.just("passes"), st.sampled_from([-5, -3 * MINUTE])),
    st.tuples(st.just("define"), st.integers(0, 3), st.integers(0, len(RULES) - 1)),
    st.tuples(st.just("drop"), st.integers(0, 3)),
    st.tuples(
        st.just("says"),
        USER,
        st.sampled_from(["gold", "free", "group", "visit", "exposed", "shown", "late", "deny", "allow"]),
    ),
    st.tuples(st.just("erase"), USER),
    st.tuples(st.just("kill follower"), st.integers(0, 5), st.booleans()),
    st.tuples(st.just("kill host"), st.integers(0, 1)),
    st.sampled_from([("lose answer",), ("lose state",), ("settle",), ("settle",), ("step",), ("step",)]),
)


class Lost(Exception):
    """The host took the facts, its answer never came."""


def perform(world: SegmentWorld, action: tuple[Any, ...]) -> None:
    match action:
        case ("does", user, signal, late):
            world.does(user, signal, at=world.now // 1000 - late * MINUTE)
        case ("passes", ms):
            world.passes(ms)
        case ("define", number, rule):
            world.define(f"s{number}", *RULES[rule])
        case ("drop", number):
            world.drop(f"s{number}")
        case ("says", user, "deny" | "allow" as choice):
            world.say(f"u:{user}", Consented({"personalization": choice == "allow"}))
        case ("says", user, "group"):
            world.say(f"u:{user}", Grouped("acme"))
        case ("says", user, "exposed"):
            world.say(f"u:{user}", Exposed("blue", "yes"))
        case ("says", user, "shown"):
            world.say(f"u:{user}", Impression(("tea",)))
        case ("says", user, "late"):
            world.say(f"u:{user}", Exposed("red", "no"), at=world.now // 1000 - 4 * DAY)
        case ("says", user, "visit"):
            world.say(f"u:{user}", Visited("home", dwell_ms=30_000, scroll=0.5))
        case ("says", user, plan):
            world.say(f"u:{user}", Identified({"plan": plan}))
        case ("erase", user):
            world.erase(user)
        case ("kill follower", at, after):
            world.crashing(at, after)
            try:
                world.settle()
            except Crash:
                pass
            world.reopened()
        case ("kill host", number):
            world.follower.step(world.now)
            world.kill_host(number)
            world.reopened()
        case ("lose state",):
            world.lose_state()
        case ("step",):
            world.follower.step(world.now)
        case ("lose answer",):
            world.follower.step(world.now)

            def lost(target: int, drafts: Any) -> Any:
                world.append(target, drafts)
                raise Lost

            try:
                world.follower.send(lost)
            except Lost:
                pass
        case ("settle",):
            settled(world)


def settled(world: SegmentWorld) -> None:
    world.settle()
    world.check()
    world.check_transitions()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, len(RULES) - 1), min_size=1, max_size=4),
    st.lists(ACTIONS, max_size=30),
    st.sampled_from([SLOW, PACE]),
)
def test_membership_is_what_asking_everybody_gives_and_each_transition_is_told_once_whoever_dies(
    rules: list[int], actions: list[tuple[Any, ...]], pace: Pace
) -> None:
    world = SegmentWorld(pace=pace)
    for number, rule in enumerate(rules):
        world.define(f"s{number}", *RULES[rule])
    for action in actions:
        perform(world, action)
    settled(world)


def test_as_many_segments_as_a_store_may_have_are_filled_and_dropped() -> None:
    world = SegmentWorld()
    for n in range(3):
        world.does(f"u{n}", "view")
    for n in range(DEFINITIONS_MAX):
        world.define(f"s{n:03}", f"count(view) >= {n % 4 + 1}")
    for _ in range(3):
        world.reopened().step(world.now)
    world.settle(1_000)
    assert world.inside("u1") == {f"s{n:03}" for n in range(0, DEFINITIONS_MAX, 4)}
    world.check()
    for n in range(0, DEFINITIONS_MAX, 2):
        world.drop(f"s{n:03}")
    world.settle(1_000)
    assert world.inside("u1") == set()
    world.check_transitions()


def test_who_was_away_for_a_day_catches_up_exactly() -> None:
    world = SegmentWorld(pace=SLOW)
    world.define("lookers", "count(view, 2 hours) >= 2")
    world.define("waiting", "sequence(cart then no purchase for 30 minutes, 1 day)")
    world.does("ann", "view")
    world.does("ann", "view")
    settled(world)
    assert world.inside("ann") == {"lookers"}
    for hour in range(24):
        world.passes(HOUR)
        world.does(USERS[hour % 4], "cart" if hour % 3 else "view")
    world.does("bob", "view")
    world.does("bob", "view")
    world.reopened()
    settled(world)
    assert world.inside("bob") == {"lookers", "waiting"}
    assert world.inside("ann") == {"waiting"}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("crash_at", range(4))
def test_what_time_brings_is_told_once_whoever_was_killed_when_it_was_due(crash_at: int, after: bool) -> None:
    world = SegmentWorld()
    world.define("waiting", "sequence(cart then no purchase for 30 minutes)")
    world.settle()
    world.does("ann", "cart")
    world.settle()
    done = world.now
    world.reopened()
    world.passes(29 * MINUTE)
    world.settle()
    assert world.inside("ann") == set()
    world.passes(2 * MINUTE)
    world.crashing(crash_at, after)
    try:
        world.settle()
    except Crash:
        pass
    world.reopened()
    settled(world)
    ((moves),) = world.transitions().values()
    assert len(moves) == 1
    assert moves[0][0] >= done // 1000 + 30 * MINUTE


def test_members_stay_until_they_are_below_the_level_that_keeps_them() -> None:
    world = SegmentWorld()
    world.define("fans", "count(view, 1 hour) >= 3", "count(view, 1 hour) >= 2")
    for _ in range(3):
        world.does("ann", "view")
        world.passes(10 * MINUTE)
    world.does("bob", "view")
    world.does("bob", "view")
    settled(world)
    assert (world.inside("ann"), world.inside("bob")) == ({"fans"}, set())
    world.passes(31 * MINUTE)  # ann's first look is out of the hour
    settled(world)
    assert world.inside("ann") == {"fans"}
    world.passes(10 * MINUTE)
    settled(world)
    assert world.inside("ann") == set()


def test_a_level_of_the_population_moves_those_it_passes_though_they_did_nothing() -> None:
    world = SegmentWorld()
    world.define("spenders", "spent > quantile(spent, 0.5)")
    for user, orders in (("ann", 3), ("bob", 1), ("cid", 1)):
        for _ in range(orders):
            world.does(user, "purchase")
    settled(world)
    assert world.inside("ann") == {"spenders"}
    for user in ("bob", "cid"):
        for _ in range(6):
            world.does(user, "purchase")
    world.passes(10_000)
    settled(world)
    assert (world.inside("ann"), world.inside("dee")) == (set(), set())


def test_who_allows_it_no_more_leaves_everything_and_comes_back_by_new_facts_alone() -> None:
    world = SegmentWorld()
    world.define("lookers", "did(view)")
    world.does("ann", "view")
    settled(world)
    world.passes(1_000)
    world.say("u:ann", Consented({"personalization": False}))
    settled(world)
    assert world.inside("ann") == set()
    world.does("ann", "view")
    settled(world)
    assert world.inside("ann") == set()
    world.passes(1_000)
    world.say("u:ann", Consented({"personalization": True}))
    world.does("ann", "view")
    settled(world)
    assert world.inside("ann") == {"lookers"}


def test_who_was_erased_is_a_member_of_nothing_and_nobody_is_made_of_what_was_on_its_way() -> None:
    world = SegmentWorld()
    world.define("lookers", "did(view)")
    world.settle()
    world.does("ann", "view")
    world.follower.step(world.now)  # ann's transition waits to be sent
    world.erase("ann")
    settled(world)
    assert world.everybody() == {}
    assert world.segments.members.count(0) == 0
    assert world.transitions() == {}
    world.does("ann", "view")
    settled(world)
    assert world.inside("ann") == {"lookers"}


@pytest.mark.parametrize("second", ["did(cart)", ""], ids=["changed", "dropped"])
def test_a_definition_may_change_or_go_while_everybody_is_being_looked_at_with_it(second: str) -> None:
    world = SegmentWorld(pace=SLOW)
    for user in range(30):
        world.does(f"v{user}", "cart" if user % 2 else "view")
    world.define("some", "did(view)")
    for _ in range(12):
        world.follower.step(world.now)
        world.follower.send(world.append)
    assert 0 < world.segments.members.count(0) < 15
    if second:
        world.define("some", second, version=2)
    else:
        world.drop("some")
    world.does("v3", "view")
    settled(world)
    told = {user for user in range(30) if world.inside(f"v{user}")}
    assert told == ({user for user in range(30) if user % 2} if second else set())


def test_definitions_that_make_no_sense_are_noted_and_disturb_nothing() -> None:
    world = SegmentWorld()
    world.define("lookers", "did(view)")
    world.define("self", 'segment("self")')
    world.define("bad", "count(view, 7 days) >=")
    world.define("unknown", "engagment > 1")
    world.define("huge", " or ".join(["did(view)"] * 5_000))
    world.define("Not A Name", "did(view)")
    world.drop("never-there")
    world.does("ann", "view")
    settled(world)
    assert world.inside("ann") == {"lookers"}
    assert set(world.segments.meta.refused) == {"self", "bad", "unknown", "huge", "Not A Name"}
    world.define("bad", "count(view, 7 days) >= 1", version=2)
    settled(world)
    assert world.inside("ann") == {"lookers", "bad"}
    assert "bad" not in world.segments.meta.refused


def test_the_newest_of_many_facts_is_what_a_segment_is_when_it_is_made_anew() -> None:
    world = SegmentWorld()
    for version in range(1, 30):
        world.define("some", "did(view)" if version % 2 else "did(cart)", version=version)
    world.does("ann", "view")
    settled(world)
    world.lose_state()
    settled(world)
    assert world.segments.definitions.by_name["some"].version == 29
    assert world.inside("ann") == {"some"}
    assert [len(moves) for moves in world.transitions().values()] == [1]


def test_what_time_brings_comes_neither_early_nor_in_rounds_that_outrun_it() -> None:
    world = SegmentWorld()
    world.define("lately", "count(view, 1 hour) >= 1")
    begun = world.now // 1000
    for number in range(40):
        world.does(f"v{number}", "view", at=begun - HOUR + 5_000 + number)
    settled(world)
    assert len(world.transitions()) == 40
    world.passes(5_010 - (world.now // 1000 - begun))
    for _ in range(200):
        world.follower.step(world.now)
    assert max(world.follower.clock(0), world.follower.clock(1)) == world.now // 1000
    assert world.segments.members.count(0) == 40 - 11  # those of the 11 ms that have come
    world.settle()
    left = sorted(moves[1][0] - begun for moves in world.transitions().values() if len(moves) == 2)
    assert left[:11] == [5_010] * 11
