"""First weights: fitted on requests, and never worse on them than the best recommender alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.blend import FEATURES
from training.initial_blend import DEPTH, Vector, alone_weights, fit_blend, fixed_blend, learned_of
from training.learned import OUTCOMES, pack, unpack
from training.pseudo_requests import Answered, Stacked, best_of, stacked
from training.surface import SURFACES

NAMES = ("one", "two", "three")
CANDIDATES = 30


def request(rng: np.random.Generator, quality: tuple[float, ...], silent: float = 0.3) -> Answered:
    """Candidates with a hidden worth, and recommenders that see it through noise; ``quality`` 1 sees it all."""
    worth = rng.standard_normal(CANDIDATES)
    features = np.zeros((CANDIDATES, len(quality), len(FEATURES)), np.float32)
    for number, how in enumerate(quality):
        z = how * worth + np.sqrt(1 - how**2) * rng.standard_normal(CANDIDATES)
        known = rng.random(CANDIDATES) > silent
        rank = np.argsort(np.argsort(-np.where(known, z, -9)))
        features[:, number, 0] = np.where(known, z, 0.0)
        features[:, number, 1] = np.where(known, np.log1p(np.maximum(z, 0.0)), 0.0)
        features[:, number, 2] = np.where(known, 1.0 / (1.0 + rank), 0.0)
        features[:, number, 3] = ~known
    return Answered(
        features=features.reshape(CANDIDATES, -1),
        fixed=features[:, 0, 1].copy(),
        idx=np.sort(rng.choice(200, CANDIDATES, replace=False)).astype(np.int32),
        label=rng.integers(-1, 25, CANDIDATES).astype(np.int32),
        wanted=worth > 1.2,
        missed=int(rng.integers(0, 3)),
    )


def requests(count: int, seed: int, quality: tuple[float, ...] = (0.5, 0.4, 0.0)) -> Stacked:
    rng = np.random.default_rng(seed)
    return stacked([request(rng, quality) for _ in range(count)], len(quality) * len(FEATURES))


def prior(names: tuple[str, ...] = NAMES) -> Vector:
    return np.zeros(len(names) * len(FEATURES))


def ndcg(asked: Stacked, weights: Vector) -> float:
    return float(asked.ndcg(asked.score(weights), DEPTH).mean())


@given(st.integers(0, 10_000), st.integers(1, 12), st.lists(st.sampled_from([0.0, 0.3, 0.9]), min_size=3, max_size=3))
@settings(max_examples=12, deadline=None)
def test_the_ensemble_is_never_worse_than_its_best_member(seed: int, count: int, quality: list[float]) -> None:
    asked = requests(count, seed, (quality[0], quality[1], quality[2]))
    blend = fit_blend(asked, NAMES, prior())
    alone = {name: ndcg(asked, alone_weights(NAMES, name)) for name in NAMES}
    assert blend.ndcg == pytest.approx(ndcg(asked, blend.weights), abs=1e-6)
    assert blend.ndcg >= max(alone.values()) - 1e-6
    assert blend.alone == pytest.approx(alone)


def test_two_that_know_different_things_are_better_together() -> None:
    fitted, unseen = requests(200, 1, (0.6, 0.6, 0.0)), requests(200, 2, (0.6, 0.6, 0.0))
    blend = fit_blend(fitted, NAMES, prior())
    assert ndcg(unseen, blend.weights) > max(ndcg(unseen, alone_weights(NAMES, name)) for name in NAMES) + 0.03


def test_without_anything_wanted_the_prior_stays() -> None:
    nothing = stacked([], len(NAMES) * len(FEATURES))
    blend = fit_blend(nothing, NAMES, prior() + 1.0)
    assert blend.weights.tolist() == (prior() + 1.0).tolist()


def test_what_the_learner_starts_from_orders_alike_and_is_named_by_its_bytes() -> None:
    asked = requests(60, 5)
    blend = fit_blend(asked, NAMES, prior())
    learned = learned_of({"home": blend}, {"home": asked})
    assert learned is not None
    assert pack(unpack(pack(learned))) == pack(learned)
    again = learned_of({"home": fit_blend(asked, NAMES, prior())}, {"home": asked})
    assert again is not None
    assert pack(again) == pack(learned)
    home = learned.surfaces["home"]
    assert home.recommenders.shape == (len(OUTCOMES), len(NAMES) * len(FEATURES))
    scores = asked.score(blend.weights)[asked.idx >= 0] + home.intercept[0]
    assert float((1 / (1 + np.exp(-scores))).mean()) == pytest.approx(
        asked.wanted.sum() / (asked.idx >= 0).sum(), rel=1e-3
    )


def test_no_surface_no_weights() -> None:
    assert learned_of({}, {}) is None


def test_fixed_weights_carry_over() -> None:
    weights = fixed_blend(("popularity", "covisitation"), SURFACES["home"]).reshape(2, len(FEATURES))
    shares = SURFACES["home"].weights
    assert weights[0, 1] / weights[1, 1] == pytest.approx(shares["popularity"] / shares["covisitation"])


@given(st.integers(0, 1_000))
@settings(max_examples=20, deadline=None)
def test_lists_hold_the_best_of_each_label_in_a_total_order(seed: int) -> None:
    """Against the plain way of saying it, one request at a time."""
    rng = np.random.default_rng(seed)
    answers = [request(rng, (0.5, 0.0, 0.0)) for _ in range(3)]
    asked = stacked(answers, 12)
    score = np.round(rng.standard_normal(asked.idx.shape), 1).astype(np.float32)
    row, column = asked.lists(score, DEPTH)
    for number, answer in enumerate(answers):
        assert column[row == number].tolist() == best_of(answer, score[number], DEPTH)
