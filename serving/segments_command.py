"""``everfold segments``: fit clusters, and describe who is in which segment.

Fitting reads the data folder, beside a running service or without; only the service writes, so it is asked to keep what
was found. One fit at a time runs over a folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from actors.history import Told
from actors.locking import FolderLock, holder
from actors.reader import PartitionFiles
from actors.segment_definition import SEGMENTS_KEY, Definitions
from actors.store import Store
from events.clock import Clock, millis
from events.errors import Conflict, EverfoldError, Held, Unavailable
from serving.own_ray import OwnRay, TaskBar
from serving.segment_chronicle import FACTS_MAX, told_chronicle
from serving.service_client import ServiceClient
from serving.settings import ClusterSettings, Settings
from training.cluster_features import BEHAVIOUR, measures_of
from training.cluster_refit import ClusterPlan, Standing, clusters_told, refit
from training.clusters import BY, Clusters
from training.retraining import Cluster


@dataclass(frozen=True)
class Fitting:
    """The command line's wishes."""

    data: Path
    address: str = ""
    """Of a Ray cluster; empty: a Ray of our own on this machine."""
    service: str = ""
    """Of the running service; empty: the one over ``data``."""
    seed: int | None = None
    """None: the settings'."""
    cpus: int | None = None
    keep: bool = True
    """Whether the service is asked to go by what was found."""


def fit_clusters(what: Fitting, environ: Mapping[str, str], clock: Clock, console: Console) -> None:
    """Raises `Conflict` while another fit runs over the folder, and as `training.cluster_refit.refit`."""
    rules = Settings.load(what.data, environ).clusters
    lock = _alone(what.data)
    try:
        plan = plan_of(what.data, rules, millis(clock.now()), what.seed)
        with TaskBar(console) as bar, OwnRay(what.address, what.cpus) as cluster:
            found = refit(plan, cluster, bar.tell)
        show_clusters(found, console)
        if what.keep:
            keep_clusters(found, what.data, what.service, console)
    finally:
        lock.release()


def plan_of(data: Path, rules: ClusterSettings, now: int, seed: int | None = None) -> ClusterPlan:
    """What the settings and the log say. Raises `NotFound` for a folder without a store, `BadSettings`, `BadRule`."""
    known = clusters_of(data)
    return ClusterPlan(
        data=data,
        now=now,
        seed=rules.seed if seed is None else seed,
        k=(rules.k_min, rules.k_max),
        measures=BEHAVIOUR if rules.features is None else measures_of(rules.features),
        traits=rules.traits,
        before=known.clusters,
        taken=known.taken,
    )


def clusters_of(data: Path) -> Standing:
    """The clusters there are, read from the log."""
    return clusters_told(reversed(_told(data)))


def definitions_of(data: Path) -> Definitions:
    """All segments there are, read from the log."""
    return told_chronicle(_told(data)).now


def _told(data: Path) -> list[Told]:
    """Newest first. Raises `NotFound` for a folder without a store."""
    store = Store.open(data)
    number = store.partition(SEGMENTS_KEY)
    files = PartitionFiles(store.folder(number), number, store)
    try:
        return files.history.events(SEGMENTS_KEY, FACTS_MAX)
    finally:
        files.close()


def refit_beside(
    data: Path, rules: ClusterSettings, cluster: Cluster, now: int, tell: Callable[[str, int, int], None]
) -> Clusters | None:
    """As a part of retraining, on its Ray. None where clusters are off, or there are too few people."""
    if not rules.enabled:
        return None
    try:
        return refit(plan_of(data, rules, now), cluster, tell)
    except EverfoldError:
        return None  # retraining does not depend on it; `everfold segments fit` says why


def keep_clusters(found: Clusters, data: Path, service: str, console: Console) -> None:
    """Have the service go by what was found: a fact for each cluster that changed."""
    try:
        client = ServiceClient.of(data, service)
        for told in found.defined:
            body = {"kind": told.kind, "description": told.description, "cluster": told.cluster, "by": BY}
            client.put(f"/v1/segments/{told.name}", body)
        for name in found.dropped:
            client.delete(f"/v1/segments/{name}", {"by": BY})
    except Unavailable as stopped:
        console.print(f"Nothing was kept: {stopped}. Then run `everfold segments fit` again.", soft_wrap=True)
        return
    except EverfoldError as refused:
        console.print(f"The service refused a cluster: {refused}", soft_wrap=True)
        return
    console.print(f"{len(found.defined)} clusters defined, {len(found.dropped)} dropped.")


def show_clusters(found: Clusters, console: Console) -> None:
    tried = ", ".join(f"{k}: {silhouette:.3f}" for k, silhouette in found.silhouettes.items())
    console.print(f"{found.people:,} people, mean silhouette by number of clusters: {tried}", soft_wrap=True)
    table = Table("cluster", "people", "what it is")
    for one in found.found:
        table.add_row(one.name + ("" if one.survived else " (new)"), f"{one.members:,}", one.description)
    console.print(table)


def _alone(data: Path) -> FolderLock:
    Store.open(data)
    folder = data / "run" / "clusters"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return FolderLock(folder)
    except Held:
        raise Conflict(f"clusters are being fitted over {data}, by process {holder(folder)}: let it end") from None
