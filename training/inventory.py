"""The written list of recommenders, and of those that retraining fits. The contract suite runs on each and fails where
a file is missing here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Final, TypeAlias

from training import ease, ials, ridge_next_item, session_knn, user_knn
from training.content import Content
from training.covisitation import Covisitation
from training.exploration import Exploration
from training.interactions import Interactions, ItemFacts
from training.item_knn import ItemKnn
from training.model import Scalar, Table
from training.newest import Newest
from training.popularity import Popularity
from training.rating_recommender import RatingRecommender
from training.recommender import Recommender
from training.repeat_purchase import RepeatPurchase
from training.segment_popularity import SegmentPopularity
from training.trending import Trending

INVENTORY: Final[Mapping[str, Recommender]] = {
    recommender.name: recommender
    for recommender in (
        RepeatPurchase(),
        Covisitation(),
        ItemKnn(),
        Content(),
        Popularity(),
        Newest(),
        user_knn.UserKnn(),
        ials.Ials(),
        ease.Ease(),
        ridge_next_item.RidgeNextItem(),
        Trending(),
        SegmentPopularity(),
        session_knn.SessionKnn(),
        Exploration(),
        RatingRecommender(),
    )
}
"""Name → recommender. Their order here is the order of rows in the blend and of columns in logged features."""

FROM_TASTE: Final = frozenset(
    (RepeatPurchase.name, user_knn.NAME, ials.NAME, ease.NAME, ridge_next_item.NAME, session_knn.NAME),
)
"""Those whose evidence depends on the minute, anchors, history, taste and model only, so that it may be kept while
these stay (`training.memo`); a test holds them to it."""

FROM_ROWS: Final = frozenset((Covisitation.name, ItemKnn.name, Content.name, Popularity.name))
"""Those whose evidence depends on these and on the item table's rows, down to a depth and within a category: kept until
the table's next commit."""

Fit: TypeAlias = Callable[[Interactions, ItemFacts, int], Table]


@dataclass(frozen=True, slots=True)
class Fitted:
    """How retraining makes one recommender's table."""

    fit: Fit
    """(interactions, facts of their items, seed) → table. Depends on nothing else."""
    settings: Mapping[str, Scalar]


def _fit_user_knn(interactions: Interactions, facts: ItemFacts, seed: int) -> Table:
    return user_knn.fit(interactions)


def _fit_ials(interactions: Interactions, facts: ItemFacts, seed: int) -> Table:
    return ials.fit(interactions, facts, seed)


def _fit_ease(interactions: Interactions, facts: ItemFacts, seed: int) -> Table:
    return ease.fit(interactions)


def _fit_ridge_next_item(interactions: Interactions, facts: ItemFacts, seed: int) -> Table:
    return ridge_next_item.fit(interactions)


def _fit_session_knn(interactions: Interactions, facts: ItemFacts, seed: int) -> Table:
    return session_knn.fit(interactions)


FITTED: Final[Mapping[str, Fitted]] = {
    user_knn.NAME: Fitted(_fit_user_knn, asdict(user_knn.Settings())),
    ials.NAME: Fitted(_fit_ials, asdict(ials.Settings())),
    ease.NAME: Fitted(_fit_ease, asdict(ease.Settings())),
    ridge_next_item.NAME: Fitted(_fit_ridge_next_item, asdict(ridge_next_item.Settings())),
    session_knn.NAME: Fitted(_fit_session_knn, asdict(session_knn.Settings())),
}
"""Recommender → how it is fitted. The parts are independent of each other: each may be a task of its own."""
