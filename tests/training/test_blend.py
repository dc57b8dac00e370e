"""Evidence is merged once, normalised within the request, and weighed; who has nothing to say drops out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.blend import (
    BELOW_MEAN,
    FEATURES,
    Blended,
    Candidates,
    blend,
    context_features,
    features,
    log_odds,
    logits,
    logits_of,
    pool,
    restricted,
)
from training.blend import merge as merge_evidence
from training.learned import CONTEXT, OUTCOMES, SurfaceWeights
from training.recommender import ABSTAIN, Scored
from training.surface import Values

ITEMS = 30


def scored(*entries: tuple[int, float], because: int = -1) -> Scored:
    return Scored(
        np.array([idx for idx, _ in entries], np.int32),
        np.array([score for _, score in entries], np.float32),
        np.full(len(entries), because, np.int32),
    )


def merge(said: list[Scored], size: int) -> Candidates:
    return merge_evidence(pool(said), size)


EVIDENCE = st.lists(
    st.lists(st.tuples(st.integers(0, ITEMS - 1), st.floats(0, 100, width=32)), max_size=20).map(lambda e: scored(*e)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=80)
@given(EVIDENCE)
def test_merging_adds_up_every_items_evidence_per_recommender(evidence: list[Scored]) -> None:
    merged = merge(evidence, ITEMS)
    expected: dict[int, list[float]] = {}
    for row, one in enumerate(evidence):
        for idx, score in zip(one.idx.tolist(), one.score.tolist(), strict=True):
            expected.setdefault(idx, [0.0] * len(evidence))[row] += score
    assert merged.idx.tolist() == sorted(set(merged.idx.tolist()))
    found = {idx: merged.raw[:, column].tolist() for column, idx in enumerate(merged.idx.tolist())}
    assert found.keys() == expected.keys()
    for idx, sums in expected.items():
        assert found[idx] == pytest.approx(sums)


@settings(max_examples=80)
@given(EVIDENCE)
def test_scores_are_finite_and_depend_on_no_order_of_candidates(evidence: list[Scored]) -> None:
    merged = merge(evidence, ITEMS)
    weights = [1.0 + row for row in range(len(evidence))]
    one = blend(merged, weights)
    order = np.argsort(-merged.idx)
    two = blend(Candidates(merged.idx[order], merged.raw[:, order], merged.because[:, order]), weights)
    assert np.isfinite(one.score).all()
    assert one.score[order].tolist() == pytest.approx(two.score.tolist(), abs=1e-5)
    assert sum(one.weights) == pytest.approx(1.0) or not any(one.weights)


def test_the_score_is_the_formula() -> None:
    raw = np.array([[0.0, 1.0, 5.0], [2.0, 0.0, 1.0]])
    result = blend(Candidates(np.arange(3, dtype=np.int32), raw, np.full((2, 3), -1, np.int32)), [3.0, 1.0])
    z = (raw - raw.mean(axis=1, keepdims=True)) / raw.std(axis=1, keepdims=True)
    gain = np.log1p(np.maximum(z, 0)) + BELOW_MEAN * np.minimum(z, 0)
    assert result.score.tolist() == pytest.approx((0.75 * gain[0] + 0.25 * gain[1]).tolist(), rel=1e-6)


def test_one_recommender_alone_keeps_its_whole_order() -> None:
    evidence = scored(*[(idx, 2.0**-idx) for idx in range(20)])
    result = blend(merge([evidence], ITEMS), [1.0])
    assert result.candidates.idx[np.argsort(-result.score, kind="stable")].tolist() == list(range(20))
    assert len(set(result.score.tolist())) == 20


def test_who_abstains_drops_out_and_the_rest_is_renormalised() -> None:
    speaking = scored((1, 3.0), (2, 1.0))
    alone = blend(merge([speaking], ITEMS), [0.2])
    beside = blend(merge([ABSTAIN, speaking], ITEMS), [0.8, 0.2])
    assert beside.weights == (0.0, 1.0)
    assert beside.score.tolist() == alone.score.tolist()


@pytest.mark.parametrize("level", [0.1, 7.0, 1e-30])
def test_a_constant_row_says_nothing(level: float) -> None:
    flat = scored(*[(idx, level) for idx in range(7)])
    speaking = scored((1, 3.0), (2, 1.0))
    assert blend(merge([flat, speaking], ITEMS), [0.5, 0.5]).weights == (0.0, 1.0)


def test_no_candidates_are_no_obstacle() -> None:
    result = blend(merge([ABSTAIN, ABSTAIN], ITEMS), [0.5, 0.5])
    assert len(result.score) == 0
    assert features(result).shape == (2 * len(FEATURES), 0)


def test_the_cause_is_that_of_an_items_last_entry() -> None:
    merged = merge(
        [Scored(*(np.array(x, t) for x, t in (([4, 4], np.int32), ([1, 1], np.float32), ([8, 9], np.int32))))], ITEMS
    )
    assert merged.because.tolist() == [[9]]


def three() -> Blended:
    return blend(merge([scored((0, 4.0), (1, 2.0), (2, 2.0)), scored((2, 1.0))], ITEMS), [0.5, 0.5])


def test_features_are_z_log_z_reciprocal_rank_and_abstained() -> None:
    blended = three()
    columns = [blended.candidates.idx.tolist().index(idx) for idx in (0, 1, 2)]
    table = features(blended)[:, columns].T.reshape(3, 2, len(FEATURES))
    z = (np.array([4, 2, 2]) - 8 / 3) / np.std([4, 2, 2])
    assert table[:, 0, 0].tolist() == pytest.approx(z.tolist())
    assert table[:, 0, 1].tolist() == pytest.approx(np.log1p(np.maximum(z, 0)).tolist())
    assert table[:, 0, 2].tolist() == pytest.approx([1.0, 1 / 2, 1 / 2])
    assert table[:, 0, 3].tolist() == [0, 0, 0]
    assert table[:2, 1].tolist() == [[0, 0, 0, 1]] * 2
    assert table[2, 1, 2:].tolist() == [1.0, 0.0]


# ---- learned weights ---------------------------------------------------------------------------------------------


def learned_weights(recommenders: int, seed: int) -> SurfaceWeights:
    rng = np.random.default_rng(seed)
    outcomes = len(OUTCOMES)
    columns = recommenders * len(FEATURES)
    return SurfaceWeights(
        rng.normal(size=outcomes),
        rng.normal(size=(outcomes, columns)),
        rng.normal(size=(outcomes, len(CONTEXT))),
        rng.random(recommenders),
    )


@settings(max_examples=80)
@given(EVIDENCE, st.integers(0, 100))
def test_cell_by_cell_the_log_odds_are_those_of_the_whole_table(evidence: list[Scored], seed: int) -> None:
    blended = blend(merge(evidence, ITEMS), [1.0] * len(evidence))
    weights = learned_weights(len(evidence), seed)
    exposures = np.arange(len(blended.score), dtype=np.float64)
    context = context_features(blended, weights.hedge, exposures)
    whole = logits(features(blended), context, weights)
    assert logits_of(blended, context, weights) == pytest.approx(whole, abs=1e-9, rel=1e-12)
    log_z = features(blended).reshape(len(evidence), len(FEATURES), -1)[:, 1]
    assert context[1] == pytest.approx(weights.hedge @ log_z, abs=1e-5)
    assert context[2] == pytest.approx(np.log1p(exposures), rel=1e-6)


@settings(max_examples=60)
@given(EVIDENCE, st.randoms(use_true_random=False))
def test_features_of_some_candidates_are_those_columns_of_all(evidence: list[Scored], random) -> None:  # type: ignore[no-untyped-def]
    blended = blend(merge(evidence, ITEMS), [1.0] * len(evidence))
    columns = np.array(random.sample(range(len(blended.score)), len(blended.score) // 2), np.intp)
    assert features(blended, columns).tolist() == features(blended)[:, columns].tolist()


def test_relevance_adds_up_outcomes_by_their_value() -> None:
    logit = np.log(np.array([[0.5], [0.2], [0.1]]) / np.array([[0.5], [0.8], [0.9]]))
    share = (1 * 0.5 + 3 * 0.2 + 10 * 0.1) / 14
    assert log_odds(logit, Values())[0] == pytest.approx(np.log(share / (1 - share)))
    assert log_odds(logit, Values(click=0, cart=0, purchase=1))[0] == pytest.approx(np.log(0.1 / 0.9))
    assert np.isfinite(log_odds(np.array([[1e9], [-1e9], [0.0]]), Values())).all()
    assert np.isfinite(log_odds(np.full((3, 2), 1e9), Values())).all()


def test_weights_are_taken_by_name() -> None:
    whole = learned_weights(3, 1)
    part = restricted(whole, ("a", "b", "c"), ("c", "new", "a"))
    table = whole.recommenders.reshape(3, 3, len(FEATURES))
    found = part.recommenders.reshape(3, 3, len(FEATURES))
    assert found[:, 0].tolist() == table[:, 2].tolist()
    assert found[:, 2].tolist() == table[:, 0].tolist()
    assert not found[:, 1].any()
    assert part.hedge.tolist() == [whole.hedge[2], 0.0, whole.hedge[0]]
    loyal = restricted(replace(whole, hedges={"loyal": np.array([0.2, 0.3, 0.5])}), ("a", "b", "c"), ("c", "a"))
    assert loyal.hedges["loyal"].tolist() == [0.5, 0.2]


def test_who_is_in_segments_has_whom_they_trust_averaged_with_whom_everybody_does() -> None:
    whole = replace(
        learned_weights(2, 1),
        hedge=np.array([0.5, 0.5]),
        hedges={"loyal": np.array([0.8, 0.2]), "new": np.array([0.2, 0.8])},
    )
    assert whole.trusted(()).tolist() == whole.trusted(("unheard of",)).tolist() == [0.5, 0.5]
    assert whole.trusted(("loyal", "unheard of")).tolist() == [0.65, 0.35]
    assert whole.trusted(("loyal", "new")) == pytest.approx([0.5, 0.5])


def test_a_constant_row_has_abstained() -> None:
    flat = scored((0, 2.0), (1, 2.0))
    blended = blend(merge([flat, scored((0, 3.0), (1, 1.0))], ITEMS), [0.5, 0.5])
    table = features(blended).reshape(2, len(FEATURES), 2)
    assert table[0].tolist() == [[0, 0], [0, 0], [0, 0], [1, 1]]
    assert table[1, 3].tolist() == [0, 0]
