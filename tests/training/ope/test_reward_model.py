from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.ope.generated import World
from training.ope.reward_model import FOLDS, folds_of, immediate, to_come
from training.ope.slates import rewards

SLATES, TARGET = World.of(1).log(200, seed=2)
REWARD = rewards(SLATES, (1.0, 0.0, 0.0))


@pytest.mark.parametrize("fit", [immediate, to_come])
def test_a_prediction_knows_nothing_of_the_person_it_is_about(fit: type) -> None:
    somebody = SLATES.subject == SLATES.subject[0]
    told = np.where(somebody[:, None], REWARD + 100.0, REWARD)
    one, other = fit(SLATES, TARGET, REWARD, 0), fit(SLATES, TARGET, told, 0)
    assert np.array_equal(one.logged[somebody], other.logged[somebody])
    assert np.array_equal(one.expected[somebody], other.expected[somebody])
    assert not np.array_equal(one.logged[~somebody], other.logged[~somebody])


def test_a_reward_that_is_linear_in_the_features_is_predicted() -> None:
    exact = SLATES.features @ np.array([2.0, -1.0, 0.5]) + 3.0
    found = immediate(SLATES, TARGET, exact, 0)
    assert found.logged == pytest.approx(exact, abs=0.05)
    assert found.expected == pytest.approx(TARGET.features @ np.array([2.0, -1.0, 0.5]) + 3.0, abs=0.05)


def test_what_is_to_come_is_the_slot_and_what_lies_below() -> None:
    """Rewards that are the slot's number, whatever is shown."""
    numbered = np.broadcast_to(np.array([1.0, 2.0, 3.0]), REWARD.shape)
    assert to_come(SLATES, TARGET, numbered, 0).expected[0] == pytest.approx([6.0, 5.0, 3.0])
    assert immediate(SLATES, TARGET, numbered, 0).expected[0] == pytest.approx([1.0, 2.0, 3.0])


def test_a_forced_slot_is_predicted_by_what_follows() -> None:
    forced = np.zeros(SLATES.forced.shape, np.bool_)
    forced[:, 1] = True
    found = to_come(replace(SLATES, forced=forced), TARGET, np.where(forced, 0.0, REWARD), 0)
    assert np.array_equal(found.expected[:, 1], found.expected[:, 2])
    assert np.array_equal(found.expected[:, 1], found.logged[:, 1])


def test_folds_keep_people_together_and_are_about_equal() -> None:
    people = np.arange(10_000)
    fold = folds_of(people, FOLDS, 0)
    assert np.array_equal(folds_of(np.concatenate((people, people)), FOLDS, 0), np.concatenate((fold, fold)))
    assert np.bincount(fold).min() > 0.9 * len(people) / FOLDS
    assert not np.array_equal(fold, folds_of(people, FOLDS, 1))
