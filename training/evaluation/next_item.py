"""The next-item protocols: rank all items for each request, blend the columns, report.

    requests     one per predicted row, with what it may look at
    scored       all columns over all items, standardised; the 200 best by their plain sum become candidates
    blend        listwise weights from validation requests, re-ranking the candidates
    refit        the columns once more, with the validation rows, which lie before the test
    report       every column and the blend on the test, with intervals

Items of the history are out of the question unless the protocol allows repeats; ties share their mean rank.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from training.evaluation import listwise
from training.evaluation.history_table import HistoryTable, Int32, Rows
from training.evaluation.intervals import Interval, bootstrap, paired_difference
from training.evaluation.listwise import Requests, Weights, feature_names, log_features, standardise
from training.evaluation.metrics import (
    CalibrationBin,
    Relevant,
    accuracy_at_ranks,
    calibration_bins,
    category_divergence,
    coverage,
    exposures,
    gini,
    intra_list_diversity,
    mean_ranks,
    novelty,
    popularity_bias,
    serendipity,
    top,
)
from training.evaluation.next_item_columns import Column, Histories, Past
from training.evaluation.report import ENSEMBLE, Curve, GroupScores, ModelScores, Report, Setting
from training.evaluation.splits import Split, visible_until

Float32: TypeAlias = npt.NDArray[np.float32]
Float64: TypeAlias = npt.NDArray[np.float64]

K: Final = 10
CANDIDATES: Final = 200
"""How many items the blend re-ranks. Those further down are too far from the first ten to matter."""
REQUESTS_MAX: Final = 30_000
"""Test requests of one run; more are sampled by the seed."""
VALIDATION_MAX: Final = 5_000
"""Validation requests that weights are learned from; the learning curve is flat long before."""
_CHUNK_CELLS: Final = 2_000_000
"""Requests x items scored at once: 8 MB a column, so that a chunk of all columns stays small."""
BASELINES: Final = ("popularity", "personal_frequency", "item_knn")
"""In every table, whatever else is fitted."""

HISTORY_EDGES: Final = (1, 5, 20, 100)
HISTORIES: Final = ("none", "1-4", "5-19", "20-99", "100 and more")
"""How much somebody had done before the request; the borders are `HISTORY_EDGES`."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """What is asked of the data, and with what."""

    description: str
    columns: Callable[[Past], Mapping[str, Column]]
    """From what may be learned from to the columns, `BASELINES` among them."""
    repeats: bool = False
    refit: bool = True
    """Whether the columns learn from the validation rows too before they are asked on the test."""
    l2: float = 1e-3
    settings: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """Requests of one part of the split."""

    histories: Histories
    target: Int32
    user: Int32

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True, slots=True)
class Scored:
    """What all columns said of all requests, kept where it matters."""

    ranks: Mapping[str, Float64]
    """Column → rank of each request's target among all eligible items."""
    lists: Mapping[str, Int32]
    """Baseline → first ten of each request."""
    candidates: Int32
    """Shape (requests, candidates): ascending item numbers; -1 where fewer are eligible."""
    features: Float32
    """Shape (requests, candidates, features)."""
    behind: Float64
    """Mean rank of an eligible item outside the candidates."""


@dataclass(frozen=True, slots=True)
class Blended:
    """The blend's answer: rank of each target, first ten, and the softmax share of each of these."""

    ranks: Float64
    ranked: Int32
    share: Float64


@dataclass(frozen=True, slots=True)
class Fold:
    """One split, answered. `evaluate` makes one per split and reports them together."""

    split: Split
    past: Past
    weights: Weights
    validation: Asked
    test: Asked
    on_validation: Scored
    on_test: Scored
    checked: Blended
    answer: Blended
    """The blend's answers to the validation and the test requests."""


