"""Segment popularity: what people of the same segments do a lot (`actors.segment_popularity`)."""

from __future__ import annotations

import numpy as np

from training.recommender import ABSTAIN, Query, Scored

SEGMENTS_MAX = 8
"""Segments of one person that are looked into and learned for, the first by name: 5 us each while rows are held."""
DEPTH = 32


class SegmentPopularity:
    """score(i) = Σ over the person's segments s of p_s(i) / max p_s, with p_s the decayed popularity within s, read
    through `training.recommender.SegmentRows`. ``because`` names nothing. Abstains for people without segments, and
    without rows."""

    name = "segment_popularity"

    def recommend(self, query: Query) -> Scored:
        if query.segment_rows is None:
            return ABSTAIN
        found = [query.segment_rows.popular_in(segment, DEPTH) for segment in sorted(query.segments)[:SEGMENTS_MAX]]
        found = [row for row in found if len(row[0]) and row[1][0] > 0]
        if not found:
            return ABSTAIN
        idx = np.concatenate([row[0] for row in found])
        score = np.concatenate([row[1] / row[1][0] for row in found])
        return Scored(idx, score, np.full(len(idx), -1, np.int32))
