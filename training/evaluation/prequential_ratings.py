"""Ratings, prequentially: every rating is predicted before it is learned, in the order of time.

Nothing is split: each row is test first and training afterwards, so the mean error over all rows is the error of a
model that started with nothing. This is the protocol of River's documentation (``evaluate.progressive_val_score`` on
MovieLens 100K), predictions cut to the scale.

Ties in time are frequent (half of MovieLens 100K's ratings carry the second of the one before). Order: time, then the
user's id as text, then the row's place in the file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from river import optim, reco

from events.errors import BadRequest
from training.evaluation.history_table import HistoryTable
from training.evaluation.intervals import Clusters, Interval, bootstrap
from training.evaluation.report import ENSEMBLE, Curve, GroupScores, ModelScores, Report, Setting
from training.rating import FORGET, RIDGE, VARIANTS, Rating, Scale
from training.rating_pairs import SHRINK
from training.rating_residuals import (
    HISTORY,
    ITEM_WEIGHT,
    KINSHIP,
    LENIENCE,
    MEAN_WEIGHT,
    MIDDLE,
    MOOD,
    MOOD_RATINGS,
    NOISE,
    PERSON_WEIGHT,
)

WEIGHTS: Final = (
    *("1", "log ratings of user", "log ratings of item", "slow factors", "fast factors"),
    *("kin", "kin x log ratings of item", "estimate - mean", "user mean - mean"),
)
"""Names of the blend's features, in the order of `training.rating`."""

Values: TypeAlias = npt.NDArray[np.float64]

SPLIT: Final = "prequential"

CHOSEN_ON: Final = 0.2
"""Share of the rows, from the first, on which hyper-parameters were chosen."""

STARS: Final = Scale()
CURVE_POINTS: Final = 40

PROTOCOL: Final = (
    "Prequential: in the order of (time, user id as text, place in the file) every rating is predicted, then learned; "
    "predictions are cut to 1..5. `test` is the mean over all ratings, `validation` over the first fifth, on which "
    "hyper-parameters were chosen. 95 % intervals by bootstrap over users."
)


class Learner(Protocol):
    """Anything that predicts a rating and then learns it."""

    def learn_one(self, user: str, item: str, rating: float) -> float:
        """What it said before it saw ``rating``."""
        ...


class Means:
    """The running mean of all ratings, of each user's, or of each item's; before the first, that of all, and before
    that the middle of the scale."""

    def __init__(self, of: Callable[[str, str], str]) -> None:
        """``of``: (user, item) → whose mean; the same for all is the overall mean."""
        self._of = of
        self._all = (0.0, 0)
        self._sums: dict[str, tuple[float, int]] = {}

    def learn_one(self, user: str, item: str, rating: float) -> float:
        whose = self._of(user, item)
        for total, count in (self._sums.get(whose, (0.0, 0)), self._all, (MIDDLE, 1)):
            if count:
                said = total / count
                break
        total, count = self._sums.get(whose, (0.0, 0))
        self._sums[whose] = (total + rating, count + 1)
        self._all = (self._all[0] + rating, self._all[1] + 1)
        return said


class _Ranker(Protocol):
    """What River's recommenders are, with types."""

    def predict_one(self, user: str, item: str) -> float: ...

    def learn_one(self, user: str, item: str, y: float) -> None: ...


class River:
    """One of River's recommenders as it comes. It adds an entry per unknown user when predicting, which is no matter
    where each prediction is followed by learning."""

    def __init__(self, ranker: reco.Baseline | reco.BiasedMF) -> None:
        self._ranker = cast(_Ranker, ranker)

    def learn_one(self, user: str, item: str, rating: float) -> float:
        said = float(self._ranker.predict_one(user, item))
        self._ranker.learn_one(user, item, rating)
        return said


def learners(seed: int) -> dict[str, Learner]:
    """The blend and what it is compared with. ``seed`` is that of River's latent vectors; nothing else is random."""
    latent = optim.initializers.Normal(mu=0.0, sigma=0.1, seed=seed)
    factors = reco.BiasedMF(10, optim.SGD(0.025), optim.SGD(0.05), latent_initializer=latent, seed=seed)
    return {
        ENSEMBLE: Rating(STARS),
        "river biased mf": River(factors),
        "river baseline": River(reco.Baseline(optim.SGD(0.025))),
        "item mean": Means(lambda user, item: item),
        "user mean": Means(lambda user, item: user),
        "mean": Means(lambda user, item: ""),
    }


@dataclass(frozen=True, slots=True)
class Stream:
    """Ratings in the order they are learned."""

    users: list[str]
    items: list[str]
    rating: Values
    person: Clusters

    def __len__(self) -> int:
        return len(self.rating)


def stream(table: HistoryTable) -> Stream:
    """The rows of ``table`` in the order of time. Raises `BadRequest` for a table without times or ratings, without any
    row, or with a rating off the scale."""
    if table.rating is None or not table.timed:
        raise BadRequest("prequential ratings need a rating and a time in every row: choose a format that has them")
    if not len(table):
        raise BadRequest("the data hold no ratings: there is nothing to predict")
    order = np.argsort(table.at, kind="stable")
    rating = table.rating[order].astype(np.float64)
    off = np.flatnonzero(~((rating >= STARS.low) & (rating <= STARS.high)))
    if len(off):
        row = int(order[off[0]])
        user, item = table.user_ids[table.user[row]], table.item_ids[table.item[row]]
        raise BadRequest(
            f"user {user}, item {item}: rating {rating[off[0]]:g} is not on the scale "
            f"{STARS.low:g}..{STARS.high:g}: correct the row or rescale the data"
        )
    person = table.user[order]
    users = [table.user_ids[number] for number in person.tolist()]
    return Stream(users, [table.item_ids[number] for number in table.item[order].tolist()], rating, person)