def evaluate(
    table: HistoryTable, splits: Sequence[Split], protocol: Protocol, seed: int, say: Callable[[str], None]
) -> Report:
    """Runs the protocol on one split, or on the folds of a cross-validation, whose requests are pooled.

    ``say`` hears a line per step. Same table, splits and seed: same report but for its seconds.
    """
    began = time.monotonic()
    rng = np.random.default_rng(seed)
    run = _Run(table, protocol, seed, [_fold(table, split, protocol, rng, say) for split in splits])
    report = _report(run)
    return replace(report, seconds=time.monotonic() - began)


def _fold(
    table: HistoryTable, split: Split, protocol: Protocol, rng: np.random.Generator, say: Callable[[str], None]
) -> Fold:
    columns = protocol.columns(Past.of(table, split.fit))
    say(f"{split.name}: fitted {len(columns)} columns on {len(split.fit):,} rows")
    validation = asked(table, sampled(split.validation, VALIDATION_MAX, rng), split)
    test = asked(table, sampled(split.test, REQUESTS_MAX, rng), split)
    on_validation = scored(columns, validation, protocol.repeats)
    weights = learned(on_validation, validation, tuple(columns), protocol.l2)
    say(f"{split.name}: learned {len(weights.names)} weights from {len(validation):,} validation requests")
    past = Past.of(table, np.union1d(split.fit, split.validation) if protocol.refit else split.fit)
    on_test = scored(protocol.columns(past) if protocol.refit else columns, test, protocol.repeats)
    say(f"{split.name}: ranked {table.items:,} items for {len(test):,} test requests")
    checked, answer = blended(on_validation, validation, weights), blended(on_test, test, weights)
    return Fold(split, past, weights, validation, test, on_validation, on_test, checked, answer)


def asked(table: HistoryTable, rows: Rows, split: Split) -> Asked:
    """The requests that predict these rows. Under leave-last-out a user's rows are in their true order, ties too."""
    begin = table.start[table.user[rows]]
    length = visible_until(table, rows, ties_ordered=split.scope == "user")
    return Asked(Histories(table.item, begin, length, table.items), table.item[rows], table.user[rows])


def sampled(rows: Rows, at_most: int, rng: np.random.Generator) -> Rows:
    """At most that many of the rows, without replacement, ascending."""
    return rows if len(rows) <= at_most else np.sort(rng.choice(rows, at_most, replace=False))


def scored(columns: Mapping[str, Column], of: Asked, repeats: bool) -> Scored:
    """Scores all requests, chunk by chunk."""
    step = max(1, _CHUNK_CELLS // of.histories.items)
    parts = [_scored_chunk(columns, of, at, min(at + step, len(of)), repeats) for at in range(0, len(of), step)]
    return Scored(
        {name: np.concatenate([part.ranks[name] for part in parts]) for name in columns},
        {name: np.concatenate([part.lists[name] for part in parts]) for name in BASELINES},
        np.concatenate([part.candidates for part in parts]),
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.behind for part in parts]),
    )


def _scored_chunk(columns: Mapping[str, Column], of: Asked, begin: int, end: int, repeats: bool) -> Scored:
    histories, target = of.histories.slice(begin, end), of.target[begin:end]
    eligible = np.ones((end - begin, histories.items), bool)
    if not repeats:
        request, _, item = histories.recent(int(histories.length.max(initial=0)))
        eligible[request, item] = False
        eligible[np.arange(end - begin), target] = True
    ranks, lists = {}, {}
    z = np.empty((len(columns), end - begin, histories.items), np.float32)
    sums = np.zeros((end - begin, histories.items), np.float32)
    for number, (name, column) in enumerate(columns.items()):
        scores = column.scores(histories)
        scores[~eligible] = -np.inf
        ranks[name] = mean_ranks(scores, target)
        if name in BASELINES:
            lists[name] = top(scores, K)
        z[number] = standardise(scores, eligible)
        above = np.flatnonzero(z[number].ravel() > 0)
        sums.ravel()[above] += np.log1p(z[number].ravel()[above])
    sums[~eligible] = -np.inf
    candidates = np.sort(top_unordered(sums, CANDIDATES), axis=1)
    features = log_features(z[:, np.arange(end - begin)[:, None], np.maximum(candidates, 0)].transpose(1, 2, 0))
    count = eligible.sum(axis=1)
    behind = (np.minimum(CANDIDATES, count) + 1 + count) / 2.0
    return Scored(ranks, lists, candidates, np.asarray(features, np.float32), behind)


