"""``everfold retrain``: fit on Ray, judge, keep, and have the service promote what passed.

Everything lies in the data folder, so it works beside a running service and on a stopped one; only promotion is the
service's, because it is a fact of its log. One retraining at a time runs over a folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
from rich.console import Console

from actors.locking import FolderLock, holder, is_alive
from actors.reader import PartitionFiles
from actors.store import Store
from events.clock import Clock, millis
from events.disk import disk_full
from events.errors import Conflict, Corrupt, EverfoldError, Held, Unavailable
from events.ids import Micros
from serving.decision_period import Period
from serving.own_ray import OwnRay, TaskBar
from serving.retrain_state import SHADOW, RetrainState, standing_in
from serving.segments_command import keep_clusters, refit_beside
from serving.service_client import ServiceClient
from serving.settings import RetrainSettings, Settings
from training.gate import Decided, OffPolicy, Verdict
from training.model import Model, save
from training.registry import MODELS_KEY, Judged, Registry, Standing
from training.replay import offsets_now
from training.retraining import JUDGED_ON, Cluster, Retrained, RetrainPlan, judge_shadow, retrain

HOUR_MS: Final = 3_600_000
SHADOWS_KEPT: Final = 2
"""Challengers in a shadow period that stay, whatever their age."""

StartCluster: TypeAlias = Callable[[str, int | None], AbstractContextManager[Cluster]]
"""(address, CPUs) → where tasks run."""


@dataclass(frozen=True)
class Retraining:
    """The command line's wishes."""

    data: Path
    address: str = ""
    """Of a Ray cluster; empty: a Ray of our own on this machine."""
    service: str = ""
    """Of the running service; empty: the one over ``data``."""
    by: str = "hand"
    seed: int | None = None
    """None: the settings'."""
    cpus: int | None = None
    promote: bool = True
    shadow_hours: float | None = None
    """None: the settings'."""


def run_retrain(
    what: Retraining, environ: Mapping[str, str], clock: Clock, console: Console, ray: StartCluster = OwnRay
) -> None:
    """Raises `Conflict` while another retraining runs over the folder, `DiskFull` where there is no room for what it
    writes, and as `training.retraining.retrain`. Whatever is raised, the model that serves goes on serving."""
    settings = Settings.load(what.data, environ)
    with disk_full(f"retraining of {what.data}"):
        lock = _alone(what.data)
        try:
            _Retrain(what, settings, clock, console, ray).run()
        finally:
            lock.release()


def standing_of(data: Path) -> Standing:
    """Which model serves, read from the log. Raises `NotFound` for a folder without a store."""
    store = Store.open(data)
    number = store.partition(MODELS_KEY)
    files = PartitionFiles(store.folder(number), number, store)
    try:
        return standing_in(files)
    finally:
        files.close()


