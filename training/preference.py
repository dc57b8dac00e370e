"""Preferences: how much each person cares for each item, as one sparse matrix. What EASE, iALS and user-kNN are
fitted on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from actors.recency import QUARTER_MS
from training.interactions import Int32, Interactions

if TYPE_CHECKING:
    from scipy import sparse

FAINT: Final = 2.0**-12
"""Preferences below this share of a person's strongest are dropped: a hundred half-lives of neglect are no taste."""


def preferences(interactions: Interactions, half_life_ms: int = QUARTER_MS) -> sparse.csr_matrix:
    """users x items, float32: r(u, i) = Σ weight · 2^(-age/H) / max over i of the same, in (0, 1].

    Ages are relative to the user's own latest event, so that who stopped coming still has tastes to learn from. A
    profile's `training.taste` is scaled alike. The default half-life is the one of repeat purchase.
    """
    from scipy import sparse

    latest = np.zeros(interactions.users, np.int64)
    np.maximum.at(latest, interactions.user, interactions.at)
    age = (latest[interactions.user] - interactions.at) / half_life_ms
    value = interactions.weight * np.exp2(-np.minimum(age, 64.0))
    shape = (interactions.users, interactions.items)
    matrix = sparse.csr_matrix((value, (interactions.user, interactions.item)), shape)
    matrix.sum_duplicates()
    strongest = np.zeros(interactions.users)
    people = np.repeat(np.arange(interactions.users), np.diff(matrix.indptr))
    np.maximum.at(strongest, people, matrix.data)
    matrix.data /= strongest[people]
    matrix.data[matrix.data < FAINT] = 0.0
    matrix.eliminate_zeros()
    return matrix.astype(np.float32)


def most_active(interactions: Interactions, count: int) -> Int32:
    """The ``count`` items with the most rows, ascending; ties by lower number, items without rows left out."""
    rows = np.bincount(interactions.item, minlength=interactions.items)
    order = np.argsort(-rows, kind="stable")[:count]
    return np.sort(order[rows[order] > 0]).astype(np.int32)
