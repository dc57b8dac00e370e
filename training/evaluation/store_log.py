"""What serves, asked before every sampled act of a store's own log, in the order of time: prequential evaluation.

The walk is `training.window`'s: profile and item table of the instant before each act, never later. Batch models are
fitted as retraining would: on what lies before the validation for the requests the blend's weights are learned from,
and again on what lies before the test for those it is judged on. Each recommender of the inventory stands alone beside
the surface's fixed weights and the learned blend; personal frequency is a profile's decayed purchase counts and nothing
else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from events.ids import Millis, PartitionId
from training.blend import FEATURES
from training.dataset import Dataset, gather, joined
from training.evaluation.data_folder import BadData
from training.evaluation.intervals import Interval, bootstrap, paired_difference
from training.evaluation.prequential import Answer, Measured, measured
from training.evaluation.report import ENSEMBLE, Curve, ModelScores, Report
from training.initial_blend import Blend, alone_weights, fit_blend, fixed_blend
from training.inventory import FITTED, INVENTORY
from training.model import Provenance, model_of
from training.pseudo_requests import Answered, Asking, best_of, situations, stacked
from training.recommender import Indices
from training.replay import Offsets, all_facts, facts_of, offsets_now
from training.retraining import fit
from training.surface import SURFACES, Surface
from training.window import Moment, Window, choose_window, moments

SPLIT: Final = "prequential"
SURFACE: Final = "home"
DAYS: Final = 14.0
"""Test and validation, each: every weekday twice."""
REQUESTS: Final = (800, 1_600)
"""Of validation and test, about: 2 ms of CPU each."""
PEOPLE: Final = 1_000
SLOTS: Final = 10
FIXED: Final = "fixed"
FREQUENCY: Final = "personal_frequency"
BASELINES: Final = ("popularity", FREQUENCY, "item_knn")
CURVE_POINTS: Final = 40

Vector = npt.NDArray[np.float64]


class Said(NamedTuple):
    """What was said before an act, and what came of it."""

    answered: Answered
    subject: int
    at: Millis
    judging: bool
    wanted: tuple[int, ...]
    frequent: Indices
    """Items by personal frequency."""


def evaluate(data: Path, seed: int, say: Callable[[str], None]) -> Report:
    """The whole protocol over the store in ``data``; nothing is written there, and a service may run.

    Raises `NotFound` for a folder without a store and `BadData` for a log that is too short.
    """
    begun = time.perf_counter()
    surface, offsets = SURFACES[SURFACE], offsets_now(data)
    parts = [gather(facts_of(data, PartitionId(int(name[1:])), end)) for name, end in sorted(offsets.items())]
    dataset = joined(parts)
    window = choose_window(dataset.interactions, DAYS, REQUESTS, PEOPLE, seed)
    say(f"read {len(dataset.interactions):,} lines of {len(np.unique(dataset.interactions.user)):,} people")
    said = _through(data, offsets, dataset, window, surface)
    asked = {
        name: [one for one in said if one.judging == late] for name, late in (("validation", False), ("test", True))
    }
    for name, some in asked.items():
        if not some:
            raise BadData(f"{data}: its log has no act to ask about as {name}: import a history of some weeks")
    say(f"asked {len(asked['validation']):,} times for the weights and {len(asked['test']):,} times for the test")
    names = tuple(INVENTORY)
    learned = stacked([one.answered for one in asked["validation"]], len(names) * len(FEATURES))
    blend = fit_blend(learned, names, fixed_blend(names, surface))
    found = {name: _measured(some, names, blend) for name, some in asked.items()}
    test = found["test"]
    return Report(
        protocol=f"Own log, prequential: before each sampled act the recommenders that serve are asked on {SURFACE}, "
        f"with profile and item table of that instant; weights from the {len(asked['validation'])} requests of the "
        f"{window_days(window):.0f} days before the test",
        seed=seed,
        split={
            "validation": len(asked["validation"]),
            "test": len(asked["test"]),
            "lines": len(dataset.interactions),
            "items": dataset.interactions.items,
        },
        models={
            name: ModelScores(_intervals(test[name], seed), _intervals(found["validation"][name], seed))
            for name in test
        },
        chosen=_chosen(blend),
        seconds=time.perf_counter() - begun,
        settings={"fell_back_to": blend.fell_back, "surface": SURFACE},
        notes=("Lists hold one item per label, as served. What is no candidate of any recommender counts as missed.",),
        differences={
            f"{ENSEMBLE} - {name}: ndcg@10": _difference(test[ENSEMBLE], test[name], seed)
            for name in (*BASELINES, FIXED)
        },
        curves=[_curve({name: test[name] for name in (ENSEMBLE, FIXED, *BASELINES)})],
    )


def window_days(window: Window) -> float:
    """Length of the validation."""
    return (window.judging_from - window.validation_from) / 86_400_000


def _through(data: Path, offsets: Offsets, dataset: Dataset, window: Window, surface: Surface) -> list[Said]:
    """Every sampled act of the window, in the order of the log."""
    said: list[Said] = []
    asking: dict[bool, Asking] = {}
    for moment in moments(all_facts(data, offsets), window):
        if moment.judging not in asking:
            before = window.judging_from if moment.judging else window.validation_from
            asking[moment.judging] = _asking(dataset, before)
        policy = asking[moment.judging]
        said += [
            Said(policy.answer(one), moment.subject, moment.at, moment.judging, one.wanted, _frequent(moment))
            for one in situations(surface, moment.items, moment.history, moment.at, moment.taken)
        ]
    return said


def _asking(dataset: Dataset, before: int) -> Asking:
    tables = {name: fit(name, dataset, before, 1) for name in FITTED}
    return Asking(INVENTORY, model_of(dataset.interactions.item_ids, tables, None, Provenance()))


def _frequent(moment: Moment) -> Indices:
    """What the person bought most, decayed with a half-life of 90 days; ties by item."""
    bought = moment.history.purchases
    open_ = ~moment.items.blocked[bought.idx]
    order = np.lexsort((bought.idx[open_], -bought.log2_sum[open_]))
    return np.asarray(bought.idx[open_][order][:SLOTS], np.int32)


def _measured(said: Sequence[Said], names: Sequence[str], blend: Blend) -> dict[str, Measured]:
    """Model → metrics of its lists."""
    alone = {name: alone_weights(names, name) for name in names}
    answers: dict[str, list[Answer]] = {}
    for one in said:
        for name, ranked in (*_lists(one.answered, blend.weights, alone), (FREQUENCY, one.frequent)):
            answers.setdefault(name, []).append(_answer(one, ranked))
    return {name: measured(some) for name, some in sorted(answers.items())}


def _lists(answered: Answered, blend: Vector, alone: Mapping[str, Vector]) -> Iterator[tuple[str, Indices]]:
    """A recommender alone lists what it speaks for and no more: one that abstains has an empty list."""
    features = answered.features.astype(np.float64)
    yield FIXED, answered.idx[best_of(answered, answered.fixed, SLOTS)]
    yield ENSEMBLE, answered.idx[best_of(answered, features @ blend, SLOTS)]
    for number, (name, weights) in enumerate(alone.items()):
        silent = features[:, number * len(FEATURES) + FEATURES.index("abstained")] > 0
        chosen = [place for place in best_of(answered, features @ weights, SLOTS) if not silent[place]]
        yield name, answered.idx[chosen]


def _answer(one: Said, ranked: Indices) -> Answer:
    return Answer(
        one.subject, one.at, one.judging, ranked, np.zeros(len(ranked)), one.wanted, one.wanted, np.empty(0, np.int32)
    )


def _intervals(of: Measured, seed: int) -> dict[str, Interval]:
    return bootstrap(of.values, seed=seed, clusters=of.subjects)


def _difference(ours: Measured, theirs: Measured, seed: int) -> Interval:
    metric = f"ndcg@{SLOTS}"
    return paired_difference(ours.values[metric], theirs.values[metric], seed=seed, clusters=ours.subjects)


def _chosen(blend: Blend) -> dict[str, float]:
    keys = [f"{name}.{feature}" for name in blend.names for feature in FEATURES]
    return {key: float(weight) for key, weight in zip(keys, blend.weights.tolist(), strict=True) if weight}


def _curve(found: Mapping[str, Measured]) -> Curve:
    """The mean so far, request by request."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for name, of in found.items():
        values = of.values[f"ndcg@{SLOTS}"]
        mean = np.cumsum(values) / np.arange(1, len(values) + 1)
        at = np.unique(np.linspace(0, len(values) - 1, CURVE_POINTS).astype(int))
        lines[name] = [(float(place + 1), float(mean[place])) for place in at]
    return Curve(f"NDCG@{SLOTS} so far", "requests of the test", f"NDCG@{SLOTS}", lines)
