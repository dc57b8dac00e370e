"""The model of one outcome on one surface: River's logistic regression, with its state as plain arrays.

    P(y = 1 | x) = 1 / (1 + exp(-Σ_j w_j x_j)),  one x_j being the constant 1

Learned with AdaGrad (Duchi, Hazan, Singer: JMLR 12, 2011), whose memory of squared gradients starts at `CAUTION` and
halves every `FORGET_LISTS` lists: without the first, the first lists would move every weight by a whole step whatever
they say; without the second, it would stop following a changing world. The intercept starts far from its value as a
rule, and is less careful.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
from river import linear_model, optim

from training.learner.settings import Loss

Vector: TypeAlias = npt.NDArray[np.float64]
Sparse: TypeAlias = dict[int, float]

CAUTION: Final = 0.3
CAUTION_INTERCEPT: Final = 0.003
FORGET_LISTS: Final = 20_000
_FORGET_EVERY: Final = 500
_FORGOTTEN: Final = 0.5 ** (_FORGET_EVERY / FORGET_LISTS)


class _Row(msgspec.Struct, frozen=True, array_like=True):
    """As stored. ``weights`` and ``squares`` are little-endian float64, in the order of the columns."""

    iterations: int
    lists: int
    weights: bytes
    squares: bytes


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(_Row)


class OutcomeModel:
    """Not shared between threads."""

    def __init__(self, weights: Vector, rate: float, squares: Vector | None = None) -> None:
        """``weights``: of every column, the last one's x being 1."""
        self._columns = len(weights)
        self.lists = 0
        """Learned so far."""
        # River takes plain ints as names of features; the intercept is the last column's weight, so that AdaGrad
        # steers its step like any other's.
        self._optimizer = optim.AdaGrad(rate)
        self.river = linear_model.LogisticRegression(self._optimizer, intercept_lr=0.0)
        for column, weight in enumerate(weights.tolist()):
            self.river._weights[column] = weight
        if squares is None:
            squares = np.full(self._columns, CAUTION)
            squares[-1] = CAUTION_INTERCEPT
        self._optimizer.g2.update(enumerate(squares.tolist()))

    @classmethod
    def of(cls, row: bytes, rate: float) -> OutcomeModel:
        """What `row` made, to the bit."""
        stored = _DECODER.decode(row)
        model = cls(np.frombuffer(stored.weights, "<f8"), rate, np.frombuffer(stored.squares, "<f8"))
        model.lists = stored.lists
        model._optimizer.n_iterations = stored.iterations
        return model

    def row(self) -> bytes:
        squares = np.array([self._optimizer.g2[column] for column in range(self._columns)], "<f8")
        weights = self.weights().astype("<f8")
        return _ENCODER.encode(_Row(self._optimizer.n_iterations, self.lists, weights.tobytes(), squares.tobytes()))

    def weights(self) -> Vector:
        """Of every column."""
        stored = self.river._weights
        return np.array([stored[column] for column in range(self._columns)])

    def logits(self, rows: Sequence[Sparse]) -> list[float]:
        """Σ_j w_j x_j of each row."""
        return [self.river._raw_dot_one(row) for row in rows]

    def learn(self, rows: Sequence[Sparse], labels: Sequence[bool], weights: Sequence[float], loss: Loss) -> None:
        """One list: its rows, whether the outcome came, and what each row weighs."""
        if loss == "pointwise":
            for row, label, weight in zip(rows, labels, weights, strict=True):
                self.river.learn_one(row, label, w=weight)
        else:
            self._learn_list(rows, labels, weights)
        self.lists += 1
        if self.lists % _FORGET_EVERY == 0:
            for column in range(self._columns):
                self._optimizer.g2[column] *= _FORGOTTEN

    def _learn_list(self, rows: Sequence[Sparse], labels: Sequence[bool], weights: Sequence[float]) -> None:
        """Gradient of -Σ t_i log softmax_i with t the weighted labels, scaled to 1; that of the intercept is of the
        logistic loss. A list without the outcome orders nothing and moves the intercept alone."""
        bias = self._columns - 1
        logits = np.array(self.logits(rows))
        rated = np.array(weights)
        wanted = np.array(labels, np.float64)
        total = float((rated * wanted).sum())
        gradient: dict[Hashable, float] = {bias: float(((1.0 / (1.0 + np.exp(-logits)) - wanted) * rated).sum())}
        if total > 0:
            chances = np.exp(logits - logits.max())
            pull = (chances / chances.sum() - rated * wanted / total).tolist()
            for row, by in zip(rows, pull, strict=True):
                for column, value in row.items():
                    if column != bias:
                        gradient[column] = gradient.get(column, 0.0) + by * value
        self._optimizer.step(self.river._weights, gradient)
