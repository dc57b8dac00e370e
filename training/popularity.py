"""Popularity: what everybody does a lot lately, overall and in the categories this person cares about.

It never abstains while the catalogue has been used at all, so every list has something.
"""

from __future__ import annotations

import numpy as np

from training.recommender import ABSTAIN, Indices, Query, Scored, Scores

INTEREST_DEPTH = 16
"""Items taken per category of interest."""


class Popularity:
    """score(i) = p(i) / max p + Σ over categories of interest c of share(c) · p_c(i) / max p_c, with p the decayed
    count (half-life a month) of the item follower. Under a category filter only that category counts. ``because`` is
    the category, -1 for the overall list."""

    name = "popularity"

    def recommend(self, query: Query) -> Scored:
        if query.category is not None:
            wanted: list[tuple[int | None, float, int]] = [(query.category, 1.0, query.depth)]
        else:
            wanted = [(None, 1.0, query.depth)]
            wanted += [
                (category, share, INTEREST_DEPTH) for category, share in query.history.interests.strongest(query.now)
            ]
        rows: list[Indices] = []
        scores: list[Scores] = []
        causes: list[int] = []
        for category, share, depth in wanted:
            idx, score = query.items.popular(category, depth)
            if len(idx) and score[0] > 0:
                rows.append(idx)
                scores.append(score * np.float32(share / float(score[0])))
                causes.append(-1 if category is None else category)
        if not rows:
            return ABSTAIN
        lengths = [len(row) for row in rows]
        return Scored(np.concatenate(rows), np.concatenate(scores), np.repeat(np.array(causes, np.int32), lengths))
