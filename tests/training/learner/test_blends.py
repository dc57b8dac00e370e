"""Where the learner's weights start, and what it does not learn."""

from __future__ import annotations

import numpy as np
from learner_lists import HOUR, START, Shop, counts, seen, settle
from scipy.stats import kendalltau

from actors.state import MemoryState
from training.blend import blend, features, log_odds, logits, merge, pool
from training.learned import CONTEXT, OUTCOMES
from training.learner.blends import BASE_LOGIT, Blends
from training.learner.settings import LearnerSettings
from training.recommender import Scored
from training.surface import Values

NAMES = ("one", "two", "three", "four")
FIXED = {"one": 3.0, "two": 1.5, "three": 1.0, "four": 0.5}


def said(random: np.random.Generator) -> list[Scored]:
    """Four recommenders on 200 candidates, each on some of them."""
    found = []
    for share in (0.2, 0.4, 0.6, 0.9):
        idx = np.flatnonzero(random.random(200) < share).astype(np.int32)
        score = np.exp(random.normal(size=len(idx)) * 0.8).astype(np.float32)
        found.append(Scored(idx, score, np.full(len(idx), -1, np.int32)))
    return found


def test_at_the_start_the_order_is_that_of_the_fixed_weights_but_for_near_ties() -> None:
    """As close as weights of these features come; until something is learned the fixed weights themselves serve."""
    blends = Blends(MemoryState(), NAMES, {"home": FIXED}, LearnerSettings())
    blends.restart(None)
    assert not blends.learned("").surfaces
    blends.river("home", "click")
    weights = blends.learned("").surfaces["home"]
    order, heads = [], []
    for seed in range(20):
        blended = blend(merge(pool(said(np.random.default_rng(seed))), 200), list(FIXED.values()))
        table = features(blended)
        context = np.zeros((len(CONTEXT), table.shape[1]), np.float32)
        learned = log_odds(logits(table, context, weights), Values())
        order.append(kendalltau(blended.score, learned).statistic)
        first = [set(np.argsort(-score, kind="stable")[:12].tolist()) for score in (blended.score, learned)]
        heads.append(len(first[0] & first[1]) / 12)
    assert np.mean(order) > 0.96
    assert np.mean(heads) > 0.9


def test_at_the_start_every_outcome_is_as_rare_as_expected() -> None:
    blends = Blends(MemoryState(), NAMES, {"home": FIXED}, LearnerSettings())
    blends.river("home", "cart")
    intercept = blends.learned("").surfaces["home"].intercept
    assert intercept.tolist() == [BASE_LOGIT[outcome] for outcome in OUTCOMES]


def test_equal_weights_have_equal_versions_and_others_have_others() -> None:
    one, other = (Blends(MemoryState(), NAMES, {"home": FIXED}, LearnerSettings()) for _ in range(2))
    one.river("home", "click")
    other.river("home", "click")
    assert one.learned("m").version == other.learned("m").version
    assert one.learned("m").version != one.learned("n").version
    other.river("discover", "click")
    assert one.learned("m").version != other.learned("m").version


def test_numbers_that_are_none_are_not_learned_from() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    shown = shop.answer("r1", "tea", "milk")
    shown.features[0, 0] = np.nan
    shop.add(0, "ann", seen("r1", "tea", "milk"))
    settle(learner, START + HOUR)
    assert (counts(learner)["learned_click"], counts(learner)["rows_lost"]) == (0, 2)


def test_rows_the_caller_forced_teach_nothing() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    shop.answer("r1", "tea", "milk", "soap", forced=frozenset({1}))
    shop.add(0, "ann", seen("r1", "tea", "milk", "soap"))
    settle(learner, START + HOUR)
    assert counts(learner)["learned_click"] == 2
