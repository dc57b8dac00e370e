"""What the log can say, and when it says nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from events.errors import BadRequest
from training.ope.evaluation import HEADLINE, Evaluation, Options, evaluate
from training.ope.generated import World
from training.ope.slates import NO_ITEM, LoggedSlates, TargetSlates

CLICKS = Options(values=(1.0, 0.0, 0.0))
WORLD = World.of(1)


def log(people: int = 300, world: World = WORLD) -> tuple[LoggedSlates, TargetSlates]:
    return world.log(people, seed=7)


def reasons(found: Evaluation) -> list[str]:
    return [refusal.reason for refusal in found.refusals]


def test_a_sound_log_tells_the_value_of_another_policy_near_the_truth() -> None:
    found = evaluate(*log(), CLICKS)
    assert not found.refusals
    assert found.depth == WORLD.slots
    assert found.headline is not None
    assert found.headline.value.low <= WORLD.truth(WORLD.target) <= found.headline.value.high
    assert found.baseline is not None
    assert found.headline.gain.value == pytest.approx(found.headline.value.value - found.baseline.value)


def test_the_same_log_and_seed_give_the_same_numbers_and_another_seed_others() -> None:
    slates, target = log()
    first, again = evaluate(slates, target, CLICKS), evaluate(slates, target, CLICKS)
    assert first == again
    assert evaluate(slates, target, replace(CLICKS, seed=1)) != first


def test_the_order_of_the_slates_changes_nothing_but_rounding() -> None:
    slates, target = log()
    order = np.random.default_rng(0).permutation(len(slates))
    one = evaluate(slates, target, CLICKS).estimates[HEADLINE]
    other = evaluate(slates.rows(order), target.rows(order), CLICKS).estimates[HEADLINE]
    assert other.value.low == pytest.approx(one.value.low)
    assert other.gain.high == pytest.approx(one.gain.high)


def test_the_logging_policy_itself_has_no_lift() -> None:
    slates, target = log()
    found = evaluate(slates, replace(target, propensity=slates.propensity, features=slates.features), CLICKS)
    assert found.headline is not None
    assert found.headline.gain.value == pytest.approx(0.0, abs=1e-12)
    assert found.support["slate"].mean.value == pytest.approx(1.0)


def test_test_traffic_and_unlogged_answers_enter_no_estimate() -> None:
    slates, target = log()
    marked = replace(
        slates,
        test=np.arange(len(slates)) % 5 == 0,
        logged=np.arange(len(slates)) % 7 != 0,
    )
    wild = replace(marked, outcome=np.where((marked.test | ~marked.logged)[:, None, None], 1e6, marked.outcome))
    assert evaluate(marked, target, CLICKS) == evaluate(wild, target, CLICKS)
    assert evaluate(marked, target, CLICKS).left.test == int(marked.test.sum())


def test_forced_slots_enter_no_estimate_whatever_became_of_them() -> None:
    slates, target = log()
    forced = np.zeros(slates.forced.shape, np.bool_)
    forced[::3, 0] = True
    calm = replace(slates, forced=forced, propensity=np.where(forced, 1.0, slates.propensity))
    loud = replace(
        calm,
        outcome=np.where(forced[:, :, None], 1e6, calm.outcome),
        features=np.where(forced[:, :, None], -1e6, calm.features),
    )
    other = replace(target, propensity=np.where(forced, 0.123, target.propensity))
    assert evaluate(calm, target, CLICKS) == evaluate(loud, other, CLICKS)


def test_shorter_lists_count_as_far_as_they_go() -> None:
    slates, target = log()
    short = slates.item.copy()
    short[::2, 2] = NO_ITEM
    cut = replace(slates, item=short)
    loud = replace(cut, outcome=np.where((short == NO_ITEM)[:, :, None], 1e6, cut.outcome))
    assert evaluate(cut, target, CLICKS) == evaluate(loud, target, CLICKS)


def test_a_log_of_one_fixed_policy_is_refused() -> None:
    slates, target = log()
    found = evaluate(replace(slates, propensity=np.ones_like(slates.propensity)), target, CLICKS)
    assert reasons(found) == ["deterministic logging"]
    assert "propensity 1" in found.refusals[0].text
    assert found.headline is None


def test_too_little_to_go_by_is_refused() -> None:
    found = evaluate(*log(people=35), CLICKS)
    assert "effective sample size" in reasons(found)
    assert found.headline is None


def test_few_people_are_refused_however_many_slates_they_have() -> None:
    slates, target = log()
    assert "too few people" in reasons(evaluate(replace(slates, subject=slates.subject % 29), target, CLICKS))


def test_a_policy_that_shows_what_could_not_be_shown_is_refused() -> None:
    slates, target = log()
    found = evaluate(slates, replace(target, unsupported=np.full(target.unsupported.shape, 0.3)), CLICKS)
    assert "no support" in reasons(found)


def test_wrong_propensities_are_noticed_by_the_mean_weight() -> None:
    slates, target = log()
    found = evaluate(replace(slates, propensity=np.minimum(slates.propensity * 1.5, 1.0)), target, CLICKS)
    assert "mean weight" in reasons(found)


def test_slots_that_are_sure_are_beyond_the_log_where_another_item_would_stand() -> None:
    """One slot was drawn, the others were not: of those nothing can be learned."""
    slates, target = log()
    sure = slates.propensity.copy()
    sure[:, 1:] = 1.0
    assert "no support" in reasons(evaluate(replace(slates, propensity=sure), target, CLICKS))


def test_only_slots_with_enough_to_go_by_are_judged() -> None:
    world = World.of(1, apart=4.0)
    slates, target = world.log(150, seed=3)
    found = evaluate(slates, target, CLICKS)
    effective = found.support["cascade"].effective
    assert effective[0] >= 200 > effective[2]
    assert found.depth == sum(1 for size in effective if size >= 200)
    first = evaluate(_first(slates, found.depth), _first_target(target, found.depth), CLICKS)
    assert found.estimates[HEADLINE] == first.estimates[HEADLINE]


def _first(slates: LoggedSlates, depth: int) -> LoggedSlates:
    return replace(
        slates,
        **{name: getattr(slates, name)[:, :depth] for name in ("item", "propensity", "outcome", "forced", "features")},
    )


def _first_target(target: TargetSlates, depth: int) -> TargetSlates:
    return TargetSlates(*(getattr(target, name)[:, :depth] for name in ("propensity", "features", "unsupported")))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"test": True}, "test traffic"),
        ({"logged": False}, "unlogged"),
    ],
)
def test_a_log_with_nothing_usable_says_why(change: dict[str, bool], reason: str) -> None:
    slates, target = log(40)
    whole = {name: np.full(len(slates), value) for name, value in change.items()}
    assert reasons(evaluate(replace(slates, **whole), target, CLICKS)) == [reason]  # type: ignore[arg-type]


def test_a_log_of_forced_slots_only_says_so() -> None:
    slates, target = log(40)
    found = evaluate(replace(slates, forced=np.ones(slates.forced.shape, np.bool_)), target, CLICKS)
    assert reasons(found) == ["forced slots"]


def test_an_empty_log_says_so() -> None:
    slates, target = log(40)
    none = np.zeros(len(slates), np.bool_)
    assert reasons(evaluate(slates.rows(none), target.rows(none), CLICKS)) == ["nothing logged"]


def test_a_propensity_that_is_none_is_named() -> None:
    slates, target = log(40)
    broken = slates.propensity.copy()
    broken[3, 1] = 0.0
    with pytest.raises(BadRequest, match=r"slate 3, slot 2: propensity 0\.0"):
        evaluate(replace(slates, propensity=broken), target, CLICKS)
