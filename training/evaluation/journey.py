"""The Complete Journey, next basket: weeks 1-44 are learned from, weights come from weeks 45-48, weeks 49-53 are the
test. Every basket is a request, asked a moment before it; repeats are allowed; all items are ranked.

    read      baskets by time, facts before each (`training.evaluation.basket_facts`)
    fit       the network on a sample of weeks 21-44, batch models on weeks 1-44
    weights   listwise, on the baskets of weeks 45-48
    test      lists of every model, their metrics, intervals over households

State moves on: a household's history and everybody's popularity hold all that happened before the basket, as they would
in service. Parameters do not: nothing fitted saw a basket after week 44, no weight one after week 48.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby, islice, pairwise
from pathlib import Path
from typing import Final

import numpy as np

from events.errors import BadRequest, NotFound
from training.evaluation import basket_net, listwise, metrics
from training.evaluation.basket_columns import INPUTS, Batch, Rows, batch, inputs, trimmed, z_within
from training.evaluation.basket_facts import Asked, Float32, Float64, Walk
from training.evaluation.basket_lists import K, Lists, Part, filled_up, first_ten, wanted
from training.evaluation.basket_log import BasketLog, Int32
from training.evaluation.basket_models import NAMES, Models, at_candidates
from training.evaluation.data_folder import BadData
from training.evaluation.journey_findings import Findings
from training.evaluation.journey_log import JourneyLog, read
from training.evaluation.journey_tables import JourneyTables
from training.evaluation.report import ENSEMBLE, Curve, Report

FIT_WEEKS: Final = (1, 44)
NET_WEEKS: Final = (21, 44)
"""The network learns from baskets whose household has some history: in the first weeks nobody has."""
WEIGHT_WEEKS: Final = (45, 48)
TEST_WEEKS: Final = (49, 53)
NET_SHARE: Final = 0.9
"""Share of the baskets of those weeks that it learns from. With half of them, and twice the candidates of each, it was
.001 NDCG@10 behind on weeks 45-48."""
NET_CANDIDATES: Final = 110
"""Likeliest candidates that it learns to order: fewer, harder rows and more requests are the better use of time."""
L2: Final = 3e-3
"""From 1e-4 to 0.3, weights of one half of weeks 45-47 differ by .0005 NDCG@10 on the other."""
SHARES: Final = (0.0, 0.15, 0.3, 0.5, 0.7, 0.85, 1.0)
"""Of the way from the network's own order to the fitted blend. The softmax loss bounds NDCG and is not NDCG: its best
weights were .0002 behind the network alone on weeks 45-48 where fuel is an item."""
NET: Final = "habit_net"
FREQUENCY: Final = "personal_frequency"
BASELINES: Final = ("popularity", "personal_count", FREQUENCY)
PACKAGE: Final = "package"
SPLITS: Final = ("every-line", "recommendable")
"""The first, which filters nothing, is the default."""
PROTOCOL: Final = (
    "The Complete Journey, next basket: fitted on weeks 1-44, weights from weeks 45-48, test weeks 49-53, every basket "
    "with an item of the catalogue; full ranking, repeats allowed, ties by lower item; histories and popularity up to "
    "the moment before each basket, known of it are household and time; intervals over households. Catalogue: "
)
CATALOGUES: Final = {
    "recommendable": "products that the hierarchy says are sold for themselves (no fuel, coupons, miscellaneous, and "
    "none without category or type)",
    "every-line": "every product id that has a line or a description, fuel and coupons too",
}


@dataclass(frozen=True, slots=True)
class _Fitted:
    """What weeks 1-44 taught."""

    log: BasketLog
    net: basket_net.Net
    models: Models


def load(data: Path, split: str) -> JourneyLog:
    """``data``: a folder with the source's Parquet files, or ``package``: those of the installed package.

    Raises `BadRequest` for an unknown split, `NotFound` for an empty folder, else as `journey_log.read`.
    """
    if split == "recommendable":
        return read(_tables(data), "recommendable")
    if split == "every-line":
        return read(_tables(data), "every-line")
    raise BadRequest(f"--split {split} is not known: use one of {', '.join(SPLITS)}")


def evaluate(journey: JourneyLog, split: str, seed: int, say: Callable[[str], None]) -> Report:
    """The whole protocol. Raises `BadData` where one of its parts has no basket."""
    begun, cpu = time.perf_counter(), time.process_time()
    log = journey.log
    for weeks in (NET_WEEKS, WEIGHT_WEEKS, TEST_WEEKS):
        if not log.weeks(*weeks).any():
            raise BadData(f"the transactions have no basket in weeks {weeks[0]}-{weeks[1]}: give the whole year")
    phases = _phases(log, seed)
    lists, before = _known(next(phases), log)
    net, curve = _network(lists, before, log, seed)
    del lists
    say("fitted the network")
    fitted = _Fitted(log, net, Models(log, int(np.searchsorted(log.week, FIT_WEEKS[1], "right")), seed))
    validation = _part(fitted, before)
    weights = _weights(validation)
    say("fitted the blend")
    test = _part(fitted, batch(next(phases), int(log.weeks(*TEST_WEEKS).sum())))
    say(f"asked every model, before {len(validation.given):,} and {len(test.given):,} baskets")
    alone = _better_alone(validation, _ndcg(validation, weights.value))
    for part in (validation, test):
        part.score = weights.score(part.features)
        part.lists[ENSEMBLE] = part.lists[alone] if alone else _listed(part.given, part.score)
    of = Findings(journey, seed)
    report = Report(
        protocol=PROTOCOL + CATALOGUES[split],
        seed=seed,
        split=_sizes(journey),
        models=of.scores(validation, test),
        chosen=weights.as_dict(),
        seconds=0.0,
        settings=_settings(journey, alone),
        notes=NOTES,
        differences=of.differences(test),
        beyond=of.beyond(test),
        groups=of.groups(test),
        curves=[curve, _learning_curve(validation, test, weights)],
        calibration={ENSEMBLE: of.calibration(validation, test)},
    )
    spent = {**report.settings, "cpu_seconds": round(time.process_time() - cpu, 1)}
    return replace(report, seconds=time.perf_counter() - begun, settings=spent)


NOTES: Final = (
    "New items are those the household never bought before that basket; the lists behind these figures leave out what "
    "it did buy, and only baskets with such an item count.",
    "Four each: over at most four baskets per household, drawn by the seed, from 10 December on; every basket weighs a "
    "household by how often it comes.",
    "Models of all items score the most active 5,000 of weeks 1-44; network and blend rank candidates: 150 own items, "
    "50 popular ones, those of favourite product types. What is no candidate counts as missed.",
    "Parameters and candidate numbers were chosen on weeks 45-48.",
)


def _tables(data: Path) -> JourneyTables:
    if str(data) == PACKAGE and not data.exists():
        return JourneyTables.installed()
    if data.is_dir() and not any(data.iterdir()):
        raise NotFound(f"{data} is an empty folder: name the one with the Parquet files, or leave --data out")
    return JourneyTables(data)


def _sizes(journey: JourneyLog) -> dict[str, int]:
    log = journey.log
    parts = {"train": FIT_WEEKS, "validation": WEIGHT_WEEKS, "test": TEST_WEEKS}
    counts = {name: int(log.weeks(*weeks).sum()) for name, weeks in parts.items()}
    return {**counts, "items": log.items, "households": log.households, "baskets_in_source": journey.baskets}


def _settings(journey: JourneyLog, alone: str) -> dict[str, str | int | float | bool]:
    return {
        "lines_left_out": journey.lines_left_out,
        "l2": L2,
        "net_weeks": f"{NET_WEEKS[0]}-{NET_WEEKS[1]}",
        "net_share": NET_SHARE,
        "fell_back_to": alone or "(no single model was better on the validation)",
    }


def _phases(log: BasketLog, seed: int) -> Iterator[Iterator[Asked]]:
    """Facts in the order of time: before a sample of the baskets the network learns from and before every basket of
    weeks 45-48; then before every basket of weeks 49-53. The walk rests between them, so what the network and the
    weights were learned from needs no memory beside the test."""
    sampled = np.random.default_rng(seed).random(len(log)) < NET_SHARE
    learned = log.weeks(*NET_WEEKS) & sampled
    if not learned.any():
        learned = log.weeks(*NET_WEEKS)
    test = log.weeks(*TEST_WEEKS)
    walk = Walk(log).ask(learned | log.weeks(*WEIGHT_WEEKS) | test)
    return (asked for _, asked in groupby(walk, lambda one: bool(test[one.basket])))


def _known(asked: Iterator[Asked], log: BasketLog) -> tuple[basket_net.Lists, Batch]:
    """What the network learns from, and everything before the baskets of weeks 45-48."""
    validation = log.weeks(*WEIGHT_WEEKS)
    parts = groupby(asked, lambda one: bool(validation[one.basket]))
    lists = _lists(next(parts)[1], int(log.weeks(*NET_WEEKS).sum()))
    return lists, batch(next(parts)[1], int(validation.sum()))


def _lists(asked: Iterator[Asked], requests: int) -> basket_net.Lists:
    """In half precision: logarithms and z scores lose nothing that matters by it, and the table is the largest there
    is."""
    most = requests * NET_CANDIDATES
    table, wanted_rows, sizes = Rows(most, (INPUTS,), np.float16), Rows(most, (), np.bool_), [np.zeros(1, np.int64)]
    while block := [trimmed(one, NET_CANDIDATES) for one in islice(asked, BLOCK_REQUESTS)]:
        given = batch(block, len(block))
        table.add(inputs(given))
        wanted_rows.add(given.wanted)
        sizes.append(given.sizes)
    found = np.asarray(table.table, np.float16)
    return basket_net.Lists(found, np.cumsum(np.concatenate(sizes)), np.asarray(wanted_rows.table, np.bool_))


CURVE_REQUESTS: Final = 2_000
BLOCK_REQUESTS: Final = 500


def _network(lists: basket_net.Lists, validation: Batch, log: BasketLog, seed: int) -> tuple[basket_net.Net, Curve]:
    """The network, and how well it orders the first validation requests after each epoch."""
    some = validation.part(0, min(CURVE_REQUESTS, len(validation)))
    seen, relevant = inputs(some), wanted(log, some).all_items
    points: list[tuple[float, float]] = []

    def after(epoch: int, net: basket_net.Net) -> None:
        ranked = first_ten(some, net.score(seen))
        points.append((float(epoch), float(metrics.accuracy(ranked, relevant, K)[f"ndcg@{K}"].mean())))

    net = basket_net.fit(lists, seed, after=after)
    return net, Curve("Learning curve of the network", "epochs", f"validation ndcg@{K}", {NET: points})


def _part(fitted: _Fitted, given: Batch) -> Part:
    """Lists of every model, and the blend's features."""
    want = wanted(fitted.log, given)
    count, frequency = given.fact("count"), given.fact("count_90d")
    popular = given.fact("popular_30d")
    behind = np.float32(1e-9) * popular
    logit = _logits(fitted.net, given)
    lists = {
        "popularity": Lists(given.popular, first_ten(given, popular, given.fact("own") == 0)),
        "personal_count": _listed(given, count + behind),
        FREQUENCY: _listed(given, frequency + behind),
    }
    columns = {"popularity": popular, "trending": given.fact("popular_3d"), FREQUENCY: frequency}
    columns |= {"recent_baskets": given.fact("count_8b"), "product_type": given.fact("kind_90d")}
    said, of_models = _models(fitted, given)
    lists |= of_models | {NET: _listed(given, logit)}
    columns |= said
    z = z_within(np.stack(list(columns.values()), axis=1), given.start)
    features = np.concatenate((logit[:, None], listwise.log_features(z)), axis=1).astype(np.float32)
    return Part(given, want, lists, features, np.zeros(len(given.item)))


