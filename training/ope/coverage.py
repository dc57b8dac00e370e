"""Do the intervals hold what they promise? Many generated logs, one known truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from training.ope.evaluation import Options, evaluate
from training.ope.generated import World
from training.ope.weights import Structure

CLICKS: Final = (1.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Covered:
    """Of one estimator over all logs."""

    share: float
    """Of the logs whose 95 % interval holds the truth."""
    bias: float
    rmse: float


def coverage(world: World, logs: int, people: int, seed: int) -> Mapping[tuple[Structure, str], Covered]:
    """Of every estimator against what it is to estimate: independent weights against each slot chosen anew below the
    logged items, the others against the whole list."""
    whole, anew = world.truth(world.target), world.truth(world.target, above=world.logging)
    hits: dict[tuple[Structure, str], int] = {}
    errors: dict[tuple[Structure, str], list[float]] = {}
    for number in range(logs):
        found = evaluate(*world.log(people, seed + number), Options(values=CLICKS, seed=seed + number))
        for key, lift in found.estimates.items():
            truth = anew if key[0] == "independent" else whole
            hits[key] = hits.get(key, 0) + (lift.value.low <= truth <= lift.value.high)
            errors.setdefault(key, []).append(lift.value.value - truth)
    return {
        key: Covered(hits[key] / logs, sum(off) / logs, (sum(one * one for one in off) / logs) ** 0.5)
        for key, off in errors.items()
    }
