"""The learner's options compared in a world whose truth is known: ``python -m benchmarks.learner_options``.

Every list is drawn slot by slot from 200 candidates, with logged propensities, by a fixed blend that trusts the wrong
recommenders. An item has an affinity a ~ N(0, 1) nobody sees; recommender g speaks of a share of the candidates, with a
score that correlates with a by rho_g. Someone who looks at a slot clicks with chance sigmoid(1.2 a - 3), and looks at
slot k with chance 1 / log2(1 + k). What was learned is judged on fresh requests: expected clicks of the twelve items a
greedy list would show, against the fixed blend's and against those of an oracle that knows a.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from actors.state import MemoryState
from training.blend import Blended, blend, features, merge, pool
from training.learner.blends import Blends
from training.learner.settings import LearnerSettings, Loss
from training.learner.shown import ShownList
from training.recommender import Scored

Vector = npt.NDArray[np.float64]

NAMES = tuple(f"r{number}" for number in range(8))
RHO = (0.75, 0.6, 0.45, 0.3, 0.2, 0.1, 0.0, 0.0)
SPEAKS = (0.25, 0.4, 0.6, 0.8, 0.3, 0.6, 0.5, 1.0)
WRONG = dict(zip(NAMES, (0.5, 0.5, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0), strict=True))
CANDIDATES, SLOTS, TAU = 200, 12, 0.5
LOOKS = 1.0 / np.log2(1.0 + np.arange(1, SLOTS + 1))
CHECKPOINTS = (500, 2_000, 8_000)
FRESH = 300


@dataclass(frozen=True)
class Request:
    blended: Blended
    chance: Vector
    """Of a click on each candidate by somebody who looks."""


def request(random: np.random.Generator) -> Request:
    affinity = random.normal(size=CANDIDATES)
    said = []
    for rho, speaks in zip(RHO, SPEAKS, strict=True):
        idx = np.flatnonzero(random.random(CANDIDATES) < speaks).astype(np.int32)
        noise = random.normal(size=len(idx))
        score = np.exp(0.7 * (rho * affinity[idx] + math.sqrt(1 - rho * rho) * noise))
        said.append(Scored(idx, score.astype(np.float32), np.full(len(idx), -1, np.int32)))
    candidates = merge(pool(said), CANDIDATES)
    blended = blend(candidates, [WRONG[name] for name in NAMES])
    return Request(blended, 1 / (1 + np.exp(3.0 - 1.2 * affinity[candidates.idx])))


def drawn(random: np.random.Generator, asked: Request) -> tuple[list[int], list[float]]:
    """Columns and propensities of a list drawn slot by slot."""
    gain = asked.blended.score.astype(np.float64)
    gain = (gain - gain.mean()) / gain.std() / TAU
    left, columns, propensities = np.exp(gain - gain.max()), [], []
    for _ in range(SLOTS):
        share = left / left.sum()
        column = int(random.choice(len(share), p=share))
        columns.append(column)
        propensities.append(float(share[column]))
        left[column] = 0.0
    return columns, propensities


def shown(asked: Request, columns: Sequence[int], propensities: Sequence[float]) -> ShownList:
    context = np.zeros((SLOTS, 3))
    context[:, 0] = LOOKS
    rows = features(asked.blended)[:, list(columns)].T.astype(np.float64)
    items = tuple(f"i{column}" for column in columns)
    return ShownList("home", 0, True, False, items, tuple(propensities), NAMES, rows, context)


def value(score: Vector, chance: Vector) -> float:
    """Expected clicks of the greedy list."""
    return float(LOOKS @ chance[np.lexsort((np.arange(len(score)), -score))[:SLOTS]])


def judged(blends: Blends, fresh: Sequence[Request]) -> float:
    weights = blends.learned("").surfaces["home"]
    return float(np.mean([value(weights.recommenders[0] @ features(one.blended), one.chance) for one in fresh]))


def world(settings: LearnerSettings, seed: int, lists: int) -> dict[str, float]:
    """Clicks of what was learned after so many lists, as a share of the way from the fixed blend to the oracle."""
    random = np.random.default_rng(seed)
    fresh = [request(np.random.default_rng([seed, number])) for number in range(FRESH)]
    fixed = float(np.mean([value(one.blended.score, one.chance) for one in fresh]))
    oracle = float(np.mean([value(one.chance, one.chance) for one in fresh]))
    blends = Blends(MemoryState(), NAMES, {"home": WRONG}, settings)
    found = {"fixed": fixed, "oracle": oracle}
    for number in range(1, lists + 1):
        asked = request(random)
        columns, propensities = drawn(random, asked)
        clicked = random.random(SLOTS) < LOOKS * asked.chance[columns]
        blends.learn(shown(asked, columns, propensities), "click", range(SLOTS), np.flatnonzero(clicked).tolist())
        if number in CHECKPOINTS or number == lists:
            found[f"after_{number}"] = (judged(blends, fresh) - fixed) / (oracle - fixed)
    quality = blends.progress["home", "click"].quality()
    return {**found, "log_loss": quality.log_loss, "auc": quality.auc, "calibration": quality.calibration}


LOSSES: tuple[Loss, ...] = ("pointwise", "listwise")
OPTIONS = {
    f"{loss}{told}": LearnerSettings(loss=loss, clip=clip)
    for loss in LOSSES
    for clip, told in ((0.0, ""), (10.0, ", 1/p clipped at 10"))
}


def run(lists: int = CHECKPOINTS[-1], seeds: Sequence[int] = (1, 2, 3)) -> dict[str, dict[str, float]]:
    """Option → figures, means over seeds; ``spread`` is the largest distance of a seed from the mean at the end."""
    table = {}
    for name, settings in OPTIONS.items():
        rows = [world(settings, seed, lists) for seed in seeds]
        means = {figure: float(np.mean([row[figure] for row in rows])) for figure in rows[0]}
        last = f"after_{lists}"
        table[name] = {**means, "spread": max(abs(row[last] - means[last]) for row in rows)}
    return table


def rates(lists: int, seed: int) -> dict[str, dict[str, float]]:
    """The same by the step's size."""
    found = {}
    for name in LOSSES:
        for rate in (0.02, 0.05, 0.1, 0.2, 0.4):
            found[f"{name}, {rate}"] = world(replace(OPTIONS[name], rate=rate), seed, lists)
    return found


if __name__ == "__main__":
    if "--rates" in sys.argv:
        print(json.dumps(rates(2_000, 1), indent=1))
    else:
        print(json.dumps(run(), indent=1))
