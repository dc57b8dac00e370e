"""What the gate lets pass, and what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.intervals import Interval
from training.gate import NO_EVIDENCE, GatePolicy, OffPolicy, Run, judge

POLICY = GatePolicy()
RNG = np.random.default_rng(7)
BASE = RNG.beta(1.0, 4.0, 2_000)
SUBJECTS = np.repeat(np.arange(400), 5)
GROUPS = tuple("light" if subject % 4 else "heavy" for subject in SUBJECTS)


def run(shift: float = 0.0, noise: float = 0.01) -> Run:
    value = BASE + shift + noise * np.random.default_rng(11).standard_normal(len(BASE))
    return Run(SUBJECTS, value, GROUPS, gini=0.8, latency_us=900.0)


CHAMPION = run(noise=0.0)
EVIDENCE = OffPolicy(Interval(0.05, 0.01, 0.09), champion=1.0, effective=350.0)


def test_a_better_challenger_that_the_decision_log_supports_is_promoted() -> None:
    verdict = judge(run(0.02), CHAMPION, POLICY, EVIDENCE)
    assert verdict.decision == "promote"
    assert verdict.difference.low > 0
    assert (verdict.requests, verdict.subjects) == (2_000, 400)


@pytest.mark.parametrize("evidence", [None, replace(EVIDENCE, effective=199.0)])
def test_without_off_policy_evidence_a_shadow_period_follows(evidence: OffPolicy | None) -> None:
    verdict = judge(run(0.02), CHAMPION, POLICY, evidence)
    assert verdict.decision == "shadow"
    assert any(NO_EVIDENCE in reason for reason in verdict.reasons)


def test_an_estimate_below_the_margin_rejects_and_one_around_it_waits() -> None:
    below = replace(EVIDENCE, difference=Interval(-0.2, -0.3, -0.1))
    around = replace(EVIDENCE, difference=Interval(-0.01, -0.1, 0.1))
    assert judge(run(0.02), CHAMPION, POLICY, below).decision == "reject"
    assert judge(run(0.02), CHAMPION, POLICY, around).decision == "shadow"


def test_a_challenger_as_good_as_the_champion_may_pass() -> None:
    assert judge(CHAMPION, CHAMPION, POLICY, EVIDENCE).decision == "promote"


def test_a_worse_challenger_is_rejected_whatever_the_estimate_says() -> None:
    verdict = judge(run(-0.02), CHAMPION, POLICY, EVIDENCE)
    assert verdict.decision == "reject"
    assert "may be worse" in verdict.reasons[0]


def test_a_difference_made_by_a_few_people_does_not_pass() -> None:
    """The mean rises, but the interval over people reaches far below the margin."""
    value = CHAMPION.value.copy()
    value[SUBJECTS < 6] += 4.0
    value[SUBJECTS >= 6] -= 0.03
    verdict = judge(replace(CHAMPION, value=value), CHAMPION, POLICY, EVIDENCE)
    assert verdict.difference.value > 0
    assert verdict.decision == "reject"


def test_a_group_that_pays_for_the_gain_of_others_rejects() -> None:
    value = np.where(np.array(GROUPS) == "heavy", CHAMPION.value - 0.05, CHAMPION.value + 0.05)
    verdict = judge(replace(CHAMPION, value=value), CHAMPION, POLICY, EVIDENCE)
    assert verdict.decision == "reject"
    assert any("'heavy' pays" in reason for reason in verdict.reasons)


def test_groups_too_small_to_judge_are_not_judged() -> None:
    few = tuple("few" if subject < 20 else "most" for subject in SUBJECTS)
    value = np.where(SUBJECTS < 20, 0.0, CHAMPION.value + 0.05)
    champion = replace(CHAMPION, group=few)
    assert judge(replace(champion, value=value), champion, POLICY, EVIDENCE).decision == "promote"


@pytest.mark.parametrize(
    ("change", "why"), [({"gini": 0.9}, "uneven"), ({"latency_us": 9_000.0}, "slow")], ids=["exposure", "latency"]
)
def test_uneven_exposure_and_slow_answers_reject(change: dict[str, float], why: str) -> None:
    verdict = judge(replace(run(0.02), **change), CHAMPION, POLICY, EVIDENCE)  # type: ignore[arg-type]
    assert verdict.decision == "reject"
    assert any(why in reason for reason in verdict.reasons)


def test_a_champion_that_is_slow_itself_sets_the_limit() -> None:
    slow = replace(CHAMPION, latency_us=8_000.0)
    assert judge(replace(run(0.02), latency_us=9_000.0), slow, POLICY, EVIDENCE).decision == "promote"


def test_all_reasons_are_given() -> None:
    verdict = judge(replace(run(-0.1), gini=1.0, latency_us=1e6), CHAMPION, POLICY, EVIDENCE)
    text = "; ".join(verdict.reasons)
    assert all(word in text for word in ("may be worse", "pays", "uneven", "slow"))


def test_too_few_requests_decide_nothing() -> None:
    few = Run(SUBJECTS[:20], BASE[:20], GROUPS[:20], 0.5, 1.0)
    verdict = judge(few, few, POLICY, EVIDENCE)
    assert verdict.decision == "reject"
    assert "20 requests" in verdict.reasons[0]


def test_policies_that_answered_different_requests_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="different requests"):
        judge(replace(CHAMPION, subject=SUBJECTS + 1), CHAMPION, POLICY)


@given(st.floats(-0.2, 0.2), st.floats(0.0, 0.2))
@settings(max_examples=20, deadline=None)
def test_a_better_run_is_never_judged_worse(shift: float, more: float) -> None:
    """The verdict is monotone: whatever passes also passes with every request answered a little better."""
    rank = {"reject": 0, "shadow": 1, "promote": 2}
    policy = POLICY.model_copy(update={"resamples": 200})
    worse, better = (judge(run(by), CHAMPION, policy, EVIDENCE).decision for by in (shift, shift + more))
    assert rank[better] >= rank[worse]


def test_the_same_arguments_give_the_same_verdict() -> None:
    assert judge(run(0.001), CHAMPION, POLICY) == judge(run(0.001), CHAMPION, POLICY)
