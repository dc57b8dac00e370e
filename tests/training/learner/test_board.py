"""The board joins as `training.attribution.attribute` does."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.state import MemoryState
from training.attribution import Act, Impressed, attribute, counted, in_order
from training.learner.board import HELD_MAX, HELD_PER_LIST, Board
from training.learner.settings import LearnerSettings
from training.learner.shown import ShownList

MINUTE = 60_000_000
SLATE = ("a", "b", "c")
SHOWN = ShownList("home", 0, True, False, SLATE, (1.0,) * 3, (), np.zeros((3, 0)), np.zeros((3, 3)))
GENEROUS = LearnerSettings(rows_per_hour=10_000, positives_per_hour=10_000)

ITEMS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True).map(tuple)
TIMES = st.integers(0, 90 * MINUTE)
SUBJECTS = st.sampled_from([b"ann", b"bob"])
LISTS = st.sampled_from(["r1", "r2", "r3"])
FACTS = st.builds(Impressed, LISTS, SUBJECTS, ITEMS, TIMES) | st.builds(
    Act, SUBJECTS, ITEMS, st.sampled_from(["click", "cart", "purchase"]), TIMES, LISTS | st.just("")
)


@settings(max_examples=60)
@given(st.lists(FACTS, max_size=20, unique_by=lambda fact: fact.at), st.integers(1, 25))
def test_the_same_facts_give_the_same_rows_and_outcomes(facts: list[Impressed | Act], commit_every: int) -> None:
    store = MemoryState()
    board = Board(store, GENEROUS, 0)
    totals: dict[str, int] = defaultdict(int)

    def commit() -> None:
        for name, count in board.counts.items():
            totals[name] += count
        store.commit(board.changes())

    for number, fact in enumerate(in_order(facts)):
        if isinstance(fact, Impressed):
            board.show(fact.list_id, fact.subject, fact.at, SHOWN, fact.items)
        else:
            unseen = board.act(fact).unseen
            if unseen:
                board.hold(fact, unseen)
        if number % commit_every == 0:
            commit()
    rows: dict[tuple[str, str], set[str]] = {}
    for list_id, pending, outcome in board.closing(10**15):
        kind = ("click", "cart", "purchase").index(outcome)
        for slot in pending.seen:
            found = rows.setdefault((list_id, SLATE[slot]), set())
            found |= {outcome} if slot in pending.acted[kind] else set()
    commit()
    expected = attribute(facts)
    assert rows == {(row.list_id, row.item): set(row.outcome_at) for row in expected.rows}
    joined = {name: count for name, count in counted(expected.counts).items() if count}
    told = {f"{n.split('_')[1]}_{n.split('_')[2]}": c for n, c in totals.items() if n.startswith("joined")}
    told |= {f"{name.split('_')[1]}_unjoined": c for name, c in totals.items() if name.startswith("unjoined")}
    assert told == joined
    assert board.count == 0
    assert not any(
        list(store.scan(table)) for table in ("pending", "due", "by_subject", "shown_order", "taught", "held")
    )
    assert board.held == 0


def capped(store: MemoryState, **caps: int) -> Board:
    return Board(store, LearnerSettings(**caps), 0)  # type: ignore[arg-type]


def test_the_caps_of_an_hour_last_for_the_hour_whatever_waits() -> None:
    """Crowded out, or taken back with consent: what was taught was taught."""
    board = capped(MemoryState(), rows_per_hour=4)
    board.show("r1", b"ann", MINUTE, SHOWN, SLATE)
    board.refuse(b"ann", 2 * MINUTE)
    board.allow(b"ann")
    board.show("r2", b"ann", 3 * MINUTE, SHOWN, SLATE)
    assert (board.count, board.counts["rows_capped"]) == (0, 3)
    board.show("r3", b"ann", 60 * MINUTE, SHOWN, SLATE)
    assert board.count == 1


def test_an_act_that_comes_late_does_not_begin_another_hour() -> None:
    board = capped(MemoryState(), positives_per_hour=1)
    board.show("r1", b"ann", 59 * MINUTE, SHOWN, SLATE)
    assert board.act(Act(b"ann", ("a",), "click", 61 * MINUTE, "r1")).joined
    assert not board.act(Act(b"ann", ("b",), "click", 59 * MINUTE + 1, "r1")).joined
    assert not board.act(Act(b"ann", ("c",), "click", 62 * MINUTE, "r1")).joined
    assert board.counts["acts_capped"] == 2


def test_what_was_taught_is_forgotten_when_the_hour_is_over_or_its_subject_erased() -> None:
    store = MemoryState()
    board = capped(store)
    for who in (b"ann", b"bob"):
        board.show(who.decode(), who, MINUTE, SHOWN, SLATE)
    board.erase(b"bob")
    store.commit(board.changes())
    assert [key for key, _ in store.scan("taught")] == [b"ann"]
    assert [name for name, _, _ in board.closing(60 * MINUTE)] == ["ann"]
    store.commit(board.changes())
    assert not list(store.scan("taught"))


def test_acts_wait_for_lists_that_are_not_seen_yet_but_not_without_bound() -> None:
    store = MemoryState()
    board = capped(store)
    for number in range(HELD_PER_LIST + 1):
        board.hold(Act(b"ann", ("a",), "click", number, "r1"), ["a"])
    assert board.counts["acts_not_held"] == 1
    for number in range(HELD_MAX):
        board.hold(Act(b"bob", ("a",), "click", number, f"x{number}"), ["a"])
    assert (board.held, board.counts["acts_not_held"]) == (HELD_MAX, 2)
    store.commit(board.changes())
    again = capped(store)
    assert again.held == HELD_MAX
    again.forget(b"bob")
    assert again.held == 1
    assert list(again.closing(31 * MINUTE)) == []
    store.commit(again.changes())
    assert not list(store.scan("held"))
