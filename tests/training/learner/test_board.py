"""The board joins as `training.attribution.attribute` does."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.state import MemoryState
from training.attribution import Act, Impressed, attribute, counted, in_order
from training.learner.board import Board
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
            board.act(fact)
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
    assert not any(list(store.scan(table)) for table in ("pending", "due", "by_subject", "shown_order", "taught"))
