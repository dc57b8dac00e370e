"""Filters: which items may be shown at all. They act before anything is scored or drawn, so that the probability of
what is shown is the one that is logged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actors.item_view import ItemView
from serving.answer import RecommendRequest
from training.blend import Candidates, Mask
from training.recommender import Indices, Query

_HOUR_MS = 3_600_000


def eligible(idx: Indices, query: Query, request: RecommendRequest) -> Mask:
    """Those items that are not hidden, out of stock, excluded or anchors of the request, lie in the category asked for,
    and respect the surface's rule about repeats."""
    items = query.items
    mask = ~items.blocked[idx]
    if query.category is not None:
        mask &= in_category(items, idx, query.category)
    named = [number for item in (*request.items, *request.exclude) if (number := items.index(item)) >= 0]
    bought = hidden_repeats(query)
    if named or len(bought):
        out = np.empty(items.size, np.bool_)
        out[idx] = False
        out[bought] = True
        out[np.array(named, np.intp)] = True
        mask &= ~out[idx]
    return mask


def in_category(items: ItemView, idx: Indices, category: int) -> Mask:
    """Items of this category or of one under it."""
    if category < 0:
        return np.zeros(len(idx), np.bool_)
    own = items.category[idx]
    return (own >= 0) & items.within(category)[own]


def hidden_repeats(query: Query) -> Indices:
    """Items bought that this surface does not show again (yet)."""
    bought, surface = query.history.purchases, query.surface
    match surface.repeats:
        case "allow":
            return bought.idx[:0]
        case "hide":
            return bought.idx
        case "cooldown":
            return bought.idx[bought.last > query.now - surface.cooldown_hours * _HOUR_MS]


def among(candidates: Candidates, wanted: Sequence[str], items: ItemView) -> Candidates:
    """The caller's own candidates in place of ours, with what evidence there is for each. Unknown and hidden items are
    left out."""
    known = {number for item in wanted if (number := items.index(item)) >= 0}
    idx = np.array(sorted(known), np.int32)
    idx = idx[~items.blocked[idx]]
    rows = candidates.raw.shape[0]
    raw, because = np.zeros((rows, len(idx))), np.full((rows, len(idx)), -1, np.int32)
    _, own, theirs = np.intersect1d(idx, candidates.idx, assume_unique=True, return_indices=True)
    raw[:, own], because[:, own] = candidates.raw[:, theirs], candidates.because[:, theirs]
    return Candidates(idx, raw, because)
