"""Score columns of the next-item protocols: what each way of looking at a history says of every item.

Most are one matrix product, score = decayed history x item-to-item matrix; only the matrix differs. Decaying the
history at scoring is the largest single gain there is: on ML-1M it takes EASE from NDCG@10 .054 to .127.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve

from training import ease
from training.evaluation.history_table import HistoryTable, Int32, Int64, Rows

Float32: TypeAlias = npt.NDArray[np.float32]
Float64: TypeAlias = npt.NDArray[np.float64]
Matrix: TypeAlias = Float32 | sparse.csr_matrix
"""Items x items; dense where products with it are."""

HISTORY_MAX: Final = 200
"""Newest rows of a history that count: beyond them the slowest decay used here has fallen below a thousandth."""
DENSE_ITEMS_MAX: Final = 5_000
"""Catalogues up to here get dense item-to-item matrices (100 MB); larger ones sparse ones, and only their most active
items take part where a matrix must be inverted."""
SHRINK: Final = 5.0
"""Added to row sums, so that what was seen once does not speak as surely as what was seen often."""


@dataclass(frozen=True, slots=True)
class Past:
    """Rows that statistics are learned from, user by user, oldest first."""

    user: Int32
    item: Int32
    items: int
    attributes: sparse.csr_matrix | None = None

    @classmethod
    def of(cls, table: HistoryTable, rows: Rows) -> Past:
        return cls(table.user[rows], table.item[rows], table.items, table.attributes)

    @property
    def popularity(self) -> Float64:
        """How many rows each item has."""
        return np.bincount(self.item, minlength=self.items).astype(np.float64)

    def taken(self) -> sparse.csr_matrix:
        """Users x items, 1 where the user has the item."""
        users = int(self.user.max(initial=-1)) + 1
        matrix = sparse.csr_matrix(
            (np.ones(len(self.item), np.float32), (self.user, self.item)), (users, self.items), dtype=np.float32
        )
        matrix.data[:] = 1.0
        return matrix


@dataclass(frozen=True, slots=True)
class Histories:
    """What each request may look at: the ``length[r]`` rows of the table that begin at ``begin[r]``, oldest first."""

    item: Int32
    """Of the whole table."""
    begin: Int64
    length: Int64
    items: int

    def __len__(self) -> int:
        return len(self.begin)

    def slice(self, begin: int, end: int) -> Histories:
        return Histories(self.item, self.begin[begin:end], self.length[begin:end], self.items)

    def recent(self, count: int) -> tuple[Int64, Int64, Int32]:
        """(request, lag, item) of the newest ``count`` rows of each, lag 0 the newest."""
        kept = np.minimum(self.length, count)
        request = np.repeat(np.arange(len(self), dtype=np.int64), kept)
        lag = np.arange(len(request), dtype=np.int64) - np.repeat(np.cumsum(kept) - kept, kept)
        return request, lag, self.item[(self.begin + self.length - 1)[request] - lag]

    def decayed(self, half_life: float) -> sparse.csr_matrix:
        """Requests x items: Σ over rows of 2^(-lag / half_life); ``half_life`` in rows, infinity for counts."""
        request, lag, item = self.recent(HISTORY_MAX if np.isfinite(half_life) else int(self.length.max(initial=0)))
        weight = (0.5 ** (lag / half_life)).astype(np.float32)
        return sparse.csr_matrix((weight, (request, item)), (len(self), self.items), dtype=np.float32)


class Column(Protocol):
    """One way of scoring all items."""

    def scores(self, histories: Histories) -> Float32:
        """Shape (requests, items); the scale is the column's own."""
        ...


@dataclass(frozen=True, slots=True)
class Constant:
    """The same score for everybody: popularity."""

    score: Float32

    def scores(self, histories: Histories) -> Float32:
        return np.tile(self.score, (len(histories), 1))


@dataclass(frozen=True, slots=True)
class Linear:
    """Decayed history x ``matrix`` (x ``then``, where the matrix is a product)."""

    half_life: float
    matrix: Matrix
    then: Matrix | None = None

    def scores(self, histories: Histories) -> Float32:
        found = histories.decayed(self.half_life) @ self.matrix
        if self.then is not None:
            found = found @ self.then
        return found.toarray() if sparse.issparse(found) else np.asarray(found, np.float32)


