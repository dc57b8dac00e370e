"""A small network that scores the candidates of a request, fitted listwise.

    h = relu(x A + a),  g = relu(h B + b),  score = g c + x d

under the softmax loss of `training.evaluation.listwise` over each request's candidates. Two narrow layers find what a
linear blend cannot: that a purchase a minute ago speaks against the item and one a week ago for it, and that both
depend on how often this household shops. A few thousand weights, learned by Adam (Kingma, Ba, ICLR 2015) with a cosine
schedule in the order that the seed gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from training.evaluation.basket_columns import Bools
from training.evaluation.basket_facts import Float32
from training.evaluation.basket_log import Int64

CLIP: Final = 5.0
"""Inputs further than this many deviations from the mean are cut."""
MOMENTS: Final = (0.9, 0.999)
_ROWS: Final = 65_536


@dataclass(frozen=True, slots=True)
class Shape:
    """Hyper-parameters, chosen on weeks 45-48."""

    first: int = 64
    second: int = 24
    epochs: int = 5
    requests: int = 32
    """Per step."""
    rate: float = 2e-3
    shrink: float = 1e-5


@dataclass(frozen=True, slots=True)
class Lists:
    """Requests to learn from: candidates of request r are the rows ``start[r]:start[r + 1]``."""

    inputs: npt.NDArray[np.floating]
    """Shape (rows, inputs); float16 will do."""
    start: Int64
    wanted: Bools


@dataclass(frozen=True, slots=True)
class Net:
    """What was learned."""

    mean: Float32
    scale: Float32
    weights: tuple[Float32, ...]

    def score(self, inputs: npt.NDArray[np.floating]) -> Float32:
        """Shape (rows,); only the order and differences within a request mean something."""
        scores = np.empty(len(inputs), np.float32)
        for begin in range(0, len(inputs), _ROWS):
            rows = slice(begin, begin + _ROWS)
            scores[rows] = _forward(self.weights, self.standardised(inputs[rows]))[2]
        return scores

    def standardised(self, inputs: npt.NDArray[np.floating]) -> Float32:
        return np.asarray(np.clip((inputs - self.mean) * self.scale, -CLIP, CLIP), np.float32)


def fit(lists: Lists, seed: int, shape: Shape = Shape(), after: Callable[[int, Net], None] | None = None) -> Net:
    """Learns from the requests that want something. One BLAS thread: the same lists and seed, the same network.

    ``after`` is told (epoch, network so far), for learning curves.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        return _fitted(lists, seed, shape, after)


def _fitted(lists: Lists, seed: int, shape: Shape, after: Callable[[int, Net], None] | None) -> Net:
    random = np.random.default_rng(seed)
    net = Net(*_moments(lists.inputs), _begin(lists.inputs.shape[1], shape, random))
    useful = np.flatnonzero(np.add.reduceat(lists.wanted.astype(np.int64), lists.start[:-1]) > 0)
    adam = _Adam(net.weights, shape, total=shape.epochs * (len(useful) // shape.requests))
    for epoch in range(shape.epochs):
        order = random.permutation(useful)
        for begin in range(0, len(order) - shape.requests + 1, shape.requests):
            adam.step(_gradients(net, lists, order[begin : begin + shape.requests]))
        if after is not None:
            after(epoch + 1, Net(net.mean, net.scale, tuple(each.copy() for each in net.weights)))
    return net


def _moments(inputs: npt.NDArray[np.floating]) -> tuple[Float32, Float32]:
    """Mean and 1 / deviation of each input. Block by block: a float64 copy of all would take more than everything
    else."""
    total, squares = np.zeros(inputs.shape[1]), np.zeros(inputs.shape[1])
    for begin in range(0, len(inputs), _ROWS):
        block = inputs[begin : begin + _ROWS].astype(np.float64)
        total += block.sum(axis=0)
        squares += np.square(block).sum(axis=0)
    mean = total / len(inputs)
    deviation = np.sqrt(np.maximum(squares / len(inputs) - mean * mean, 0.0))
    return mean.astype(np.float32), (1.0 / (deviation + 1e-6)).astype(np.float32)


def _begin(width: int, shape: Shape, random: np.random.Generator) -> tuple[Float32, ...]:
    """He initialisation; the direct way starts near 0."""
    spreads = (
        ((width, shape.first), (2.0 / width) ** 0.5),
        ((shape.first,), 0.0),
        ((shape.first, shape.second), (2.0 / shape.first) ** 0.5),
        ((shape.second,), 0.0),
        ((shape.second,), (1.0 / shape.second) ** 0.5),
        ((width,), 0.01),
    )
    return tuple((random.standard_normal(size) * spread).astype(np.float32) for size, spread in spreads)


def _forward(weights: Sequence[Float32], x: Float32) -> tuple[Float32, Float32, Float32]:
    first = np.maximum(x @ weights[0] + weights[1], 0.0)
    second = np.maximum(first @ weights[2] + weights[3], 0.0)
    return first, second, second @ weights[4] + x @ weights[5]


def _gradients(net: Net, lists: Lists, requests: Int64) -> list[Float32]:
    """Of the mean loss over these requests, in the order of the weights."""
    begin, end = lists.start[requests], lists.start[requests + 1]
    sizes = end - begin
    rows = np.repeat(begin - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
    starts = np.cumsum(sizes) - sizes
    x = net.standardised(lists.inputs[rows])
    first, second, score = _forward(net.weights, x)
    share = np.exp(score - np.repeat(np.maximum.reduceat(score, starts), sizes))
    share /= np.repeat(np.add.reduceat(share, starts), sizes)
    goal = lists.wanted[rows].astype(np.float32)
    goal /= np.repeat(np.add.reduceat(goal, starts), sizes)
    wrong = (share - goal) / np.float32(len(requests))
    back_second = np.outer(wrong, net.weights[4])
    back_second[second <= 0.0] = 0.0
    back_first = back_second @ net.weights[2].T
    back_first[first <= 0.0] = 0.0
    return [
        x.T @ back_first,
        back_first.sum(axis=0),
        first.T @ back_second,
        back_second.sum(axis=0),
        second.T @ wrong,
        x.T @ wrong,
    ]


class _Adam:
    """Changes the weights in place."""

    def __init__(self, weights: Sequence[Float32], shape: Shape, total: int) -> None:
        self._weights = weights
        self._shape = shape
        self._total = max(total, 1)
        self._steps = 0
        self._mean = [np.zeros_like(each) for each in weights]
        self._square = [np.zeros_like(each) for each in weights]

    def step(self, gradients: Sequence[Float32]) -> None:
        self._steps += 1
        done = self._steps / self._total
        rate = self._shape.rate * min(1.0, self._steps / 100.0) * (0.5 * (1.0 + np.cos(np.pi * done)) + 0.01)
        slow, fast = MOMENTS
        for weight, gradient, mean, square in zip(self._weights, gradients, self._mean, self._square, strict=True):
            pulled = gradient + np.float32(self._shape.shrink) * weight
            mean += np.float32(1.0 - slow) * (pulled - mean)
            square += np.float32(1.0 - fast) * (pulled * pulled - square)
            root = np.sqrt(square / np.float32(1.0 - fast**self._steps)) + np.float32(1e-8)
            weight -= np.float32(rate / (1.0 - slow**self._steps)) * mean / root
