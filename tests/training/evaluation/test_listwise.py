"""The listwise blend learns which columns put the wanted item first, and nothing from columns that say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad

from training.evaluation import listwise
from training.evaluation.listwise import Requests, feature_names, fit, log_features, loss, standardise

REQUESTS, CANDIDATES = 200, 12


def made(seed: int) -> tuple[Requests, np.ndarray]:
    """Column 0 tells the wanted item apart, column 1 is noise."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(REQUESTS, CANDIDATES, 2))
    utility = 2 * z[:, :, 0] + rng.gumbel(size=(REQUESTS, CANDIDATES))
    wanted = np.zeros((REQUESTS, CANDIDATES))
    wanted[np.arange(REQUESTS), utility.argmax(axis=1)] = 1
    start = np.arange(REQUESTS + 1) * CANDIDATES
    return Requests(z.reshape(-1, 2), start, wanted.ravel()), z


def test_it_recovers_the_weights_that_made_the_choices() -> None:
    requests, _ = made(1)
    weights = fit(requests, ["signal", "noise"], l2=0)
    assert weights.value.tolist() == pytest.approx([2.0, 0.0], abs=0.35)
    assert weights.as_dict().keys() == {"signal", "noise"}


def test_the_same_requests_give_the_same_weights() -> None:
    requests, _ = made(2)
    assert fit(requests, ["a", "b"]).value.tobytes() == fit(requests, ["a", "b"]).value.tobytes()


def test_a_strong_penalty_keeps_the_prior() -> None:
    requests, _ = made(3)
    weights = fit(requests, ["a", "b"], l2=1e6, prior=np.array([0.5, 0.25]))
    assert weights.value.tolist() == pytest.approx([0.5, 0.25], abs=1e-4)


def test_the_fit_never_loses_to_a_single_column() -> None:
    requests, _ = made(4)
    learned = loss(requests, fit(requests, ["a", "b"], l2=0).value)
    assert all(learned <= loss(requests, alone) + 1e-9 for alone in (np.array([1.0, 0]), np.array([0, 1.0])))


def test_the_gradient_is_that_of_the_loss() -> None:
    requests, _ = made(5)
    at = np.array([0.3, -0.2])
    step = 1e-6
    slopes = [(loss(requests, at + step * e) - loss(requests, at - step * e)) / (2 * step) for e in np.eye(2)]
    share = np.exp(listwise._log_softmax(requests.features @ at, requests.start))
    analytic = (share - requests.wanted) @ requests.features / REQUESTS
    assert analytic.tolist() == pytest.approx(slopes, abs=1e-6)
    assert check_grad(lambda w: loss(requests, w), lambda w: analytic if (w == at).all() else w, at) < 1e-5


def test_requests_that_want_nothing_teach_nothing() -> None:
    requests, _ = made(6)
    silent = requests.wanted.copy()
    silent[: 100 * CANDIDATES] = 0
    half = Requests(requests.features[100 * CANDIDATES :], requests.start[:101], requests.wanted[100 * CANDIDATES :])
    with_silent = fit(Requests(requests.features, requests.start, silent), ["a", "b"])
    assert with_silent.value.tolist() == pytest.approx(fit(half, ["a", "b"]).value.tolist(), abs=1e-6)


def test_a_row_that_is_constant_says_nothing_instead_of_dividing_by_zero() -> None:
    scores = np.array([[7.0, 7.0, 7.0], [1.0, 3.0, np.inf]])
    eligible = np.array([[True, True, True], [True, True, False]])
    assert standardise(scores, eligible).tolist() == [[0, 0, 0], [-1, 1, 0]]


def test_features_stand_recommender_by_recommender() -> None:
    made_of = log_features(np.array([[-1.0, 1.0]]))
    assert feature_names(["a", "b"]) == ("a.z", "a.log_z", "b.z", "b.log_z")
    assert made_of.tolist() == [[-1.0, 0.0, 1.0, pytest.approx(np.log(2))]]
