"""The written list of recommenders. The contract suite runs on each and fails where a file is missing here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from training.content import Content
from training.covisitation import Covisitation
from training.item_knn import ItemKnn
from training.newest import Newest
from training.popularity import Popularity
from training.recommender import Recommender
from training.repeat_purchase import RepeatPurchase

INVENTORY: Final[Mapping[str, Recommender]] = {
    recommender.name: recommender
    for recommender in (RepeatPurchase(), Covisitation(), ItemKnn(), Content(), Popularity(), Newest())
}
"""Name → recommender. Their order here is the order of rows in the blend and of columns in logged features."""
