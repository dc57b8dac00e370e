"""Metrics of ranked lists, of ratings and of probabilities.

Lists come as one array ``ranked`` of shape (requests, depth): item indices, best first, -1 where a list is shorter.
What the requests turned out to want comes as `Relevant`. The accuracy metrics give one value per request, because
intervals are made over users; what belongs to all lists together (coverage, Gini) gives one value.

A request that wants nothing has no defined recall or NDCG: leave it out before asking (`Relevant.rows`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

Ranked: TypeAlias = npt.NDArray[np.integer]
"""Shape (requests, depth): item indices, best first; -1 fills up."""
Hits: TypeAlias = npt.NDArray[np.bool_]
"""Shape (requests, depth): whether the item there was wanted."""
Values: TypeAlias = npt.NDArray[np.float64]

ACCURACY: Final = ("ndcg", "hr", "recall", "precision", "mrr", "map")
"""The names under which `accuracy` reports, each followed by ``@k``."""


@dataclass(frozen=True, slots=True)
class Relevant:
    """The set of wanted items of each request: those of request r are ``item[start[r]:start[r + 1]]``, ascending."""

    start: npt.NDArray[np.int64]
    item: npt.NDArray[np.int32]

    @classmethod
    def of(cls, sets: Sequence[Iterable[int]]) -> Relevant:
        """From one set per request; doubles count once."""
        rows = [sorted(set(wanted)) for wanted in sets]
        start = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64)
        return cls(start, np.array([item for row in rows for item in row], np.int32))

    @classmethod
    def single(cls, items: npt.NDArray[np.integer]) -> Relevant:
        """One wanted item per request (leave-one-out)."""
        return cls(np.arange(len(items) + 1, dtype=np.int64), items.astype(np.int32))

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """How many items each request wants."""
        return np.diff(self.start)

    @property
    def request(self) -> npt.NDArray[np.int64]:
        """The request of each entry of ``item``."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.sizes)

    def __len__(self) -> int:
        return len(self.start) - 1

    def rows(self, which: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> Relevant:
        """Some of the requests, in the order given."""
        chosen = np.arange(len(self))[which]
        sizes = self.sizes[chosen]
        start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        within = np.arange(start[-1]) - np.repeat(start[:-1], sizes)
        return Relevant(start, self.item[np.repeat(self.start[chosen], sizes) + within])


def hits(ranked: Ranked, relevant: Relevant) -> Hits:
    """Whether each listed item was wanted by its request.

    >>> hits(np.array([[3, 1, -1]]), Relevant.of([{1, 2}])).tolist()
    [[False, True, False]]
    """
    span = int(max(ranked.max(initial=0), relevant.item.max(initial=0))) + 2
    wanted = relevant.request * span + relevant.item
    keys = np.arange(len(ranked), dtype=np.int64)[:, None] * span + ranked
    if not len(wanted):
        return np.zeros(ranked.shape, bool)
    found: npt.NDArray[np.int64] = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
    return np.asarray((ranked >= 0) & (wanted[found] == keys), np.bool_)


def discounts(depth: int) -> Values:
    """1 / log2(1 + rank) for ranks 1..depth."""
    return np.asarray(1.0 / np.log2(np.arange(2, depth + 2)), np.float64)


def precision(hit: Hits, k: int) -> Values:
    """Wanted items among the first k, divided by k, also where the list is shorter."""
    return np.asarray(hit[:, :k].sum(axis=1) / k, np.float64)


def recall(hit: Hits, sizes: npt.NDArray[np.int64], k: int) -> Values:
    """Share of the wanted items that stand among the first k. Divided by all wanted, also where these exceed k."""
    return np.asarray(hit[:, :k].sum(axis=1) / sizes, np.float64)


def hit_rate(hit: Hits, k: int) -> Values:
    """1 where any of the first k was wanted."""
    return np.asarray(hit[:, :k].any(axis=1), np.float64)


def ndcg(hit: Hits, sizes: npt.NDArray[np.int64], k: int) -> Values:
    """DCG / ideal DCG with gain 1 and discount 1 / log2(1 + rank); the ideal list is as long as min(wanted, k).

    Järvelin, Kekäläinen: Cumulated gain-based evaluation of IR techniques, TOIS 20 (2002).
    """
    weights = discounts(k)
    ideal = np.cumsum(weights)[np.minimum(sizes, k) - 1]
    listed = hit[:, :k]
    return np.asarray(listed @ weights[: listed.shape[1]] / ideal, np.float64)


def reciprocal_rank(hit: Hits, k: int) -> Values:
    """1 / rank of the first wanted item, 0 when none is among the first k."""
    first = hit[:, :k].argmax(axis=1)
    return np.asarray(hit[:, :k].any(axis=1) / (1.0 + first), np.float64)


def average_precision(hit: Hits, sizes: npt.NDArray[np.int64], k: int) -> Values:
    """Mean over wanted items of the precision at their rank, 0 for those below k; divided by min(wanted, k)."""
    listed = hit[:, :k]
    at_rank = np.cumsum(listed, axis=1) / np.arange(1, listed.shape[1] + 1)
    return np.asarray((at_rank * listed).sum(axis=1) / np.minimum(sizes, k), np.float64)


def accuracy(ranked: Ranked, relevant: Relevant, k: int) -> dict[str, Values]:
    """All of `ACCURACY` at k, one value per request, under names such as ``ndcg@10``."""
    hit, sizes = hits(ranked[:, :k], relevant), relevant.sizes
    values = (
        ndcg(hit, sizes, k),
        hit_rate(hit, k),
        recall(hit, sizes, k),
        precision(hit, k),
        reciprocal_rank(hit, k),
        average_precision(hit, sizes, k),
    )
    return {f"{name}@{k}": value for name, value in zip(ACCURACY, values, strict=True)}


def accuracy_at_ranks(ranks: Values, k: int) -> dict[str, Values]:
    """`accuracy` where each request wants one item whose rank (from 1, halves for ties) is known."""
    inside = ranks <= k
    reciprocal = np.where(inside, 1.0 / ranks, 0.0)
    values = (
        np.where(inside, 1.0 / np.log2(1.0 + ranks), 0.0),
        inside.astype(np.float64),
        inside.astype(np.float64),
        inside / k,
        reciprocal,
        reciprocal,
    )
    return {f"{name}@{k}": value for name, value in zip(ACCURACY, values, strict=True)}


def mean_ranks(scores: npt.NDArray[np.floating], target: npt.NDArray[np.integer]) -> Values:
    """Rank of each row's target among all items of the row, from 1; ties share their mean rank.

    ``scores`` has shape (requests, items), -inf for items out of the question. Mean ranks keep a model that scores
    everything alike from looking good or bad by the order its items happen to have.

    >>> mean_ranks(np.array([[.5, .5, .9]]), np.array([0])).tolist()
    [2.5]
    """
    own = scores[np.arange(len(scores)), target][:, None]
    return np.asarray(1.0 + (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2.0, np.float64)


def top(scores: npt.NDArray[np.floating], k: int) -> npt.NDArray[np.int32]:
    """The k best of each row in the total order (highest first, ties by lower index); -1 in place of -inf."""
    depth = min(k, scores.shape[1])
    # A partition alone would leave it to chance which of several equal items at the border are in.
    border = -np.partition(-scores, depth - 1, axis=1)[:, depth - 1 : depth]
    out = np.full((len(scores), k), -1, np.int32)
    for row, (values, lowest) in enumerate(zip(scores, border, strict=True)):
        inside = np.flatnonzero((values >= lowest) & (values > -np.inf))
        best = inside[np.argsort(-values[inside], kind="stable")[:depth]]
        out[row, : len(best)] = best
    return out


def coverage(ranked: Ranked, items: int) -> float:
    """Share of the catalogue that stands in at least one list."""
    return len(np.unique(ranked[ranked >= 0])) / items


def exposures(ranked: Ranked, items: int) -> Values:
    """Attention each item gets: the sum of 1 / log2(1 + rank) over all lists."""
    weights = np.broadcast_to(discounts(ranked.shape[1]), ranked.shape)
    listed = ranked >= 0
    return np.bincount(ranked[listed], weights[listed], items).astype(np.float64)


def gini(amounts: Values) -> float:
    """Gini coefficient: 0 when all have the same, towards 1 when one has everything.

    >>> gini(np.array([1.0, 1.0])), gini(np.array([0.0, 0.0, 0.0, 1.0]))
    (0.0, 0.75)
    """
    total = float(amounts.sum())
    if total <= 0:
        return 0.0
    count = len(amounts)
    ranks = np.arange(1, count + 1)
    return float((2 * ranks - count - 1) @ np.sort(amounts) / (count * total))


def novelty(ranked: Ranked, popularity: Values) -> Values:
    """Mean surprise -log2(p(item)) of each list, p the share of ``popularity`` with one added to every item.

    Zhou et al.: Solving the apparent diversity-accuracy dilemma, PNAS 107 (2010).
    """
    counts = popularity + 1.0
    return _list_mean(ranked, -np.log2(counts / counts.sum()))


def popularity_bias(ranked: Ranked, popularity: Values) -> Values:
    """Mean popularity percentile (0 the least popular, 1 the most; ties at their mean) of each list's items.

    0.5 is what lists drawn evenly from the catalogue have.
    """
    order = np.sort(popularity)
    below, up_to = np.searchsorted(order, popularity, "left"), np.searchsorted(order, popularity, "right")
    return _list_mean(ranked, (below + up_to) / (2.0 * len(popularity)))


def intra_list_diversity(ranked: Ranked, vectors: npt.NDArray[np.floating]) -> Values:
    """Mean of 1 - cosine over the pairs of each list, from item vectors of shape (items, dimensions).

    An item without a vector (all zeros) is like no other: its pairs count 1. A list of fewer than two has 0.
    Ziegler et al.: Improving recommendation lists through topic diversification, WWW 2005.
    """
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, length, out=np.zeros(vectors.shape), where=length > 0)
    listed = ranked >= 0
    picked = unit[np.maximum(ranked, 0)] * listed[:, :, None]
    count = listed.sum(axis=1)
    pairs = count * (count - 1) / 2.0
    alike = (np.square(picked.sum(axis=1)).sum(axis=1) - np.square(picked).sum(axis=(1, 2))) / 2.0
    return np.asarray(np.divide(pairs - alike, pairs, out=np.zeros(len(ranked)), where=pairs > 0), np.float64)


def serendipity(ranked: Ranked, relevant: Relevant, obvious: Ranked, k: int) -> Values:
    """Share of the first k that are wanted and not among the first k of ``obvious``, the popularity list.

    Ge, Delgado-Battenfeld, Jannach: Beyond accuracy, RecSys 2010.
    """
    own = ranked[:, :k]
    expected = (own[:, :, None] == obvious[:, None, :k]).any(axis=2)
    return np.asarray((hits(own, relevant) & ~expected).sum(axis=1) / k, np.float64)


def category_divergence(
    ranked: Ranked, categories: npt.NDArray[np.floating], tastes: npt.NDArray[np.floating], blur: float = 0.01
) -> Values:
    """KL(taste || list) in nats: how far each list's categories are from the person's usual ones; 0 is best.

    ``categories`` (items, categories) and ``tastes`` (requests, categories) have rows that sum to 1; the list's own
    distribution is mixed with ``blur`` of the taste, as an empty category would make it infinite.
    Steck: Calibrated recommendations, RecSys 2018.
    """
    listed = ranked >= 0
    count = np.maximum(listed.sum(axis=1), 1)
    shown = (categories[np.maximum(ranked, 0)] * listed[:, :, None]).sum(axis=1) / count[:, None]
    mixed = (1 - blur) * shown + blur * tastes
    ratio = np.divide(tastes, mixed, out=np.ones_like(mixed), where=(tastes > 0) & (mixed > 0))
    return np.asarray((tastes * np.log(ratio)).sum(axis=1), np.float64)


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Predictions of about the same height: their mean, the share that came true, how many there are."""

    predicted: float
    observed: float
    count: int


def calibration_bins(predicted: Values, outcome: npt.NDArray[np.bool_], bins: int = 10) -> list[CalibrationBin]:
    """Equal-count bins by predicted probability (equal widths would put nearly all rare outcomes into one)."""
    order = np.argsort(predicted, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [CalibrationBin(float(predicted[p].mean()), float(outcome[p].mean()), len(p)) for p in parts]


def expected_calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Σ over bins of share · |predicted - observed|.

    Naeini, Cooper, Hauskrecht: Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015.
    """
    total = sum(part.count for part in bins)
    return sum(part.count * abs(part.predicted - part.observed) for part in bins) / total if total else 0.0


def root_mean_squared_error(predicted: Values, actual: Values) -> float:
    return float(np.sqrt(np.mean(np.square(predicted - actual))))


def mean_absolute_error(predicted: Values, actual: Values) -> float:
    return float(np.mean(np.abs(predicted - actual)))


def group_means(values: Values, groups: Sequence[str]) -> dict[str, float]:
    """Mean of the values of each group, groups in alphabetical order."""
    names, number = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    sums, counts = np.bincount(number, values), np.bincount(number)
    return {str(name): float(total / count) for name, total, count in zip(names, sums, counts, strict=True)}


def group_gap(means: Mapping[str, float]) -> float:
    """Largest difference between two groups' means; 0 for fewer than two groups."""
    return max(means.values()) - min(means.values()) if means else 0.0


def popularity_of(histories: sparse.csr_matrix) -> Values:
    """Column sums of a (users, items) matrix."""
    return np.asarray(histories.sum(axis=0), np.float64).ravel()


def _list_mean(ranked: Ranked, per_item: Values) -> Values:
    listed = ranked >= 0
    sums = (per_item[np.maximum(ranked, 0)] * listed).sum(axis=1)
    return np.asarray(sums / np.maximum(listed.sum(axis=1), 1), np.float64)
