"""What was bought before: which of it a surface does not show (yet)."""

from __future__ import annotations

from training.recommender import Indices, Query

_HOUR_MS = 3_600_000


def hidden_repeats(query: Query) -> Indices:
    """Items bought that this surface does not show again (yet)."""
    bought, surface = query.history.purchases, query.surface
    match surface.repeats:
        case "allow":
            return bought.idx[:0]
        case "hide":
            return bought.idx
        case "cooldown":
            return bought.idx[bought.last > query.now - surface.cooldown_hours * _HOUR_MS]
