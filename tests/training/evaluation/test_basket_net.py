"""The network: it learns an order, its gradients are those of its loss, the same seed gives the same one."""

from __future__ import annotations

import numpy as np

from training.evaluation.basket_net import Lists, Net, Shape, _forward, _gradients, fit


def lists(requests: int = 120, candidates: int = 8, seed: int = 0) -> Lists:
    """Wanted is what both or neither of the first two inputs speak for: no linear score finds it."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((requests, candidates, 4)).astype(np.float32)
    merit = x[:, :, 0] * x[:, :, 1]
    wanted = merit == merit.max(axis=1, keepdims=True)
    start = np.arange(requests + 1, dtype=np.int64) * candidates
    return Lists(x.reshape(-1, 4), start, wanted.ravel())


def hit_share(net: Net, data: Lists) -> float:
    score = net.score(data.inputs).reshape(len(data.start) - 1, -1)
    wanted = data.wanted.reshape(score.shape)
    return float(wanted[np.arange(len(score)), score.argmax(axis=1)].mean())


def test_it_finds_an_order_that_no_linear_score_has() -> None:
    net = fit(lists(600), 0, Shape(first=24, second=12, epochs=25, rate=1e-2))
    assert hit_share(net, lists(300, seed=1)) > 0.6


def test_the_same_lists_and_seed_give_the_same_network_and_another_seed_another() -> None:
    shape = Shape(first=6, second=4, epochs=1)
    first, again, other = (fit(lists(), seed, shape) for seed in (3, 3, 4))
    assert [w.tobytes() for w in first.weights] == [w.tobytes() for w in again.weights]
    assert first.weights[0].tobytes() != other.weights[0].tobytes()


def test_requests_that_want_nothing_teach_nothing() -> None:
    data = lists(64)
    wanted = data.wanted.reshape(64, -1).copy()
    wanted[32:] = False
    half = Lists(data.inputs, data.start, wanted.ravel())
    net = fit(half, 0, Shape(first=6, second=4, epochs=1))
    assert all(np.isfinite(weight).all() for weight in net.weights)


def test_gradients_are_those_of_the_listwise_loss() -> None:
    data = lists(3)
    random = np.random.default_rng(1)
    shapes = ((4, 5), (5,), (5, 3), (3,), (3,), (4,))
    weights = tuple(random.standard_normal(shape).astype(np.float32) for shape in shapes)
    net = Net(np.zeros(4, np.float32), np.ones(4, np.float32), weights)
    found = _gradients(net, data, np.arange(3))

    def loss(changed: list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]) -> float:
        score = _forward(changed, data.inputs.astype(np.float64))[2].reshape(3, -1)  # type: ignore[arg-type]
        log_share = score - np.log(np.exp(score).sum(axis=1, keepdims=True))
        return -float(log_share[data.wanted.reshape(3, -1)].mean())

    exact = [weight.astype(np.float64) for weight in weights]
    for number, gradient in enumerate(found):
        for at in np.ndindex(*exact[number].shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [weight.copy() for weight in exact]
                moved[number][at] += step
                ends.append(loss(moved))
            assert abs((ends[0] - ends[1]) / 2e-6 - gradient[at]) < 1e-3


def test_inputs_far_out_are_cut() -> None:
    net = fit(lists(), 0, Shape(first=6, second=4, epochs=1))
    far = np.full((1, 4), 1e9, np.float32)
    assert np.isfinite(net.score(far)).all()
