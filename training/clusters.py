"""Clusters of people: fitted, numbered, named and described. Pure; where the numbers come from is
`training.cluster_refit`'s matter.

Mini-batch K-Means (Sculley, "Web-scale k-means clustering", WWW 2010; scikit-learn) for every k within bounds; the k
whose clusters are told apart best on a sample, by the mean silhouette (Rousseeuw, 1987): of a person, how much nearer
their own cluster is than the next, in -1..1. A refit that finds nearly as good a clustering of as many clusters as
before keeps their number.

A cluster is the same as one before if it holds the same people: old and new ones are matched so that the overlaps
|A and B| / |A or B| add up to the most (the Hungarian method, Kuhn 1955), both clusterings applied to everybody as they
are now. Whoever overlaps less than `SAME_MIN` is somebody else. So names survive refits, other features and another k.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

from actors.segment_cluster import Clustering, Feature
from events.types import Json, SegmentDefined
from training.cluster_features import Matrix, Measure, rounded

Labels: TypeAlias = npt.NDArray[np.int32]

SILHOUETTE_SAMPLE: Final = 4_000
"""All distances within it are needed: 16 million, 0.3 s of CPU. The silhouette's standard error is below 0.01."""
BATCH: Final = 4_096
STARTS: Final = 10
"""With three the best of nine k of the same households has a silhouette of .20 to .22, with ten .22 to .27 (seeds 1 to
3), for a tenth more CPU."""
AS_GOOD: Final = 0.02
"""Two standard errors of the sampled silhouette."""
SAME_MIN: Final = 0.25
"""Half of each within the other, when both are of one size, is an overlap of a third."""
APART_MIN: Final = 0.3
"""In deviations of the population: less than that does not set a cluster apart."""
APART_MAX: Final = 4
ALL_KNOWN: Final = 0.95
CHUNK: Final = 65_536
BY: Final = "clusters"
PREFIX: Final = "cluster-"


@dataclass(frozen=True, slots=True)
class Tried:
    """A clustering with one k."""

    k: int
    centroids: Matrix
    """Shape (k, features), scaled."""
    silhouette: float


class Apart(msgspec.Struct, frozen=True):
    """One thing that sets a cluster apart."""

    says: str
    value: str
    """The expression."""
    here: float
    """Mean within the cluster, cut as the feature is; durations in ms, conditions as a share."""
    overall: float
    deviations: float
    """(here - overall) / the population's deviation."""
    known: float = 1.0
    """Share of the cluster of whom it is known."""


class Described(msgspec.Struct, frozen=True):
    """One cluster."""

    name: str
    number: int
    members: int
    share: float
    apart: tuple[Apart, ...]
    survived: bool
    """Whether it was there before."""
    description: str


class Clusters(msgspec.Struct, frozen=True):
    """What a refit came to."""

    people: int
    seed: int
    at: int
    """The moment everybody was measured at, ms."""
    silhouettes: dict[int, float]
    """By k."""
    found: tuple[Described, ...]
    defined: tuple[SegmentDefined, ...]
    dropped: tuple[str, ...] = ()
    """Clusters before that are nobody's successor."""


def try_k(matrix: Matrix, k: int, seed: int) -> Tried:
    """Cluster the rows of ``matrix`` (scaled) into ``k``. On one thread, because sums in another order are other sums.

    Raises `ValueError` for fewer rows than ``k``.
    """
    with threadpool_limits(limits=1):
        fitted = MiniBatchKMeans(
            n_clusters=k,
            random_state=seed,
            batch_size=BATCH,
            n_init=STARTS,
            compute_labels=False,
        ).fit(matrix)
        centroids = np.array([[rounded(x) for x in row] for row in fitted.cluster_centers_.tolist()], np.float64)
        chosen = np.random.default_rng(seed).permutation(len(matrix))[:SILHOUETTE_SAMPLE]
        sample = np.asarray(matrix[np.sort(chosen)], np.float64)
        labels = nearest(sample, centroids)
        told = len(np.unique(labels))
        silhouette = float(silhouette_score(sample, labels)) if 1 < told < len(sample) else -1.0
    return Tried(k, centroids, silhouette)


def best_of(tried: Sequence[Tried], before: int = 0) -> Tried:
    """The clustering with the highest silhouette, ties by smaller k; one with ``before`` clusters where it is within
    `AS_GOOD` of that."""
    ranked = sorted(tried, key=lambda one: (-one.silhouette, one.k))
    again = [one for one in ranked if one.k == before and one.silhouette >= ranked[0].silhouette - AS_GOOD]
    return (again or ranked)[0]


def nearest(matrix: Matrix, centroids: Matrix) -> Labels:
    """The nearest centroid of each row, the first of equally near ones: who is in which cluster."""
    labels = np.empty(len(matrix), np.int32)
    sizes = (centroids * centroids).sum(axis=1)
    for start in range(0, len(matrix), CHUNK):
        part = matrix[start : start + CHUNK].astype(np.float64, copy=False)
        labels[start : start + CHUNK] = (sizes - 2.0 * (part @ centroids.T)).argmin(axis=1)
    return labels


def by_size(labels: Labels, centroids: Matrix) -> tuple[Labels, Matrix]:
    """The same clustering with the largest cluster first, ties by centroid; empty ones are left out."""
    sizes = np.bincount(labels, minlength=len(centroids))
    order = sorted(np.flatnonzero(sizes).tolist(), key=lambda number: (-sizes[number], centroids[number].tolist()))
    place = np.full(len(centroids), -1, np.int32)
    place[order] = np.arange(len(order))
    return place[labels], centroids[order]


