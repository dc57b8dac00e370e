"""Two whole policies through one window: what the gate decides by, and the first weights of the one that may follow.

At every sampled instant both are asked with the same profile and item table. Each has its blend fitted on the
validation and fitted again as the window goes on, on what it has seen by then; what it is judged by comes after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from training.blend import FEATURES, restricted
from training.evaluation.intervals import bootstrap
from training.evaluation.metrics import gini
from training.gate import GatePolicy, Run
from training.initial_blend import DEPTH, Blend, Vector, alone_weights, fit_blend, fixed_blend, learned_of
from training.learned import OUTCOMES, Learned
from training.model import Measured
from training.pseudo_requests import Answered, Asking, Situation, Stacked, situations, stacked
from training.surface import Surface
from training.window import Moment

CHUNKS: Final = 3
"""How often the blend is fitted again within the window."""
OTHERS: Final = 5
"""Surfaces besides the judged one are asked at every fifth instant: they only need first weights."""
METRIC: Final = f"ndcg@{DEPTH}"
REQUESTS_MIN: Final = 30
"""A surface with fewer requests that wanted something keeps its fixed weights."""

Clock = Callable[[], int]
"""CPU time of this thread so far, ns."""


@dataclass(frozen=True, slots=True)
class Judging:
    """What came of the window."""

    challenger: Run
    champion: Run
    initial: Learned | None
    """First weights of the challenger's blend, fitted on all requests of the window."""
    before: Learned | None
    """The same, fitted on the validation alone: they saw nothing of what is judged on."""
    evaluation: Mapping[str, Mapping[str, Measured]]
    """Of the challenger: every recommender alone, the ensemble, and the fixed weights, where it was judged."""
    latency_us: Mapping[str, float]
    requests: Mapping[str, int]
    """How many pseudo-requests each part had."""


@dataclass(slots=True)
class _Asked:
    """Answers of one policy on the judged surface."""

    validation: list[Answered] = field(default_factory=list)
    judging: list[Answered] = field(default_factory=list)
    spent_ns: list[int] = field(default_factory=list)

    def add(self, asking: Asking, situation: Situation, judging: bool, clock: Clock) -> None:
        began = clock()
        answer = asking.answer(situation)
        self.spent_ns.append(clock() - began)
        (self.judging if judging else self.validation).append(answer)

    def stacked(self, names: Sequence[str]) -> _Parts:
        seen = stacked(self.validation + self.judging, len(names) * len(FEATURES))
        first = len(self.validation)
        return _Parts(seen.rows(slice(0, first)), seen.rows(slice(first, None)), seen)

    @property
    def latency_us(self) -> float:
        return float(np.percentile(self.spent_ns, 99)) / 1e3 if self.spent_ns else 0.0


@dataclass(frozen=True, slots=True)
class Policies:
    """Who is compared, and where. The champion's ``starting`` weights are those it was promoted with."""

    challenger: Asking
    champion: Asking
    starting: Learned | None
    surfaces: Mapping[str, Surface]
    judged: str
    """Name of the surface both are compared on."""
    kept: Learned | None = None
    """The challenger's own weights, where it was kept earlier and is judged again; it learns them otherwise, from the
    validation."""


