"""Intervals hold the truth as often as they say; on 2,000 logs by ``benchmarks/off_policy.py``."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from training.ope.coverage import coverage
from training.ope.estimators import UNBIASED
from training.ope.generated import World

LOGS = 40
PEOPLE = 120


@pytest.mark.parametrize("slots", [1, 3])
def test_unbiased_intervals_hold_the_truth_as_often_as_they_say(slots: int) -> None:
    low, high = binom.interval(0.999, LOGS, 0.95)
    found = coverage(World.of(2, slots), LOGS, PEOPLE, seed=100)
    for key, covered in found.items():
        if key[1] in UNBIASED:
            assert low <= round(covered.share * LOGS) <= high, (key, covered)
            assert abs(covered.bias) < 4 * covered.rmse / LOGS**0.5, (key, covered)


@pytest.mark.parametrize("slots", [1, 2])
def test_the_counted_truth_is_what_a_large_log_shows(slots: int) -> None:
    world = World.of(3, slots)
    slates, _ = world.log(20_000, seed=1)
    shown = slates.outcome[:, :, 0].sum(axis=1)
    assert abs(shown.mean() - world.truth(world.logging)) < 4 * shown.std() / np.sqrt(len(shown) / 8)


def test_policies_that_are_the_same_are_worth_the_same() -> None:
    world = World.of(3, apart=0.0)
    assert world.truth(world.logging, above=world.logging) == pytest.approx(world.truth(world.logging))
