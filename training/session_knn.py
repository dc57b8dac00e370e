"""Session-kNN: what came up in recent sessions, or baskets, that look like this one.

    sim(q, s) = Σ over items a in both of weight(a) · idf(a) · 2^(-age(s)/H) / √|s|
    score(i)  = Σ over the nearest sessions s that hold i of sim(q, s)

weight(a) are the anchors', which decay by order (V-SKNN: Ludewig, Jannach: Evaluation of session-based recommendation
algorithms, UMUAI 28, 2018); sessions count less with age (STAN: Garg, Gupta, Malhotra, Vig, Shroff: Sequence and time
aware neighborhood for session-based recommendations, SIGIR 2019). An inverted index holds each item's latest sessions,
so that an answer looks at a few hundred of them.

The sessions are numbers of items without people or times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from training.interactions import Interactions
from training.model import Table, floats, ints
from training.recommender import ABSTAIN, Query, Scored
from training.served_rows import strongest, viewed

NAME: Final = "session_knn"
ANCHORS_MAX: Final = 8
NEAREST: Final = 48
"""Sessions that speak. (On The Complete Journey, 1,198 baskets of weeks 45 and 46, fitted before: 48 reach Recall@10
.109, 96 .117 at a third more time; naming items by their idf as well .092 and .102.)"""
NAMED_MAX: Final = 64
DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Settings:
    """Hyper-parameters of `fit`."""

    sessions: int = 100_000
    """Latest sessions kept."""
    held: int = 16
    """Items kept per session, the rarest: what everybody has tells nothing of a session."""
    latest: int = 32
    """Latest sessions kept per item."""
    gap_ms: int = 30 * 60_000
    """Silence that ends a session."""
    half_life_days: float = 60.0


def session_numbers(interactions: Interactions, gap_ms: int) -> npt.NDArray[np.int64]:
    """Of every row the number of its session: events of one user with less than ``gap_ms`` between them. Numbered by
    the time of their last event, ties by user."""
    order = np.lexsort((interactions.at, interactions.user))
    user, at = interactions.user[order], interactions.at[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (user[1:] != user[:-1]) | (at[1:] - at[:-1] >= gap_ms)
    number = np.cumsum(first) - 1
    last = np.append(np.flatnonzero(first)[1:], len(order)) - 1 if len(order) else np.empty(0, np.int64)
    rank = np.empty(len(last), np.int64)
    rank[np.lexsort((user[last], at[last]))] = np.arange(len(last))
    out = np.empty(len(order), np.int64)
    out[order] = rank[number]
    return out


def fit(interactions: Interactions, settings: Settings = Settings()) -> Table:
    """Arrays over sessions 0..n-1, oldest first: ``held`` (n, L) int32 item numbers, rarest first, -1 past the
    end; ``strength`` (n,) float32 = 2^(-age/H) / √size; by item:
    ``latest`` (items, K) int32 sessions, newest first, -1 past the end, and ``idf`` (items,) float32."""
    session = session_numbers(interactions, settings.gap_ms)
    pairs = np.unique(np.stack((session, interactions.item), axis=1), axis=0) if len(session) else np.empty((0, 2), int)
    size = np.bincount(pairs[:, 0]) if len(pairs) else np.zeros(0, np.int64)
    kept = np.flatnonzero(size > 1)[-settings.sessions :]
    place = np.full(len(size), -1, np.int64)
    place[kept] = np.arange(len(kept))
    pairs = pairs[place[pairs[:, 0]] >= 0]
    which, item = place[pairs[:, 0]], pairs[:, 1]
    df = np.bincount(item, minlength=interactions.items)
    idf = np.log1p(len(kept) / np.maximum(df, 1)).astype(np.float32)
    ended = np.zeros(len(size), np.int64)
    np.maximum.at(ended, session, interactions.at)
    age = (interactions.at.max(initial=0) - ended[kept]) / (settings.half_life_days * DAY_MS)
    strength = (np.exp2(-age) / np.sqrt(size[kept])).astype(np.float32)
    held = _padded(len(kept), which, item, np.lexsort((item, -idf[item], which)), settings.held)
    latest = _padded(interactions.items, item, which, np.lexsort((-which, item)), settings.latest)
    return {"held": held, "strength": strength, "latest": latest, "idf": idf}


def _padded(
    rows: int,
    row: npt.NDArray[np.int64],
    value: npt.NDArray[np.int64],
    order: npt.NDArray[np.int64],
    limit: int,
) -> npt.NDArray[np.int32]:
    """(rows, limit): the first values of every row in ``order``, which sorts by row first; -1 past the end."""
    row, value = row[order], value[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    out = np.full((rows, limit), -1, np.int32)
    within = rank < limit
    out[row[within], rank[within]] = value[within]
    return out


class SessionKnn:
    """See the module. Abstains without a model, or where no session kept holds an anchor. ``because`` is the anchor
    that counts most in the nearest session."""

    name = NAME

    def recommend(self, query: Query) -> Scored:
        table = query.model.model.tables.get(NAME) if query.model is not None else None
        if query.model is None or table is None or not query.anchors.idx:
            return ABSTAIN
        anchor = np.array(query.anchors.idx[:ANCHORS_MAX], np.int32)
        number = query.model.to_model[anchor]
        known = (number >= 0).nonzero()[0][::-1]
        number = number[known]
        weight = np.array(query.anchors.weight[:ANCHORS_MAX], np.float32)[known] * floats(table, "idf")[number]
        latest, strength = ints(table, "latest")[number], floats(table, "strength")
        each = latest.shape[1]
        met = (latest >= 0).ravel().nonzero()[0]
        sessions, via = latest.ravel()[met], met // max(each, 1)
        near = strongest(sessions, weight[via] * strength[sessions], anchor[known][via], len(strength), NEAREST)
        if not len(near.idx):
            return ABSTAIN
        idx = viewed(query.model, ints(table, "held")[near.idx])
        said = (idx >= 0).ravel().nonzero()[0]
        via = said // idx.shape[1]
        return strongest(idx.ravel()[said], near.score[via], near.because[via], len(query.model.to_model), NAMED_MAX)
