"""Retraining: from the log, at given offsets, to a judged model.

    read     each partition's log → rows                              (a task per partition, where the log lies)
    try      each recommender fitted on what lies before the window   (a task each)
    judge    two policies through the window, the tried tables in one (a task, where the log lies)
    fit      each recommender fitted on everything                    (a task each)

A challenger is a procedure: settings, seed and offsets. It is judged by what it makes of the history before the window,
and what is kept is what it makes of all of it: fitted without the last weeks it would be stale on its first day.

Nothing here knows Ray. Tasks are plain functions, started through a `Cluster`; `training.on_ray` spreads them over
processes and machines, `Inline` runs them one after another.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from threadpoolctl import threadpool_limits

from events.errors import Conflict, NotFound
from events.ids import PartitionId
from training.dataset import Dataset, Rows, gather, joined
from training.gate import GatePolicy, OffPolicy, Verdict, judge
from training.inventory import FITTED, INVENTORY
from training.judging import Judging, Policies, judged
from training.model import FOLDER, Model, Provenance, Table, load, model_of
from training.pseudo_requests import Asking
from training.replay import Offsets, all_facts, facts_of
from training.surface import SURFACES, Surface
from training.window import Moment, Window, choose_window, moments, window_since

T = TypeVar("T")

LIBRARIES: Final = ("numpy", "scipy", "implicit", "river", "everfold")
"""Whose versions are written into the artefact: those that the numbers come from."""
JUDGED_ON: Final = "home"
TAIL: Final = 4_096
"""Records below the champion's offsets that are looked at for acts of the window."""


class NothingToLearn(Conflict):
    """The log holds no act that retraining may use."""

    code = "nothing_to_learn"


@dataclass(frozen=True, slots=True)
class Job(Generic[T]):
    """A task that was started. ``ref`` is the cluster's own."""

    name: str
    ref: Any


class Cluster(Protocol):
    """Where tasks run."""

    def put(self, value: T) -> Any:
        """Hold ``value`` for tasks: what is returned may stand among their arguments in its place."""
        ...

    def start(
        self, name: str, function: Callable[..., T], *arguments: Any, here: bool = False, at_once: bool = False
    ) -> Job[T]:
        """Run ``function``, with held values and finished jobs' results in place of their handles. ``here``: on the
        machine whose files this process sees. ``at_once``: beside others, without waiting for a core; for the one that
        everything waits for in the end. A task whose process or machine dies is run again.
        """
        ...

    def later(self, jobs: Mapping[str, Job[T]]) -> Callable[[], Mapping[str, T]]:
        """An argument for a task that wants results only when it is so far: called inside, it waits for them."""
        ...

    def done(self, jobs: Sequence[Job[Any]]) -> Iterator[Job[Any]]:
        """The jobs as they end. Raises what a task raised."""
        ...

    def result(self, job: Job[T]) -> T:
        """Wait for it. Raises what the task raised."""
        ...


class Inline:
    """A `Cluster` in this thread, for tests and tiny stores."""

    def put(self, value: T) -> Any:
        return value

    def start(
        self, name: str, function: Callable[..., T], *arguments: Any, here: bool = False, at_once: bool = False
    ) -> Job[T]:
        return Job(name, function(*arguments))

    def later(self, jobs: Mapping[str, Job[T]]) -> Callable[[], Mapping[str, T]]:
        values = {name: self.result(job) for name, job in jobs.items()}
        return lambda: values

    def done(self, jobs: Sequence[Job[Any]]) -> Iterator[Job[Any]]:
        yield from jobs

    def result(self, job: Job[T]) -> T:
        value: T = job.ref
        return value


@dataclass(frozen=True)
class RetrainPlan:
    """What is to be retrained, and how it is judged."""

    data: Path
    offsets: Offsets
    champion: str = ""
    """The model that serves; empty: none."""
    seed: int = 1
    window_days: float = 14.0
    """Two weeks see every weekday twice; what is validated on is as long."""
    requests: tuple[int, int] = (1_000, 800)
    """Pseudo-requests for the validation and for judging: 2 ms each and policy."""
    people: int = 600
    """At most so many people's profiles are folded: 3 ms each per year of weekly shopping."""
    surfaces: Mapping[str, Surface] = field(default_factory=lambda: SURFACES)
    gate: GatePolicy = field(default_factory=GatePolicy)


