"""From scores of candidates to lists, and from lists to metrics, for requests that lie under each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from training.evaluation.basket_columns import Batch, Bools
from training.evaluation.basket_facts import Float32
from training.evaluation.basket_log import BasketLog, Int32, Int64
from training.evaluation.metrics import Relevant, Values, accuracy

K: Final = 10
NEW: Final = "new "
"""Before a metric's name: of items the household never bought before alone."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the baskets of some requests held."""

    all_items: Relevant
    new_items: Relevant
    has_new: npt.NDArray[np.int64]
    """Requests that held a new item; ``new_items`` are theirs, in this order."""


def wanted(log: BasketLog, given: Batch) -> Wanted:
    """Every line of the baskets, whether it is a candidate or not."""
    every, new = [], []
    for basket, (own, _) in zip(given.basket.tolist(), given.histories, strict=True):
        items = log.item[log.start[basket] : log.start[basket + 1]]
        every.append(items.tolist())
        new.append(items[~np.isin(items, own)].tolist())
    has_new = np.flatnonzero([len(items) > 0 for items in new])
    return Wanted(Relevant.of(every), Relevant.of([new[row] for row in has_new.tolist()]), has_new)


def first_ten(given: Batch, score: npt.NDArray[np.floating], kept: Bools | None = None) -> Int32:
    """Shape (requests, 10): each request's best candidates of those ``kept`` (default all), highest score first, ties
    by lower item; -1 fills up."""
    rows = np.arange(len(given.item)) if kept is None else np.flatnonzero(kept)
    request = np.repeat(np.arange(len(given)), given.sizes)[rows]
    order = rows[np.lexsort((given.item[rows], -score[rows], request))]
    start = np.searchsorted(request, np.arange(len(given)))
    rank = np.arange(len(order)) - start[request]
    listed = np.full((len(given), K), -1, np.int32)
    within = rank < K
    listed[request[within], rank[within]] = given.item[order[within]]
    return listed


def filled_up(ranked: Int32, rest: Int32) -> Int32:
    """``ranked`` with its empty slots taken by items of ``rest``, in their order, that do not stand there yet."""
    full = ranked.copy()
    for row in np.flatnonzero((ranked < 0).any(axis=1)).tolist():
        have = ranked[row][ranked[row] >= 0]
        more = rest[row][~np.isin(rest[row], have) & (rest[row] >= 0)][: K - len(have)]
        full[row, len(have) : len(have) + len(more)] = more
    return full


@dataclass(frozen=True, slots=True)
class Lists:
    """One model's first ten of each request: of all items, and of those new to the household."""

    ranked: Int32
    new: Int32

    def metrics(self, want: Wanted) -> tuple[dict[str, Values], dict[str, Values]]:
        """(per request, per request of ``has_new``), at 10."""
        new = accuracy(self.new[want.has_new], want.new_items, K)
        chosen = (f"ndcg@{K}", f"recall@{K}", f"hr@{K}")
        return accuracy(self.ranked, want.all_items, K), {f"{NEW}{name}": new[name] for name in chosen}


@dataclass(slots=True)
class Part:
    """Requests of some weeks with everything said about them."""

    given: Batch
    want: Wanted
    lists: dict[str, Lists]
    """By model."""
    features: Float32
    """Shape (rows, features): what the blend weighs."""
    score: Values
    """Shape (rows,): the blend's, once it has one."""

    def head(self, count: int) -> Part:
        """Its first ``count`` requests, without lists and what is new of them."""
        given = self.given.part(0, count)
        rows = len(given.item)
        few = Wanted(self.want.all_items.rows(np.arange(count)), Relevant.of([]), np.empty(0, np.int64))
        return Part(given, few, {}, self.features[:rows], self.score[:rows])


def listed_shares(given: Batch, score: npt.NDArray[np.floating], ranked: Int32) -> Values:
    """log-share of each listed item under the softmax over its request's candidates, shape (requests, 10); -inf where
    nothing is listed."""
    start, sizes = given.start[:-1], given.sizes
    shifted = score - np.repeat(np.maximum.reduceat(score, start), sizes)
    log_share = shifted - np.repeat(np.log(np.add.reduceat(np.exp(shifted), start)), sizes)
    request: Int64 = np.repeat(np.arange(len(given)), sizes)
    span = int(max(given.item.max(initial=0), ranked.max(initial=0))) + 1
    key = request * span + given.item
    order = np.argsort(key, kind="stable")
    asked = np.arange(len(given))[:, None] * span + ranked
    at = np.minimum(np.searchsorted(key[order], asked), len(key) - 1)
    found = (key[order][at] == asked) & (ranked >= 0)
    return np.where(found, log_share[order[at]], -np.inf)