def top_unordered(scores: Float32, count: int) -> Int32:
    """The ``count`` best of each row, in no order; which of several equal ones at the border is by index alone."""
    depth = min(count, scores.shape[1])
    best = np.argpartition(-scores, depth - 1, axis=1)[:, :depth].astype(np.int32)
    best[np.take_along_axis(scores, best, axis=1) == -np.inf] = -1
    return best


def learned(on: Scored, of: Asked, columns: Sequence[str], l2: float, first: int | None = None) -> Weights:
    """The blend's weights from the (``first``) requests, or the best single column's where that is better on them.

    So a blend is never worse than its best member on the validation it was fitted on.
    """
    count = len(of) if first is None else first
    names = feature_names(columns)
    inside = on.candidates[:count] >= 0
    wanted = (on.candidates[:count] == of.target[:count, None])[inside].astype(np.float64)
    start = np.concatenate([[0], np.cumsum(inside.sum(axis=1))]).astype(np.int64)
    found = listwise.fit(Requests(on.features[:count][inside], start, wanted), names, l2=l2)
    ndcg = {name: accuracy_at_ranks(on.ranks[name][:count], K)[f"ndcg@{K}"].mean() for name in columns}
    best = max(columns, key=lambda name: ndcg[name])
    own = accuracy_at_ranks(blended(on, of, found).ranks[:count], K)[f"ndcg@{K}"].mean()
    if own >= ndcg[best]:
        return found
    alone = np.array([float(name == f"{best}.z") for name in names])
    return Weights(names, alone, found.loss)


def blended(on: Scored, of: Asked, weights: Weights) -> Blended:
    """Re-ranks the candidates; a target outside them has the mean rank of what stands behind."""
    score = (on.features @ weights.value.astype(np.float32)).astype(np.float64)
    score[on.candidates < 0] = -np.inf
    ranked_at = top(score, K)
    ranked = np.where(ranked_at >= 0, np.take_along_axis(on.candidates, np.maximum(ranked_at, 0), axis=1), -1)
    here = on.candidates == of.target[:, None]
    ranks = np.where(here.any(axis=1), mean_ranks(score, here.argmax(axis=1)), on.behind)
    likelihood = np.exp(score - score.max(axis=1, keepdims=True))
    likelihood /= likelihood.sum(axis=1, keepdims=True)
    share = np.where(ranked_at >= 0, np.take_along_axis(likelihood, np.maximum(ranked_at, 0), axis=1), 0.0)
    return Blended(ranks, ranked.astype(np.int32), share)


