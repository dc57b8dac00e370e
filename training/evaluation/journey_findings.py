"""What the journey's lists came to: accuracy with intervals over households, what is beyond accuracy, groups of
households, calibration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from training.evaluation import metrics
from training.evaluation.basket_lists import NEW, K, Lists, Part, listed_shares
from training.evaluation.basket_log import Int32
from training.evaluation.intervals import Interval, bootstrap, paired_difference
from training.evaluation.journey_log import DAY_MS, JourneyLog
from training.evaluation.metrics import CalibrationBin, Values
from training.evaluation.report import ENSEMBLE, GroupScores, ModelScores

FOUR_EACH: Final = "four each "
"""Before a metric's name: over at most four baskets per household, drawn by the seed, from 10 December on, of
households with a history. In this sample of 5,688 baskets personal frequency was published with .1729 / .1964 and
popularity with .0912 / .0884 (Recall@10 / NDCG@10); every basket weighs people by how often they come for fuel."""
PER_HOUSEHOLD: Final = 4
SINCE: Final = 1_512_864_000_000
"""10 December 2017, in ms."""
COMPARED: Final = tuple(f"{part}{name}@{K}" for part in ("", NEW, FOUR_EACH) for name in ("ndcg", "recall"))


class Findings:
    """Of one run. ``seed``: of the bootstrap."""

    def __init__(self, journey: JourneyLog, seed: int) -> None:
        self._journey = journey
        self._seed = seed

    def scores(self, validation: Part, test: Part) -> dict[str, ModelScores]:
        """Every model's metrics on both parts."""
        before, after = self._intervals(validation), self._intervals(test)
        return {name: ModelScores(after[name], before[name]) for name in test.lists}

    def differences(self, test: Part) -> dict[str, Interval]:
        """Paired, ensemble minus each other model."""
        ours = dict(self._values(test, test.lists[ENSEMBLE]))
        found = {}
        for name in (name for name in test.lists if name != ENSEMBLE):
            for metric, (theirs, households) in self._values(test, test.lists[name]):
                if metric in COMPARED:
                    found[f"{ENSEMBLE} - {name}: {metric}"] = paired_difference(
                        ours[metric][0], theirs, seed=self._seed, clusters=households
                    )
        return found

    def beyond(self, test: Part) -> dict[str, dict[str, float]]:
        """Coverage, exposure, novelty, serendipity; diversity and calibration of lists by department."""
        log, items = self._journey.log, self._journey.log.items
        first = int(test.given.basket.min())
        bought = np.bincount(log.head(first).item, minlength=items).astype(np.float64)
        departments = np.eye(self._journey.departments, dtype=np.float32)[self._journey.department]
        tastes = self._tastes(test, departments)
        known = tastes.sum(axis=1) > 0
        found: dict[str, dict[str, float]] = {}
        for name, lists in test.lists.items():
            ranked = lists.ranked
            surprise = metrics.serendipity(ranked, test.want.all_items, test.given.popular, K)
            apart = metrics.category_divergence(ranked[known], departments, tastes[known])
            found[name] = {
                f"coverage@{K}": metrics.coverage(ranked, items),
                f"exposure gini@{K}": metrics.gini(metrics.exposures(ranked, items)),
                f"novelty@{K} (bits)": float(metrics.novelty(ranked, bought).mean()),
                f"popularity percentile@{K}": float(metrics.popularity_bias(ranked, bought).mean()),
                f"serendipity@{K}": float(surprise.mean()),
                f"diversity@{K} (departments)": float(metrics.intra_list_diversity(ranked, departments).mean()),
                f"department divergence@{K} (nats)": float(apart.mean()),
            }
        return found

    def groups(self, test: Part) -> list[GroupScores]:
        """NDCG of the ensemble by what households told of themselves."""
        household = self._households(test)
        values = dict(self._values(test, test.lists[ENSEMBLE]))[f"ndcg@{K}"][0]
        found = []
        for attribute, of_household in self._journey.groups.items():
            member = np.asarray(of_household, dtype=str)[household]
            groups = {}
            for name in np.unique(member):
                own = member == name
                interval = bootstrap({"": values[own]}, seed=self._seed, clusters=household[own])[""]
                groups[str(name)] = (interval, len(np.unique(household[own])))
            found.append(GroupScores(attribute, f"ndcg@{K}", groups))
        return found

    def calibration(self, validation: Part, test: Part) -> list[CalibrationBin]:
        """Of the listed items: P(bought) against what was.

        P is a logistic function of the item's log-share of its request, fitted on the validation's lists: a basket
        holds several items, so the shares themselves are no probabilities of being in it.
        """
        seen, outcome = _listed(validation)
        slope, level = platt(seen, outcome)
        predicted, happened = _listed(test)
        return metrics.calibration_bins(1.0 / (1.0 + np.exp(-(slope * predicted + level))), happened)

    def _intervals(self, part: Part) -> dict[str, dict[str, Interval]]:
        found: dict[str, dict[str, Interval]] = {}
        for name, lists in part.lists.items():
            found[name] = {}
            for values, households in self._measured(part, lists):
                found[name] |= bootstrap(values, seed=self._seed, clusters=households)
        return found

    def _values(self, part: Part, lists: Lists) -> Iterator[tuple[str, tuple[Values, Int32]]]:
        """(metric, (value, household) of each request that counts)."""
        for of_some, households in self._measured(part, lists):
            for name, values in of_some.items():
                yield name, (values, households)

    def _measured(self, part: Part, lists: Lists) -> Iterator[tuple[dict[str, Values], Int32]]:
        """(metric → value of each request that counts, their households), where any does."""
        households = self._households(part)
        every, new = lists.metrics(part.want)
        yield every, households
        yield new, households[part.want.has_new]
        four = self._four_each(part)
        if len(four):
            yield (
                {f"{FOUR_EACH}{name}@{K}": every[f"{name}@{K}"][four] for name in ("ndcg", "recall")},
                households[four],
            )

    def _four_each(self, part: Part) -> npt.NDArray[np.int64]:
        """Requests of the sample `FOUR_EACH`."""
        log = self._journey.log
        late = log.day[part.given.basket] >= (SINCE - self._journey.begun) / DAY_MS
        known = np.array([len(item) > 0 for item, _ in part.given.histories], np.bool_)
        rows = np.flatnonzero(late & known)
        return rows[drawn_each(self._households(part)[rows], PER_HOUSEHOLD, self._seed)]

    def _households(self, part: Part) -> Int32:
        return self._journey.log.household[part.given.basket]

    def _tastes(self, part: Part, departments: npt.NDArray[np.float32]) -> Values:
        """Shape (requests, departments): shares of the household's decayed history; 0 without one."""
        sums = np.stack([count @ departments[item] for item, count in part.given.histories]).astype(np.float64)
        return np.asarray(sums / np.maximum(sums.sum(axis=1, keepdims=True), 1e-12), np.float64)


