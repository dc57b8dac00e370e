"""The blend: evidence of all recommenders, merged once and scored once.

    pool      what each recommender said, in one; filters take their share here
    merge     evidence → one row per recommender over the union of candidates
    blend     normalise each row within the request, weigh with the surface's fixed weights, add
    features  what a learned blend sees of every candidate, and the decision record keeps of the shown ones
    logits    features → log-odds of every outcome with learned weights; `log_odds` → one number to rank by

Adding a recommender adds a row, not a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from actors.ranked import firsts
from training.learned import CONTEXT, Matrix, SurfaceWeights
from training.recommender import ABSTAIN, Indices, Scored, Scores
from training.surface import Values

Mask: TypeAlias = npt.NDArray[np.bool_]
Cells: TypeAlias = npt.NDArray[np.intp]

FEATURES = ("z", "log_z", "reciprocal_rank", "abstained")
"""Per recommender and candidate, in this order: z = (score - mean) / deviation over the request's candidates;
log1p(max(z, 0)); 1 / (1 + rank) with rank the number of candidates that score higher; and 1 where the recommender has
nothing to say of the item (or says the same of all: a constant row), the others then being 0. A learned blend weighs
all of them, the fixed one ``log_z``."""

BELOW_MEAN = 0.1
"""Slope of the blend for scores below a recommender's mean. Small against the 1 just above it, but not 0: items there
would all tie, and a list made by one recommender alone would lose its order in the lower half."""

FLAT = 1e-9
"""A row whose deviation is below this share of its mean is constant: it tells no candidate from another."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything all recommenders said, entry by entry; ``row`` numbers the recommender."""

    idx: Indices
    score: Scores
    because: Indices
    row: Indices
    rows: int

    def keep(self, mask: Mask) -> Evidence:
        """Those entries where ``mask`` holds."""
        return Evidence(self.idx[mask], self.score[mask], self.because[mask], self.row[mask], self.rows)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Items under consideration, ascending by index. ``raw[r, c]`` is the summed evidence of recommender r for
    candidate c, 0 for none; ``because[r, c]`` its cause (see `Scored`)."""

    idx: Indices
    raw: Matrix
    because: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Blended:
    """Candidates with their relevance. What recommenders said is kept cell by cell: most name few of the candidates."""

    candidates: Candidates
    row: Cells
    """Of each cell, in ascending (row, column): its recommender."""
    column: Cells
    """Its candidate."""
    z: Scores
    log_z: Scores
    reciprocal_rank: Scores
    """`FEATURES` of each cell, float32 as logged; z and log_z are 0 in constant rows."""
    speaks: Mask
    """Per recommender: whether it tells candidates apart."""
    weights: tuple[float, ...]
    """As applied: 0 for rows that abstain, the others summing to 1."""
    score: Scores


def pool(said: Sequence[Scored]) -> Evidence:
    """What each recommender said, in one. Raises `TypeError` or `ValueError` where a part is no such array, has another
    type or shape, or is longer than the others."""
    if not said:
        return _SILENCE
    counts = [len(scored.idx) for scored in said]
    if counts != [len(scored.score) for scored in said] or counts != [len(scored.because) for scored in said]:
        raise ValueError("arrays of unequal length")
    row = _ROW_NUMBERS[: len(said)].repeat(counts)
    idx = np.concatenate([scored.idx for scored in said], dtype=np.int32, casting="no")
    score = np.concatenate([scored.score for scored in said], dtype=np.float32, casting="no")
    because = np.concatenate([scored.because for scored in said], dtype=np.int32, casting="no")
    if not row.shape == idx.shape == score.shape == because.shape:
        raise ValueError("arrays of more than one dimension")
    return Evidence(idx, score, because, row, len(said))


_SILENCE: Final = Evidence(ABSTAIN.idx, ABSTAIN.score, ABSTAIN.because, ABSTAIN.idx, 0)
_ROW_NUMBERS: Final = np.arange(1_000, dtype=np.int32)


def merge(evidence: Evidence, catalogue_size: int) -> Candidates:
    """One column per distinct item, by item index, one row per recommender; scores of one item add up.

    Sorting plain numbers is cheap (2 us for 1,300), finding each again in what was sorted is not: a scratch array over
    the catalogue says it.
    """
    idx, rows = evidence.idx, evidence.rows
    ordered = np.sort(idx)
    distinct = ordered[firsts(ordered)]
    columns = len(distinct)
    column_of = np.empty(catalogue_size, np.int32)
    column_of[distinct] = np.arange(columns, dtype=np.int32)
    cell = column_of[idx] + evidence.row * columns
    raw = np.bincount(cell, evidence.score, rows * columns).astype(np.float64, copy=False)
    because = np.full(rows * columns, -1, np.int32)
    because[cell] = evidence.because
    return Candidates(distinct, raw.reshape(rows, columns), because.reshape(rows, columns))


def blend(candidates: Candidates, weights: Sequence[float]) -> Blended:
    """score = Σ over recommenders of w · (log1p(max(z, 0)) + b · min(z, 0)), with b = `BELOW_MEAN` and the weights
    renormalised over those that do not abstain.

    The logarithm keeps one recommender's outlier from deciding alone: log-scaled features beat z-scores on The Complete
    Journey (Recall@10 .1752 against .1629, where z-scores lose to the best single recommender). Rounded to float32, so
    that what is compared is what is logged.
    """
    raw = candidates.raw
    rows, count = raw.shape
    cells = (raw > 0).ravel().nonzero()[0]
    row = cells // max(count, 1)
    column = cells - row * count
    said = raw.ravel().take(cells)
    named = np.bincount(row, minlength=rows)
    mean = np.bincount(row, said, rows) / max(count, 1)
    z = said - mean.take(row)
    squares = np.bincount(row, z * z, rows) + (count - named) * mean * mean
    deviation = np.sqrt(squares / max(count, 1))
    speaks = deviation > FLAT * mean
    unit = np.divide(1.0, deviation, out=np.zeros(rows), where=speaks)
    applied = np.where(speaks, np.asarray(weights, np.float64), 0.0)
    total = float(applied.sum())
    if total > 0:
        applied /= total
    z *= unit.take(row)
    log_z = np.log1p(np.maximum(z, 0.0))
    silent = BELOW_MEAN * mean * unit  # what a recommender that does not name an item takes off its score
    gain = log_z + BELOW_MEAN * np.minimum(z, 0.0) + silent.take(row)
    score = np.bincount(column, applied.take(row) * gain, count) - float(applied @ silent)
    return Blended(
        candidates,
        row,
        column,
        z.astype(np.float32),
        log_z.astype(np.float32),
        _reciprocal_ranks(said.astype(np.float32), row, rows),
        speaks,
        tuple(applied.tolist()),
        score.astype(np.float32),
    )


def features(blended: Blended, columns: Cells | None = None) -> Scores:
    """`FEATURES` of every candidate, or of those at ``columns``: float32, shape (recommenders · 4, candidates),
    recommender by recommender. What is scored with is what is logged, to the bit."""
    rows, count = blended.candidates.raw.shape
    row, place = blended.row, blended.column
    here = blended.speaks.take(row) if len(row) else np.zeros(0, np.bool_)
    if columns is not None:
        slots = np.full(count, -1, np.intp)
        slots[columns] = np.arange(len(columns))
        place = slots.take(place) if count else place
        here &= place >= 0
        count = len(columns)
    out = np.zeros((rows, len(FEATURES), count), np.float32)
    out[:, 3] = 1.0
    cells = here.nonzero()[0]  # few: taking by them is cheaper than by a mask
    row, place = row.take(cells), place.take(cells)
    out[row, 0, place] = blended.z.take(cells)
    out[row, 1, place] = blended.log_z.take(cells)
    out[row, 2, place] = blended.reciprocal_rank.take(cells)
    out[row, 3, place] = 0.0
    flat: Scores = out.reshape(rows * len(FEATURES), count)
    return flat


def _reciprocal_ranks(score: Scores, row: Cells, rows: int) -> Scores:
    """1 / (1 + number of scores of the same row that are higher), in the order given. One sort for all rows: positive
    float32 numbers are in the order of their bits."""
    key = (row.astype(np.uint64) << np.uint64(32)) | ~score.view(np.uint32)
    order = key.argsort(kind="stable")  # rows come one after another, which it makes use of: 4.5 us instead of 8
    ordered = key.take(order)
    place = np.arange(len(key))
    place[1:][ordered[1:] == ordered[:-1]] = 0
    first = np.maximum.accumulate(place)
    begins = row.searchsorted(np.arange(rows))
    ranks = np.empty(len(key), np.float32)
    ranks[order] = 1.0 / (1.0 + (first - begins.take(row)))  # rows are in order, before and after the sort
    return ranks


def context_features(blended: Blended, hedge: Matrix | None, exposures: Matrix) -> Scores:
    """`training.learned.CONTEXT` of every candidate: float32, shape (3, candidates). Position is held at slot 1."""
    count = len(exposures)
    out = np.empty((len(CONTEXT), count), np.float32)
    out[0] = 1.0
    out[1] = 0.0 if hedge is None else np.bincount(blended.column, hedge.take(blended.row) * blended.log_z, count)
    np.log1p(exposures, out[2], casting="same_kind")
    return out


def position_feature(slots: int) -> Scores:
    """``position`` of slots 1..``slots``: what the learner sees in place of the 1 that was scored with.

    >>> position_feature(3).round(3).tolist()
    [1.0, 0.6309999823570251, 0.5]
    """
    position: Scores = (1.0 / np.log2(2.0 + np.arange(slots))).astype(np.float32)
    return position


def logits(features: Scores, context: Scores, weights: SurfaceWeights) -> Matrix:
    """Log-odds of every outcome: shape (outcomes, candidates). The formula stands in `training.learned`.

    Args:
        features: shape (columns of ``weights.recommenders``, candidates), as `features` makes them.
        context: shape (3, candidates), as `context_features` makes them.

    float32 features and float64 weights: River's own prediction from the same numbers within 1e-9.
    """
    found: Matrix = weights.recommenders @ features.astype(np.float64)
    found += weights.context @ context.astype(np.float64)
    found += weights.intercept[:, None]
    return found


def logits_of(blended: Blended, context: Scores, weights: SurfaceWeights) -> Matrix:
    """`logits` of every candidate from the cells that were said, without laying out the others: the same sum in another
    order. 15 recommenders over 1,500 candidates say 1,600 cells of 22,500."""
    rows, count = blended.candidates.raw.shape
    outcomes = len(weights.intercept)
    table = weights.recommenders.reshape(outcomes, rows, len(FEATURES))
    silent = table[:, :, 3].sum(axis=1) + weights.intercept
    spoken = table * blended.speaks[:, None]
    row, column = blended.row, blended.column
    part = spoken[:, :, 0].take(row, axis=1) * blended.z
    part += spoken[:, :, 1].take(row, axis=1) * blended.log_z
    part += spoken[:, :, 2].take(row, axis=1) * blended.reciprocal_rank
    part -= spoken[:, :, 3].take(row, axis=1)
    found: Matrix = weights.context @ context.astype(np.float64)
    for outcome in range(outcomes):
        found[outcome] += np.bincount(column, part[outcome], count) + silent[outcome]
    return found


LOGIT_MAX = 30.0
"""Log-odds beyond this are taken for it: 1e-13 is no probability anybody could tell from 0."""


def log_odds(logit: Matrix, values: Values) -> Matrix:
    """Log-odds of relevance / Σ values, relevance = Σ over outcomes of value · P(outcome): shape (candidates,). All
    values 0: every outcome counts alike."""
    worth = np.array([values.click, values.cart, values.purchase])
    total = float(worth.sum())
    share = worth / total if total > 0 else np.full(len(worth), 1.0 / len(worth))
    chance = share @ (1.0 / (1.0 + np.exp(-np.clip(logit, -LOGIT_MAX, LOGIT_MAX))))
    odds: Matrix = np.log(chance) - np.log1p(-chance)
    return odds


def restricted(weights: SurfaceWeights, learned: Sequence[str], names: Sequence[str]) -> SurfaceWeights:
    """The weights with the columns of ``names``, in their order; a recommender that was never learned weighs 0, and one
    that is not asked has no column, as in the rows that were learned."""
    each = len(FEATURES)
    table = weights.recommenders.reshape(len(weights.intercept), len(learned), each)
    recommenders = np.zeros((len(weights.intercept), len(names), each))
    place = {name: number for number, name in enumerate(learned)}
    here = [number for number, name in enumerate(names) if name in place]
    there = [place[name] for name in names if name in place]
    recommenders[:, here] = table[:, there]

    def chosen(hedge: Matrix) -> Matrix:
        found: Matrix = np.zeros(len(names))
        found[here] = hedge[there]
        return found

    flat = recommenders.reshape(len(weights.intercept), len(names) * each)
    hedges = {segment: chosen(hedge) for segment, hedge in weights.hedges.items()}
    return SurfaceWeights(weights.intercept, flat, weights.context, chosen(weights.hedge), hedges)


def feature_names(recommenders: Sequence[str]) -> list[str]:
    """Names of the rows of `features`.

    >>> feature_names(["newest"])
    ['newest.z', 'newest.log_z', 'newest.reciprocal_rank', 'newest.abstained']
    """
    return [f"{name}.{feature}" for name in recommenders for feature in FEATURES]
