"""Pseudo-requests: what a policy would have had to say just before somebody did what they did.

History says what people took, not what they would have taken from a list. Asked a moment before an order, with the
profile and the item table of that moment, the recommenders name candidates; those that were then bought are wanted. On
this the first blend weights are fitted, and on this two whole policies are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from actors.item_view import ItemView
from events.ids import Millis
from training.anchors import choose_anchors
from training.blend import blend, features, merge, pool
from training.evaluation.metrics import discounts
from training.history import History
from training.model import Binder, Model
from training.recommender import Indices, Query, Recommender, Scores, whole_minute
from training.repeats import hidden_repeats
from training.surface import Surface

CANDIDATES_MAX: Final = 200
"""Candidates kept per request, those that some recommender ranks highest: the softmax over a top-200 is what carried on
ML-1M, and a wanted item beyond counts as missed for everybody."""
DEDUPED_MAX: Final = 64
"""Best candidates among which a list of ten finds ten different labels."""
DEPTH: Final = 64
"""How deep recommenders look, as for a list of 16."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Who asks, where, when, and what came of it."""

    surface: Surface
    items: ItemView
    history: History
    now: Millis
    given: tuple[int, ...]
    """Items the request names."""
    wanted: tuple[int, ...]
    """Items taken next, without those named."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a policy's recommenders said in one situation. C candidates, ordered by item index."""

    features: Scores
    """Shape (C, recommenders · 4): `training.blend.FEATURES`."""
    fixed: Scores
    """Shape (C,): the score with the surface's fixed weights."""
    idx: Indices
    """Shape (C,)."""
    label: Indices
    """Shape (C,): two candidates of one label never stand in one list; -1 for none."""
    wanted: npt.NDArray[np.bool_]
    """Shape (C,)."""
    missed: int
    """Wanted items that are no candidates."""

    def __len__(self) -> int:
        return len(self.idx)


class Asking:
    """A policy to be asked: recommenders, and the fitted model they look into."""

    def __init__(self, recommenders: Mapping[str, Recommender], model: Model | None) -> None:
        self.names = tuple(recommenders)
        self._recommenders = tuple(recommenders.values())
        self._model = model
        self._binder = Binder()

    def answer(self, situation: Situation) -> Answered:
        """What it says. Filters act first, as they do on the answer path; nothing is changed."""
        surface, items, history = situation.surface, situation.items, situation.history
        now = whole_minute(situation.now)
        query = Query(
            items=items,
            now=now,
            surface=surface,
            history=history,
            anchors=choose_anchors(situation.given, history, now, surface.history_share),
            depth=DEPTH,
            model=None if self._model is None else self._binder.bind(self._model, items),
            segments=history.segments,
            segment_rows=items,
        )
        evidence = pool([recommender.recommend(query) for recommender in self._recommenders])
        out = items.blocked.copy()
        out[hidden_repeats(query)] = True
        out[list(situation.given)] = True
        candidates = merge(evidence.keep(~out[evidence.idx]), items.size)
        blended = blend(candidates, [surface.weights.get(name, 0.0) for name in self.names])
        said = features(blended).T
        kept = _most_promising(said, candidates.idx)
        wanted = np.isin(candidates.idx[kept], situation.wanted)
        reachable = {item for item in situation.wanted if not out[item]}
        return Answered(
            features=np.ascontiguousarray(said[kept]),
            fixed=blended.score[kept],
            idx=candidates.idx[kept],
            label=items.group[candidates.idx[kept]],
            wanted=wanted,
            missed=len(reachable) - int(wanted.sum()),
        )


def situations(
    surface: Surface, items: ItemView, history: History, now: Millis, taken: Sequence[int]
) -> list[Situation]:
    """The question a surface would have been asked before ``taken`` (item indices, in the order of the event).

    A surface whose requests name items (``history_share`` below 1) is given the first; the others are wanted. Empty
    where nothing is left to want.
    """
    given = tuple(taken[:1]) if surface.history_share < 1.0 else ()
    wanted = tuple(dict.fromkeys(item for item in taken if item not in given and not items.blocked[item]))
    return [Situation(surface, items, history, now, given, wanted)] if wanted else []


