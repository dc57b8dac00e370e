"""Lists that depend on nobody: items similar to one, and what is popular. No profile, no decision, no exploration."""

from __future__ import annotations

import msgspec
import numpy as np

from actors.item_view import ItemView
from events.errors import NotFound
from events.ids import Millis
from serving.answer import RecommendRequest
from serving.filters import eligible
from serving.slate import fill
from training.anchors import Anchors
from training.blend import blend, merge
from training.inventory import INVENTORY
from training.recommender import Query
from training.surface import Surface

SIMILAR = Surface(name="similar", weights={"item_knn": 0.5, "content": 0.35, "covisitation": 0.15})
POPULAR = Surface(name="popular", weights={"popularity": 1.0})
DEPTH_PER_ITEM = 4


class Listed(msgspec.Struct, frozen=True):
    item_id: str
    score: float
    title: str


def similar(items: ItemView, item: str, n: int) -> list[Listed]:
    """Up to ``n`` items like this one, none with the label of another. Raises `NotFound`."""
    idx = items.index(item)
    if idx < 0:
        raise NotFound(f"item {item[:64]!r} is not in the catalogue")
    query = Query(items, Millis(0), SIMILAR, anchors=Anchors((idx,), (1.0,)))
    return _list(query, RecommendRequest(items=(item,)), n)


def popular(items: ItemView, n: int, category: str = "") -> list[Listed]:
    """Up to ``n`` of the items most used lately, in ``category`` and below it, or overall."""
    number = items.category_id(category) if category else None
    return _list(Query(items, Millis(0), POPULAR, category=number, depth=DEPTH_PER_ITEM * n), RecommendRequest(), n)


def _list(query: Query, request: RecommendRequest, n: int) -> list[Listed]:
    items, weights = query.items, query.surface.weights
    names = [name for name in INVENTORY if name in weights]
    candidates = merge([INVENTORY[name].recommend(query) for name in names], items.size)
    candidates = candidates.keep(eligible(candidates, query, request))
    score = blend(candidates, [weights[name] for name in names]).score
    slate = fill(score, candidates.idx, np.asarray(items.group[candidates.idx]), n)
    chosen = [(int(candidates.idx[column]), float(score[column])) for column in slate.columns]
    return [Listed(items.ids[idx], round(value, 6), items.item(idx).title) for idx, value in chosen]
