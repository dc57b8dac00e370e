"""What the recommenders that serve reach on The Complete Journey, asked before each basket of weeks 49-53.

    python -m benchmarks.served_journey --people 0.25

The year is folded in memory as the import would send it. Before each basket of the sampled households the recommenders
of the inventory are asked on the surface `home`: with its fixed weights, with weights learned from weeks 45-48, and
repeat purchase alone; each with one item per label, as served, and with all labels. Batch models are fitted as
retraining would: on weeks 1-44 for the baskets that weights are learned from, and again on weeks 1-48, once weights are
known, for those that are judged.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from actors.follower import Fact
from events.payload import type_of
from events.record import Record
from events.types import Event, Interaction, ItemUpserted, Line, Meta, Payload
from serving.journey import Baskets, Journey
from training.blend import FEATURES
from training.dataset import Dataset, gather, joined
from training.evaluation.intervals import Interval, bootstrap, paired_difference
from training.evaluation.journey_tables import JourneyTables
from training.evaluation.prequential import Answer, measured
from training.initial_blend import alone_weights, fit_blend, fixed_blend
from training.inventory import FITTED, INVENTORY
from training.model import Provenance, model_of
from training.pseudo_requests import Answered, Asking, best_of, situations, stacked
from training.retraining import fit
from training.surface import SURFACES
from training.window import Moment, Window, moments

SLOTS = 10
HOME = SURFACES["home"]
FIXED, LEARNED, REPEATS = "fixed weights", "learned weights", "repeat purchase"
METRICS = ("recall@10", "ndcg@10")
SEED = 1
"""Of the batch models."""

Vector = npt.NDArray[np.float64]


def facts(journey: Journey) -> Iterator[Fact]:
    """Catalogue and baskets at their own times."""
    lines, lsn = journey.baskets, 0
    for product in journey.products:
        item = ItemUpserted(
            item=product.item,
            title=product.title,
            category=product.category,
            brand=product.brand,
            item_group=product.item_group,
            recommendable=product.recommendable,
        )
        yield fact(lsn, int(lines.at[0]), lsn.to_bytes(16, "big"), item)
        lsn += 1
    shelf = {product.item: product for product in journey.products}
    for first, last in zip(lines.starts[:-1].tolist(), lines.starts[1:].tolist(), strict=True):
        items = dict.fromkeys(map(str, lines.product[first:last].tolist()))
        bought = tuple(
            Line(item, category=shelf[item].category, brand=shelf[item].brand) if item in shelf else Line(item)
            for item in items
        )
        yield fact(lsn, int(lines.at[first]), subject(lines, first), Interaction(signal="purchase", lines=bought))
        lsn += 1


def subject(lines: Baskets, row: int) -> bytes:
    return hashlib.blake2b(str(lines.household[row]).encode(), digest_size=16).digest()


def fact(lsn: int, at: int, who: bytes, event: Event) -> Fact:
    name, version = type_of(event)
    number = hashlib.blake2b(lsn.to_bytes(8, "big"), digest_size=16).digest()
    return Fact(0, Record(lsn, (), at * 1000, at, name, version, who, number, b""), Payload(Meta(), event))


def window(people: float, seed: int) -> Window:
    """Weeks 45-48 for the weights, 49-53 to judge."""
    tables = JourneyTables.installed()
    (week,), at = tables.whole("transactions", "week"), tables.times("transactions", "transaction_timestamp")
    starts = [int(at[week >= first].min()) for first in (45, 49)]
    return Window(starts[0], starts[1], int(at.max()) + 1, True, people, 0.7, 1.0, seed)


def asking_fitted(dataset: Dataset, before: int) -> Asking:
    """The inventory with batch models of what happened before that time (ms)."""
    tables = {name: fit(name, dataset, before, SEED) for name in FITTED}
    return Asking(INVENTORY, model_of(dataset.interactions.item_ids, tables, None, Provenance()))


def weights_of(asking: Asking, answers: Sequence[Answered]) -> dict[str, Vector]:
    """Of the policies that have some."""
    names = asking.names
    blend = fit_blend(stacked(answers, len(names) * len(FEATURES)), names, fixed_blend(names, HOME))
    best = max(blend.alone, key=lambda name: blend.alone[name])
    print(f"weights from {len(answers)} baskets: ndcg@10 {blend.ndcg:.4f}, {best} alone {blend.alone[best]:.4f}")
    return {LEARNED: blend.weights, REPEATS: alone_weights(names, "repeat_purchase")}


def lists(answered: Answered, weights: dict[str, Vector]) -> Iterator[tuple[str, npt.NDArray[np.int32], Vector]]:
    """(policy, items, their scores), best first."""
    features = answered.features.astype(np.float64)
    scores = {FIXED: answered.fixed.astype(np.float64), **{name: features @ each for name, each in weights.items()}}
    every = replace(answered, label=np.full(len(answered), -1, np.int32))
    for name, score in scores.items():
        for labels, shown in (("one per label", answered), ("all labels", every)):
            chosen = best_of(shown, score, SLOTS)
            yield f"{name}, {labels}", answered.idx[chosen], score[chosen]


def answers_of(dataset: Dataset, walk: Iterator[Moment], sampled: Window) -> dict[str, list[Answer]]:
    """Policy → its answers before the judged baskets."""
    learning, seen = asking_fitted(dataset, sampled.validation_from), []
    judging: Asking | None = None
    found: dict[str, list[Answer]] = {}
    weights: dict[str, Vector] = {}
    for moment in walk:
        for situation in situations(HOME, moment.items, moment.history, moment.at, moment.taken):
            if not moment.judging:
                seen.append(learning.answer(situation))
                continue
            if judging is None:
                weights = weights_of(learning, seen)
                judging = asking_fitted(dataset, sampled.judging_from)
            known = moment.history.purchases.idx
            new = tuple(item for item in situation.wanted if item not in set(known.tolist()))
            for name, ranked, score in lists(judging.answer(situation), weights):
                answer = Answer(moment.subject, moment.at, True, ranked, score, situation.wanted, new, known)
                found.setdefault(name, []).append(answer)
    return found


def main() -> None:
    """Walks once and prints."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--people", type=float, default=0.25, help="share of households, 0..1")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    journey, sampled = Journey.installed(), window(given.people, given.seed)
    with threadpool_limits(1, "blas"):
        dataset = joined([gather(facts(journey))])
        found = answers_of(dataset, moments(facts(journey), sampled), sampled)
    each = {name: measured(answers) for name, answers in found.items()}
    for name, of in each.items():
        intervals = bootstrap(of.values, seed=given.seed, clusters=of.subjects)
        print(
            f"{name}: {', '.join(shown(metric, intervals[metric]) for metric in METRICS)}, {len(of.subjects)} baskets"
        )
    for labels in ("one per label", "all labels"):
        ours, theirs = each[f"{LEARNED}, {labels}"], each[f"{REPEATS}, {labels}"]
        for metric in METRICS:
            difference = paired_difference(
                ours.values[metric], theirs.values[metric], seed=given.seed, clusters=ours.subjects
            )
            print(f"learned weights - repeat purchase, {labels}: {shown(metric, difference)}")
    print(f"{time.process_time():.0f} s CPU")


def shown(metric: str, interval: Interval) -> str:
    return f"{metric} {interval.value:.4f} ({interval.low:.4f} to {interval.high:.4f})"


if __name__ == "__main__":
    main()