@dataclass(frozen=True, slots=True)
class Strongest:
    """The strongest single link: max over the newest `WINDOW` rows of `DECAY`^lag · matrix(row, i). Where sums let many
    weak links outvote a strong one, this does not."""

    matrix: Matrix

    WINDOW = 6
    DECAY = 0.8

    def scores(self, histories: Histories) -> Float32:
        best = np.zeros((len(histories), histories.items), np.float32)
        request, lag, item = histories.recent(self.WINDOW)
        for back in range(self.WINDOW):
            own, link = request[lag == back], self.matrix[item[lag == back]]
            dense = link.toarray() if sparse.issparse(link) else link
            best[own] = np.maximum(best[own], np.float32(self.DECAY**back) * dense)
        return best


@dataclass(frozen=True, slots=True)
class Positions:
    """Nearest moments: at which moments of anybody's past did the last rows look like these, and what came after them?

    score(i) = Σ over past moments p of sim(p)³ · Σ over f = 1..`FOLLOWERS` of `FADE`^(f - 1) · [row p + f is i]
    sim(p) = Σ over shared items of both decayed, idf-weighted windows

    Unlike the linear columns it sees which items stand *together*; by the cube a moment that shares three items counts
    for more than three that share one. Kin of STAN (Garg et al., SIGIR 2019), with moments in place of sessions.
    """

    windows: sparse.csr_matrix
    """Items x moments, by item; transposed so that a query touches only moments that share an item."""
    rarity: Float32
    past: Past

    WINDOW = 8
    DECAY = 0.7
    FOLLOWERS = 6
    FADE = 0.7
    POWER = 3
    BLOCK = 64

    @classmethod
    def of(cls, past: Past) -> Positions:
        users = len(np.unique(past.user))
        rarity = np.sqrt(np.maximum(np.log(users / (past.popularity + 1.0)), 0.05)).astype(np.float32)
        count = len(past.item)
        rows, columns, weights = [], [], []
        for lag in range(cls.WINDOW):
            later = np.arange(lag, count)
            later = later[past.user[later] == past.user[later - lag]]
            rows.append(past.item[later - lag])
            columns.append(later)
            weights.append(cls.DECAY**lag * rarity[past.item[later - lag]])
        cells = (np.concatenate(weights).astype(np.float32), (np.concatenate(rows), np.concatenate(columns)))
        return cls(sparse.csr_matrix(cells, (past.items, count), dtype=np.float32), rarity, past)

    def scores(self, histories: Histories) -> Float32:
        blocks = [
            self._block(histories.slice(at, min(at + self.BLOCK, len(histories))))
            for at in range(0, len(histories), self.BLOCK)
        ]
        return np.concatenate(blocks) if blocks else np.empty((0, self.past.items), np.float32)

    def _block(self, histories: Histories) -> Float32:
        request, lag, item = histories.recent(self.WINDOW)
        weight = (self.DECAY**lag * self.rarity[item]).astype(np.float32)
        asked = sparse.csr_matrix((weight, (request, item)), (len(histories), histories.items), dtype=np.float32)
        alike = (asked @ self.windows).tocsr()
        vote = alike.data**self.POWER
        cell = np.repeat(np.arange(len(histories), dtype=np.int64) * histories.items, np.diff(alike.indptr))
        moment, out = alike.indices.astype(np.int64), np.zeros(len(histories) * histories.items)
        for ahead in range(1, self.FOLLOWERS + 1):
            after = np.minimum(moment + ahead, len(self.past.item) - 1)
            same = (self.past.user[after] == self.past.user[moment]) & (after == moment + ahead)
            votes = self.FADE ** (ahead - 1) * vote[same]
            out += np.bincount(cell[same] + self.past.item[after[same]], votes, len(out))
        return out.reshape(len(histories), histories.items).astype(np.float32)


def lagged_pairs(past: Past, weights: Sequence[float]) -> sparse.csr_matrix:
    """Σ over lags l from 1 of weights[l - 1] · how often item j came l rows after item i, by one user."""
    total = sparse.csr_matrix((past.items, past.items), dtype=np.float64)
    pairs = []
    for lag, weight in enumerate(weights, 1):
        same = past.user[:-lag] == past.user[lag:]
        pairs.append((np.full(int(same.sum()), weight), past.item[:-lag][same], past.item[lag:][same]))
        if len(pairs) == 6 or lag == len(weights):
            value, row, column = (np.concatenate(part) for part in zip(*pairs, strict=True))
            total = total + sparse.csr_matrix((value, (row, column)), total.shape)
            pairs = []
    return total


