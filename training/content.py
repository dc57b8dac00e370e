"""Content: items described alike (category, brand, attributes, words of the text).

Weak alone, but the only recommender that knows an item nobody has touched yet.
"""

from __future__ import annotations

from training.neighbours import spread
from training.recommender import Query, Scored

ANCHORS_MAX = 4
ROW_MAX = 16


class Content:
    """score(i) = Σ over anchors a of weight(a) · similarity(a, i), each row relative to its strongest. Abstains without
    anchors."""

    name = "content"

    def recommend(self, query: Query) -> Scored:
        anchors = query.anchors
        return spread(zip(anchors.idx[:ANCHORS_MAX], anchors.weight, strict=False), query.items.content, ROW_MAX)
