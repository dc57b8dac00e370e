"""Every estimator against a case small enough for a pencil."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.ope.estimators import (
    ESTIMATORS,
    TUNED,
    UNBIASED,
    Case,
    Sums,
    dm,
    dr,
    dr_os,
    ips,
    shrunk,
    sndr,
    snips,
    switch_dr,
    switched,
)
from training.ope.reward_model import Predicted
from training.ope.slates import Floats
from training.ope.weights import Structure, weigh

# Two slates of two slots. Ratios, rewards, and a model's word on the item shown (Q) and on what would be shown (V).
RATIO = np.array([[2.0, 0.5], [0.5, 4.0]])
REWARD = np.array([[1.0, 0.0], [0.0, 1.0]])
PREDICTED = Predicted(logged=np.array([[0.5, 0.2], [0.4, 0.6]]), expected=np.array([[0.7, 0.3], [0.5, 0.1]]))
ALL = np.ones((2, 2), np.bool_)


def case(structure: Structure, ratio: Floats = RATIO) -> Case:
    return Case(structure, weigh(ratio, structure), ALL, REWARD, None if structure == "slate" else PREDICTED)


# Independent weights are RATIO itself; cascade weights are [[2, 1], [.5, 2]]; whole-slate ones [[1, 1], [2, 2]].
BY_HAND: list[tuple[Structure, str, float]] = [
    # mean of 2·1 + .5·0 and .5·0 + 4·1
    ("independent", "ips", (2.0 + 4.0) / 2),
    ("cascade", "ips", (2.0 + 2.0) / 2),
    ("slate", "ips", (1.0 + 2.0) / 2),
    # slot 1: 2 / (2 + .5), slot 2: 4 / (.5 + 4)
    ("independent", "snips", 2.0 / 2.5 + 4.0 / 4.5),
    ("cascade", "snips", 2.0 / 2.5 + 2.0 / 3.0),
    ("slate", "snips", 1.0 / 3.0 + 2.0 / 3.0),
    # independent: all of V; cascade: V of the first slot, which speaks of those below too
    ("independent", "dm", (0.7 + 0.3 + 0.5 + 0.1) / 2),
    ("cascade", "dm", (0.7 + 0.5) / 2),
    # V + w (r - Q), slate by slate
    (
        "independent",
        "dr",
        ((0.7 + 2.0 * 0.5) + (0.3 + 0.5 * -0.2) + (0.5 + 0.5 * -0.4) + (0.1 + 4.0 * 0.4)) / 2,
    ),
    # w_(j-1) V + w_j (r - Q)
    (
        "cascade",
        "dr",
        ((0.7 + 2.0 * 0.5) + (2.0 * 0.3 + 1.0 * -0.2) + (0.5 + 0.5 * -0.4) + (0.5 * 0.1 + 2.0 * 0.4)) / 2,
    ),
    (
        "independent",
        "sndr",
        (0.7 + 0.5) / 2 + (0.3 + 0.1) / 2 + (2.0 * 0.5 - 0.5 * 0.4) / 2.5 + (0.5 * -0.2 + 4.0 * 0.4) / 4.5,
    ),
    (
        "cascade",
        "sndr",
        (0.7 + 0.5) / 2
        + (2.0 * 0.3 + 0.5 * 0.1) / 2.5
        + (2.0 * 0.5 - 0.5 * 0.4) / 2.5
        + (1.0 * -0.2 + 2.0 * 0.4) / 3.0,
    ),
]


@pytest.mark.parametrize(("structure", "estimator", "value"), BY_HAND)
def test_an_estimate_is_the_one_by_hand(structure: Structure, estimator: str, value: float) -> None:
    assert ESTIMATORS[estimator](case(structure)).value() == pytest.approx(value, abs=1e-12)


def test_switching_and_shrinking_are_their_formulas() -> None:
    weight = np.array([0.5, 2.0, 4.0])
    assert switched(weight, 2.0).tolist() == [0.5, 2.0, 0.0]
    assert shrunk(weight, 4.0).tolist() == pytest.approx([4 * 0.5 / 4.25, 4 * 2 / 8, 4 * 4 / 20])


@pytest.mark.parametrize(("estimator", "shrink"), [(switch_dr, switched), (dr_os, shrunk)])
def test_tau_and_lambda_are_one_of_those_tried(
    estimator: Callable[[Case], Sums], shrink: Callable[[Floats, float], Floats]
) -> None:
    rng = np.random.default_rng(0)
    ratio = rng.lognormal(0.0, 1.5, (200, 2))
    reward = rng.random((200, 2))
    predicted = Predicted(reward + rng.normal(0, 0.1, (200, 2)), rng.random((200, 2)))
    whole = Case("cascade", weigh(ratio, "cascade"), np.ones((200, 2), np.bool_), reward, predicted)
    possible = [dr(replace(whole, weight=shrink(whole.weight, parameter))).value() for parameter in TUNED]
    assert min(abs(estimator(whole).value() - value) for value in possible) < 1e-12


def test_a_model_that_is_wrong_everywhere_is_not_believed() -> None:
    ones, half = np.ones((400, 1)), np.full((400, 1), 0.5)
    even = Case("independent", ones, np.ones((400, 1), np.bool_), ones, Predicted(half, half))
    assert dm(even).value() == 0.5
    assert switch_dr(even).value() == pytest.approx(1.0)
    assert dr_os(even).value() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("structure", ["independent", "cascade"])
@given(
    ratio=st.lists(st.floats(0.1, 10.0), min_size=6, max_size=6),
    reward=st.lists(st.floats(0.0, 5.0), min_size=6, max_size=6),
)
def test_without_a_model_dr_is_ips_and_sndr_is_snips(
    structure: Structure, ratio: list[float], reward: list[float]
) -> None:
    zero = np.zeros((3, 2))
    weight = weigh(np.reshape(ratio, (3, 2)), structure)
    blind = Case(structure, weight, np.ones((3, 2), np.bool_), np.reshape(reward, (3, 2)), Predicted(zero, zero))
    assert dr(blind).value() == pytest.approx(ips(blind).value())
    assert sndr(blind).value() == pytest.approx(snips(blind).value())
    assert dm(blind).value() == 0.0


@given(reward=st.lists(st.floats(0.0, 5.0), min_size=6, max_size=6))
def test_the_logging_policy_judged_by_its_own_log_earned_what_it_earned(reward: list[float]) -> None:
    """Ratio 1: every weight is 1, and with V = Q the model cancels in whatever is unbiased."""
    rewards = np.reshape(reward, (3, 2))
    own = Case("independent", np.ones((3, 2)), np.ones((3, 2), np.bool_), rewards, Predicted(rewards / 2, rewards / 2))
    for name in UNBIASED:
        assert ESTIMATORS[name](own).value() == pytest.approx(rewards.sum() / 3)


def test_a_slot_that_does_not_count_enters_no_estimate() -> None:
    counted = np.array([[True, False], [True, True]])
    wild = np.array([[1.0, 1e6], [0.0, 1.0]])
    for structure in ("independent", "cascade"):
        weight = weigh(np.where(counted, RATIO, 1.0), structure)
        calm = Case(structure, weight, counted, REWARD, PREDICTED)
        loud = Case(structure, weight, counted, wild, PREDICTED)
        for name, estimator in ESTIMATORS.items():
            assert estimator(calm).value() == estimator(loud).value(), (structure, name)
