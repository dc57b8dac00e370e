"""A recommender that fails, dawdles or talks nonsense drops out; the others answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recommender_contract import SHOP, query

from training.blend import Evidence
from training.guard import Failed, Guard, Rules, nonsense, pooled
from training.recommender import ABSTAIN, Query, Scored

ITEMS = SHOP.snapshot()
ASKED = query(ITEMS)


def scored(idx: list[int], score: list[float]) -> Scored:
    return Scored(np.array(idx, np.int32), np.array(score, np.float32), np.full(len(idx), -1, np.int32))


GOOD = scored([0, 1], [1.0, 0.5])
BAD = {
    "nan": scored([0], [float("nan")]),
    "infinite": scored([0], [float("inf")]),
    "negative": scored([0, 1], [1.0, -0.5]),
    "out of range": scored([0, ITEMS.size], [1.0, 1.0]),
    "below zero": scored([-1], [1.0]),
    "unequal": Scored(np.array([0, 1], np.int32), np.array([1.0], np.float32), np.array([-1, -1], np.int32)),
    "other type": Scored(np.array([0]), np.array([1.0], np.float32), np.array([-1], np.int32)),  # type: ignore[arg-type]
    "two rows": Scored(np.zeros((1, 1), np.int32), np.ones((1, 1), np.float32), np.zeros((1, 1), np.int32)),
    "none": None,
}


class Now:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class One:
    """Says what it is told to, after so many seconds of the clock."""

    def __init__(self, name: str, says: Scored | Exception, clock: Now, takes: float = 0.0) -> None:
        self.name, self.says, self.takes, self.asked = name, says, takes, 0
        self._clock = clock

    def recommend(self, asked: Query) -> Scored:
        self.asked += 1
        self._clock.now += self.takes
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


def heard(evidence: Evidence) -> list[Scored]:
    """What each said, as it stands in the pool."""
    rows = (evidence.row == row for row in range(evidence.rows))
    return [Scored(evidence.idx[one], evidence.score[one], evidence.because[one]) for one in rows]


def same(evidence: Evidence, said: list[Scored]) -> bool:
    parts = [[part.tolist() for part in (one.idx, one.score, one.because)] for one in said]
    return [[part.tolist() for part in (one.idx, one.score, one.because)] for one in heard(evidence)] == parts


def reasons(failed: list[Failed]) -> list[tuple[str, str]]:
    return [(each.name, each.reason) for each in failed]


def test_all_who_are_well_are_heard_in_order() -> None:
    clock = Now()
    said, failed = Guard(clock).ask([One("a", GOOD, clock), One("b", ABSTAIN, clock)], ASKED)
    assert same(said, [GOOD, ABSTAIN])
    assert failed == []


def test_one_that_raises_abstains_and_is_named() -> None:
    clock = Now()
    broken = One("broken", ZeroDivisionError("by zero"), clock)
    said, failed = Guard(clock).ask([broken, One("b", GOOD, clock)], ASKED)
    assert same(said, [ABSTAIN, GOOD])
    assert failed == [Failed("broken", "raised", "ZeroDivisionError: by zero")]


@pytest.mark.parametrize("kind", BAD)
def test_nonsense_is_dropped_and_the_others_stay(kind: str) -> None:
    clock = Now()
    said, failed = Guard(clock).ask([One("a", GOOD, clock), One("bad", BAD[kind], clock)], ASKED)  # type: ignore[arg-type]
    assert same(said, [GOOD, ABSTAIN])
    assert reasons(failed) == [("bad", "nonsense")]


def test_a_slow_answer_is_used_and_counted() -> None:
    clock = Now()
    said, failed = Guard(clock).ask([One("slow", GOOD, clock, takes=0.06)], ASKED)
    assert same(said, [GOOD])
    assert reasons(failed) == [("slow", "slow")]


def test_after_three_failures_in_a_row_it_rests_and_one_call_decides_whether_it_is_back() -> None:
    clock = Now()
    guard = Guard(clock)
    flaky = One("flaky", ValueError("no"), clock)
    for _ in range(3):
        assert reasons(guard.ask([flaky], ASKED)[1]) == [("flaky", "raised")]
    for _ in range(5):
        assert reasons(guard.ask([flaky], ASKED)[1]) == [("flaky", "resting")]
    assert flaky.asked == 3
    clock.now += Rules().rest_s
    assert reasons(guard.ask([flaky], ASKED)[1]) == [("flaky", "raised")]
    assert reasons(guard.ask([flaky], ASKED)[1]) == [("flaky", "resting")]
    clock.now += Rules().rest_s
    flaky.says = GOOD
    said, failed = guard.ask([flaky], ASKED)
    assert same(said, [GOOD])
    assert failed == []
    flaky.says = ValueError("again")
    for _ in range(3):
        assert reasons(guard.ask([flaky], ASKED)[1]) == [("flaky", "raised")]


def test_failures_with_successes_between_are_forgiven() -> None:
    clock = Now()
    guard = Guard(clock)
    flaky = One("flaky", GOOD, clock)
    for _ in range(5):
        for says in (ValueError("no"), ValueError("no"), GOOD):
            flaky.says = says  # type: ignore[assignment]
            guard.ask([flaky], ASKED)
    assert flaky.asked == 15


def test_one_hang_is_enough_and_the_rest_of_that_answer_is_not_asked() -> None:
    clock = Now()
    guard = Guard(clock)
    hung, other = One("hung", GOOD, clock, takes=30.0), One("other", GOOD, clock)
    said, failed = guard.ask([other, hung, other], ASKED)
    assert same(said, [GOOD, GOOD, ABSTAIN])
    assert reasons(failed) == [("hung", "slow"), ("other", "late")]
    said, failed = guard.ask([other, hung, other], ASKED)
    assert same(said, [GOOD, ABSTAIN, GOOD])
    assert reasons(failed) == [("hung", "resting")]


def test_repeated_nonsense_rests_too() -> None:
    clock = Now()
    guard = Guard(clock)
    mad = One("mad", BAD["nan"], clock)  # type: ignore[arg-type]
    for _ in range(4):
        _, failed = guard.ask([mad], ASKED)
    assert reasons(failed) == [("mad", "resting")]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(-2, 5), st.floats(width=32)), max_size=4).map(
            lambda rows: scored([idx for idx, _ in rows], [score for _, score in rows])
        ),
        max_size=4,
    )
)
def test_all_together_are_sound_where_each_is(said: list[Scored]) -> None:
    each = not any(nonsense(one, 4) for one in said)
    together = pooled(said, 4) is not None
    assert together <= each
    if not any(np.signbit(one.score).any() for one in said):
        assert together == each
