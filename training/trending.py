"""Trending: what is done more, these days, than its own month would lead one to expect (kept by the item follower)."""

from __future__ import annotations

import numpy as np

from training.recommender import ABSTAIN, Query, Scored, inside


class Trending:
    """score(i) = log(1 + excess of i in standard scores), see `actors.trending`: the logarithm because one item's boom
    is not a hundred others' worth. Under a category filter only that category counts. Abstains where nothing trends."""

    name = "trending"

    def recommend(self, query: Query) -> Scored:
        idx, excess = query.items.trending(query.depth)
        if query.category is not None:
            idx, excess = inside(query, *query.items.trending(query.items.size))
        if not len(idx):
            return ABSTAIN
        return Scored(idx, np.log1p(excess), np.full(len(idx), -1, np.int32))