def transitions(pairs: sparse.csr_matrix, popularity: Float64, discount: float) -> Matrix:
    """pairs(i, j) / (Σ_j pairs(i, j) + `SHRINK`) / (popularity(j) + 1)^discount."""
    given = np.asarray(pairs.sum(axis=1)).ravel() + SHRINK
    return product_form(sparse.diags(1.0 / given) @ pairs @ sparse.diags((popularity + 1.0) ** -discount))


def cosine(past: Past, shrink: float) -> Matrix:
    """Users in common / sqrt((users(i) + shrink) · (users(j) + shrink)), 0 on the diagonal."""
    taken = past.taken()
    count = np.asarray(taken.sum(axis=0), np.float64).ravel()
    scale = sparse.diags(1.0 / np.sqrt(count + shrink))
    shared = (scale @ (taken.T @ taken).astype(np.float64) @ scale).tocsr()
    shared.setdiag(0.0)
    return product_form(shared)


def ease_matrix(past: Past, ridge: float) -> Matrix:
    """`training.ease.item_weights` of the most active items; 0 for the others."""
    active = most_active(past.popularity)
    return _placed(ease.item_weights(past.taken()[:, active].tocsr(), ridge), active, past.items)


def local_ease_matrix(past: Past, ridge: float, lags: int, decay: float) -> Matrix:
    """EASE of neighbourhoods in time: the Gram matrix counts pairs by decay^lag, in place of whole histories."""
    active = most_active(past.popularity)
    pairs = lagged_pairs(past, [decay**lag for lag in range(lags)])[active][:, active].toarray()
    gram = pairs + pairs.T
    gram[np.diag_indices_from(gram)] = past.popularity[active] + ridge
    inverse = cho_solve(cho_factor(gram, lower=True), np.eye(len(gram)))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return _placed(weights, active, past.items)


def ridge_matrix(past: Past, ridge: float, lags: int, decay: float) -> Matrix:
    """Ridge regression of the next row's item on the decayed history (see `training.ridge_next_item`), in closed form.

    With geometric decay d both of its matrices are counts of lagged pairs, except at the ends of histories:
    SᵀT = Σ_l d^(l-1) C_l and SᵀS = (Σ_l d^l (C_l + C_lᵀ) + diag(popularity)) / (1 - d²), C_l the pairs l rows apart.
    """
    active = most_active(past.popularity)
    pairs = lagged_pairs(past, [decay**lag for lag in range(lags)])[active][:, active].toarray()
    gram = decay * (pairs + pairs.T)
    gram[np.diag_indices_from(gram)] += past.popularity[active]
    gram /= 1.0 - decay**2
    gram[np.diag_indices_from(gram)] += ridge
    return _placed(cho_solve(cho_factor(gram, lower=True, overwrite_a=True), pairs), active, past.items)


def discounted(matrix: Matrix, popularity: Float64, discount: float) -> Matrix:
    """Columns divided by (popularity + 10)^discount."""
    weight = (popularity + 10.0) ** -discount
    return (
        product_form(sparse.csr_matrix(matrix) @ sparse.diags(weight))
        if sparse.issparse(matrix)
        else np.asarray(matrix * weight, np.float32)
    )


def attribute_vectors(attributes: sparse.csr_matrix) -> sparse.csr_matrix:
    """Rows of idf-weighted attributes, of length 1 (0 for an item without attributes)."""
    count = np.maximum(np.asarray(attributes.sum(axis=0)).ravel(), 1.0)
    weighted = attributes @ sparse.diags(np.log(attributes.shape[0] / count) + 0.1)
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    return (sparse.diags(1.0 / np.maximum(length, 1e-9)) @ weighted).tocsr().astype(np.float32)


def most_active(popularity: Float64, count: int = DENSE_ITEMS_MAX) -> npt.NDArray[np.int64]:
    """The ``count`` items with the most rows, ties by lower number; in ascending order."""
    return np.sort(np.argsort(-popularity, kind="stable")[:count])


def product_form(matrix: sparse.spmatrix) -> Matrix:
    """Dense for small catalogues, where histories make the product dense anyway."""
    if matrix.shape[0] <= DENSE_ITEMS_MAX:
        return np.asarray(matrix.toarray(), np.float32)
    return sparse.csr_matrix(matrix, dtype=np.float32)


def _placed(weights: Float64, active: npt.NDArray[np.int64], items: int) -> Matrix:
    """The weights of the active items where these stand among all."""
    if len(active) == items:
        return weights.astype(np.float32)
    kept = sparse.coo_matrix(weights)
    return sparse.csr_matrix((kept.data.astype(np.float32), (active[kept.row], active[kept.col])), (items, items))
