"""A decision as JSON: what was answered under an id, and why."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from actors.item_reader import id_hashes
from events.ids import Micros
from serving.decision import Decision
from serving.explain import Weighed
from serving.moments import moment_text
from serving.slate import Sampling, Shortlist, Slate, fill


def explanation(recommendation_id: str, decision: Decision) -> dict[str, object]:
    """Everything kept of an answer. ``candidates`` are the shortlist with the gains slots were drawn by, best first,
    ties by id; empty where only the shown items were logged. ``recomputed`` says whether the record gives the same
    slate again."""
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
                "explored": one.explored,
            }
            for one in decision.slate
        ],
        "candidates": [{"item_id": item, "score": round(score, 6)} for item, score in candidates],
        "weights": dict(zip(decision.recommenders, decision.weights, strict=True)),
        "tau": rules.tau,
        "floor": rules.floor,
        "exploration_slots": rules.exploration_slots,
        "diversity": rules.diversity,
        "fatigue": rules.fatigue,
        "seed": f"{decision.seed:016x}",
        "recomputed": recomputed(decision),
        "policy": versions.policy,
        "model_version": Weighed(versions.model, versions.learned, versions.artefact).version,
        "artefact": versions.artefact,
        "items_version": versions.items,
        "profile_version": versions.profile,
        "test": decision.test,
    }


def recomputed(decision: Decision) -> dict[str, object]:
    """The slate made again from the record alone, beside the one that was answered."""
    if not decision.candidates and decision.slate:
        return {"identical": None, "why": "only the shown items of this decision were logged, not its candidates"}
    if decision.format < 2:
        return {"identical": None, "why": "the record is of format 1, which did not log labels: made before sampling"}
    if not decision.candidates:
        return {"identical": True}  # a slate is empty only where there was nothing to draw from
    place = {item: column for column, item in enumerate(decision.candidates)}
    answered = [(one.item, one.propensity, one.explored) for one in decision.slate]
    forced = {slot: place[one.item] for slot, one in enumerate(decision.slate) if one.forced and one.item in place}
    slate = slate_again(decision, forced)
    again = [
        (decision.candidates[column], propensity, slot in slate.explored)
        for slot, (column, propensity) in enumerate(zip(slate.columns, slate.propensities, strict=True))
    ]
    if again == answered:
        return {"identical": True}
    return {"identical": False, "items": [item for item, _, _ in again], "propensities": list(slate.propensities)}


def slate_again(decision: Decision, forced: Mapping[int, int]) -> Slate:
    """The slate of a record of format 2 that holds its candidates."""
    return fill(shortlist_of(decision), sampling_in(decision), decision.seed, decision.asked, forced)


def shortlist_of(decision: Decision) -> Shortlist:
    """What its slots were filled from."""
    return Shortlist(
        np.frombuffer(decision.scores, "<f4"),
        np.frombuffer(decision.kinds, "<i4").reshape(4, -1),
        id_hashes(decision.candidates),
    )


def sampling_in(decision: Decision) -> Sampling:
    """How its slots were drawn."""
    rules = decision.rules
    return Sampling(rules.tau, rules.floor, rules.exploration_slots, rules.diversity)