@dataclass(frozen=True, slots=True)
class _Run:
    """Everything the report is made of: the folds, one after the other."""

    table: HistoryTable
    protocol: Protocol
    seed: int
    folds: Sequence[Fold]

    @property
    def columns(self) -> list[str]:
        """Baselines first."""
        return [*BASELINES, *(name for name in self.folds[0].on_test.ranks if name not in BASELINES)]

    @property
    def users(self) -> Int32:
        """Whose the test requests are."""
        return np.concatenate([fold.test.user for fold in self.folds])

    def tested(self) -> dict[str, dict[str, Float64]]:
        """Model → metric → value of each test request."""
        ranks = {name: [fold.on_test.ranks[name] for fold in self.folds] for name in self.columns}
        ranks[ENSEMBLE] = [fold.answer.ranks for fold in self.folds]
        return {name: accuracy_at_ranks(np.concatenate(parts), K) for name, parts in ranks.items()}

    def validated(self) -> dict[str, dict[str, Float64]]:
        """Model → metric → value of each validation request."""
        ranks = {name: [fold.on_validation.ranks[name] for fold in self.folds] for name in self.columns}
        ranks[ENSEMBLE] = [fold.checked.ranks for fold in self.folds]
        return {name: accuracy_at_ranks(np.concatenate(parts), K) for name, parts in ranks.items()}

    def lists(self) -> dict[str, Int32]:
        """Baselines and the blend → first ten of each test request."""
        found = {name: [fold.on_test.lists[name] for fold in self.folds] for name in BASELINES}
        found[ENSEMBLE] = [fold.answer.ranked for fold in self.folds]
        return {name: np.concatenate(parts) for name, parts in found.items()}


def _report(run: _Run) -> Report:
    test = run.tested()
    tested = _intervals(test, run.users, run.seed)
    validation_users = np.concatenate([fold.validation.user for fold in run.folds])
    validated = _intervals(run.validated(), validation_users, run.seed)
    return Report(
        run.protocol.description,
        run.seed,
        _sizes(run),
        {name: ModelScores(tested[name], validated[name]) for name in tested},
        _mean_weights(run),
        0.0,
        settings={
            **run.protocol.settings,
            "l2": run.protocol.l2,
            "candidates": CANDIDATES,
            "refit": run.protocol.refit,
        },
        differences=_differences(test, run),
        beyond=_beyond(run, run.lists()),
        groups=_groups(test[ENSEMBLE][f"ndcg@{K}"], run),
        curves=[_learning_curve(run)],
        calibration={ENSEMBLE: _calibration(run)},
    )


def _sizes(run: _Run) -> dict[str, int]:
    """Sizes of the split, of folds summed up, and of what is ranked."""
    sizes = {name: sum(fold.split.sizes[name] for fold in run.folds) for name in ("train", "validation", "test")}
    asked_for = {"validation requests": sum(len(f.validation) for f in run.folds), "test requests": len(run.users)}
    return {**sizes, **asked_for, "users": run.table.users, "items": run.table.items, "folds": len(run.folds)}


def _mean_weights(run: _Run) -> dict[str, float]:
    values = np.mean([fold.weights.value for fold in run.folds], axis=0)
    return dict(zip(run.folds[0].weights.names, values.tolist(), strict=True))


def _intervals(values: Mapping[str, Mapping[str, Float64]], users: Int32, seed: int) -> dict[str, dict[str, Interval]]:
    """Model → metric → interval; all models share the draws."""
    pairs = [(model, metric) for model, metrics in values.items() for metric in metrics]
    flat = {f"{model} {metric}": values[model][metric] for model, metric in pairs}
    found = bootstrap(flat, seed=seed, clusters=users)
    by_model: dict[str, dict[str, Interval]] = {model: {} for model in values}
    for model, metric in pairs:
        by_model[model][metric] = found[f"{model} {metric}"]
    return by_model


def _differences(test: Mapping[str, Mapping[str, Float64]], run: _Run) -> dict[str, Interval]:
    """The blend against every baseline and the best column of the test."""
    metric = f"ndcg@{K}"
    others = [*BASELINES, max(run.columns, key=lambda name: float(test[name][metric].mean()))]
    return {
        f"{ENSEMBLE} - {name}: {metric}": paired_difference(
            test[ENSEMBLE][metric], test[name][metric], seed=run.seed, clusters=run.users
        )
        for name in dict.fromkeys(others)
    }


