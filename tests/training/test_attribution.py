"""Joining acts to what was shown."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.types import Interaction, Line
from training.attribution import Act, Impressed, Windows, act_of, attribute, counted, outcome_of

MINUTE = 60_000_000
HOUR = 60 * MINUTE
WINDOWS = Windows()
ANN, BOB = b"ann", b"bob"


def outcomes(facts: Sequence[Impressed | Act]) -> dict[tuple[str, str], list[str]]:
    return {(row.list_id, row.item): sorted(row.outcome_at) for row in attribute(facts).rows}


def test_an_act_belongs_to_the_list_it_names_whoever_does_it() -> None:
    facts = [
        Impressed("r1", ANN, ("tea", "milk"), 0),
        Impressed("r2", ANN, ("tea",), MINUTE),
        Act(BOB, ("tea",), "click", 2 * MINUTE, "r1"),
    ]
    assert outcomes(facts) == {("r1", "tea"): ["click"], ("r1", "milk"): [], ("r2", "tea"): []}


def test_without_a_list_the_last_impression_of_the_same_person_and_item_wins() -> None:
    facts = [
        Impressed("r1", ANN, ("tea",), 0),
        Impressed("r2", ANN, ("tea",), MINUTE),
        Impressed("r3", BOB, ("tea",), 2 * MINUTE),
        Act(ANN, ("tea",), "cart", 3 * MINUTE),
    ]
    assert outcomes(facts) == {("r1", "tea"): [], ("r2", "tea"): ["cart"], ("r3", "tea"): []}


def test_a_list_that_does_not_hold_the_item_leaves_it_to_the_person() -> None:
    facts = [Impressed("r1", ANN, ("tea",), 0), Act(ANN, ("tea",), "click", MINUTE, "elsewhere")]
    assert outcomes(facts) == {("r1", "tea"): ["click"]}


@pytest.mark.parametrize(
    ("outcome", "window"), [("click", 30 * MINUTE), ("cart", 24 * HOUR), ("purchase", 7 * 24 * HOUR)]
)
def test_every_outcome_has_a_window_of_its_own(outcome: str, window: int) -> None:
    seen = Impressed("r1", ANN, ("tea",), 0)
    assert outcomes([seen, Act(ANN, ("tea",), outcome, window)]) == {("r1", "tea"): [outcome]}  # type: ignore[arg-type]
    assert outcomes([seen, Act(ANN, ("tea",), outcome, window + 1)]) == {("r1", "tea"): []}  # type: ignore[arg-type]


def test_an_act_before_the_impression_joins_only_by_the_list_and_only_while_a_click_could_follow_one() -> None:
    seen = Impressed("r1", ANN, ("tea",), 40 * MINUTE)
    assert outcomes([seen, Act(ANN, ("tea",), "click", 10 * MINUTE, "r1")])["r1", "tea"] == ["click"]
    assert outcomes([seen, Act(ANN, ("tea",), "click", 10 * MINUTE - 1, "r1")])["r1", "tea"] == []
    assert outcomes([seen, Act(ANN, ("tea",), "click", 40 * MINUTE - 1)])["r1", "tea"] == []


def test_an_act_that_was_given_to_another_list_belongs_to_the_one_it_names_once_that_is_seen() -> None:
    facts = [
        Impressed("r1", ANN, ("tea",), 0),
        Act(ANN, ("tea",), "click", MINUTE, "r2"),
        Impressed("r2", ANN, ("tea", "milk"), 2 * MINUTE),
    ]
    assert outcomes(facts) == {("r1", "tea"): ["click"], ("r2", "tea"): ["click"], ("r2", "milk"): []}
    counts = counted(attribute(facts).counts)
    assert (counts["click_subject"], counts["click_late"]) == (1, 1)


def test_an_act_on_an_item_seen_later_in_a_list_that_was_seen_before_counts() -> None:
    facts = [
        Impressed("r1", ANN, ("tea",), 0),
        Act(ANN, ("milk",), "click", MINUTE, "r1"),
        Impressed("r1", ANN, ("milk",), 2 * MINUTE),
    ]
    assert outcomes(facts) == {("r1", "tea"): [], ("r1", "milk"): ["click"]}


def test_all_windows_of_a_list_count_from_its_first_impression() -> None:
    facts = [
        Impressed("r1", ANN, ("tea",), 0),
        Impressed("r1", ANN, ("tea", "milk"), 20 * MINUTE),
        Impressed("r1", ANN, ("soap",), 31 * MINUTE),
        Act(ANN, ("milk",), "click", 30 * MINUTE, "r1"),
        Act(ANN, ("tea",), "click", 40 * MINUTE, "r1"),
    ]
    assert outcomes(facts) == {("r1", "tea"): [], ("r1", "milk"): ["click"]}


def test_joined_and_unjoined_are_counted_item_by_item() -> None:
    facts = [
        Impressed("r1", ANN, ("tea", "milk"), 0),
        Act(ANN, ("tea", "soap"), "purchase", MINUTE, "r1"),
        Act(ANN, ("milk",), "click", MINUTE),
    ]
    counts = counted(attribute(facts).counts)
    assert {name for name, count in counts.items() if count} == {"purchase_list", "purchase_unjoined", "click_subject"}


def test_interactions_say_which_outcome_they_are() -> None:
    assert outcome_of(Interaction("purchase")) == "purchase"
    assert outcome_of(Interaction("cart", weight=0.5)) == "cart"
    assert outcome_of(Interaction("refund")) is None
    bought = Interaction("purchase", (Line("tea"), Line("tea"), Line("milk")), list_id="r1")
    assert act_of(ANN, 5, bought) == Act(ANN, ("tea", "milk"), "purchase", 5, "r1")
    assert act_of(ANN, 5, Interaction("view")) is None


ITEMS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True).map(tuple)
TIMES = st.integers(0, 40 * MINUTE)
SUBJECTS = st.sampled_from([ANN, BOB])
LISTS = st.sampled_from(["r1", "r2", "r3"])
IMPRESSIONS = st.builds(Impressed, LISTS, SUBJECTS, ITEMS, TIMES)
ACTS = st.builds(Act, SUBJECTS, ITEMS, st.sampled_from(["click", "cart", "purchase"]), TIMES, LISTS | st.just(""))


@given(st.lists(IMPRESSIONS | ACTS, max_size=20, unique_by=lambda fact: fact.at))
def test_the_join_does_not_depend_on_the_order_facts_are_given_in(facts: list[Impressed | Act]) -> None:
    one, other = attribute(facts), attribute(facts[::-1])
    assert one == other


@given(st.lists(IMPRESSIONS | ACTS, max_size=20))
def test_no_outcome_lies_outside_its_window_and_every_act_is_counted(facts: list[Impressed | Act]) -> None:
    done = attribute(facts)
    for row in done.rows:
        for outcome, at in row.outcome_at.items():
            assert -30 * MINUTE <= at - row.at <= WINDOWS.of(outcome)
    assert sum(count for (_, how), count in done.counts.items() if how != "late") == sum(
        len(fact.items) for fact in facts if isinstance(fact, Act)
    )