def matched(before: Labels, after: Labels) -> dict[int, int]:
    """New cluster → the one before that it is. Labels of the same people, -1 for in none."""
    held = (before >= 0) & (after >= 0)
    old, new = int(before.max(initial=-1)) + 1, int(after.max(initial=-1)) + 1
    if not old or not new:
        return {}
    both = np.bincount(after[held].astype(np.int64) * old + before[held], minlength=old * new).reshape(new, old)
    either = np.bincount(after[after >= 0], minlength=new)[:, None] + np.bincount(before[before >= 0], minlength=old)
    overlap = both / np.maximum(either - both, 1)
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    return {int(n): int(o) for n, o in zip(rows, columns, strict=True) if overlap[n, o] >= SAME_MIN}


def named(same: Mapping[int, str], count: int, taken: Collection[str]) -> list[str]:
    """A name for each of ``count`` clusters: the one it had (``same``), or the next number nobody ever had.

    >>> named({1: "cluster-2"}, 3, {"cluster-1", "cluster-2", "vip"})
    ['cluster-3', 'cluster-2', 'cluster-4']
    """
    numbers = [int(name.removeprefix(PREFIX)) for name in taken if name.removeprefix(PREFIX).isdecimal()]
    following = max(numbers, default=0) + 1
    names = []
    for number in range(count):
        name = same.get(number)
        if name is None:
            name, following = f"{PREFIX}{following}", following + 1
        names.append(name)
    return names


class Crowd:
    """Everybody, measured: what parts of it are held against."""

    def __init__(self, matrix: Matrix, measures: Sequence[Measure], features: Sequence[Feature]) -> None:
        """``matrix``: as measured, not scaled, one column for each of ``measures`` and ``features``, NaN where nobody
        knows. Values count as the features cut them."""
        lows, highs = (np.array([getattr(each, name) for each in features]) for name in ("low", "high"))
        self._cut = np.clip(matrix, lows, highs)
        self._measures = measures
        self._mean = _means(self._cut)
        self._deviation = np.sqrt(np.maximum(_means(self._cut * self._cut) - self._mean**2, 0.0))

    def deviations(self, inside: npt.NDArray[np.bool_]) -> Matrix:
        """Of each feature: (mean of those ``inside`` - mean of all) / deviation of all; 0 where it is known of none."""
        own = self._cut[inside]
        here = np.where(np.isnan(own).all(axis=0), self._mean, _means(own))
        moved: Matrix = np.zeros(len(self._measures))
        return np.divide(here - self._mean, self._deviation, out=moved, where=self._deviation > 0)

    def apart(self, inside: npt.NDArray[np.bool_]) -> tuple[Apart, ...]:
        """What sets those ``inside`` apart, the most telling first, ties by feature."""
        own = self._cut[inside]
        here, known, moved = _means(own), 1.0 - np.isnan(own).mean(axis=0), self.deviations(inside)
        order = sorted(range(len(moved)), key=lambda column: (-abs(moved[column]), column))
        return tuple(
            Apart(
                self._measures[column].says,
                self._measures[column].value,
                float(here[column]),
                float(self._mean[column]),
                float(moved[column]),
                float(known[column]),
            )
            for column in order[:APART_MAX]
            if abs(moved[column]) >= APART_MIN
        )


def _means(values: Matrix) -> Matrix:
    """Of each column, over those of whom it is known."""
    known = (~np.isnan(values)).sum(axis=0)
    means: Matrix = np.nansum(values, axis=0) / np.maximum(known, 1)
    return means


def description_of(share: float, apart: Sequence[Apart], durations: Collection[str]) -> str:
    """One sentence. ``durations``: the expressions that are times in ms.

    >>> description_of(0.25, [Apart("orders lately", "x", 12.0, 3.0, 1.5)], ())
    '25 % of people. Set apart by: orders lately 12 (overall 3).'
    """
    if not apart:
        return f"{share:.0%} of people, near the middle in everything.".replace("%", " %")
    parts = [f"{one.says} {_amount(one.here, one, durations, mine=True)} ({_overall(one, durations)})" for one in apart]
    return f"{100 * share:.0f} % of people. Set apart by: {'; '.join(parts)}."


def _overall(one: Apart, durations: Collection[str]) -> str:
    return f"overall {_amount(one.overall, one, durations)}"


def _amount(number: float, one: Apart, durations: Collection[str], *, mine: bool = False) -> str:
    if one.value in durations:
        return _time(number)
    if one.value.startswith("trait("):
        return f"{100 * number:.0f} %" + (" of those known" if mine and one.known < ALL_KNOWN else "")
    return f"{number:.3g}" if abs(number) < 1_000 else f"{number:,.0f}"


def _time(ms: float) -> str:
    for unit, size in (("days", 86_400_000.0), ("hours", 3_600_000.0), ("minutes", 60_000.0)):
        if ms >= size:
            return f"{ms / size:.3g} {unit}"
    return f"{ms / 1000:.3g} s"


def definitions_of(
    clustering: Clustering, found: Sequence[Described], before: Mapping[str, SegmentDefined]
) -> tuple[SegmentDefined, ...]:
    """The facts that make a clustering serve; those that would say nothing new are left out."""
    made = []
    for one in found:
        cluster: dict[str, Json] = msgspec.json.decode(
            msgspec.json.encode(msgspec.structs.replace(clustering, number=one.number))
        )  # plain lists, as they come back from the log
        was = before.get(one.name)
        if was is None or was.cluster != cluster:
            version = 1 if was is None else was.version + 1
            made.append(
                SegmentDefined(
                    one.name, kind="cluster", version=version, description=one.description, cluster=cluster, by=BY
                )
            )
    return tuple(made)
