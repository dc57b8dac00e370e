"""Co-visitation: what people did next, or bought together, after what this person just did.

The rows are the item follower's (directed and lagged between events, symmetric within an order, decayed, ranked by
lift, backed off item → type → category). Here only the anchors are chosen and the rows added.
"""

from __future__ import annotations

from training.neighbours import spread
from training.recommender import Query, Scored

ANCHORS_MAX = 8
ROW_MAX = 24
"""Neighbours taken per anchor: a row holds 64, but the tail of eight rows adds candidates that never reach a list."""


class Covisitation:
    """score(i) = Σ over anchors a of weight(a) · lift(a → i), each row relative to its strongest. Anchors decay by
    time, by signal and by order (`training.history`). Abstains without anchors."""

    name = "covisitation"

    def recommend(self, query: Query) -> Scored:
        anchors = query.anchors
        return spread(zip(anchors.idx[:ANCHORS_MAX], anchors.weight, strict=False), query.items.covisited, ROW_MAX)
