"""Item-kNN: items liked by the same people, cosine of decayed counts with shrinkage (kept by the item follower).

Where co-visitation answers to the moment, this one speaks for lasting taste: its anchors are the strongest purchases
and a few of the most recent items.
"""

from __future__ import annotations

from training.neighbours import spread
from training.recommender import Query, Scored

RECENT_MAX = 3
ROW_MAX = 24


class ItemKnn:
    """score(i) = Σ over anchors a of weight(a) · cos(a, i), each row relative to its strongest. Abstains for a newcomer
    without anchors."""

    name = "item_knn"

    def recommend(self, query: Query) -> Scored:
        anchors = dict(query.history.favourites)
        for idx, weight in zip(query.anchors.idx[:RECENT_MAX], query.anchors.weight, strict=False):
            anchors[idx] = max(weight, anchors.get(idx, 0.0))
        heaviest_first = sorted(anchors.items(), key=lambda anchor: (-anchor[1], anchor[0]))
        return spread(heaviest_first, query.items.similar, ROW_MAX)
