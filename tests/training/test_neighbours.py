"""Rows of neighbours add up, none of them drowning the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from training.neighbours import Row, spread
from training.recommender import ranked

ROWS = {1: ([10, 11], [500.0, 5.0]), 2: ([11, 12], [2.0, 1.0]), 3: ([], [])}


def rows_of(anchors: Sequence[int], limit: int) -> list[Row]:
    rows = [ROWS[anchor] for anchor in anchors]
    return [(np.array(idx[:limit], np.int32), np.array(score[:limit], np.float32)) for idx, score in rows]


def test_an_anchors_best_neighbour_is_worth_the_anchors_weight() -> None:
    scored = dict(ranked(spread([(1, 1.0), (2, 0.5)], rows_of, 9)))
    assert scored == pytest.approx({10: 1.0, 11: 0.01 + 0.5, 12: 0.25})


def test_rows_are_cut_and_empty_ones_passed_over() -> None:
    assert dict(ranked(spread([(3, 1.0), (2, 1.0)], rows_of, 1))) == {11: 1.0}
    assert len(spread([(3, 1.0)], rows_of, 1).idx) == len(spread([], rows_of, 1).idx) == 0