class _Retrain:
    def __init__(self, what: Retraining, settings: Settings, clock: Clock, console: Console, ray: StartCluster) -> None:
        self._what = what
        self._ray = ray
        self._rules: RetrainSettings = settings.retrain
        self._settings = settings
        self._clock = clock
        self._console = console
        self._registry = Registry(what.data)
        self._state = RetrainState(what.data)

    def run(self) -> None:
        what = self._what
        began = time.monotonic()
        self._state.started(millis(self._clock.now()), what.by)
        self._registry.sweep(self._clock.now() / 1e6, is_alive)
        with TaskBar(self._console) as bar, self._ray(what.address, what.cpus) as cluster:
            self._judge_waiting(cluster, bar)
            if what.by == SHADOW:
                return
            now = standing_of(what.data)
            made = retrain(self._plan(now), cluster, bar.tell, self._evidence)
            clusters = refit_beside(what.data, self._settings.clusters, cluster, millis(self._clock.now()), bar.tell)
        self._keep(made, now)
        seconds = time.monotonic() - began
        self._console.print(f"Model {made.model.id} in {seconds:.0f} s: {made.verdict.decision}")
        for reason in made.verdict.reasons:
            self._console.print(f"  {reason}", soft_wrap=True)
        self._follow(made.model.id, made.verdict.decision, made.verdict.reasons)
        if clusters is not None and what.promote:
            keep_clusters(clusters, what.data, what.service, self._console)

    def _plan(self, now: Standing) -> RetrainPlan:
        return RetrainPlan(
            data=self._what.data,
            offsets=offsets_now(self._what.data),
            champion=now.champion,
            seed=self._rules.seed if self._what.seed is None else self._what.seed,
            window_days=self._rules.window_days,
            surfaces=self._settings.all_surfaces(),
            gate=self._rules.gate,
        )

    def _judge_waiting(self, cluster: Cluster, bar: TaskBar) -> None:
        """Challengers whose shadow period is over are judged on what happened since they were made. One that cannot be
        read stays where it is, and the others have their turn."""
        now = standing_of(self._what.data)
        at = millis(self._clock.now())
        for judged in self._registry.waiting(now):
            if judged.shadow_until > at:
                continue
            try:
                again = judge_shadow(self._plan(now), cluster, judged.model, judged.window[1], bar.tell, self._evidence)
            except Corrupt as damaged:
                self._registry.keep(_longer(judged, self._shadow_ms(), at))
                self._console.print(f"Model {judged.model} was not judged: {damaged}", soft_wrap=True)
                continue
            if again is None:
                self._registry.keep(_longer(judged, self._shadow_ms(), at))
                self._console.print(f"Model {judged.model}: too little happened since; it stays in shadow")
                continue
            decision: Decided = "promote" if again.decision == "shadow" else again.decision
            verdict = _decided(again, decision)
            self._registry.keep(Judged(judged.model, verdict, at, now.champion, judged.window, 0, {}))
            self._console.print(f"Model {judged.model} after its shadow period: {decision}")
            self._follow(judged.model, decision, verdict.reasons)
            return

    def _keep(self, made: Retrained, now: Standing) -> None:
        at = millis(self._clock.now())
        window = (made.window.judging_from, made.window.until)
        until = at + self._shadow_ms() if made.verdict.decision == "shadow" else 0
        save(self._registry.folder, made.model)
        known = self._registry.readable(made.model.id)
        if known is None or known.verdict != made.verdict:
            self._registry.keep(
                Judged(made.model.id, made.verdict, at, now.champion, window, until, dict(made.latency_us))
            )
        shadows = [judged.model for judged in self._registry.waiting(now)[:SHADOWS_KEPT]]
        gone = self._registry.collect(now, (made.model.id, *shadows), self._rules.kept)
        if gone:
            self._console.print(f"Removed {len(gone)} old models.")

    def _evidence(self, model: Model, since: int) -> OffPolicy | None:
        """What the decision log says of ``model``; None where there is no log, or it cannot say."""
        from serving.what_if_model import ModelTrial, model_evidence  # estimators, when they are needed

        now = self._clock.now()
        period = Period(Micros(since * 1000), Micros(now))
        trial = ModelTrial(self._what.data, self._settings, model, JUDGED_ON, period, now, self._rules.seed)
        try:
            return model_evidence(trial)
        except (EverfoldError, OSError) as error:
            self._console.print(f"The decision log was not read: {error}", soft_wrap=True)
            return None

    def _shadow_ms(self) -> int:
        hours = self._rules.shadow_hours if self._what.shadow_hours is None else self._what.shadow_hours
        return int(hours * HOUR_MS)

    def _follow(self, model: str, decision: str, reasons: Sequence[str]) -> None:
        if decision == "shadow" and self._shadow_ms() > 0:
            self._console.print(f"It is judged again in {self._shadow_ms() / HOUR_MS:g} hours of traffic.")
            return
        if decision == "reject" or not self._what.promote:
            return
        try:
            client = ServiceClient.of(self._what.data, self._what.service)
            by = "gate" if self._what.by == "hand" else self._what.by
            told = client.post(f"/v1/models/{model}/promote", {"by": by, "reasons": list(reasons)})
        except Unavailable as stopped:
            self._console.print(f"It was not promoted: {stopped}. Then: everfold models promote {model}")
            return
        self._console.print(f"Model {told['champion']} serves.")


def _alone(data: Path) -> FolderLock:
    Store.open(data)
    folder = data / "run" / "retrain"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return FolderLock(folder)
    except Held:
        raise Conflict(f"{data} is being retrained already, by process {holder(folder)}: let it end") from None


def _decided(verdict: Verdict, decision: Decided) -> Verdict:
    return msgspec.structs.replace(verdict, decision=decision)


def _longer(judged: Judged, shadow_ms: int, now_ms: int) -> Judged:
    return msgspec.structs.replace(judged, shadow_until=now_ms + max(shadow_ms, HOUR_MS))
