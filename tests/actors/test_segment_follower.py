"""The segment follower: membership is what asking everybody would give, each transition is told once, whoever dies."""

from __future__ import annotations

from typing import Any

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
