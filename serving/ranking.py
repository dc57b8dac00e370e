"""Everything of an answer before chance: what the recommenders said, scored once, and the shortlist slots are filled
from. A function of the query and the weights, so an answer to nobody in particular may reuse it for a moment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from events.ids import Micros
from serving.answer import RankRequest
from serving.asked import Asked
from serving.slate import Shortlist
from training.blend import (
    FEATURES,
    Blended,
    Candidates,
    blend,
    context_features,
    features,
    log_odds,
    logits_of,
)
from training.fairness import shortfall
from training.learned import Matrix, SurfaceWeights
from training.recommender import Query, Scores
from training.segment_popularity import SEGMENTS_MAX
from training.surface import Surface

SHORTLIST: Final = 256
"""Most candidates a slot is drawn from. Beyond it an item is some deviations behind and would hardly ever be drawn; an
importance weight on an exploration slot is at most `SHORTLIST` / floor; and a decision record stays below 10 kB."""
SHORTLIST_PER_SLOT: Final = 8
EXPLORATION: Final = "exploration"
"""The recommender of new and under-exposed items: what it names is always on the shortlist, or the floor could never
reach it."""
_GROUPS: Final = {"category": 1, "brand": 3}
"""Rows of `ItemView.kinds`."""
FLAT: Final = 1e-9
"""Deviation below which all gains are the same."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """How candidates of one surface are scored at this moment."""

    surface: Surface
    names: tuple[str, ...]
    """Recommenders asked, in the order of the rows."""
    learned: SurfaceWeights | None = None
    """With the columns of ``names``; None: the surface's fixed weights."""

    @property
    def fixed(self) -> list[float]:
        return [self.surface.weights[name] for name in self.names]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates with their scores, and the shortlist of them."""

    query: Query
    scoring: Scoring
    blended: Blended
    context: Scores
    """Shape (3, candidates)."""
    odds: Matrix
    """Log-odds of relevance, by candidate."""
    columns: npt.NDArray[np.intp]
    """By position in the shortlist: which candidate."""
    shortlist: Shortlist
    standard: tuple[float, float]
    failed: tuple[str, ...]
    at: Micros
    """When it was made."""

    @property
    def features(self) -> Scores:
        """`training.blend.features` of every candidate, laid out when asked for."""
        return features(self.blended)

    @property
    def applied(self) -> tuple[float, ...]:
        """A weight per recommender for people to read: the fixed one as applied, or the learned one of ``log_z``,
        averaged over outcomes by their value; 0 where it abstained."""
        learned = self.scoring.learned
        if learned is None:
            return self.blended.weights
        table = _by_value(learned, self.scoring.surface)
        return tuple((table[:, FEATURES.index("log_z")] * self.blended.speaks).tolist())

    def shares(self, seen: Scores) -> Matrix:
        """Of shown items, what each recommender added to its score: shape (items, recommenders).

        Args:
            seen: their features, shape (recommenders · 4, items).
        """
        learned = self.scoring.learned
        table = seen.reshape(len(self.scoring.names), len(FEATURES), -1)
        if learned is None:
            fixed: Matrix = table[:, FEATURES.index("log_z")].T * np.array(self.blended.weights)
            return fixed
        weights = _by_value(learned, self.scoring.surface)
        shares: Matrix = np.einsum("rf,rfc->cr", weights, table)
        return shares


def ranking_of(
    candidates: Candidates, query: Query, scoring: Scoring, asked: Asked, failed: tuple[str, ...]
) -> Ranking:
    """Score every candidate once, standardise, and cut the shortlist.

        gain = standardised(log-odds + exposures · log(fatigue)) + fairness · shortfall of the item's group

    rounded to float32, which is what is compared, drawn from and logged.
    """
    surface, learned = scoring.surface, scoring.learned
    blended = blend(candidates, scoring.fixed)
    exposures = query.history.seen.exposures(candidates.idx, query.now)
    hedge = learned.trusted(query.segments[:SEGMENTS_MAX]) if learned is not None else None
    context = context_features(blended, hedge, exposures)
    odds = blended.score.astype(np.float64)
    if learned is not None:
        odds = log_odds(logits_of(blended, context, learned), surface.values)
    level = odds + math.log(surface.fatigue) * exposures if surface.fatigue < 1 else odds
    columns = _shortlisted(candidates, level, scoring.names, max(SHORTLIST, SHORTLIST_PER_SLOT * asked.request.n))
    gains, standard = _standardised(level[columns])
    idx = candidates.idx[columns]
    kinds = query.items.kinds(idx)
    if surface.fairness and len(idx):
        group = kinds[_GROUPS[surface.fairness_group]]
        lacking = shortfall(group, 1.0 / (1.0 + np.exp(-odds[columns])), query.items.impressions(idx))
        gains = (gains + surface.fairness * lacking).astype(np.float32)
    if isinstance(asked.request, RankRequest):
        kinds[0] = -1  # the caller's candidates, and the caller's rule about labels
    shortlist = Shortlist(gains, kinds, query.items.hashes(idx))
    return Ranking(query, scoring, blended, context, odds, columns, shortlist, standard, failed, asked.at)


def _shortlisted(candidates: Candidates, level: Matrix, names: Sequence[str], most: int) -> npt.NDArray[np.intp]:
    """Columns of the ``most`` best in the total order, and of what exploration named, by item index."""
    if len(level) <= most:
        return np.arange(len(level))
    least = np.partition(level, len(level) - most)[len(level) - most]
    chosen = level > least
    ties = (level == least).nonzero()[0]
    chosen[ties[: most - int(np.count_nonzero(chosen))]] = True
    if EXPLORATION in names:
        chosen |= candidates.raw[names.index(EXPLORATION)] > 0
    columns: npt.NDArray[np.intp] = chosen.nonzero()[0]
    return columns


def _standardised(level: Matrix) -> tuple[Scores, tuple[float, float]]:
    """(level - mean) / deviation over the shortlist, as float32: temperature and diversity mean the same whoever
    asks, whatever the weights' scale."""
    if not len(level):
        return level.astype(np.float32), (0.0, 1.0)
    mean = float(np.add.reduce(level)) / len(level)
    centred = level - mean
    deviation = math.sqrt(float(centred @ centred) / len(level))
    if deviation <= FLAT * max(abs(mean), 1.0):
        return np.zeros(len(level), np.float32), (mean, 1.0)
    return (centred / deviation).astype(np.float32), (mean, deviation)


def _by_value(learned: SurfaceWeights, surface: Surface) -> Matrix:
    """Learned weights averaged over outcomes by their value: shape (recommenders, 4)."""
    values = surface.values
    worth = np.array([values.click, values.cart, values.purchase])
    total = float(worth.sum())
    mean: Matrix = (worth / total if total > 0 else np.full(len(worth), 1 / len(worth))) @ learned.recommenders
    return mean.reshape(-1, len(FEATURES))
