"""The gate: may the challenger take over from the champion? A pure function of what both were measured at.

Both are *whole policies* (fitted tables, blend, surface rules). Each starts from its state at the beginning of a window
of the log, runs through it request by request, refitting its blend on what it has seen so far, and never sees the
request it answers. What counts is the difference on the same requests.

    reject    worse than the champion by more than the margin, or somebody pays for it, or answers become slow
    shadow    not worse, but the decision log cannot say how people would have answered: it is scored in silence for a
              while, on what happens after it was made
    promote   not worse by any of these measures, the off-policy estimate among them

All reasons are given, not just the first, so that one rejection is enough to mend everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from training.evaluation.intervals import Interval, paired_difference
from training.model import Measured

Decided: TypeAlias = Literal["promote", "reject", "shadow"]
NO_EVIDENCE: Final = "no off-policy evidence"


class GatePolicy(BaseModel):
    """What the gate lets pass."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str = "ndcg@10"
    """What ``Run.value`` holds; for the words of the reasons."""
    margin: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of the champion's mean that the challenger may be short by, as far as can be told: the lower end of the
    difference's interval has to lie above -margin. Not 0, since a model fitted on newer facts is worth having where
    it is merely as good, too."""
    group_margin: Annotated[float, Field(ge=0, le=1)] = 0.05
    """The same for each group of people, judged by the *upper* end: a group is hurt when all of its interval lies below
    -group_margin. Groups are small, and the lower end would reject nearly everything."""
    group_subjects_min: Annotated[int, Field(ge=1)] = 30
    """Groups of fewer people are not judged."""
    gini_rise_max: Annotated[float, Field(ge=0, le=1)] = 0.05
    """How much more unevenly exposure may be spread over items (Gini, 0..1)."""
    latency_us_max: Annotated[float, Field(gt=0)] = 5_000.0
    """CPU time of an answer's recommenders and blend, 99th percentile, us; or `latency_ratio_max` times the
    champion's, whichever is more."""
    latency_ratio_max: Annotated[float, Field(ge=1)] = 1.5
    effective_min: Annotated[float, Field(ge=1)] = 200.0
    """Effective sample size from which an off-policy estimate counts: below it the interval is made by a few lists."""
    requests_min: Annotated[int, Field(ge=1)] = 50
    """Fewer requests in the window decide nothing: rejected."""
    resamples: Annotated[int, Field(ge=100)] = 1_000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One policy's run through the window. Row r of both policies is the same request."""

    subject: npt.NDArray[np.int64]
    """Shape (requests,): whose request it was; intervals are made over these."""
    value: npt.NDArray[np.float64]
    """Shape (requests,): the metric."""
    group: tuple[str, ...]
    """Group of each request's subject, such as how active it is."""
    gini: float
    """Of the exposure over items, 0 (even) to 1."""
    latency_us: float
    """CPU time of an answer, 99th percentile, us."""


@dataclass(frozen=True, slots=True)
class OffPolicy:
    """What the decision log says of challenger minus champion, in value per list."""

    difference: Interval
    champion: float
    """What the champion's lists were worth."""
    effective: float
    """Effective sample size that the estimate stands on."""


class Verdict(msgspec.Struct, frozen=True):
    """What the gate says, and everything it says it by."""

    decision: Decided
    reasons: tuple[str, ...]
    champion: Measured
    challenger: Measured
    difference: Measured
    requests: int = 0
    subjects: int = 0