def predictions(learner: Learner, ratings: Stream) -> Values:
    """What ``learner`` says of each row before it learns it, cut to the scale."""
    rows = zip(ratings.users, ratings.items, ratings.rating.tolist(), strict=True)
    said = np.array([learner.learn_one(user, item, rating) for user, item, rating in rows])
    cut: Values = np.clip(said, STARS.low, STARS.high)
    return cut


def errors(said: Values, ratings: Stream, seed: int) -> dict[str, Interval]:
    """``mae`` and ``rmse`` in stars. The interval of the root is the root of the mean square's."""
    miss = said - ratings.rating
    found = bootstrap({"mae": np.abs(miss), "mse": miss**2}, seed=seed, clusters=ratings.person)
    square = found["mse"]
    return {
        "mae": found["mae"],
        "rmse": Interval(*(float(np.sqrt(x)) for x in (square.value, square.low, square.high))),
    }


def evaluate(table: HistoryTable, seed: int, say: Callable[[str], None] = lambda step: None) -> Report:
    """Every learner over all of ``table``; ``say`` hears of progress. Raises as `stream`."""
    started = time.monotonic()
    ratings = stream(table)
    chosen_on = max(1, int(len(ratings) * CHOSEN_ON))
    first = Stream(ratings.users[:chosen_on], ratings.items[:chosen_on], *_cut(ratings, chosen_on))
    models, curves, seconds, said = {}, {}, {}, {}
    everyone = learners(seed)
    for name, learner in everyone.items():
        say(f"predicting and learning: {name}")
        begun = time.process_time()
        said[name] = predictions(learner, ratings)
        seconds[name] = {"CPU µs per rating": (time.process_time() - begun) / len(ratings) * 1e6}
        models[name] = ModelScores(errors(said[name], ratings, seed), errors(said[name][:chosen_on], first, seed))
        curves[name] = _curve(said[name], ratings)
    return Report(
        protocol=PROTOCOL,
        seed=seed,
        split={"train": 0, "validation": chosen_on, "test": len(ratings), "users": table.users, "items": table.items},
        models=models,
        chosen=_weights(everyone[ENSEMBLE]),
        seconds=time.monotonic() - started,
        settings=SETTINGS,
        notes=["River's documentation has MAE 0.7486, RMSE 0.9479 for its BiasedMF on MovieLens 100K in time order."],
        differences=_differences(said, ratings, seed),
        beyond=seconds,
        groups=_groups(said[ENSEMBLE], ratings, table, seed),
        curves=[Curve("RMSE so far", "ratings learned", "RMSE", curves)],
    )


SETTINGS: Final[Mapping[str, Setting]] = {
    "history": HISTORY,
    "mean weight": MEAN_WEIGHT,
    "item weight": ITEM_WEIGHT,
    "person weight": PERSON_WEIGHT,
    "lenience": LENIENCE,
    "mood": MOOD,
    "mood ratings": MOOD_RATINGS,
    "kinship": KINSHIP,
    "pair shrink": SHRINK,
    "noise": NOISE,
    "blend ridge": RIDGE,
    "blend forget": FORGET,
    "biased mf": "; ".join(f"k {v.factors}, rates {v.bias_rate:g} {v.latent_rate:g}" for v in VARIANTS),
}
"""Hyper-parameters of the blend: chosen on the first fifth of MovieLens 100K, or River's documented ones."""


def _cut(ratings: Stream, rows: int) -> tuple[Values, Clusters]:
    return ratings.rating[:rows], ratings.person[:rows]


def _curve(said: Values, ratings: Stream) -> list[tuple[float, float]]:
    """(ratings so far, RMSE so far)."""
    so_far = np.sqrt(np.cumsum((said - ratings.rating) ** 2) / np.arange(1, len(said) + 1))
    at = np.unique(np.linspace(len(said) / CURVE_POINTS, len(said), CURVE_POINTS).astype(np.int64).clip(1))
    return [(float(n), float(so_far[n - 1])) for n in at]


def _weights(learner: Learner) -> dict[str, float]:
    assert isinstance(learner, Rating)
    return dict(zip(WEIGHTS, learner.blend.weights.tolist(), strict=True))


def _differences(said: Mapping[str, Values], ratings: Stream, seed: int) -> dict[str, Interval]:
    """Ensemble minus each other: mean absolute and mean squared error."""
    miss = {name: values - ratings.rating for name, values in said.items()}
    rows = {}
    for name in miss:
        if name != ENSEMBLE:
            rows[f"{ENSEMBLE} - {name}: mae"] = np.abs(miss[ENSEMBLE]) - np.abs(miss[name])
            rows[f"{ENSEMBLE} - {name}: mse"] = miss[ENSEMBLE] ** 2 - miss[name] ** 2
    return bootstrap(rows, seed=seed, clusters=ratings.person)


def _groups(said: Values, ratings: Stream, table: HistoryTable, seed: int) -> list[GroupScores]:
    """MAE of the blend by attribute of people."""
    miss = np.abs(said - ratings.rating)
    out = []
    for attribute, values in table.groups.items():
        of_row = np.asarray(values)[ratings.person]
        groups = {}
        for value in sorted(set(values)):
            rows = of_row == value
            if rows.any():
                found = bootstrap({"mae": miss[rows]}, seed=seed, clusters=ratings.person[rows])["mae"]
                groups[value] = (found, len(np.unique(ratings.person[rows])))
        out.append(GroupScores(attribute, "mae", groups))
    return out
