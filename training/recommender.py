"""The protocol of recommenders, what they are asked and what they answer.

The contract every one of them passes (``tests/training/recommender_contract.py``): the same query gives the same
answer, in a total order; asking changes nothing; one that has nothing to go by abstains instead of guessing; unknown
items, a newcomer and an empty catalogue are ordinary input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from actors.item_view import ItemView
from events.ids import Millis
from training.anchors import NO_ANCHORS, Anchors
from training.history import NO_HISTORY, History
from training.model import Bound
from training.surface import Surface
from training.taste import NO_TASTE, Taste, taste_of

Indices: TypeAlias = npt.NDArray[np.int32]
Scores: TypeAlias = npt.NDArray[np.float32]


class SegmentRows(Protocol):
    """Where segment popularity is read: an `ItemView`."""

    def popular_in(self, segment: str, limit: int) -> tuple[Indices, Scores]:
        """The most popular items among the people of a segment with their decayed counts, best first."""
        ...


class Bounds(Protocol):
    """The lowest and highest rating a client can give."""

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


class Rater(Protocol):
    """Who predicts ratings: `training.rating.Rating`, named here so that replicas need not import River for it."""

    @property
    def scale(self) -> Bounds: ...

    def scores(self, user: str, items: Sequence[str]) -> npt.NDArray[np.float64] | None:
        """Expected ratings of ``items`` by one person, in their order; None where the person never rated."""
        ...


READ_AT_MS: Final = 60_000
"""A person is read at the whole minute before now, so that what follows can be kept for that long. The fastest signals
halve within an hour: a minute is 1 % of their weight, and the same for all but those of that minute."""


def whole_minute(now: Millis) -> Millis:
    """When a query at ``now`` is read.

    >>> whole_minute(Millis(119_999))
    60000
    """
    return Millis(now - now % READ_AT_MS)


class Memo:
    """What follows from minute, anchors, history and model of a query (`training.memo`); filled while it is asked."""

    __slots__ = ("items", "of_rows", "said", "taste")

    def __init__(self) -> None:
        self.taste: Taste | None = None
        self.said: dict[str, Scored] = {}
        self.items = ""
        """`ItemView.version` that ``of_rows`` was read from."""
        self.of_rows: dict[tuple[str, int, int | None], Scored] = {}


@dataclass(frozen=True, slots=True)
class Query:
    """What one request asks of every recommender. ``history`` is empty for a newcomer and without consent."""

    items: ItemView
    now: Millis
    """What decays is read at it: a `whole_minute`."""
    surface: Surface
    history: History = NO_HISTORY
    anchors: Anchors = NO_ANCHORS
    category: int | None = None
    """Only items of this category are wanted; recommenders may use it to look where such items are."""
    depth: int = 64
    """How many candidates are worth having, about four times the list's length."""
    model: Bound | None = None
    """What retraining fitted, as this request's item table sees it; None until a model was promoted. Recommenders that
    need it abstain without."""
    segments: tuple[str, ...] = ()
    """Segments the profile is in."""
    segment_rows: SegmentRows | None = None
    rater: Rater | None = None
    rater_key: str = ""
    """Under which the rating model knows the person; empty without consent."""
    memo: Memo = field(default_factory=Memo, compare=False, repr=False)
    """Shared by queries of the same minute, anchors, history and model."""
    taste: Taste = field(default=NO_TASTE, init=False)
    """Anchors and purchases as the model numbers them: made here, once for all recommenders that start from it."""

    def __post_init__(self) -> None:
        if self.model is not None:
            taste = self.memo.taste
            if taste is None:
                taste = taste_of(self.anchors, self.history, self.model.to_model, self.surface.history_share)
                self.memo.taste = taste
            object.__setattr__(self, "taste", taste)


@dataclass(frozen=True, slots=True)
class Scored:
    """Evidence for items. An item may stand here several times (it neighbours two anchors): its scores add up.

    Scores are not negative; their scale is the recommender's own, the blend normalises. ``because`` says what each
    piece of evidence comes from in the recommender's own terms, -1 where there is nothing to name; where an item
    stands several times, its last entry names the cause.
    """

    idx: Indices
    score: Scores
    because: Indices


_NONE: Final = np.empty(0, np.int32)
ABSTAIN: Final = Scored(_NONE, np.empty(0, np.float32), _NONE)
"""The answer of a recommender that has nothing to go by."""


class Recommender(Protocol):
    """One way of finding items."""

    @property
    def name(self) -> str:
        """Under which surfaces weigh it, answers cite it, decisions log it."""
        ...

    def recommend(self, query: Query) -> Scored:
        """Evidence for items, or `ABSTAIN`. Changes no state. Filters come later: what it names may be hidden."""
        ...


def inside(query: Query, idx: Indices, score: Scores) -> tuple[Indices, Scores]:
    """The first `Query.depth` entries of a row that lie in the category asked for, or under it."""
    own = query.items.category[idx]
    at = np.flatnonzero(np.append(query.items.within(query.category if query.category is not None else -1), False)[own])
    return idx[at[: query.depth]], score[at[: query.depth]]


def ranked(scored: Scored) -> Sequence[tuple[int, float]]:
    """(item index, summed score) in the total order: highest score first, ties by lower index.

    >>> ranked(Scored(np.array([7, 2, 7], np.int32), np.array([1, 2, 1], np.float32), np.array([-1, -1, -1], np.int32)))
    [(2, 2.0), (7, 2.0)]
    """
    sums: dict[int, float] = {}
    for item, score in zip(scored.idx.tolist(), scored.score.tolist(), strict=True):
        sums[item] = sums.get(item, 0.0) + score
    return sorted(sums.items(), key=lambda pair: (-pair[1], pair[0]))
