"""What was worked out for a person a moment ago and cannot have changed: the anchors of a request, the taste made of
them, and the evidence that depends on nothing else and a fitted model.

A person is read at the whole minute (`training.recommender.whole_minute`), so within it, until the profile's next fact,
a person who asks on several surfaces starts from the same ones. A memo holds no answer: what depends on the request is
asked anew every time, and what depends on the item table's rows with every commit of theirs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from events.ids import Key, Millis
from training.anchors import Anchors, choose_anchors
from training.history import HISTORIES_KEPT, History
from training.inventory import FROM_ROWS, FROM_TASTE
from training.model import Bound
from training.recommender import READ_AT_MS, Memo, Query, Recommender, Scored

MEMOS_KEPT: Final = HISTORIES_KEPT
"""Memos held by one replica, at most about 20 kB each: whose history is at hand finds a memo too."""


class Remembering:
    """A recommender whose evidence is a function of what a memo is made for (`training.inventory.FROM_TASTE`): asked
    once per memo. What it raises is not remembered."""

    def __init__(self, recommender: Recommender) -> None:
        self.name = recommender.name
        self._recommender = recommender

    def recommend(self, query: Query) -> Scored:
        said = query.memo.said
        known = said.get(self.name)
        if known is None:
            known = said[self.name] = self._recommender.recommend(query)
        return known


class RememberingRows:
    """The same for one that also reads rows of the item table (`training.inventory.FROM_ROWS`), as far as the query
    says: asked once per memo and state of the table. The state is held by name: an old view would keep its rows
    alive."""

    def __init__(self, recommender: Recommender) -> None:
        self.name = recommender.name
        self._recommender = recommender

    def recommend(self, query: Query) -> Scored:
        memo, items = query.memo, query.items.version
        if memo.items != items:
            memo.items = items
            memo.of_rows.clear()
        key = (self.name, query.depth, query.category)
        known = memo.of_rows.get(key)
        if known is None:
            known = memo.of_rows[key] = self._recommender.recommend(query)
        return known


def remembering(recommender: Recommender) -> Recommender:
    """The recommender, asked no more often than it has something new to say."""
    if recommender.name in FROM_TASTE:
        return Remembering(recommender)
    return RememberingRows(recommender) if recommender.name in FROM_ROWS else recommender


@dataclass(frozen=True, slots=True)
class _Kept:
    history: History
    minute: int
    share: float
    anchors: Anchors
    memo: Memo


class MemoCache:
    """Least recently used out first. One per replica, not shared between threads."""

    def __init__(self, kept: int = MEMOS_KEPT) -> None:
        self._most = kept
        self._model: Bound | None = None
        self._made: OrderedDict[tuple[Key, tuple[int, ...]], _Kept] = OrderedDict()

    def of(
        self, who: Key, given: Sequence[int], history: History, now: Millis, share: float, model: Bound | None
    ) -> tuple[Anchors, Memo]:
        """The anchors of a request and the memo that goes with them, as `choose_anchors` and an empty memo would give
        them. Another version of the profile is another ``history`` object; another model, or a grown item table,
        another ``model`` object, of which one is held."""
        if model is not self._model:
            self._model = model
            self._made.clear()  # each would hold on to the arrays of its model
        at, minute = (who, tuple(given)), now // READ_AT_MS
        kept = self._made.get(at)
        if kept is None or kept.history is not history or kept.minute != minute or kept.share != share:
            kept = _Kept(history, minute, share, choose_anchors(given, history, now, share), Memo())
            self._made[at] = kept
            if len(self._made) > self._most:
                self._made.popitem(last=False)
        self._made.move_to_end(at)
        return kept.anchors, kept.memo
