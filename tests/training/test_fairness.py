"""A group that is seen less than its relevance earns lacks the difference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.fairness import shortfall

ROWS = st.lists(
    st.tuples(st.integers(-1, 4), st.floats(0, 1, allow_subnormal=False), st.floats(0, 50, allow_subnormal=False)),
    max_size=30,
)


@given(ROWS)
def test_what_is_lacking_is_a_share_the_same_for_all_of_a_group_and_never_of_everybody(
    rows: list[tuple[int, float, float]],
) -> None:
    group, relevance, seen = (np.array(column) for column in zip(*rows, strict=True)) if rows else (np.zeros(0),) * 3
    lacking = shortfall(group.astype(np.int32), relevance, seen)
    assert ((lacking >= 0) & (lacking <= 1)).all()
    assert not lacking[group < 0].any()
    by_group = {number: set(lacking[group == number].tolist()) for number in set(group.tolist())}
    assert all(len(values) == 1 for values in by_group.values())
    assert len(by_group.keys() - {-1}) < 1 or min(max(values) for values in by_group.values()) == 0.0


def test_by_hand() -> None:
    group = np.array([3, 3, 8, -1], np.int32)
    assert shortfall(group, np.array([1.0, 1.0, 2.0, 9.0]), np.array([9.0, 0.0, 1.0, 5.0])) == pytest.approx(
        [0.0, 0.0, 0.4, 0.0]
    )


def test_where_nothing_was_seen_or_nothing_is_relevant_nobody_lacks_anything() -> None:
    group = np.array([0, 1], np.int32)
    assert not shortfall(group, np.array([1.0, 0.0]), np.zeros(2)).any()
    assert not shortfall(group, np.zeros(2), np.array([1.0, 0.0])).any()
