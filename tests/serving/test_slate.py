"""Slots are filled in a total order, and never with two items of one label."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.slate import fill

CANDIDATES = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.integers(-1, 6)), max_size=60)


def arrays(candidates: list[tuple[float, int]], idx: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    gains = np.array([gain for gain, _ in candidates], np.float32)
    return gains, np.array(idx, np.int32), np.array([label for _, label in candidates], np.int32)


def expected(candidates: list[tuple[float, int]], idx: list[int], slots: int) -> list[int]:
    order = sorted(range(len(candidates)), key=lambda column: (-candidates[column][0], idx[column]))
    chosen: list[int] = []
    labels: set[int] = set()
    for column in order:
        label = candidates[column][1]
        if len(chosen) < slots and label not in labels:
            chosen.append(column)
            labels |= {label} - {-1}
    return chosen


@settings(max_examples=200)
@given(CANDIDATES, st.integers(1, 12), st.randoms(use_true_random=False))
def test_the_best_of_each_label_in_the_total_order(candidates: list[tuple[float, int]], slots: int, random) -> None:  # type: ignore[no-untyped-def]
    idx = list(range(100, 100 + len(candidates)))
    random.shuffle(idx)
    slate = fill(*arrays(candidates, idx), slots)
    assert list(slate.columns) == expected(candidates, idx, slots)


@settings(max_examples=50)
@given(CANDIDATES, st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_matter(candidates: list[tuple[float, int]], random) -> None:  # type: ignore[no-untyped-def]
    idx = list(range(len(candidates)))
    shuffled = list(zip(candidates, idx, strict=True))
    random.shuffle(shuffled)
    one = fill(*arrays(candidates, idx), 8)
    moved = [entry for entry, _ in shuffled], [number for _, number in shuffled]
    two = fill(*arrays(*moved), 8)
    assert [idx[column] for column in one.columns] == [moved[1][column] for column in two.columns]


def test_without_sampling_every_propensity_is_one() -> None:
    slate = fill(*arrays([(1.0, 0), (0.5, 1)], [0, 1]), 5)
    assert slate.propensities == (1.0, 1.0)


def test_labels_that_repeat_at_the_top_do_not_empty_the_list() -> None:
    candidates = [(2.0, 0)] * 200 + [(1.0, label) for label in range(1, 20)]
    slate = fill(*arrays(candidates, list(range(len(candidates)))), 10)
    assert len(slate.columns) == 10
