"""User-kNN: what people with the same tastes like.

    sim(q, u) = Σ over i of q_i · idf_i² · r(u, i) / |r_u · idf|
    score(i)  = Σ over the nearest u of sim(q, u) · r(u, i)

with r the preferences (`training.preference`) and idf_i = ln(1 + users / users who know i): having milk in common says
nothing (Breese, Heckerman, Kadie: Empirical analysis of predictive algorithms, UAI 1998, call it inverse user
frequency). The norm of q is the same for all and left out.

The people are the artefact's own numbers: their items without ids or times, as of the log offsets it was fitted at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from training.interactions import Interactions
from training.model import Table, floats, ints
from training.preference import preferences
from training.recommender import ABSTAIN, Query, Scored
from training.served_rows import strongest, viewed

if TYPE_CHECKING:
    from scipy import sparse

NAME: Final = "user_knn"
TASTE_MAX: Final = 24
"""Items of the taste that neighbours are looked for with."""
NEAREST: Final = 32
"""Neighbours that speak. On The Complete Journey 64 do no better (Recall@10 .206 against .207); looking for them with
half the taste loses much (.162)."""
TOLD: Final = 24
"""Items each of them names."""
NAMED_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """Hyper-parameters of `fit`."""

    people: int = 50_000
    """Most active users kept; each costs `liked` · 8 bytes."""
    liked: int = 48
    """Strongest items kept of each."""
    known_by: int = 32
    """People kept per item, those to whom it means most."""


def fit(interactions: Interactions, settings: Settings = Settings()) -> Table:
    """Arrays over people 0..n-1: ``liked`` (n, L) int32 item numbers, strongest first, -1 past the end, and ``how``
    (n, L) float32 their preferences; by item: ``known_by`` (items, K) int32 people, -1 past the end, ``closeness``
    (items, K) float32 what sharing the item adds to the similarity."""
    matrix = preferences(interactions)
    rows = np.diff(matrix.indptr)
    chosen = np.sort(np.argsort(-rows, kind="stable")[: settings.people])
    matrix = matrix[chosen[rows[chosen] > 1]]  # one item says nothing about another
    liked, how = padded_rows(matrix, settings.liked)
    columns = matrix.T.tocsr()
    idf = np.log1p(matrix.shape[0] / np.maximum(np.diff(columns.indptr), 1)).astype(np.float32)
    weighted = matrix.multiply(idf).tocsr()
    norm = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    columns.data *= np.repeat(idf * idf, np.diff(columns.indptr))
    columns.data /= np.maximum(norm, 1e-9)[columns.indices].astype(np.float32)
    known_by, closeness = padded_rows(columns, settings.known_by)
    return {"liked": liked, "how": how, "known_by": known_by, "closeness": closeness}


def padded_rows(matrix: sparse.csr_matrix, limit: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Of every row the ``limit`` largest entries, largest first, ties by lower column: columns (-1 past the end) and
    values (0 past the end)."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    rank = np.arange(len(order)) - matrix.indptr[rows]
    within = rank < limit
    columns = np.full((matrix.shape[0], limit), -1, np.int32)
    values = np.zeros((matrix.shape[0], limit), np.float32)
    columns[rows[within], rank[within]] = matrix.indices[order][within]
    values[rows[within], rank[within]] = matrix.data[order][within]
    return columns, values


class UserKnn:
    """See the module. Abstains without a model, or where the taste is shared with nobody. ``because`` names nothing:
    neighbours are not for other people's eyes."""

    name = NAME

    def recommend(self, query: Query) -> Scored:
        table = query.model.model.tables.get(NAME) if query.model is not None else None
        if query.model is None or table is None or not len(query.taste):
            return ABSTAIN
        number, weight = query.taste.number[:TASTE_MAX], query.taste.weight[:TASTE_MAX]
        people = ints(table, "known_by")[number]
        close = floats(table, "closeness")[number] * weight[:, None]
        met = (people >= 0).ravel().nonzero()[0]
        people, liked = people.ravel()[met], ints(table, "liked")
        near = strongest(people, close.ravel()[met], people, len(liked), NEAREST)
        idx = viewed(query.model, liked[:, :TOLD][near.idx])
        said = (idx >= 0).ravel().nonzero()[0]
        score = floats(table, "how")[:, :TOLD][near.idx] * near.score[:, None]
        named, cause = idx.ravel()[said], np.full(len(said), -1, np.int32)
        return strongest(named, score.ravel()[said], cause, len(query.model.to_model), NAMED_MAX)
