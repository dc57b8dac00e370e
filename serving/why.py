"""A decision as JSON: what was answered under an id, and why."""

from __future__ import annotations

import numpy as np

from events.ids import Micros
from serving.decision import Decision
from serving.moments import moment_text


def explanation(recommendation_id: str, decision: Decision) -> dict[str, object]:
    """Everything kept of an answer. ``candidates`` are all that passed the filters with the score they were compared
    by, best first, ties by id; empty where only the shown items were logged."""
    rules, versions = decision.rules, decision.versions
    scores = np.frombuffer(decision.scores, np.float32).tolist()
    candidates = sorted(zip(decision.candidates, scores, strict=True), key=lambda pair: (-pair[1], pair[0]))
    return {
        "recommendation_id": recommendation_id,
        "as_of": moment_text(Micros(decision.read_at)),
        "surface": rules.surface,
        "repeats": rules.repeats,
        "impression": rules.impression,
        "consent": decision.consent,
        "n": decision.asked,
        "items": decision.anchors,
        "exclude": decision.exclude,
        "category": decision.category,
        "context": decision.context,
        "answered": [
            {
                "item_id": one.item,
                "score": one.score,
                "sources": one.sources,
                "reason": one.reason,
                "propensity": one.propensity,
                "forced": one.forced,
            }
            for one in decision.slate
        ],
        "candidates": [{"item_id": item, "score": round(score, 6)} for item, score in candidates],
        "weights": dict(zip(decision.recommenders, decision.weights, strict=True)),
        "tau": rules.tau,
        "floor": rules.floor,
        "policy": versions.policy,
        "model_version": versions.model,
        "items_version": versions.items,
        "profile_version": versions.profile,
        "test": decision.test,
    }
