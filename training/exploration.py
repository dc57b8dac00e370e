"""Exploration: new and promising items that were hardly shown. What they are worth nobody knows until they are."""

from __future__ import annotations

import numpy as np

from training.recommender import ABSTAIN, Query, Scored, inside


class Exploration:
    """score(i) as the item follower's pool has it (`actors.exploration`). Under a category filter only that category
    counts. Abstains while the pool is empty."""

    name = "exploration"

    def recommend(self, query: Query) -> Scored:
        idx, score = query.items.worth_trying(query.depth)
        if query.category is not None:
            idx, score = inside(query, *query.items.worth_trying(query.items.size))
        if not len(idx):
            return ABSTAIN
        return Scored(idx, score, np.full(len(idx), -1, np.int32))
