"""Which columns each kind of data gets, and their hyper-parameters.

All of them were chosen with ``--split tuning``, which holds every user's last row back: no test row had a say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from scipy import sparse

from training.evaluation.next_item_columns import (
    Column,
    Constant,
    Linear,
    Past,
    Positions,
    Strongest,
    attribute_vectors,
    cosine,
    discounted,
    ease_matrix,
    lagged_pairs,
    local_ease_matrix,
    ridge_matrix,
    transitions,
)

FEW_BUT_LONG: Final = "few items, long histories"
MANY_BUT_SHORT: Final = "many items, short histories"


def _baselines(past: Past, knn_half_life: float, knn_shrink: float) -> dict[str, Column]:
    """What stands in every table."""
    return {
        "popularity": Constant(past.popularity.astype(np.float32)),
        "personal_frequency": Linear(np.inf, sparse.identity(past.items, np.float32, format="csr")),
        "item_knn": Linear(knn_half_life, cosine(past, knn_shrink)),
    }


def few_but_long(past: Past) -> Mapping[str, Column]:
    """For catalogues of some thousand items and histories of dozens (MovieLens)."""
    popularity = past.popularity
    near = lagged_pairs(past, [0.75**lag for lag in range(12)])
    next_only = lagged_pairs(past, [1.0])
    links = transitions(near, popularity, 0.3)
    likes = ease_matrix(past, 500.0)
    ridge = ridge_matrix(past, 100.0, 20, 0.8)
    steady = discounted(ridge_matrix(past, 1000.0, 20, 0.8), popularity, 0.3)
    return {
        **_baselines(past, 3.0, 20.0),
        "markov": Linear(3.0, links),
        "markov_strongest": Strongest(links),
        "markov_next": Linear(1.0, transitions(next_only, popularity, 0.2)),
        "markov_backward": Linear(3.0, transitions(near.T.tocsr(), popularity, 0.3)),
        "ease": Linear(15.0, likes),
        "ease_slow": Linear(60.0, likes),
        "ease_local": Linear(2.0, local_ease_matrix(past, 300.0, 30, 0.9)),
        "ridge_next_item": Linear(3.1, ridge),
        "ridge_next_item_steady": Linear(3.1, steady),
        "ridge_next_item_slow": Linear(6.6, ridge_matrix(past, 300.0, 40, 0.9)),
        "nearest_moments": Positions.of(past),
    }


def many_but_short(past: Past) -> Mapping[str, Column]:
    """For large sparse catalogues and histories of a few items (Amazon)."""
    popularity = past.popularity
    near = lagged_pairs(past, [1.0, 0.6, 0.36])
    columns: dict[str, Column] = {
        **_baselines(past, 3.0, 20.0),
        "markov": Linear(2.0, transitions(near, popularity, 0.3)),
        "markov_rare": Linear(2.0, transitions(near, popularity, 0.5)),
        "markov_backward": Linear(2.0, transitions(near.T.tocsr(), popularity, 0.3)),
        "nearest_moments": Positions.of(past),
    }
    if past.attributes is not None:
        vectors = attribute_vectors(past.attributes)
        columns["content"] = Linear(3.0, vectors, vectors.T.tocsr())
    return columns
