"""What every recommender promises, whichever way it finds items. Subclass it with a fixture ``recommender``.

Queries carry a model fitted on the small shop, whether the recommender at hand looks at it or not.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
import pytest
from small_model import bound
from small_shop import NOW, buyer, described, did, profile_of, small_shop

from actors.item_reader import MemoryItems
from actors.item_view import ItemView
from actors.profile import EMPTY, Profile
from training.anchors import choose_anchors
from training.history import NO_HISTORY, history_of
from training.rating import Rating
from training.rating_state import pack
from training.recommender import ABSTAIN, Indices, Query, Recommender, Scored, Scores, ranked
from training.surface import SURFACES


def query(items: ItemView, profile: Profile | None = None, given: Sequence[str] = ()) -> Query:
    history = history_of(profile, items) if profile is not None else NO_HISTORY
    anchors = choose_anchors([items.index(item) for item in given], history, NOW, 1.0)
    return Query(
        items,
        NOW,
        SURFACES["home"],
        history,
        anchors,
        model=bound(items),
        segments=("tea lovers",),
        segment_rows=Tea(items),
        rater=RATER,
        rater_key="somebody",
    )


def _rater() -> Rating:
    rater = Rating(people_max=10, items_max=20, pairs_max=10)
    for item, rating in (("tea", 5.0), ("mint tea", 5.0), ("milk", 4.0), ("nachos", 1.0), ("dip", 2.0)):
        for person in ("somebody", "else", "third"):
            rater.learn_one(person, item, rating)
    return rater


RATER = _rater()


class Tea:
    """Segments of one: those who drink tea."""

    def __init__(self, items: ItemView) -> None:
        self._row = np.array([items.index("tea"), items.index("mint tea")], np.int32), np.array([4, 1], np.float32)

    def popular_in(self, segment: str, limit: int) -> tuple[Indices, Scores]:
        known = self._row[0] >= 0
        return self._row[0][known][:limit], self._row[1][known][:limit]


def names(scored: Scored, items: ItemView) -> list[str]:
    return [items.ids[idx] for idx, _ in ranked(scored)]


SHOP = small_shop([described("new"), described("vinegar", category="Pantry > Vinegar")])


class RecommenderContract:
    @pytest.fixture
    def items(self) -> ItemView:
        return SHOP.snapshot()

    def test_it_recommends_items_of_the_catalogue_with_finite_scores_above_zero(
        self, recommender: Recommender, items: ItemView
    ) -> None:
        scored = recommender.recommend(query(items, buyer()))
        assert len(scored.idx) == len(scored.score) == len(scored.because) > 0
        assert (scored.idx.dtype, scored.score.dtype, scored.because.dtype) == (np.int32, np.float32, np.int32)
        assert ((scored.idx >= 0) & (scored.idx < items.size)).all()
        assert np.isfinite(scored.score).all()
        assert (scored.score >= 0).all()
        assert scored.score.max() > 0

    def test_the_same_query_has_the_same_answer(self, recommender: Recommender, items: ItemView) -> None:
        first = recommender.recommend(query(items, buyer()))
        again = recommender.recommend(query(items, buyer()))
        assert ranked(first) == ranked(again)
        assert first.because.tolist() == again.because.tolist()

    def test_its_order_is_total(self, recommender: Recommender, items: ItemView) -> None:
        order = ranked(recommender.recommend(query(items, buyer())))
        assert len({idx for idx, _ in order}) == len(order)
        assert order == sorted(order, key=lambda entry: (-entry[1], entry[0]))

    def test_recommending_changes_neither_the_model_nor_the_query(
        self, recommender: Recommender, items: ItemView
    ) -> None:
        asked = query(items, buyer(), ["nachos"])
        assert asked.model is not None
        before, ratings = (
            pickle.dumps((recommender, asked.history, asked.anchors, asked.taste, asked.model)),
            pack(RATER),
        )
        version, blocked = items.version, items.blocked.copy()
        recommender.recommend(asked)
        assert pickle.dumps((recommender, asked.history, asked.anchors, asked.taste, asked.model)) == before
        assert pack(RATER) == ratings
        assert items.version == version
        assert (items.blocked == blocked).all()

    def test_nothing_to_go_by_is_said_and_not_guessed(self, recommender: Recommender) -> None:
        scored = recommender.recommend(query(MemoryItems().snapshot()))
        assert len(scored.idx) == len(ABSTAIN.idx) == 0

    def test_a_newcomer_gets_an_answer_or_none_but_no_error(self, recommender: Recommender, items: ItemView) -> None:
        for profile in (None, EMPTY):
            scored = recommender.recommend(query(items, profile))
            assert np.isfinite(scored.score).all()

    def test_an_item_nobody_has_touched_is_no_obstacle(self, recommender: Recommender, items: ItemView) -> None:
        scored = recommender.recommend(query(items, profile_of((did("view", "new"), NOW)), ["new", "vinegar"]))
        assert np.isfinite(scored.score).all()

    def test_an_empty_catalogue_is_no_obstacle(self, recommender: Recommender) -> None:
        empty = MemoryItems().snapshot()
        assert len(recommender.recommend(query(empty, buyer())).idx) == 0

    def test_a_history_of_unknown_items_is_no_obstacle(self, recommender: Recommender, items: ItemView) -> None:
        gone = profile_of((did("purchase", "gone", "lost"), NOW - 1000), (did("view", "gone"), NOW))
        scored = recommender.recommend(query(items, gone))
        assert np.isfinite(scored.score).all()

    def test_every_cause_it_names_is_one(self, recommender: Recommender, items: ItemView) -> None:
        because = recommender.recommend(query(items, buyer())).because
        assert (because >= -1).all()
