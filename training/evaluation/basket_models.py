"""Models of the weeks before the validation that score all active items for a household as it stands: EASE, item-kNN,
user-kNN, iALS. Their parameters stay; the household's history is that of the moment.

Only the most active items take part: what 30 households ever bought has no neighbours worth the name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import sparse

from training import ease, ials
from training.evaluation.basket_facts import Float32
from training.evaluation.basket_log import BasketLog, Int32, Int64

ACTIVE: Final = 5_000
STRONGEST: Final = 64
"""Own items that a household is looked up by, those of the highest decayed count."""
RIDGE: Final = 0.5
"""EASE's λ; rows of the matrix have length 1."""
SHRINK: Final = 20.0
NEAREST: Final = 60
NAMES: Final = ("item_knn", "user_knn", "ease", "ials")
IALS: Final = ials.Settings(sweeps=6)
_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class Said:
    """What the models say to some requests."""

    requests: slice
    scores: Mapping[str, Float32]
    """Model → shape (requests, active items)."""
    own: sparse.csr_matrix
    """Shape (requests, active items): nonzero where bought before."""


class Models:
    """Fitted once; `say` answers."""

    def __init__(self, log: BasketLog, until: int, seed: int) -> None:
        """``until``: baskets learned from, the first of the log."""
        known = log.head(until)
        buyer = known.household[known.line_basket]
        counts = sparse.csr_matrix(
            (np.ones(len(known.item), np.float32), (buyer, known.item)), (log.households, log.items)
        )
        counts.sum_duplicates()
        buyers = np.bincount(counts.indices, minlength=log.items)
        order = np.argsort(-buyers, kind="stable")[:ACTIVE]
        self.active: Int32 = np.sort(order[buyers[order] > 0]).astype(np.int32)
        self.place: Int32 = np.full(log.items, -1, np.int32)
        self.place[self.active] = np.arange(len(self.active), dtype=np.int32)
        taken = counts[:, self.active].tocsr()
        taken.data = np.log1p(taken.data)
        self._people = _unit_rows(taken)
        self._people_items = self._people.toarray()
        self._ease = ease.item_weights(self._people, RIDGE).astype(np.float32)
        self._alike = _cosines(taken)
        self._factors, self._gram = ials.rotated(ials.factorise(_shares(taken), IALS, seed)[1])

    def say(self, histories: Sequence[tuple[Int32, Float32]], household: Int32) -> Iterator[Said]:
        """Chunk by chunk. ``household``: whose request it is; nobody is their own neighbour."""
        for begin in range(0, len(histories), _CHUNK):
            rows = slice(begin, min(begin + _CHUNK, len(histories)))
            own = self._own(histories[rows])
            tastes = _unit_rows(_strongest(own))
            yield Said(
                rows,
                {
                    "item_knn": np.asarray(tastes @ self._alike, np.float32),
                    "user_knn": self._neighbours(tastes, household[rows]),
                    "ease": np.asarray(tastes @ self._ease, np.float32),
                    "ials": self._folded(tastes),
                },
                own,
            )

    def _own(self, histories: Sequence[tuple[Int32, Float32]]) -> sparse.csr_matrix:
        columns = [self.place[item] for item, _ in histories]
        kept = [column >= 0 for column in columns]
        ends = np.cumsum([0, *(int(keep.sum()) for keep in kept)])
        indices = np.concatenate([column[keep] for column, keep in zip(columns, kept, strict=True)])
        counts = np.concatenate([count[keep] for (_, count), keep in zip(histories, kept, strict=True)])
        matrix = sparse.csr_matrix((np.log1p(counts), indices, ends), (len(histories), len(self.active)))
        matrix.sort_indices()
        return matrix

    def _neighbours(self, tastes: sparse.csr_matrix, household: Int32) -> Float32:
        """Σ over the nearest households of similarity² · what they buy."""
        close: Float32 = (tastes @ self._people.T).toarray()
        close[np.arange(len(household)), household] = 0.0
        if close.shape[1] > NEAREST:
            least = np.partition(close, -NEAREST, axis=1)[:, -NEAREST][:, None]
            close[close < least] = 0.0
        return np.asarray(sparse.csr_matrix(close * close) @ self._people_items, np.float32)

    def _folded(self, tastes: sparse.csr_matrix) -> Float32:
        """iALS factors of each household as it stands, times all items'."""
        people = np.zeros((tastes.shape[0], self._factors.shape[1]), np.float32)
        for row in range(tastes.shape[0]):
            span = slice(tastes.indptr[row], tastes.indptr[row + 1])
            items, weight = tastes.indices[span], tastes.data[span]
            if len(items):
                ridge = IALS.alpha * IALS.ridge * (len(items) + len(self.active) / IALS.alpha) ** IALS.exponent
                strength = weight / weight.max()
                people[row] = ials.folded_in(self._factors[items], strength, self._gram, IALS.alpha, ridge)
        return people @ self._factors.T


def at_candidates(said: Float32, request: Int64, place: Int32) -> Float32:
    """The scores of candidates: ``request`` and ``place`` of each; 0 where the item is not active."""
    scores = said[request, np.maximum(place, 0)]
    scores[place < 0] = 0.0
    return scores


def _unit_rows(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Rows of length 1; empty ones stay."""
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1), np.float64).ravel())
    unit = matrix.astype(np.float32).copy()
    unit.data /= np.repeat(np.maximum(length, 1e-9), np.diff(matrix.indptr)).astype(np.float32)
    return unit


def _shares(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Of each row's largest entry, in (0, 1]."""
    largest = matrix.max(axis=1).toarray().ravel()
    shares = matrix.copy()
    shares.data /= np.repeat(np.maximum(largest, 1e-9), np.diff(matrix.indptr)).astype(np.float32)
    return shares


def _cosines(taken: sparse.csr_matrix) -> Float32:
    """Item-to-item cosine over households, shrunk, zero diagonal."""
    gram: Float32 = (taken.T @ taken).toarray()
    length = np.sqrt(np.diag(gram))
    cosine = gram / (np.outer(length, length) + SHRINK)
    np.fill_diagonal(cosine, 0.0)
    return np.asarray(cosine, np.float32)


def _strongest(own: sparse.csr_matrix) -> sparse.csr_matrix:
    """The `STRONGEST` entries of each row, ties by lower column."""
    row = np.repeat(np.arange(own.shape[0]), np.diff(own.indptr))
    order = np.lexsort((own.indices, -own.data, row))
    rank = np.arange(len(order)) - own.indptr[row]
    kept = np.sort(order[rank < STRONGEST])
    return sparse.csr_matrix((own.data[kept], (row[kept], own.indices[kept])), own.shape)
