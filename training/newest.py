"""Newest: items nobody has touched yet, while there is little that anybody has.

A shop on its first day has a catalogue and no history; an empty page would keep it that way. As soon as enough items
are popular this recommender falls silent.
"""

from __future__ import annotations

import numpy as np

from training.recommender import ABSTAIN, Query, Scored


class Newest:
    """score(i) = 1 - rank(i) / n over the n untouched items numbered last, newest first. n is what popularity is short
    of the query's depth, overall or in the category asked for; with nothing short it abstains."""

    name = "newest"

    def recommend(self, query: Query) -> Scored:
        items = query.items
        popular, _ = items.popular(query.category, query.depth)
        short = query.depth - len(popular)
        if short <= 0 or not items.size:
            return ABSTAIN
        untouched = ~items.blocked
        untouched[popular] = False
        if query.category is not None:
            own = items.category
            untouched &= (own >= 0) & np.append(items.within(query.category), False)[own]
        idx = np.flatnonzero(untouched)[::-1][:short].astype(np.int32)
        score = 1.0 - np.arange(len(idx), dtype=np.float32) / np.float32(max(len(idx), 1))
        return Scored(idx, score, np.full(len(idx), -1, np.int32))
