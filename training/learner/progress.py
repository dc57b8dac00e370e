"""How good the learner's own predictions were, each made before the row was learned (progressive validation; Blum,
Kalai, Langford: COLT 1999)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

ROWS: Final = 20_000
"""What is told covers the last one to two times as many rows."""
BINS: Final = 96
LOGIT_MAX: Final = 12.0
"""Predictions are counted in bins of a quarter of a logit; those of one bin tie in the AUC."""
_PER_LOGIT: Final = BINS / (2 * LOGIT_MAX)


@dataclass(frozen=True, slots=True)
class Quality:
    """Of the latest rows; NaN where they say nothing (no rows, or one kind of outcome only)."""

    rows: int
    positives: int
    log_loss: float
    """Mean of -log P(what happened), natural logarithm."""
    auc: float
    """Chance that a random row with the outcome was predicted above one without, ties counting half."""
    calibration: float
    """Σ predicted / Σ happened; 1 is right on average."""
    calibration_error: float
    """Σ over bins |Σ predicted - Σ happened| / rows."""


class _Window(msgspec.Struct, array_like=True):
    loss: float
    yes: list[int]
    no: list[int]
    predicted: list[float]


class _Row(msgspec.Struct, array_like=True):
    rows: int
    positives: int
    now: _Window
    before: _Window


class Progress:
    """Of one outcome on one surface."""

    def __init__(self, row: bytes | None = None) -> None:
        self._state = _Row(0, 0, _window(), _window()) if row is None else msgspec.msgpack.decode(row, type=_Row)
        self._filled = sum(self._state.now.yes) + sum(self._state.now.no)

    def row(self) -> bytes:
        return msgspec.msgpack.encode(self._state)

    @property
    def rows(self) -> int:
        """Learned since the beginning."""
        return self._state.rows

    @property
    def positives(self) -> int:
        return self._state.positives

    def add(self, logit: float, happened: bool) -> None:
        """One row, predicted at ``logit``."""
        state = self._state
        if self._filled >= ROWS:
            state.before, state.now, self._filled = state.now, _window(), 0
        now = state.now
        place = min(BINS - 1, max(0, int((logit + LOGIT_MAX) * _PER_LOGIT)))
        toward = -logit if happened else logit
        now.loss += toward + math.log1p(math.exp(-toward)) if toward > 0 else math.log1p(math.exp(toward))
        now.predicted[place] += 1.0 / (1.0 + math.exp(-logit)) if logit > -700 else 0.0
        (now.yes if happened else now.no)[place] += 1
        self._filled += 1
        state.rows += 1
        state.positives += happened

    def quality(self) -> Quality:
        now, before = self._state.now, self._state.before
        yes = np.array(now.yes) + np.array(before.yes)
        no = np.array(now.no) + np.array(before.no)
        predicted = np.array(now.predicted) + np.array(before.predicted)
        rows, positives = int(yes.sum() + no.sum()), int(yes.sum())
        below = np.cumsum(no) - no
        pairs = positives * (rows - positives)
        return Quality(
            rows,
            positives,
            (now.loss + before.loss) / rows if rows else math.nan,
            float((yes * (below + 0.5 * no)).sum()) / pairs if pairs else math.nan,
            float(predicted.sum()) / positives if positives else math.nan,
            float(np.abs(predicted - yes).sum()) / rows if rows else math.nan,
        )


def _window() -> _Window:
    return _Window(0.0, [0] * BINS, [0] * BINS, [0.0] * BINS)
