from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.ranked import best, best_of_rows, distinct, pack, unpack

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30), st.sampled_from([0.0, 0.5, 1.0, 2.5])), max_size=40)


@given(ROWS, st.integers(1, 6))
def test_the_best_of_every_row_are_those_a_sort_by_score_and_index_gives(
    triples: list[tuple[int, int, float]], limit: int
) -> None:
    cells = sorted({(row, index): score for row, index, score in triples}.items())
    rows = np.array([row for (row, _), _ in cells], np.int64)
    scores = np.array([score for _, score in cells])
    got = [(cells[at][0], cells[at][1]) for at in best_of_rows(rows, scores, limit)]
    want = []
    for row in sorted({row for (row, _), _ in cells}):
        ranked = sorted((cell for cell in cells if cell[0][0] == row), key=lambda cell: (-cell[1], cell[0][1]))
        want += ranked[:limit]
    assert got == want


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from([0.0, 1.0, 2.0])), max_size=30), st.integers(1, 40))
def test_the_order_is_total(pairs: list[tuple[int, float]], limit: int) -> None:
    unique = dict(pairs)
    indices, scores = np.array(list(unique), np.int64), np.array(list(unique.values()))
    got = [int(indices[at]) for at in best(indices, scores, limit)]
    assert got == sorted(unique, key=lambda idx: (-unique[idx], idx))[:limit]


@given(st.lists(st.integers(0, 9)))
def test_distinct_is_the_sorted_set(numbers: list[int]) -> None:
    assert distinct(np.array(numbers, np.int64)).tolist() == sorted(set(numbers))


def test_a_row_survives_packing() -> None:
    indices, scores = unpack(pack(np.array([70_000, 3]), np.array([1.5, 0.25])))
    assert indices.tolist() == [70_000, 3]
    assert scores.tolist() == [1.5, 0.25]
    assert indices.dtype == np.int32
    assert scores.dtype == np.float32
