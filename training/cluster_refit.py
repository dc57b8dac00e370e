"""Fitting the clusters again, from the profiles of a store to the facts that make them serve.

    count     traits, in a sample of every partition                  (a task per partition, where the state lies)
    measure   every profile's features                                (a task per slice, where the state lies)
    try       one k each                                              (a task each)
    name      the best k, matched with the clusters before it         (here)

Equal profiles, plan and moment give equal clusters, whatever the cluster of machines. Profiles are read beside a
running service, a few hundred per transaction: somebody may have acted between two of them, which a clustering of
everybody does not mind. Who refuses personalization is not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from actors.history import Told
from actors.lmdb_state import LmdbReader
from actors.profile import allowed, decode
from actors.recovery import STATE
from actors.segment_cluster import Clustering
from actors.segment_rules import understand
from actors.segment_subject import ProfileSubject
from actors.segment_syntax import BadRule
from actors.store import Store
from actors.working_set import PROFILES
from events.ids import PartitionId
from events.types import Json, SegmentDefined, SegmentDropped
from training.cluster_features import (
    BEHAVIOUR,
    K_MAX,
    K_MIN,
    Matrix,
    Measure,
    TraitCounts,
    features_of,
    measured,
    scaled,
    trait_measures,
)
from training.clusters import (
    Clusters,
    Crowd,
    Described,
    Labels,
    best_of,
    by_size,
    definitions_of,
    description_of,
    matched,
    named,
    nearest,
    try_k,
)
from training.retraining import Cluster, Job, NothingToLearn

SLICES: Final = 8
"""Tasks that measure one partition: keys are hashes, so slices of them are as large as each other."""
SAMPLED: Final = 20_000
"""Profiles of each partition whose traits are counted: the first by key, which is a hash."""
TRAIT_VALUES_MAX: Final = 4_096
"""Values of one trait that are told apart in the sample; a trait with more is numeric or a name."""
PEOPLE_MIN: Final = 100
"""With fewer people a cluster would be somebody."""


@dataclass(frozen=True)
class ClusterPlan:
    """What is to be clustered, and how."""

    data: Path
    now: int
    """The moment at which everybody is measured, ms."""
    seed: int = 1
    k: tuple[int, int] = (K_MIN, K_MAX)
    measures: tuple[Measure, ...] = BEHAVIOUR
    traits: tuple[str, ...] | None = None
    """None: those that most people have (`training.cluster_features.trait_measures`)."""
    before: Mapping[str, SegmentDefined] = field(default_factory=dict)
    """The clusters there are, by name."""
    taken: frozenset[str] = frozenset()
    """Names that segments ever had."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the log says of clusters."""

    clusters: Mapping[str, SegmentDefined]
    taken: frozenset[str]


def clusters_told(told: Iterable[Told]) -> Standing:
    """From the facts about segments, oldest first."""
    clusters: dict[str, SegmentDefined] = {}
    taken: set[str] = set()
    for one in told:
        event = one.payload.event
        if isinstance(event, SegmentDefined | SegmentDropped):
            taken.add(event.name)
            clusters.pop(event.name, None)
            if isinstance(event, SegmentDefined) and event.kind == "cluster":
                clusters[event.name] = event
    return Standing(clusters, frozenset(taken))


def refit(plan: ClusterPlan, cluster: Cluster, tell: Callable[[str, int, int], None]) -> Clusters:
    """Do it. ``tell`` hears the name of every task that ended, and how many of how many have. Nothing is written.

    Raises `NothingToLearn` where fewer than `PEOPLE_MIN` people allow it, or nothing tells them apart.
    """
    store = Store.open(plan.data)
    ks = range(plan.k[0], plan.k[1] + 1)
    progress = _Progress(cluster, tell, len(store.numbers()) * (1 + SLICES) + len(ks))
    counts = progress.wait(
        [cluster.start(f"count p{number}", count_traits, plan.data, number, here=True) for number in store.numbers()]
    )
    measures = (*plan.measures, *trait_measures(*_joined(counts), plan.traits))
    before = _before(plan.before)
    old = () if before is None else before.features
    asked = (*measures, *(Measure(feature.value, feature.known) for feature in old))
    parts = progress.wait(
        [
            cluster.start(f"measure p{number}.{part}", measure_slice, plan, number, part, asked, here=True)
            for number in store.numbers()
            for part in range(SLICES)
        ]
    )
    matrix = in_order(np.concatenate(parts))
    features = features_of(matrix[:, : len(measures)], measures)
    if len(matrix) < PEOPLE_MIN or not features:
        raise NothingToLearn(
            f"{plan.data} has {len(matrix)} people who allow it and {len(features)} features that tell them apart: "
            f"clusters need {PEOPLE_MIN} and 1"
        )
    columns = [column for column, _ in features]
    z = scaled(matrix[:, columns], [feature for _, feature in features])
    held = cluster.put(z.astype(np.float32))
    tried = progress.wait([cluster.start(f"try {k} clusters", try_k, held, k, plan.seed) for k in ks])
    best = best_of(tried, len(plan.before))
    labels, centroids = by_size(nearest(z, best.centroids), best.centroids)
    clustering = Clustering(0, tuple(feature for _, feature in features), _tuples(centroids))
    was = None if before is None else _labels_before(matrix[:, len(measures) :], before, plan.before)
    found = _described(plan, matrix[:, columns], labels, [measures[column] for column in columns], clustering, was)
    return Clusters(
        people=len(matrix),
        seed=plan.seed,
        at=plan.now,
        silhouettes={one.k: one.silhouette for one in sorted(tried, key=lambda one: one.k)},
        found=tuple(found),
        defined=definitions_of(clustering, found, plan.before),
        dropped=tuple(sorted(set(plan.before) - {one.name for one in found})),
    )


