"""iALS: factors of people and items from implicit feedback, folded in for whoever asks.

    loss = Σ over all (u, i) of c(u, i) · (p(u, i) - x_u·y_i)² + Σ λ_u |x_u|² + Σ λ_i |y_i|²
    c = 1 + α·r, p = 1 where a preference r is known; c = 1, p = 0 elsewhere
    λ_u = α · λ · (|S_u| + |I| / α)^ν, λ_i alike

(Hu, Koren, Volinsky: Collaborative filtering for implicit feedback datasets, ICDM 2008.) Scaling λ with the number of
interactions, unobserved ones counted with their weight 1/α, is what makes the method competitive (Rendle, Krichene,
Zhang, Koren: Revisiting the performance of iALS on item recommendation benchmarks, RecSys 2022; ν = 1 there).

The sweeps are `implicit`'s exact solver. It knows one λ per call, so rows are solved in groups of equal λ, rounded to
2 %. The item factors are rotated until YᵀY is diagonal, which changes no product: then folding somebody in needs a
small system as wide as their history instead of one as wide as the factors, whatever their λ.

Items nobody touched get the factors their description suggests: ridge regression of the known items' factors on their
category levels, brand and attributes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from training.interactions import Int32, Interactions, ItemFacts
from training.model import Table, floats, ints
from training.preference import most_active, preferences
from training.recommender import ABSTAIN, Query, Scored

if TYPE_CHECKING:
    from scipy import sparse

Factors = npt.NDArray[np.float32]

NAME: Final = "ials"
NAMED_MAX: Final = 64
LEVEL: Final = np.log(1.02)
"""Logarithm of the step between two λ that are told apart."""
TOKENS_MAX: Final = 2_000
"""Most frequent words of descriptions that are regressed on."""
TOKEN_RIDGE: Final = 5.0
"""About as many items as must share a word before it counts for half of what they have in common."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Hyper-parameters of `fit`."""

    factors: int = 64
    alpha: float = 20.0
    """Weight of an observed preference of 1 against an unobserved one."""
    ridge: float = 0.003
    """λ; there .001 reaches .159, .01 .153."""
    exponent: float = 1.0
    """ν."""
    sweeps: int = 8
    items: int = 8_000
    """Most active items: scoring them by brute force takes 30 us at 64 factors, and on The Complete Journey (1,198
    baskets of weeks 45 and 46, fitted before) 8,000 do as well as 12,000: Recall@10 .165 and .163."""
    described: int = 1_000
    """Newest items without any interaction that get factors from their description."""


def ridge_of(known: npt.NDArray[np.integer], others: int, settings: Settings) -> npt.NDArray[np.float64]:
    """λ of rows with ``known`` preferences out of ``others`` columns."""
    alpha, exponent = settings.alpha, settings.exponent
    return np.asarray(alpha * settings.ridge * (known + others / alpha) ** exponent, np.float64)


def factorise(matrix: sparse.csr_matrix, settings: Settings, seed: int) -> tuple[Factors, Factors]:
    """(users, k) and (items, k) factors of a users x items matrix of preferences in (0, 1]."""
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    confidence = matrix.copy().astype(np.float32)
    confidence.data = 1.0 + np.float32(settings.alpha) * confidence.data
    columns = confidence.T.tocsr()
    with threadpool_limits(1, "blas"):  # the same sums in the same order, whatever machine; implicit asks for it too
        solver = AlternatingLeastSquares(factors=settings.factors, num_threads=1, use_native=True)
        random = np.random.default_rng(seed)
        spread = 0.1 / np.sqrt(settings.factors)
        solver.item_factors = (random.standard_normal((matrix.shape[1], settings.factors)) * spread).astype(np.float32)
        solver.user_factors = np.zeros((matrix.shape[0], settings.factors), np.float32)
        people = _groups(ridge_of(np.diff(confidence.indptr), matrix.shape[1], settings))
        items = _groups(ridge_of(np.diff(columns.indptr), matrix.shape[0], settings))
        for _ in range(settings.sweeps):
            for ridge, rows in people:
                solver.regularization = ridge
                solver.partial_fit_users(rows, confidence[rows])
            for ridge, rows in items:
                solver.regularization = ridge
                solver.partial_fit_items(rows, columns[rows])
    return solver.user_factors, solver.item_factors


def _groups(ridges: npt.NDArray[np.float64]) -> list[tuple[float, npt.NDArray[np.int64]]]:
    """(λ, rows) for every λ after rounding to `LEVEL`."""
    level = np.rint(np.log(ridges) / LEVEL).astype(np.int64)
    return [(float(np.exp(at * LEVEL)), np.flatnonzero(level == at)) for at in np.unique(level).tolist()]


