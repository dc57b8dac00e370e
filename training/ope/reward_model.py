"""Predicted rewards: ridge regression per slot, cross-fitted by person.

A person's rewards are predicted by models that saw nothing of that person, so that a model may be as flexible as it
likes without the estimate learning its own noise (Chernozhukov et al., Double/debiased machine learning, The
Econometrics Journal 21, 2018). Linear, because the expectation of a linear model over the judged policy's choice is the
model at the expected features: candidates need not be kept, only their mean. Doubly robust estimates stay unbiased
however wrong the model is; only their variance depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from training.ope.slates import Bools, Floats, LoggedSlates, Subjects, TargetSlates

FOLDS: Final = 5
"""Each model sees four fifths of the people."""
RIDGE: Final = 1.0
"""Penalty on the coefficients of standardised features, in rows: one row's worth of doubt."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """Shape (n, k) each. In slots that do not count both are what follows, so that they cancel."""

    logged: Floats
    """Of the item shown."""
    expected: Floats
    """Of what the judged policy would show there."""


def immediate(slates: LoggedSlates, target: TargetSlates, reward: Floats, seed: int) -> Predicted:
    """Each slot's own reward. What per-slot independent estimates need."""
    return _predicted(slates, target, reward, seed, ahead=False)


def to_come(slates: LoggedSlates, target: TargetSlates, reward: Floats, seed: int) -> Predicted:
    """Each slot's reward and those below it, the judged policy choosing them: Q of cascade DR, fitted from the last
    slot upwards on r_j + E_πe Q_j+1 (Kiyohara et al., Doubly robust off-policy evaluation for ranking policies under
    the cascade behavior model, WSDM 2022)."""
    return _predicted(slates, target, reward, seed, ahead=True)


def _predicted(slates: LoggedSlates, target: TargetSlates, reward: Floats, seed: int, *, ahead: bool) -> Predicted:
    logged, expected = np.zeros(reward.shape), np.zeros(reward.shape)
    fold = folds_of(slates.subject, FOLDS, seed)
    free = slates.free
    for number in range(FOLDS):
        own, others = fold == number, fold != number
        below_own, below_others = np.zeros(int(own.sum())), np.zeros(int(others.sum()))
        for slot in range(slates.slots - 1, -1, -1):
            counts = free[others, slot]
            model = _Ridge(slates.features[others, slot][counts], (reward[others, slot] + below_others)[counts])
            below_others, _ = _slot(model, slates, target, free, others, slot, below_others)
            below_own, shown = _slot(model, slates, target, free, own, slot, below_own)
            expected[own, slot], logged[own, slot] = below_own, shown
            if not ahead:
                below_own, below_others = np.zeros_like(below_own), np.zeros_like(below_others)
    return Predicted(logged, expected)


def _slot(
    model: _Ridge, slates: LoggedSlates, target: TargetSlates, free: Bools, rows: Bools, slot: int, below: Floats
) -> tuple[Floats, Floats]:
    """(expected, logged) prediction of one slot in some rows; ``below`` where the slot does not count."""
    counts = free[rows, slot]
    expected = np.where(counts, model.predict(target.features[rows, slot]), below)
    return expected, np.where(counts, model.predict(slates.features[rows, slot]), below)


class _Ridge:
    """Least squares with an intercept over standardised features; without rows it predicts 0."""

    def __init__(self, features: Floats, wanted: Floats) -> None:
        width = features.shape[1]
        self._mean: Floats = np.zeros(width)
        self._scale: Floats = np.ones(width)
        self._slope: Floats = np.zeros(width)
        self._level = 0.0
        if not len(wanted):
            return
        self._mean = features.mean(axis=0, dtype=np.float64)
        deviation = features.std(axis=0)
        self._scale = np.where(deviation > 1e-12, deviation, 1.0)
        self._level = float(wanted.mean())
        scaled: Floats = (features - self._mean) / self._scale
        gram: Floats = scaled.T @ scaled + RIDGE * np.eye(width)
        self._slope = np.linalg.solve(gram, scaled.T @ (wanted - self._level)).astype(np.float64)

    def predict(self, features: Floats) -> Floats:
        predicted: Floats = self._level + ((features - self._mean) / self._scale) @ self._slope
        return predicted


def folds_of(subject: Subjects, folds: int, seed: int) -> Subjects:
    """Each person's fold, in [0, folds): a hash, so that the same person is in the same fold of every log (SplitMix64;
    Steele, Lea, Flood, OOPSLA 2014)."""
    mixed = subject.astype(np.uint64) + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return (mixed % np.uint64(folds)).astype(np.int64)