def _described(
    plan: ClusterPlan,
    matrix: Matrix,
    labels: Labels,
    measures: Sequence[Measure],
    clustering: Clustering,
    was: Labels | None,
) -> list[Described]:
    names = sorted(plan.before)
    same = {} if was is None else {new: names[old] for new, old in matched(was, labels).items()}
    called = named(same, len(clustering.centroids), plan.taken | set(names))
    sizes = np.bincount(labels, minlength=len(called)).tolist()
    durations = durations_of(measures)
    found = []
    crowd = Crowd(matrix, measures, clustering.features)
    for number, members in enumerate(sizes):
        share, apart = members / len(labels), crowd.apart(labels == number)
        found.append(
            Described(
                called[number],
                number,
                members,
                share,
                apart,
                number in same,
                description_of(share, apart, durations),
            )
        )
    return found


def durations_of(measures: Sequence[Measure]) -> frozenset[str]:
    """The expressions among ``measures`` that give a time in ms."""
    return frozenset(measure.value for measure in measures if is_duration(measure.value))


def in_order(matrix: Matrix) -> Matrix:
    """The rows in an order that depends on nothing but themselves: keys are hashed with a store's own secret, so theirs
    would make other batches, and other clusters, of the same people in another store."""
    mixed = np.nan_to_num(matrix, nan=-1.0) * np.random.default_rng(0).random(matrix.shape[1])
    return matrix[np.argsort(mixed.sum(axis=1), kind="stable")]


def is_duration(text: str) -> bool:
    """Whether an expression gives a time in ms.

    >>> is_duration("idle"), is_duration("spent")
    (True, False)
    """
    try:
        understand(f"({text}) >= 1 minutes")
    except BadRule:
        return False
    return True


def _before(told: Mapping[str, SegmentDefined]) -> Clustering | None:
    """The clustering most of the clusters there are belong to; names without one are matched with nothing."""
    known = [msgspec.convert({**each.cluster, "number": 0}, Clustering) for each in told.values()]
    return max(known, key=lambda one: (known.count(one), str(one))) if known else None


def _labels_before(matrix: Matrix, before: Clustering, told: Mapping[str, SegmentDefined]) -> Labels:
    """Who would be in which cluster by the definitions there are: place of its name in order, -1 for none."""
    place = np.full(len(before.centroids), -1, np.int32)
    for number, name in enumerate(sorted(told)):
        clustering = msgspec.convert(told[name].cluster, Clustering)
        if msgspec.structs.replace(clustering, number=0) == before:
            place[clustering.number] = number
    found: Labels = place[nearest(scaled(matrix, before.features), np.array(before.centroids))]
    return found


def _tuples(centroids: Matrix) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in centroids.tolist())


def count_traits(data: Path, number: PartitionId) -> tuple[TraitCounts, int]:
    """`traits_of` the sample of one partition."""
    return traits_of(islice(_blobs(data, number, b"", None), SAMPLED))


def traits_of(blobs: Iterable[bytes]) -> tuple[TraitCounts, int]:
    """Values of every trait of those who count among stored profiles, and how many that are."""
    counts: dict[str, dict[Json, int]] = {}
    people = 0
    for profile in map(decode, blobs):
        if profile.last_at is None or not allowed(profile):
            continue
        people += 1
        for name, trait in profile.traits.items():
            values, value = counts.setdefault(name, {}), trait.value
            if isinstance(value, str | int | float) and (value in values or len(values) < TRAIT_VALUES_MAX):
                values[value] = values.get(value, 0) + 1
    return counts, people


def measure_slice(plan: ClusterPlan, number: PartitionId, part: int, measures: Sequence[Measure]) -> Matrix:
    """Features of everybody in one of `SLICES` slices of a partition's keys."""
    start, stop = part * 256 // SLICES, (part + 1) * 256 // SLICES
    end = bytes([stop]) if stop < 256 else None
    people = (ProfileSubject(blob, plan.now) for blob in _blobs(plan.data, number, bytes([start]), end))
    return measured((each for each in people if each.counts()), measures)


def _blobs(data: Path, number: PartitionId, start: bytes, end: bytes | None) -> Iterator[bytes]:
    """Stored profiles with keys from ``start`` up to ``end``, in order."""
    reader = LmdbReader(Store.open(data).folder(number) / STATE)
    try:
        for name, blob in reader.scan(PROFILES, start):
            if end is not None and name >= end:
                return
            yield blob
    finally:
        reader.close()


def _joined(counts: Sequence[tuple[TraitCounts, int]]) -> tuple[TraitCounts, int]:
    total: dict[str, dict[Json, int]] = {}
    for one, _ in counts:
        for name, values in one.items():
            into = total.setdefault(name, {})
            for value, count in values.items():
                into[value] = into.get(value, 0) + count
    return total, sum(people for _, people in counts)


class _Progress:
    def __init__(self, cluster: Cluster, tell: Callable[[str, int, int], None], count: int) -> None:
        self._cluster = cluster
        self._tell = tell
        self._count = count
        self._done = 0

    def wait(self, jobs: Sequence[Job[Any]]) -> list[Any]:
        """Results in the order of the jobs."""
        for job in self._cluster.done(jobs):
            self._done += 1
            self._tell(job.name, self._done, self._count)
        return [self._cluster.result(job) for job in jobs]