def _logits(net: basket_net.Net, given: Batch) -> Float32:
    """The network's scores, block by block of requests."""
    ends = [*range(0, len(given), BLOCK_REQUESTS), len(given)]
    blocks = [net.score(inputs(given.part(first, last))) for first, last in pairwise(ends)]
    return np.concatenate(blocks)


COLUMNS: Final = ("popularity", "trending", FREQUENCY, "recent_baskets", "product_type", *NAMES)


def _models(fitted: _Fitted, given: Batch) -> tuple[dict[str, Float32], dict[str, Lists]]:
    """Of each batch model: its scores of the candidates, and its lists over all active items."""
    models, requests = fitted.models, len(given)
    scores = {name: np.zeros(len(given.item), np.float32) for name in NAMES}
    ranked = {name: np.full((requests, K), -1, np.int32) for name in NAMES}
    new = {name: np.full((requests, K), -1, np.int32) for name in NAMES}
    place = models.place[given.item]
    household = fitted.log.household[given.basket]
    for said in models.say(given.histories, household):
        rows = slice(int(given.start[said.requests.start]), int(given.start[said.requests.stop]))
        request = np.repeat(np.arange(said.requests.stop - said.requests.start), given.sizes[said.requests])
        owned = said.own.nonzero()
        for name, score in said.scores.items():
            scores[name][rows] = at_candidates(score, request, place[rows])
            ranked[name][said.requests] = _items(models, metrics.top(score, K))
            score[owned] = -np.inf
            new[name][said.requests] = _items(models, metrics.top(score, K))
    return scores, {name: Lists(filled_up(ranked[name], given.popular), new[name]) for name in NAMES}