def judge(challenger: Run, champion: Run, policy: GatePolicy, off_policy: OffPolicy | None = None) -> Verdict:
    """The verdict. Equal arguments, equal verdict.

    Raises `ValueError` when the two did not answer the same requests.
    """
    if not np.array_equal(challenger.subject, champion.subject) or challenger.group != champion.group:
        raise ValueError("the policies answered different requests: walk both through the same window")
    requests, subjects = len(champion.value), len(np.unique(champion.subject))
    if requests < policy.requests_min:
        few = f"{requests} requests in the window: at least {policy.requests_min} are needed to tell anything"
        return Verdict("reject", (few,), *(Measured(0.0, 0.0, 0.0),) * 3, requests, subjects)
    difference = _difference(challenger, champion, policy)
    against = [
        *_worse(difference, float(champion.value.mean()), policy),
        *_hurt(challenger, champion, policy),
        *_uneven(challenger, champion, policy),
        *_slow(challenger, champion, policy),
    ]
    answered, estimate = _answered(off_policy, policy)
    said = f"{policy.metric} {_signed(difference)} against {champion.value.mean():.4f} on {requests} requests"
    return Verdict(
        "reject" if against else answered,
        (*against, said, estimate),
        _alone(champion, policy),
        _alone(challenger, policy),
        Measured(difference.value, difference.low, difference.high),
        requests,
        subjects,
    )


def _difference(challenger: Run, champion: Run, policy: GatePolicy, rows: Sequence[int] | None = None) -> Interval:
    chosen = slice(None) if rows is None else np.array(rows)
    return paired_difference(
        challenger.value[chosen],
        champion.value[chosen],
        seed=policy.seed,
        clusters=champion.subject[chosen],
        resamples=policy.resamples,
    )


def _alone(run: Run, policy: GatePolicy) -> Measured:
    found = paired_difference(
        run.value, np.zeros_like(run.value), seed=policy.seed, clusters=run.subject, resamples=policy.resamples
    )
    return Measured(found.value, found.low, found.high)


def _worse(difference: Interval, mean: float, policy: GatePolicy) -> list[str]:
    bound = -policy.margin * mean
    if difference.low >= bound:
        return []
    return [f"{policy.metric} may be worse: {_signed(difference)}, the least allowed is {bound:+.4f}"]


def _hurt(challenger: Run, champion: Run, policy: GatePolicy) -> list[str]:
    rows: dict[str, list[int]] = {}
    for row, group in enumerate(champion.group):
        rows.setdefault(group, []).append(row)
    found = []
    for group, mine in sorted(rows.items()):
        if len(np.unique(champion.subject[mine])) < policy.group_subjects_min:
            continue
        difference = _difference(challenger, champion, policy, mine)
        bound = -policy.group_margin * float(champion.value[mine].mean())
        if difference.high < bound:
            found.append(f"group {group!r} pays for it: {_signed(difference)}, the least allowed is {bound:+.4f}")
    return found


def _uneven(challenger: Run, champion: Run, policy: GatePolicy) -> list[str]:
    if challenger.gini - champion.gini <= policy.gini_rise_max:
        return []
    return [
        f"exposure becomes uneven: Gini {champion.gini:.3f} to {challenger.gini:.3f}, "
        f"the most allowed is {policy.gini_rise_max:+.3f}"
    ]


def _slow(challenger: Run, champion: Run, policy: GatePolicy) -> list[str]:
    limit = max(policy.latency_us_max, policy.latency_ratio_max * champion.latency_us)
    if challenger.latency_us <= limit:
        return []
    return [f"answers become slow: {challenger.latency_us:.0f} us of CPU at the 99th percentile, limit {limit:.0f} us"]


def _answered(off_policy: OffPolicy | None, policy: GatePolicy) -> tuple[Decided, str]:
    """How people would answer, as far as the decision log can say: the lower bound decides for promotion, the upper one
    against it, and an interval around the bound says that time has to tell."""
    if off_policy is None:
        return "shadow", f"{NO_EVIDENCE}: no list with logged propensities was seen in the window"
    if off_policy.effective < policy.effective_min:
        few = f"effective sample size {off_policy.effective:.0f} of {policy.effective_min:.0f}"
        return "shadow", f"{NO_EVIDENCE}: {few}"
    bound = -policy.margin * abs(off_policy.champion)
    said = f"off-policy value per list {_signed(off_policy.difference)}, the least allowed is {bound:+.4f}"
    if off_policy.difference.low >= bound:
        return "promote", said
    return ("reject" if off_policy.difference.high < bound else "shadow"), said


def _signed(found: Interval) -> str:
    return f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
