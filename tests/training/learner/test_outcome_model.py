"""The model of one outcome: River's own, scored in numpy, stored to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.state import MemoryState
from training.blend import logits
from training.learned import CONTEXT
from training.learner.blends import Blends
from training.learner.outcome_model import OutcomeModel
from training.learner.settings import LearnerSettings, Loss
from training.learner.shown import WIDTH, ShownList, sparse

NAMES = ("one", "two", "three")


def rows(random: np.random.Generator, count: int, columns: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    found = random.normal(size=(count, columns)) * (random.random((count, columns)) < 0.6)
    found[:, -1] = 1.0
    return found.astype(np.float32).astype(np.float64)


def trained(model: OutcomeModel, random: np.random.Generator, lists: int, loss: Loss, columns: int) -> None:
    for _ in range(lists):
        made = sparse(rows(random, 5, columns))
        model.learn(made, (random.random(5) < 0.3).tolist(), [0.2] * 5, loss)


def shown(random: np.random.Generator, slots: int) -> ShownList:
    features = rows(random, slots, len(NAMES) * WIDTH)
    context = rows(random, slots, len(CONTEXT))
    items = tuple(f"i{slot}" for slot in range(slots))
    return ShownList("home", 0, True, False, items, (1.0,) * slots, NAMES, features, context)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from(["pointwise", "listwise"]))
def test_a_replica_scores_as_river_predicts(seed: int, lists: int, loss: Loss) -> None:
    random = np.random.default_rng(seed)
    blends = Blends(MemoryState(), NAMES, {"home": {"one": 1.0}}, LearnerSettings(loss=loss, rate=1.0))
    for _ in range(lists):
        blends.learn(shown(random, 6), "click", range(6), [int(random.integers(6))])
    asked = shown(random, 40)
    weights = blends.learned("").surfaces["home"]
    found = logits(asked.features.T.astype(np.float32), asked.context.T.astype(np.float32), weights)
    river = blends.river("home", "click").river
    own = [river.predict_proba_one(row)[True] for row in sparse(blends.columns.of(asked))]
    np.testing.assert_allclose(1 / (1 + np.exp(-found[0])), own, rtol=0, atol=1e-9)


@pytest.mark.parametrize("loss", ["pointwise", "listwise"])
def test_a_stored_model_learns_on_as_if_it_had_never_been_stored(loss: Loss) -> None:
    columns = 8
    kept = OutcomeModel(np.linspace(-1, 1, columns), 0.1)
    again = OutcomeModel(np.linspace(-1, 1, columns), 0.1)
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    trained(kept, one, 1_200, loss, columns)  # past two forgettings
    for _ in range(4):
        trained(again, other, 300, loss, columns)
        again = OutcomeModel.of(again.row(), 0.1)
    assert again.row() == kept.row()


def test_learning_a_world_finds_its_weights() -> None:
    random = np.random.default_rng(5)
    truth = np.array([1.0, -1.0, 0.5, -2.0])
    model = OutcomeModel(np.zeros(4), 0.3)
    for _ in range(4_000):
        made = rows(random, 6, 4)
        labels = random.random(6) < 1 / (1 + np.exp(-made @ truth))
        model.learn(sparse(made), labels.tolist(), [1 / 6] * 6, "pointwise")
    np.testing.assert_allclose(model.weights(), truth, atol=0.25)


def test_a_list_nobody_acted_on_moves_only_the_intercept_of_a_listwise_model() -> None:
    random = np.random.default_rng(2)
    model = OutcomeModel(np.array([0.5, -0.5, 0.0]), 0.1)
    model.learn(sparse(rows(random, 5, 3)), [False] * 5, [0.2] * 5, "listwise")
    assert model.weights()[:2].tolist() == [0.5, -0.5]
    assert model.weights()[2] < 0


@given(st.integers(0, 2**32 - 1))
def test_lists_of_any_length_weigh_the_same(seed: int) -> None:
    """Twelve equal rows of which one was acted on teach the intercept what two such rows with half an act would."""
    random = np.random.default_rng(seed)
    row = sparse(rows(random, 1, 3))[0]
    one, many = OutcomeModel(np.zeros(3), 0.1), OutcomeModel(np.zeros(3), 0.1)
    one._learn_list([row], [False], [1.0])
    many._learn_list([row] * 12, [False] * 12, [1 / 12] * 12)
    np.testing.assert_allclose(one.weights(), many.weights(), atol=1e-12)