def _items(models: Models, places: Int32) -> Int32:
    return np.where(places >= 0, models.active[np.maximum(places, 0)], -1).astype(np.int32)


def _listed(given: Batch, score: Float32 | Float64) -> Lists:
    return Lists(first_ten(given, score), first_ten(given, score, given.fact("own") == 0))


def _weights(seen: Part) -> listwise.Weights:
    """Blend weights from these requests: the network's own order and a share of the way from there to what the softmax
    loss asks for, the share with the best NDCG."""
    names = (f"{NET}.logit", *listwise.feature_names(COLUMNS))
    alone = np.zeros(len(names))
    alone[0] = 1.0
    requests = _requests(seen)
    way = listwise.fit(requests, names, l2=L2, prior=alone).value - alone
    tried = [alone + share * way for share in SHARES]
    best = max(tried, key=lambda weights: _ndcg(seen, weights))
    return listwise.Weights(names, best, listwise.loss(requests, best))


def _better_alone(validation: Part, blended: float) -> str:
    """The single model whose lists are better on the validation than ``blended``; empty where none is."""
    wanted_items = validation.want.all_items
    reached = {
        name: float(metrics.accuracy(lists.ranked, wanted_items, K)[f"ndcg@{K}"].mean())
        for name, lists in validation.lists.items()
    }
    best = min(reached, key=lambda name: (-reached[name], name))
    return best if reached[best] > blended else ""


def _requests(part: Part) -> listwise.Requests:
    want = part.given.wanted.astype(np.float64)
    total = np.repeat(np.maximum(np.add.reduceat(want, part.given.start[:-1]), 1.0), part.given.sizes)
    return listwise.Requests(part.features, part.given.start, want / total)


def _ndcg(part: Part, weights: Float64) -> float:
    score = part.features.astype(np.float64) @ weights
    return float(metrics.accuracy(first_ten(part.given, score), part.want.all_items, K)[f"ndcg@{K}"].mean())


CURVE: Final = (64, 256, 1024, 4096)


def _learning_curve(validation: Part, test: Part, weights: listwise.Weights) -> Curve:
    """Test NDCG of weights learned from ever more validation baskets, the earliest first; ``weights`` are of all."""
    total = len(validation.given)
    learned = {count: _weights(validation.head(count)) for count in CURVE if count < total}
    points = [(float(count), _ndcg(test, each.value)) for count, each in (*learned.items(), (total, weights))]
    return Curve("Learning curve of the blend", "validation baskets", f"test ndcg@{K}", {ENSEMBLE: points})
