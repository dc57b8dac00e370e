"""Fixed-share Hedge."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.hedge import SHARE, Hedge, charged

G = 4


def world(acts: int, right: int, seed: int, hedge: Hedge | None = None) -> Hedge:
    """Lists of 6 where recommender ``right`` knows what is wanted, the others say anything, and number 3 sleeps."""
    random = np.random.default_rng(seed)
    hedge = hedge or Hedge.start(G)
    for _ in range(acts):
        z = random.normal(size=(6, G))
        wanted = int(random.integers(6))
        z[wanted, right] += 2.0
        spoke = np.ones((6, G), np.bool_)
        spoke[:, 3] = False
        hedge = charged(hedge, z, spoke, wanted)
    return hedge


def test_the_recommender_that_is_right_leads() -> None:
    assert int(np.argmax(world(300, right=1, seed=0).weights)) == 1


def test_when_another_becomes_right_it_is_followed_within_a_few_hundred_acts() -> None:
    before = world(2_000, right=1, seed=1)
    after = world(300, right=2, seed=2, hedge=before)
    assert int(np.argmax(before.weights)) == 1
    assert int(np.argmax(after.weights)) == 2


def test_one_that_says_nothing_of_a_list_is_neither_charged_nor_paid() -> None:
    hedge = Hedge(np.array([0.5, 0.3, 0.2]), np.ones(3))
    z, spoke = np.array([[1.0, 0, 0], [0, 1.0, 0]]), np.array([[True, True, False], [True, True, False]])
    after = charged(hedge, z, spoke, 0)
    assert after.weights[2] == (1 - SHARE) * 0.2 + SHARE / 3
    assert after.weights[0] > after.weights[1]


def test_one_that_scored_others_but_not_the_item_loses_as_much_as_anyone_can() -> None:
    hedge = Hedge.start(2)
    z = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    spoke = np.array([[True, False], [True, True], [True, True]])
    after = charged(hedge, z, spoke, 0)
    assert after.weights[0] == after.weights[1]  # knowing nothing costs 1, and so does not naming it


def test_a_list_nobody_scored_teaches_nothing() -> None:
    hedge = Hedge.start(3)
    assert charged(hedge, np.zeros((2, 3)), np.zeros((2, 3), np.bool_), 0) is hedge


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 5))
def test_weights_stay_a_distribution_with_the_share_as_their_floor(seed: int, items: int, experts: int) -> None:
    random = np.random.default_rng(seed)
    hedge = Hedge.start(experts)
    for _ in range(20):
        z = random.normal(size=(items, experts)) * 10
        hedge = charged(hedge, z, random.random((items, experts)) < 0.6, int(random.integers(items)))
        assert abs(hedge.weights.sum() - 1.0) < 1e-12
        assert (hedge.weights >= SHARE / experts - 1e-15).all()
        assert np.isfinite(hedge.inverse).all()


@given(st.integers(0, 2**32 - 1))
def test_renaming_recommenders_renames_the_weights(seed: int) -> None:
    random = np.random.default_rng(seed)
    z, spoke = random.normal(size=(5, G)), random.random((5, G)) < 0.7
    order = random.permutation(G)
    plain = charged(Hedge.start(G), z, spoke, 2)
    renamed = charged(Hedge.start(G), z[:, order], spoke[:, order], 2)
    np.testing.assert_allclose(renamed.weights, plain.weights[order], rtol=1e-12)