def rotated(factors: Factors) -> tuple[Factors, Factors]:
    """``factors`` turned so that their Gram matrix is diagonal, and that diagonal, ascending. Signs are fixed: of each
    column, the entry of largest magnitude is positive."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        gram, turn = np.linalg.eigh(factors.astype(np.float64).T @ factors)
        turned = factors @ turn
    if len(turned):
        largest = np.abs(turned).argmax(axis=0)
        turned *= np.where(turned[largest, np.arange(turned.shape[1])] < 0, -1.0, 1.0)
    return turned.astype(np.float32), np.maximum(gram, 0.0).astype(np.float32)


def described_factors(factors: Factors, items: Int32, facts: ItemFacts, wanted: Int32) -> Factors:
    """Factors of ``wanted`` items from what they are described by, learned of ``items`` with ``factors``. Those that
    share no word with any stay 0."""
    from scipy import sparse
    from threadpoolctl import threadpool_limits

    tokens: dict[str, int] = {}
    count: list[int] = []
    for item in items.tolist():
        for token in facts.tokens(item):
            if token not in tokens:
                tokens[token] = len(tokens)
                count.append(0)
            count[tokens[token]] += 1
    kept = np.argsort(-np.array(count, np.int64), kind="stable")[:TOKENS_MAX]
    column = np.full(len(tokens), -1, np.int64)
    column[kept] = np.arange(len(kept))

    def described(which: Int32) -> sparse.csr_matrix:
        words = [[column[tokens[t]] for t in facts.tokens(item) if t in tokens] for item in which.tolist()]
        words = [[word for word in each if word >= 0] for each in words]
        ends = np.cumsum([0, *map(len, words)])
        flat = np.array([word for each in words for word in each], np.int64)
        return sparse.csr_matrix((np.ones(len(flat)), flat, ends), (len(which), len(kept)))

    known = described(items)
    gram = (known.T @ known).toarray() + TOKEN_RIDGE * np.eye(len(kept))
    with threadpool_limits(1, "blas"):
        weights = np.linalg.solve(gram, known.T @ factors.astype(np.float64))
    return np.asarray(described(wanted) @ weights, np.float32)


def fit(interactions: Interactions, facts: ItemFacts, seed: int, settings: Settings = Settings()) -> Table:
    """Arrays: ``number`` (n,) the model's numbers of the items scored, ``place`` the way back, -1 for none; ``factors``
    (n, k) rotated; ``gram`` (k,) the diagonal of YᵀY over the fitted items; ``scale`` = α, λ, ν and their number.
    Deterministic."""
    items = most_active(interactions, settings.items)
    number, factors, gram = items, np.zeros((0, settings.factors), np.float32), np.zeros(settings.factors, np.float32)
    if len(items):
        _, fitted = factorise(preferences(interactions)[:, items].tocsr(), settings, seed)
        factors, gram = rotated(fitted)
        touched = np.bincount(interactions.item, minlength=interactions.items) > 0
        fresh = np.flatnonzero(~touched)[-settings.described :].astype(np.int32) if settings.described else items[:0]
        fresh = np.array([item for item in fresh.tolist() if facts.tokens(item)], np.int32)
        number = np.concatenate((items, fresh))
        factors = np.concatenate((factors, described_factors(factors, items, facts, fresh)))
    place = np.full(interactions.items, -1, np.int32)
    place[number] = np.arange(len(number), dtype=np.int32)
    scale = np.array([settings.alpha, settings.ridge, settings.exponent, len(items)], np.float32)
    return {"number": number, "place": place, "factors": factors, "gram": gram, "scale": scale}


def folded_in(factors: Factors, weight: Factors, gram: Factors, alpha: float, ridge: float) -> Factors:
    """A person's factors from the items they like: u = (G + Yᵀ diag(α·w) Y + ridge·I)⁻¹ Yᵀ(1 + α·w), with G diagonal.

    By push-through, with K = 1 / (gram + ridge) and W = diag(α·w): u = K Yᵀ (W⁻¹ + Y K Yᵀ)⁻¹ W⁻¹ (1 + α·w), a system of
    as many equations as there are items. ``weight`` > 0.
    """
    extra = np.float32(alpha) * weight
    scaled = factors / (gram + np.float32(ridge))
    system = scaled @ factors.T
    system[np.diag_indices_from(system)] += 1.0 / extra
    solved: Factors = np.linalg.solve(system, (1.0 + extra) / extra)
    return solved @ scaled


class Ials:
    """score(i) = u · y_i for u folded in from the taste, of the items with a score above 0. Abstains without a model or
    a taste it knows. ``because`` names nothing: a factor is no reason for a person."""

    name = NAME

    def recommend(self, query: Query) -> Scored:
        table = query.model.model.tables.get(NAME) if query.model is not None else None
        if query.model is None or table is None or not len(query.taste):
            return ABSTAIN
        place = ints(table, "place")[query.taste.number]
        known = (place >= 0).nonzero()[0]
        if not len(known):
            return ABSTAIN
        factors = floats(table, "factors")
        alpha, ridge, exponent, others = floats(table, "scale").tolist()
        own = alpha * ridge * (len(known) + others / alpha) ** exponent
        person = folded_in(factors[place[known]], query.taste.weight[known], floats(table, "gram"), alpha, own)
        score = factors @ person
        first = max(0, len(score) - NAMED_MAX)
        best = score.argpartition(first)[first:]
        idx, score = query.model.to_view[ints(table, "number")[best]], score[best]
        said = ((idx >= 0) & (score > 0)).nonzero()[0]
        return Scored(idx[said], score[said], np.full(len(said), -1, np.int32))