@dataclass(frozen=True, slots=True)
class Retrained:
    """A model and what the gate says of it. Nothing was written."""

    model: Model
    verdict: Verdict
    window: Window
    latency_us: Mapping[str, float]
    requests: Mapping[str, int]


Evidence: TypeAlias = Callable[[Model, int], OffPolicy | None]
"""(a model fitted on nothing from an event time on, that time in ms) → what the decision log says of it."""


def no_evidence(model: Model, since: int) -> OffPolicy | None:
    """Where there is no decision log."""
    return None


def retrain(
    plan: RetrainPlan,
    cluster: Cluster,
    tell: Callable[[str, int, int], None],
    evidence: Evidence = no_evidence,
) -> Retrained:
    """Do it. ``tell`` hears the name of every task that ended, and how many of how many have.

    Equal plans over equal logs give equal models, whatever the cluster. Raises `NothingToLearn`, what reading the log
    raises, `Corrupt` for a damaged champion.
    """
    count = len(plan.offsets) + 2 * len(FITTED) + 1
    dataset = _dataset(plan, cluster, tell, count)
    if not len(dataset.interactions):
        raise NothingToLearn(f"{plan.data} holds nothing that people who allow it did: import a history, or wait")
    window = choose_window(dataset.interactions, plan.window_days, plan.requests, plan.people, plan.seed)
    held = cluster.put(dataset)
    tried = {name: cluster.start(f"try {name}", fit, name, held, window.validation_from, plan.seed) for name in FITTED}
    judging = cluster.start(
        "judge", judge_tried, plan, window, dataset.interactions.item_ids, cluster.later(tried), here=True, at_once=True
    )
    fitted = {name: cluster.start(f"fit {name}", fit, name, held, None, plan.seed) for name in FITTED}
    for _ in _heard(cluster, [*tried.values(), *fitted.values(), judging], tell, len(plan.offsets), count):
        pass
    found: Judging = cluster.result(judging)
    tables = {name: cluster.result(job) for name, job in fitted.items()}
    provenance = Provenance(
        offsets=dict(plan.offsets),
        settings={name: FITTED[name].settings for name in FITTED},
        seeds={"fit": plan.seed, "window": window.seed, "gate": plan.gate.seed},
        versions=_versions(),
        evaluation=found.evaluation,
    )
    model = model_of(dataset.interactions.item_ids, tables, found.initial, provenance)
    trial = model_of(
        dataset.interactions.item_ids,
        {name: cluster.result(job) for name, job in tried.items()},
        found.before,
        Provenance(),
    )
    verdict = judge(found.challenger, found.champion, plan.gate, evidence(trial, window.judging_from))
    return Retrained(model, verdict, window, found.latency_us, found.requests)


def judge_shadow(
    plan: RetrainPlan,
    cluster: Cluster,
    challenger: str,
    since: int,
    tell: Callable[[str, int, int], None],
    evidence: Evidence = no_evidence,
) -> Verdict | None:
    """Judge a challenger as it was kept, on what happened from ``since`` (event time, ms) on: it has seen nothing of
    it. None where too little has. Raises as `retrain`, and `Corrupt` for a damaged challenger."""
    dataset = _dataset(plan, cluster, tell, len(plan.offsets) + 1)
    window = window_since(dataset.interactions, since, plan.requests[1], plan.people, plan.seed)
    job = cluster.start("judge", judge_kept, plan, window, challenger, here=True)
    for _ in _heard(cluster, [job], tell, len(plan.offsets), len(plan.offsets) + 1):
        pass
    found: Judging = cluster.result(job)
    if len(found.champion.value) < plan.gate.requests_min:
        return None
    kept = load(plan.data / FOLDER, challenger)
    return judge(found.challenger, found.champion, plan.gate, evidence(kept, since))