def judged(
    moments: Iterable[Moment],
    policies: Policies,
    policy: GatePolicy,
    clock: Clock,
) -> Judging:
    """Ask both policies at every moment. ``policy`` says how intervals are made; ``clock`` is only read for the
    latency."""
    surface = policies.surfaces[policies.judged]
    others = [one for name, one in sorted(policies.surfaces.items()) if name != policies.judged]
    asked_ours, asked_theirs = _Asked(), _Asked()
    beside: dict[str, list[Answered]] = {other.name: [] for other in others}
    subject: list[int] = []
    acts: list[int] = []
    for number, moment in enumerate(moments):
        about = (moment.items, moment.history, moment.at, moment.taken)
        for situation in situations(surface, *about):
            asked_ours.add(policies.challenger, situation, moment.judging, clock)
            asked_theirs.add(policies.champion, situation, moment.judging, clock)
            if moment.judging:
                subject.append(moment.subject)
                acts.append(moment.acts)
        for place, other in enumerate(others):
            if (number + place) % OTHERS == 0:
                beside[other.name] += map(policies.challenger.answer, situations(other, *about))
    names = policies.challenger.names
    people, groups = np.array(subject, np.int64), _groups(acts)
    fixed = fixed_blend(names, surface)
    ours, theirs = (one.stacked(names) for one in (asked_ours, asked_theirs))
    challenger = _through(ours, names, _of(policies.kept, policies, names), fixed, serving=policies.kept is not None)
    champion = _through(theirs, names, _of(policies.starting, policies, names), fixed, serving=True)
    shown = np.unique(np.concatenate((challenger.shown, champion.shown)))
    run, against = (
        Run(people, each.value, groups, _gini(each.shown, shown), asked.latency_us)
        for each, asked in ((challenger, asked_ours), (champion, asked_theirs))
    )
    width = len(names) * len(FEATURES)
    everything = {policies.judged: ours.seen} | {name: stacked(said, width) for name, said in beside.items()}
    return Judging(
        challenger=run,
        champion=against,
        initial=_initial(everything, policies),
        before=_initial({policies.judged: ours.validation}, policies),
        evaluation=_evaluation(ours.judging, names, challenger.value, people, policy),
        latency_us={"challenger": asked_ours.latency_us, "champion": asked_theirs.latency_us},
        requests={"validation": len(ours.validation), "judging": len(ours.judging)},
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    """One policy's answers on the judged surface."""

    validation: Stacked
    judging: Stacked
    seen: Stacked
    """Both, validation first."""


@dataclass(frozen=True, slots=True)
class _Through:
    """One policy's way through the window: the metric of each request, and the items of all lists."""

    value: npt.NDArray[np.float64]
    shown: npt.NDArray[np.int32]


def _through(parts: _Parts, names: Sequence[str], prior: Vector | None, fixed: Vector, serving: bool) -> _Through:
    """Each part of the window with weights fitted on what came before it.

    Args:
        prior: where the weights start, and what they are pulled to; None: the surface's fixed weights, as they score
            while nothing was learned and as ``fixed`` afterwards.
        serving: the policy was serving when the window began. It goes by ``prior`` until it has seen something of the
            window, and learns of nothing else; one that was not serving yet learned from the validation.
    """
    edges = np.linspace(0, len(parts.judging), CHUNKS + 1).astype(int).tolist()
    before = len(parts.validation)
    value: list[npt.NDArray[np.float64]] = []
    shown: list[npt.NDArray[np.int32]] = []
    for start, stop in pairwise(edges):
        asked = parts.judging.rows(slice(start, stop))
        if serving and start == 0:
            score = asked.fixed if prior is None else asked.score(prior)
        else:
            known = parts.seen.rows(slice(before if serving else 0, before + start))
            score = asked.score(fit_blend(known, names, fixed if prior is None else prior).weights)
        value.append(asked.ndcg(score, DEPTH))
        shown.append(asked.idx[asked.lists(score, DEPTH)])
    return _Through(np.concatenate(value), np.concatenate(shown))


def _of(learned: Learned | None, policies: Policies, names: Sequence[str]) -> Vector | None:
    """Weights of the judged surface; None for its fixed ones."""
    if learned is None or policies.judged not in learned.surfaces:
        return None
    given = restricted(learned.surfaces[policies.judged], learned.names, names)
    weights: Vector = given.recommenders[OUTCOMES.index("purchase")]
    return weights


def _gini(exposed: npt.NDArray[np.int32], shown: npt.NDArray[np.int32]) -> float:
    """Of the exposure over the items that either policy showed at all."""
    if not len(shown):
        return 0.0
    return gini(np.bincount(np.searchsorted(shown, exposed), minlength=len(shown)).astype(np.float64))


def _groups(acts: Sequence[int]) -> tuple[str, ...]:
    """Thirds of the requests by how much the person had done: those the log says little of must not pay for others."""
    if not acts:
        return ()
    low, high = np.quantile(acts, [1 / 3, 2 / 3]).tolist()
    return tuple("light" if n <= low else "regular" if n <= high else "heavy" for n in acts)


def _initial(requests: Mapping[str, Stacked], policies: Policies) -> Learned | None:
    names = policies.challenger.names
    blends: dict[str, Blend] = {}
    for name, asked in requests.items():
        if int(asked.wanted.any(axis=1).sum() if len(asked) else 0) >= REQUESTS_MIN:
            blends[name] = fit_blend(asked, names, fixed_blend(names, policies.surfaces[name]))
    return learned_of(blends, requests)


def _evaluation(
    asked: Stacked,
    names: Sequence[str],
    ensemble: npt.NDArray[np.float64],
    subject: npt.NDArray[np.int64],
    policy: GatePolicy,
) -> dict[str, dict[str, Measured]]:
    """Nothing where nothing was asked."""
    if not len(asked):
        return {}
    rows = {name: asked.ndcg(asked.score(alone_weights(names, name)), DEPTH) for name in names}
    rows |= {"fixed": asked.ndcg(asked.fixed, DEPTH), "ensemble": ensemble}
    found = bootstrap(rows, seed=policy.seed, clusters=subject, resamples=policy.resamples)
    return {name: {METRIC: Measured(one.value, one.low, one.high)} for name, one in found.items()}
