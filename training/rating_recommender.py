"""Rating: what this person would rate highly, where people rate. It ranks what a rating model predicts
(`training.rating`) among items that are near at hand: popular ones and neighbours of what they dealt with lately."""

from __future__ import annotations

import numpy as np

from actors.ranked import distinct
from training.recommender import ABSTAIN, Query, Scored

NEIGHBOURS = 16
"""Items considered per anchor, by content and by co-visitation each."""
ANCHORS_MAX = 4
MIDDLE = 0.5
"""Share of the scale above which a prediction speaks for an item."""


class RatingRecommender:
    """score(i) = how far the expected rating of i lies above the middle of the scale, in shares of the scale, for what
    the person has not rated yet. Abstains without a rating model and for who never rated. ``because`` names nothing."""

    name = "rating"

    def recommend(self, query: Query) -> Scored:
        rater, items = query.rater, query.items
        if rater is None or not query.rater_key:
            return ABSTAIN
        anchors = query.anchors.idx[:ANCHORS_MAX]
        rows = [items.popular(query.category, query.depth)[0]]
        rows += [row[0] for row in items.content(anchors, NEIGHBOURS)]
        rows += [row[0] for row in items.covisited(anchors, NEIGHBOURS)]
        idx = distinct(np.concatenate(rows))
        if not len(idx):
            return ABSTAIN
        ids = items.ids
        expected = rater.scores(query.rater_key, [ids[number] for number in idx.tolist()])
        if expected is None:
            return ABSTAIN
        above = ((expected - rater.scale.low) / (rater.scale.high - rater.scale.low) - MIDDLE).astype(np.float32)
        said = above > 0
        return Scored(idx[said], above[said], np.full(int(said.sum()), -1, np.int32))
