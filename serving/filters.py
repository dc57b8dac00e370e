"""Filters: which items may be shown at all. They act before anything is scored or drawn, so that the probability of
what is shown is the one that is logged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actors.item_view import ItemView
from serving.answer import RankRequest, RecommendRequest
from training.blend import Candidates, Mask
from training.recommender import Indices, Query
from training.repeats import hidden_repeats


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


def among(candidates: Candidates, request: RankRequest, items: ItemView) -> Candidates:
    """The caller's own candidates in place of ours, with what evidence there is for each. Unknown, hidden and excluded
    items are left out."""
    wanted = set(request.candidates) - set(request.exclude)
    known = {number for item in wanted if (number := items.index(item)) >= 0}
    idx = np.array(sorted(known), np.int32)
    return _of_items(candidates, idx[~items.blocked[idx]])


def may_stand(wanted: Sequence[str], query: Query, request: RecommendRequest) -> Indices:
    """Those of the caller's items that pass the filters, by item index."""
    known = {number for item in wanted if (number := query.items.index(item)) >= 0}
    idx = np.array(sorted(known), np.int32)
    return idx[eligible(idx, query, request)] if len(idx) else idx


def with_items(candidates: Candidates, idx: Indices) -> Candidates:
    """The candidates, and these items among them whether or not anybody spoke for them."""
    if not len(idx):
        return candidates
    return _of_items(candidates, np.union1d(candidates.idx, idx).astype(np.int32))


def _of_items(candidates: Candidates, idx: Indices) -> Candidates:
    """These items, ascending, with what evidence there is for each."""
    rows = candidates.raw.shape[0]
    raw, because = np.zeros((rows, len(idx))), np.full((rows, len(idx)), -1, np.int32)
    _, own, theirs = np.intersect1d(idx, candidates.idx, assume_unique=True, return_indices=True)
    raw[:, own], because[:, own] = candidates.raw[:, theirs], candidates.because[:, theirs]
    return Candidates(idx, raw, because)