def _beyond(run: _Run, lists: Mapping[str, Int32]) -> dict[str, dict[str, float]]:
    """What is not accuracy, of the baselines and the blend."""
    popularity, items = run.folds[-1].past.popularity, run.table.items
    relevant = Relevant.single(np.concatenate([fold.test.target for fold in run.folds]))
    attributes = run.table.attributes
    found: dict[str, dict[str, float]] = {}
    for name, ranked in lists.items():
        found[name] = {
            f"coverage@{K}": coverage(ranked, items),
            f"exposure gini@{K}": gini(exposures(ranked, items)),
            f"novelty@{K} (bits)": float(novelty(ranked, popularity).mean()),
            f"popularity percentile@{K}": float(popularity_bias(ranked, popularity).mean()),
            f"serendipity@{K}": float(serendipity(ranked, relevant, lists["popularity"], K).mean()),
        }
        if attributes is not None:
            vectors = attributes.toarray()
            found[name][f"diversity@{K}"] = float(intra_list_diversity(ranked, vectors).mean())
            found[name][f"category divergence@{K} (nats)"] = float(_divergence(ranked, vectors, run).mean())
    return found


def _divergence(ranked: Int32, vectors: Float32, run: _Run) -> Float64:
    """KL from the attributes of the history to those of the list, over requests that have both."""
    shares = vectors / np.maximum(vectors.sum(axis=1, keepdims=True), 1.0)
    tastes = [np.asarray(fold.test.histories.decayed(np.inf) @ shares, np.float64) for fold in run.folds]
    taste = np.concatenate(tastes)
    total = taste.sum(axis=1, keepdims=True)
    known = total[:, 0] > 0
    return category_divergence(ranked[known], shares, taste[known] / total[known])


def _groups(values: Float64, run: _Run) -> list[GroupScores]:
    """By how much people had done before the request, and by what the data says of them."""
    length = np.concatenate([fold.test.histories.length for fold in run.folds])
    history = np.array(HISTORIES)[np.searchsorted(HISTORY_EDGES, length, side="right")]
    found = [_group("rows in the history", [name for name in HISTORIES if name in history], history, values, run)]
    for attribute, of_user in run.table.groups.items():
        member = np.asarray(of_user, dtype=str)[run.users]
        found.append(_group(attribute, np.unique(member).tolist(), member, values, run))
    return found


def _group(
    attribute: str, names: Sequence[str], member: npt.NDArray[np.str_], values: Float64, run: _Run
) -> GroupScores:
    groups = {}
    for name in names:
        own = member == name
        interval = bootstrap({"": values[own]}, seed=run.seed, clusters=run.users[own])[""]
        groups[name] = (interval, len(np.unique(run.users[own])))
    return GroupScores(attribute, f"ndcg@{K}", groups)


def _learning_curve(run: _Run) -> Curve:
    """Test NDCG of weights learned from ever more validation requests, in the last fold."""
    fold, points = run.folds[-1], []
    total = len(fold.validation)
    for count in sorted({total, *(c for c in (32, 64, 128, 256, 512, 1024, 2048) if c < total)}):
        weights = learned(fold.on_validation, fold.validation, tuple(fold.on_test.ranks), run.protocol.l2, count)
        ranks = blended(fold.on_test, fold.test, weights).ranks
        points.append((float(count), float(accuracy_at_ranks(ranks, K)[f"ndcg@{K}"].mean())))
    return Curve("Learning curve of the blend", "validation requests", f"test ndcg@{K}", {ENSEMBLE: points})


def _calibration(run: _Run) -> list[CalibrationBin]:
    """Predicted probability of the listed items against whether they were the next one. The softmax shares say which
    candidate it is if it is one, so they are multiplied by how often it is one, as counted on validation."""
    predicted, came = [], []
    for fold in run.folds:
        inside = (fold.on_validation.candidates == fold.validation.target[:, None]).any(axis=1).mean()
        listed = fold.answer.ranked >= 0
        predicted.append(inside * fold.answer.share[listed])
        came.append((fold.answer.ranked == fold.test.target[:, None])[listed])
    return calibration_bins(np.concatenate(predicted), np.concatenate(came))
