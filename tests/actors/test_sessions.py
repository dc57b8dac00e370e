"""Sessions, stitched from steps in any order of arrival."""

from __future__ import annotations

import random
from typing import NamedTuple

from fold_facts import DAY, NOW, Fact, fact, folded, interaction
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.engagement import SLOT_MS
from actors.profile import EMPTY, STEPS_MAX
from actors.sessions import KINDS, SessionPolicy, Step, count, flag, latest, sessions, steps, text
from events.types import Event, Impression, Interaction, Signal, Tracked, Visited

MINUTE = 60_000
PHONE = {"device": {"type": "android"}}
LAPTOP = {"userAgent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"}
SATURDAY = 1_759_536_000_000
"""2025-10-04, midnight UTC."""


def page(path: str) -> Visited:
    return Visited("Home", properties={"path": path})


def at(number: int, minutes: float, event: Event, **context: object) -> Fact:
    return fact(number, event, NOW + round(minutes * MINUTE), context=context)


# ---- any order ----------------------------------------------------------------------------------------------------


class Done(NamedTuple):
    """One thing done, as the reference sees it."""

    at: int
    label: str
    device: str
    campaign: str


DONE = st.builds(
    Done,
    st.integers(0, 8 * 60).map(lambda minutes: SATURDAY - 4 * 60 * MINUTE + minutes * MINUTE),
    st.sampled_from(["/", "/tea", "/cart"]),
    st.sampled_from(["", "mobile", "tablet"]),
    st.sampled_from(["", "spring", "autumn"]),
)
POLICIES = st.builds(
    SessionPolicy,
    st.sampled_from([5 * MINUTE, 30 * MINUTE, 2 * 60 * MINUTE]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 2 * 60 * MINUTE, -5 * 60 * MINUTE]),
)


def facts_of(life: list[Done]) -> list[Fact]:
    return [
        fact(n, page(one.label), one.at, context={"device": {"type": one.device}, "campaign": {"name": one.campaign}})
        for n, one in enumerate(life)
    ]


