"""EASE: a linear item-to-item model with a closed form, fitted on who likes what together.

    P = (XᵀX + λI)⁻¹,   B = I - P · diag(1 / diag(P))

minimises |X - XB|² + λ|B|² with diag(B) = 0 (Steck: Embarrassingly shallow autoencoders for sparse data, WWW 2019).
Memory grows with the square of the items and time with the cube: 10,000 items took 3.7 GB and 39 s here, 5,000 take a
quarter and an eighth of that. So only the most active items take part, and an answer looks at their strongest rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from training.interactions import Interactions
from training.model import Table
from training.preference import most_active, preferences
from training.recommender import ABSTAIN, Query, Scored
from training.served_rows import ROWS, served_rows, spread_rows

if TYPE_CHECKING:
    from scipy import sparse

NAME: Final = "ease"
ROW_MAX: Final = 32
"""Neighbours taken per item of the taste, of the `ROWS` kept."""
NAMED_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """Hyper-parameters of `fit`."""

    ridge: float = 10.0
    """λ. Preferences are at most 1 and mostly far below. On The Complete Journey (1,198 baskets of weeks 45 and 46,
    fitted before) 100 reaches Recall@10 .135, 10 .154, 3 .163; of items new to the household 10 finds most (.020)."""
    items: int = 5_000
    rows: int = ROWS


def item_weights(matrix: sparse.csr_matrix, ridge: float) -> npt.NDArray[np.float64]:
    """B of users x items ``matrix``: dense (items, items), zero diagonal. ``ridge`` > 0."""
    from scipy.linalg import lapack

    gram: npt.NDArray[np.float64] = (matrix.T @ matrix).toarray(order="F").astype(np.float64, copy=False)
    gram[np.diag_indices_from(gram)] += ridge
    if not len(gram):
        return gram
    factor, failed = lapack.dpotrf(gram, lower=True, overwrite_a=True)
    assert not failed, f"the Gram matrix plus {ridge} is not positive definite"
    inverse, failed = lapack.dpotri(factor, lower=True, overwrite_c=True)
    assert not failed
    upper = np.triu_indices_from(inverse, 1)
    inverse[upper] = inverse.T[upper]
    weights: npt.NDArray[np.float64] = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


def fit(interactions: Interactions, settings: Settings = Settings()) -> Table:
    """Served rows of the most active items (`training.served_rows`). Deterministic: one BLAS thread, whose sums do not
    depend on the machine's number of cores."""
    from threadpoolctl import threadpool_limits

    items = most_active(interactions, settings.items)
    with threadpool_limits(1, "blas"):
        weights = item_weights(preferences(interactions)[:, items].tocsr(), settings.ridge)
    return served_rows(weights, items, interactions.items, settings.rows)


class Ease:
    """score(i) = Σ over a of taste(a) · B(a, i) over the positive weights of each item's strongest. Abstains without a
    model or a taste it knows. ``because`` is the heaviest item that leads there."""

    name = NAME

    def recommend(self, query: Query) -> Scored:
        table = query.model.model.tables.get(NAME) if query.model is not None else None
        if query.model is None or table is None or not len(query.taste):
            return ABSTAIN
        return spread_rows(table, query.model, query.taste, ROW_MAX, NAMED_MAX)
