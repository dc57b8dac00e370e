"""Repeat purchase: what this person buys, again. In groceries half of what is bought was bought before, and a personal
count with a half-life of 90 days is the best single model there (The Complete Journey: Recall@10 .1729, NDCG@10 .1964,
against .0912 / .0884 for popularity)."""

from __future__ import annotations

import numpy as np

from training.history import CLOCK, hour_of_week
from training.recommender import ABSTAIN, Query, Scored

RHYTHM_BONUS = 0.5
"""Most that being due adds to an item's count, as a share of it. Small: the count is the stronger evidence."""

RHYTHM_WIDTH = 0.35
"""Width of "due", as a share of the interval."""

HABITS = np.array([0.6, 0.6, 0.24, 0.24, -0.33])
"""Weights, in nats, of the clock of the day, of the week, and of having bought it once. Fitted listwise on The Complete
Journey's weeks 45-48: NDCG@10 .1885 instead of .1861 there, .1946 instead of .1914 on weeks 49-53. As served (one item
per label, profiles of 256 items) .1769 instead of .1749 on weeks 49-53, the interval of the difference .0005 to .0037.
"""

_WEIGHTS = (HABITS * np.concatenate([CLOCK, np.ones((len(CLOCK), 1))], axis=1)).astype(np.float32)[:, :, None]
"""By hour of the week that it is now: weights of `Purchases.habits`."""


class RepeatPurchase:
    """score(i) = c(i) · exp(h(i)) · (1 + B · r(i) · exp(-((x - 1) / W)²)), with c the purchases decayed with a
    half-life of 90 days, r the regularity of the intervals in 0..1 (0 without a rhythm) and x the time since the last
    purchase in units of the mean interval. h speaks for what is bought at this hour and on this day of the week, and
    against what was bought once: `HABITS` · (Σ cos of the angle between then and now / (purchases + 1), by day and by
    week; 1 if once). Abstains without purchases. ``because`` is the item itself."""

    name = "repeat_purchase"

    def recommend(self, query: Query) -> Scored:
        bought = query.history.purchases
        if not len(bought.idx):
            return ABSTAIN
        habit = (_WEIGHTS[hour_of_week(query.now)] * bought.habits).sum(axis=0)
        counts = bought.counts(query.now) * np.exp(habit)
        rhythmic = np.flatnonzero(bought.gap)
        if len(rhythmic):
            waited = (query.now - bought.last[rhythmic]) / bought.gap[rhythmic]
            due = np.exp(-(((waited - 1.0) / RHYTHM_WIDTH) ** 2))
            counts[rhythmic] *= 1.0 + RHYTHM_BONUS * bought.regularity[rhythmic] * due
        return Scored(bought.idx, counts.astype(np.float32), bought.idx)