def drawn_each(owner: Int32, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Places of at most ``count`` rows of every owner, drawn without replacement, ascending.

    >>> drawn_each(np.array([4, 4, 9], np.int32), 2, seed=0).tolist()
    [0, 1, 2]
    """
    drawn = np.random.default_rng(seed).permutation(len(owner))
    drawn = drawn[np.argsort(owner[drawn], kind="stable")]
    rank = np.arange(len(drawn)) - np.searchsorted(owner[drawn], owner[drawn])
    return np.sort(drawn[rank < count])


def platt(score: Values, outcome: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """(slope, level) of the logistic regression of ``outcome`` on ``score``, by Newton's method.

    Platt: Probabilistic outputs for support vector machines (1999). The diagonal term keeps a constant score solvable.
    """
    design = np.stack([score, np.ones_like(score)], axis=1)
    weights = np.zeros(2)
    for _ in range(30):
        chance = 1.0 / (1.0 + np.exp(-np.clip(design @ weights, -30.0, 30.0)))
        curvature = (design * (chance * (1.0 - chance))[:, None]).T @ design + 1e-6 * np.eye(2)
        step = np.linalg.solve(curvature, design.T @ (outcome - chance) - 1e-6 * weights)
        weights = weights + step
        if float(np.abs(step).max()) < 1e-9:
            break
    return float(weights[0]), float(weights[1])


def _listed(part: Part) -> tuple[Values, npt.NDArray[np.bool_]]:
    """(log-share, whether bought) of every item in the ensemble's lists."""
    ranked = part.lists[ENSEMBLE].ranked
    share = listed_shares(part.given, part.score, ranked)
    there = np.isfinite(share)
    return share[there], metrics.hits(ranked, part.want.all_items)[there]