def by_definition(life: list[Done], policy: SessionPolicy) -> list[list[Done]]:
    """Every pair of neighbours in time looked at by itself; ties as stored: device, then label's length, then label."""
    places = ["", "desktop", "mobile", "tablet"]
    stream = sorted(life, key=lambda one: (one.at, places.index(one.device), len(one.label), one.label, one.campaign))
    found: list[list[Done]] = []
    for one in stream:
        before = found[-1][-1] if found else None
        known = [each.campaign for each in found[-1] if each.campaign] if found else []
        fresh = (
            before is None
            or one.at - before.at > policy.timeout_ms
            or (policy.midnight and (one.at + policy.offset_ms) // DAY != (before.at + policy.offset_ms) // DAY)
            or (policy.campaign and one.campaign != "" and one.campaign not in known[-1:])
        )
        found += [[one]] if fresh else []
        if not fresh:
            found[-1].append(one)
    return found


@given(st.lists(DONE, max_size=STEPS_MAX), POLICIES, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_sessions_are_those_of_the_definition_in_whatever_order_facts_arrive(
    life: list[Done], policy: SessionPolicy, rng: random.Random
) -> None:
    facts = facts_of(life)
    profile = folded(rng.sample(facts, len(facts)))
    expected = by_definition(life, policy)
    found = sessions(profile, policy)
    assert [[(step.at, step.label, step.device, step.campaign) for step in one.steps] for one in found] == [
        [tuple(one) for one in session] for session in expected
    ]
    assert count(profile, policy) == len(expected)
    assert latest(profile, policy) == (found[-1] if found else None)


@given(st.permutations(range(STEPS_MAX + 30)))
@settings(max_examples=20, deadline=None)
def test_the_journey_is_the_latest_64_steps_and_older_sessions_are_still_counted(order: list[int]) -> None:
    apart = 2 * SLOT_MS
    profile = folded(fact(n, page(f"/{n}"), NOW + n * apart) for n in order)
    assert [step.label for step in steps(profile)] == [f"/{n}" for n in range(30, STEPS_MAX + 30)]
    assert count(profile) == STEPS_MAX + 30


def test_a_session_that_lost_its_first_steps_is_counted_once() -> None:
    profile = folded(fact(n, page("/"), NOW + n * 20 * MINUTE) for n in range(STEPS_MAX + 30))
    assert (len(sessions(profile)), count(profile)) == (1, 1)


# ---- what a session says -------------------------------------------------------------------------------------------


def test_a_late_fact_joins_two_sessions_and_one_after_a_longer_pause_begins_another() -> None:
    apart = [at(1, 0, page("/")), at(2, 40, page("/tea"))]
    assert [one.depth for one in sessions(folded(apart))] == [1, 1]
    assert [one.depth for one in sessions(folded([*apart, at(3, 20, page("/late"))]))] == [3]
    assert [one.depth for one in sessions(folded([*apart, at(3, 70.1, page("/"))]))] == [1, 1, 1]


def test_a_session_knows_its_beginning_its_end_and_how_the_person_came() -> None:
    came = {"page": {"url": "https://shop.example/", "referrer": "https://www.google.com/"}, **LAPTOP}
    profile = folded(
        [
            at(1, 0, interaction("search", query="tea"), **LAPTOP),
            at(2, 1, page("/"), **came),
            at(3, 4, interaction("view", "sku-1"), **PHONE),
            at(4, 9, page("/cart"), **PHONE),
            at(5, 10, interaction("purchase", "sku-1"), **PHONE),
        ]
    )
    session = latest(profile)
    assert session is not None
    assert (session.started, session.duration, session.depth) == (NOW, 10 * MINUTE, 5)
    assert (session.landing, session.exit) == ("/", "/cart")
    assert (session.channel, session.device, session.devices) == ("search", "desktop", ("desktop", "mobile"))
    assert [(step.what, step.label) for step in session.steps] == [
        ("search", "tea"),
        ("visit", "/"),
        ("view", "sku-1"),
        ("visit", "/cart"),
        ("purchase", "sku-1"),
    ]
    read = {name: text(profile, f"session.{name}") for name in ("device", "channel", "landing", "exit", "campaign")}
    assert read == {"device": "desktop", "channel": "search", "landing": "/", "exit": "/cart", "campaign": None}


def test_without_pages_a_session_lands_on_what_was_done_first() -> None:
    session = latest(folded([at(1, 0, interaction("view", "a")), at(2, 1, Tracked("Quiz Done"))]))
    assert session is not None
    assert (session.landing, session.exit) == ("a", "Quiz Done")


def test_a_list_that_was_only_shown_is_no_step_and_nobody_has_no_session() -> None:
    shown = folded([at(1, 0, Impression(("a",)))])
    assert (steps(shown), count(shown), latest(shown), text(EMPTY, "session.device")) == ((), 0, None, None)


def test_the_weekend_begins_where_the_policy_says_it_is() -> None:
    profile = folded([fact(1, page("/"), SATURDAY - 1)])
    assert not flag(profile, "weekend")
    assert flag(profile, "weekend", SessionPolicy(offset_ms=1))
    assert flag(folded([fact(1, page("/"), SATURDAY + 2 * DAY - 1)]), "weekend")
    assert not flag(folded([fact(1, page("/"), SATURDAY + 2 * DAY)]), "weekend")
    assert not flag(EMPTY, "weekend")


def test_every_signal_can_be_a_step() -> None:
    signals: tuple[Signal, ...] = Signal.__args__  # type: ignore[attr-defined]
    assert set(KINDS) == {*signals, "visit", "tracked"}


def test_long_labels_are_cut_between_characters() -> None:
    (step,) = steps(folded([at(1, 0, page("/" + "é" * 60), campaign={"name": "c" * 100})]))
    assert step == Step(NOW, "visit", "/" + "é" * 31, "", "", "c" * 64)


def test_an_interaction_without_items_is_named_by_its_query_else_its_name() -> None:
    named = folded([at(1, 0, Interaction("search", query="tea")), at(2, 1, Interaction("share", name="Shop Shared"))])
    assert [step.label for step in steps(named)] == ["tea", "Shop Shared"]
