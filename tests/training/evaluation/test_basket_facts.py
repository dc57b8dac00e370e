"""Facts before a basket: what they count, and that nothing of the basket itself or of later ones is in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.basket_columns import batch, derived, inputs, trimmed, z_within
from training.evaluation.basket_facts import AT, NEVER, Asked, Walk
from training.evaluation.basket_log import BasketLog, places

Rows = list[tuple[float, int, list[int]]]
"""(day, household, items) of each basket, by time."""


def log_of(rows: Rows, items: int = 20, households: int = 4) -> BasketLog:
    baskets = [sorted(set(held)) for _, _, held in rows]
    return BasketLog(
        day=np.array([day for day, _, _ in rows]),
        household=np.array([household for _, household, _ in rows], np.int32),
        week=np.ones(len(rows), np.int32),
        store=np.zeros(len(rows), np.int32),
        start=np.cumsum([0, *(len(held) for held in baskets)], dtype=np.int64),
        item=np.array([item for held in baskets for item in held], np.int32),
        kind=(np.arange(items) % 5).astype(np.int32),
        households=households,
    )


def asked(log: BasketLog) -> list[Asked]:
    return list(Walk(log).ask(np.ones(len(log), bool)))


def fact(one: Asked, item: int, name: str) -> float:
    return float(one.facts[one.item.tolist().index(item), AT[name]])


ROWS: Rows = [
    (0.0, 0, [1, 2]),
    (7.0, 0, [1]),
    (8.0, 1, [1, 3]),
    (14.0, 0, [1, 4]),
]

logs = st.lists(
    st.tuples(
        st.integers(0, 40).map(lambda half_days: half_days / 2),
        st.integers(0, 3),
        st.lists(st.integers(0, 19), min_size=1, max_size=6),
    ),
    min_size=2,
    max_size=14,
).map(lambda rows: log_of(sorted(rows, key=lambda row: row[0])))


def test_counts_gaps_and_times_are_those_of_the_household_before_the_basket() -> None:
    last = asked(log_of(ROWS))[3]
    assert fact(last, 1, "count") == 2
    assert fact(last, 1, "days_since") == 7
    assert fact(last, 1, "gap") == 7
    assert fact(last, 1, "baskets_since") == 1
    assert fact(last, 2, "baskets_since") == 2
    assert np.isclose(fact(last, 1, "count_5d"), 2 ** (-14 / 5) + 2 ** (-7 / 5))
    assert np.isclose(fact(last, 1, "shared_90d"), 0.5 * 2 ** (-14 / 90) + 2 ** (-7 / 90))


def test_an_item_never_bought_is_a_candidate_because_others_buy_it() -> None:
    last = asked(log_of(ROWS))[3]
    assert fact(last, 3, "own") == 0
    assert fact(last, 3, "days_since") == NEVER
    assert np.isclose(fact(last, 3, "popular_3d"), 2 ** (-6 / 3))


def test_what_could_be_bought_again_counts_every_visit_of_those_who_had_it() -> None:
    last = asked(log_of(ROWS))[3]
    assert (fact(last, 1, "rebought"), fact(last, 1, "rebuyable")) == (1, 1)
    assert (fact(last, 2, "rebought"), fact(last, 2, "rebuyable")) == (0, 1)


def test_the_first_basket_of_all_has_no_candidates() -> None:
    assert len(asked(log_of(ROWS))[0].item) == 0


@settings(max_examples=12, deadline=None)
@given(logs)
def test_facts_are_the_same_when_everything_from_the_moment_on_is_cut_off_or_replaced(log: BasketLog) -> None:
    before = asked(log)
    moment = len(log) // 2
    first = int(np.searchsorted(log.day, log.day[moment], "left"))
    planted = log.item.copy()
    planted[log.start[first] :] = 19 - planted[log.start[first] :]
    changed = asked(replace(log, item=planted))[moment]
    assert changed.item.tolist() == before[moment].item.tolist()
    assert changed.facts.tobytes() == before[moment].facts.tobytes()
    cut = asked(log.head(moment + 1))[moment]
    assert cut.facts.tobytes() == before[moment].facts.tobytes()


def test_an_item_that_appears_only_later_is_never_a_candidate_before() -> None:
    rows = [*ROWS, (21.0, 0, [17]), (28.0, 0, [17])]
    found = asked(log_of(rows))
    assert all(17 not in one.item.tolist() for one in found[:5])
    assert 17 in found[5].item.tolist()


def test_baskets_of_one_moment_are_asked_before_any_of_them_is_learned() -> None:
    found = asked(log_of([(0.0, 0, [1]), (1.0, 0, [2]), (1.0, 0, [3])]))
    assert found[2].item.tolist() == found[1].item.tolist() == [1]


@settings(max_examples=8, deadline=None)
@given(logs)
def test_asking_for_some_baskets_gives_what_asking_for_all_does(log: BasketLog) -> None:
    every = asked(log)
    some = list(Walk(log).ask(np.arange(len(log)) % 3 == 0))
    assert [one.facts.tobytes() for one in some] == [one.facts.tobytes() for one in every[::3]]


@settings(max_examples=8, deadline=None)
@given(logs)
def test_inputs_are_finite_and_z_scores_of_a_request_have_mean_0(log: BasketLog) -> None:
    some = [one for one in asked(log) if len(one.item)] or asked(log_of(ROWS))[1:]
    rows = batch(some, len(some))
    assert np.isfinite(inputs(rows)).all()
    z = z_within(derived(rows)["rebuy"][:, None], rows.start)
    assert np.allclose(np.add.reduceat(z, rows.start[:-1]), 0, atol=1e-2)


def test_trimming_keeps_the_likeliest_in_their_order() -> None:
    last = asked(log_of(ROWS))[3]
    assert trimmed(last, 1).item.tolist() == [1]
    assert trimmed(last, 99) is last


def test_places_of_an_owner_lie_side_by_side_in_the_order_of_meeting() -> None:
    found = places(np.array([0, 1, 0, 0], np.int32), np.array([5, 5, 2, 5], np.int32), 2, 6)
    assert found.thing.tolist() == [5, 2, 5]
    assert found.first.tolist() == [0, 2, 3]
    assert found.of_line.tolist() == [0, 2, 1, 0]