@dataclass(frozen=True, slots=True)
class Stacked:
    """Answers beside each other, filled up to the longest: what is asked of all of them costs one pass.

    R requests, C candidates each at most, F features.
    """

    features: Scores
    """Shape (R, C, F)."""
    fixed: Scores
    """Shape (R, C)."""
    size: npt.NDArray[np.int64]
    """Shape (R,): candidates of each request; what stands behind them is filling."""
    idx: Indices
    """Shape (R, C), -1 where filled."""
    label: Indices
    """Shape (R, C): negative and different from all others where there is none."""
    wanted: npt.NDArray[np.bool_]
    """Shape (R, C)."""
    total: npt.NDArray[np.int64]
    """Shape (R,): wanted items, those missed among them."""

    def __len__(self) -> int:
        return len(self.size)

    def rows(self, chosen: slice | npt.NDArray[np.bool_]) -> Stacked:
        """Some of the requests."""
        return Stacked(
            self.features[chosen],
            self.fixed[chosen],
            self.size[chosen],
            self.idx[chosen],
            self.label[chosen],
            self.wanted[chosen],
            self.total[chosen],
        )

    def score(self, weights: npt.NDArray[np.float64]) -> Scores:
        """Linear score of every candidate, shape (R, C)."""
        flat = self.features.reshape(-1, self.features.shape[-1]) @ weights.astype(np.float32)
        return np.asarray(flat.reshape(self.idx.shape), np.float32)

    def lists(self, score: Scores, k: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(request, column) of the ``k`` best candidates of each, one per label, ties by lower item index; a request's
        own stand together, best first."""
        depth = min(DEDUPED_MAX, score.shape[1])
        order = np.argsort(np.where(self.idx >= 0, -score, np.inf), axis=1, kind="stable")[:, :depth]
        label = np.take_along_axis(self.label, order, axis=1)
        earlier = np.tril(np.ones((depth, depth), np.bool_), -1)
        taken = ((label[:, :, None] == label[:, None, :]) & earlier).any(axis=2)
        taken |= np.take_along_axis(self.idx, order, axis=1) < 0
        chosen = ~taken & (np.cumsum(~taken, axis=1) <= k)
        request, place = np.nonzero(chosen)
        return request, order[request, place]

    def ndcg(self, score: Scores, k: int) -> npt.NDArray[np.float64]:
        """NDCG@k of each request's list, what was missed included in the ideal; shape (R,)."""
        request, column = self.lists(score, k)
        first = np.searchsorted(request, np.arange(len(self)))
        gain = discounts(k)
        dcg = np.bincount(
            request, gain[np.arange(len(request)) - first[request]] * self.wanted[request, column], len(self)
        )
        ideal = np.concatenate(([1.0], np.cumsum(gain)))[np.minimum(self.total, k)]
        return np.asarray(dcg / ideal, np.float64)


def best_of(answered: Answered, score: npt.NDArray[np.floating], k: int) -> list[int]:
    """`Stacked.lists` of one request, said plainly: positions of the ``k`` best candidates, one per label."""
    chosen: list[int] = []
    labels: set[int] = set()
    for place in np.lexsort((answered.idx, -score)).tolist():
        label = int(answered.label[place])
        if label < 0 or label not in labels:
            chosen.append(place)
            labels.add(label)
    return chosen[:k]


def stacked(answers: Sequence[Answered], features: int) -> Stacked:
    """``answers`` as one; ``features``: how many columns each has."""
    longest = max(map(len, answers), default=0)
    out = Stacked(
        features=np.zeros((len(answers), longest, features), np.float32),
        fixed=np.zeros((len(answers), longest), np.float32),
        size=np.array([len(one) for one in answers], np.int64),
        idx=np.full((len(answers), longest), -1, np.int32),
        label=np.tile(-1 - np.arange(longest, dtype=np.int32), (len(answers), 1)),
        wanted=np.zeros((len(answers), longest), np.bool_),
        total=np.array([int(one.wanted.sum()) + one.missed for one in answers], np.int64),
    )
    for row, one in enumerate(answers):
        count = len(one)
        out.features[row, :count], out.fixed[row, :count] = one.features, one.fixed
        out.idx[row, :count], out.wanted[row, :count] = one.idx, one.wanted
        named = one.label >= 0
        out.label[row, :count][named] = one.label[named]
    return out


def _most_promising(said: Scores, idx: Indices) -> npt.NDArray[np.int64]:
    """Rows of at most `CANDIDATES_MAX` candidates in ascending order of item: by the best rank that any recommender
    gives them, ties by lower item."""
    if len(idx) <= CANDIDATES_MAX:
        return np.argsort(idx, kind="stable")
    rank = said[:, 2::4].max(axis=1)
    chosen = np.lexsort((idx, -rank))[:CANDIDATES_MAX]
    return chosen[np.argsort(idx[chosen], kind="stable")]
