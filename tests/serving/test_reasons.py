"""Every source has a reason that a person can read."""

from __future__ import annotations

import numpy as np
import pytest
from recommender_contract import SHOP, query
from small_shop import buyer

from serving.reasons import reason
from training.inventory import INVENTORY
from training.recommender import Recommender

ITEMS = SHOP.snapshot()


@pytest.mark.parametrize("recommender", INVENTORY.values(), ids=list(INVENTORY))
def test_every_recommender_has_a_reason_for_what_it_names(recommender: Recommender) -> None:
    asked = query(ITEMS, buyer(), ["nachos"])
    scored = recommender.recommend(asked)
    assert len(scored.idx)
    said = {reason(recommender.name, because, asked) for because in np.unique(scored.because).tolist()}
    assert all(said)


def test_a_reason_names_the_cause() -> None:
    asked = query(ITEMS, buyer())
    tea = ITEMS.index("tea")
    assert reason("ridge_next_item", tea, asked) == "Comes next after Tea"
    assert reason("session_knn", tea, asked) == "Others with Tea also chose this"
    assert reason("ease", ITEMS.index("nachos"), asked) == "Because you viewed Nachos"
    assert reason("exploration", -1, asked) == "Trying something new"