def read(data: Path, number: PartitionId, end: int) -> Rows:
    """One partition's rows."""
    return gather(facts_of(data, number, end))


def fit(name: str, dataset: Dataset, before: int | None, seed: int) -> Table:
    """One recommender's table, from what happened before ``before`` (ms), or from everything. On one thread, because
    sums in another order are other sums."""
    interactions = dataset.interactions if before is None else dataset.interactions.before(before)
    with threadpool_limits(limits=1):
        return FITTED[name].fit(interactions, dataset.facts, seed)


def judge_tried(
    plan: RetrainPlan, window: Window, item_ids: Sequence[str], tried: Callable[[], Mapping[str, Table]]
) -> Judging:
    """Both policies through the window."""
    walk = moments(all_facts(plan.data, plan.offsets), window)
    first = next(walk, None)  # folds the history, while the tables are being fitted
    tables = tried()
    challenger = model_of(item_ids, tables, None, Provenance())
    champion = _champion(plan, window, challenger)
    policies = Policies(
        challenger=Asking(INVENTORY, challenger),
        champion=Asking(INVENTORY, champion),
        starting=None if champion is None else champion.initial,
        surfaces=plan.surfaces,
        judged=JUDGED_ON,
    )
    with threadpool_limits(limits=1):
        return judged(_with(first, walk), policies, plan.gate, time.thread_time_ns)


def judge_kept(plan: RetrainPlan, window: Window, kept: str) -> Judging:
    """A kept challenger and the champion through the window, both as they are."""
    challenger = load(plan.data / FOLDER, kept)
    champion = None if not plan.champion else load(plan.data / FOLDER, plan.champion)
    policies = Policies(
        challenger=Asking(INVENTORY, challenger),
        champion=Asking(INVENTORY, champion),
        starting=None if champion is None else champion.initial,
        surfaces=plan.surfaces,
        judged=JUDGED_ON,
        kept=challenger.initial,
    )
    with threadpool_limits(limits=1):
        walk = moments(all_facts(plan.data, plan.offsets), window)
        return judged(walk, policies, plan.gate, time.thread_time_ns)


def _dataset(plan: RetrainPlan, cluster: Cluster, tell: Callable[[str, int, int], None], count: int) -> Dataset:
    reading = [
        cluster.start(f"read {name}", read, plan.data, PartitionId(int(name[1:])), end, here=True)
        for name, end in sorted(plan.offsets.items())
    ]
    for _ in _heard(cluster, reading, tell, 0, count):
        pass
    return joined([cluster.result(job) for job in reading])


def _champion(plan: RetrainPlan, window: Window, tried: Model) -> Model | None:
    """The champion as it was when the window began. One that was fitted on a part of the window has seen what it would
    be asked: its twin, the same procedure on what lies before, stands in for it."""
    if not plan.champion:
        return None
    try:
        champion = load(plan.data / FOLDER, plan.champion)
    except NotFound:
        return None  # removed by hand: what serves then are fixed weights
    if not _saw(champion, plan, window):
        return champion
    return Model(champion.id, tried.item_ids, tried.tables, champion.initial, champion.provenance)


def _saw(champion: Model, plan: RetrainPlan, window: Window) -> bool:
    """Whether an act of the window lies below the champion's offsets."""
    for name, end in sorted(champion.provenance.offsets.items()):
        if name not in plan.offsets:
            return True  # partitions were moved: LSNs say nothing
        for fact in facts_of(plan.data, PartitionId(int(name[1:])), min(end, plan.offsets[name]), tail=TAIL):
            if fact.record.event_time >= window.judging_from:
                return True
    return False


def _with(first: Moment | None, rest: Iterator[Moment]) -> Iterator[Moment]:
    if first is not None:
        yield first
    yield from rest


def _heard(
    cluster: Cluster, jobs: Sequence[Job[Any]], tell: Callable[[str, int, int], None], before: int, count: int
) -> Iterator[Job[Any]]:
    for number, job in enumerate(cluster.done(jobs), before + 1):
        tell(job.name, number, count)
        yield job


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in LIBRARIES}
