"""Progressive quality, against scikit-learn's own."""

from __future__ import annotations

import math

import numpy as np
from sklearn.metrics import log_loss, roc_auc_score

from training.learner.progress import ROWS, Progress


def world(count: int, seed: int) -> tuple[list[float], list[bool]]:
    random = np.random.default_rng(seed)
    logits = random.normal(-2, 1.5, count)
    return logits.tolist(), (random.random(count) < 1 / (1 + np.exp(-logits))).tolist()


def test_it_agrees_with_an_independent_implementation() -> None:
    progress = Progress()
    logits, labels = world(5_000, 0)
    for logit, label in zip(logits, labels, strict=True):
        progress.add(logit, label)
    told, chances = progress.quality(), 1 / (1 + np.exp(-np.array(logits)))
    assert (told.rows, told.positives) == (5_000, sum(labels))
    assert math.isclose(told.log_loss, log_loss(labels, chances), rel_tol=1e-9)
    assert abs(told.auc - roc_auc_score(labels, logits)) < 0.003  # bins of a quarter of a logit
    assert math.isclose(told.calibration, chances.sum() / sum(labels), rel_tol=1e-9)
    assert told.calibration_error < 0.03


def test_only_the_latest_rows_count() -> None:
    progress = Progress()
    for _ in range(ROWS + 1):
        progress.add(5.0, False)
    for _ in range(2 * ROWS):
        progress.add(5.0, True)
    told = progress.quality()
    assert told.positives == told.rows
    assert progress.rows == 3 * ROWS + 1


def test_stored_and_read_again_it_goes_on_the_same() -> None:
    kept, again = Progress(), Progress()
    for logit, label in zip(*world(300, 1), strict=True):
        kept.add(logit, label)
        again.add(logit, label)
        again = Progress(again.row())
    assert again.row() == kept.row()
    assert again.quality() == kept.quality()


def test_extreme_predictions_stay_finite() -> None:
    progress = Progress()
    for logit in (-1e9, -800.0, 0.0, 800.0, 1e9):
        progress.add(logit, logit < 0)
    assert math.isfinite(progress.quality().log_loss)


def test_nothing_learned_says_nothing() -> None:
    told = Progress().quality()
    assert told.rows == 0
    assert math.isnan(told.auc)
    assert math.isnan(told.log_loss)
