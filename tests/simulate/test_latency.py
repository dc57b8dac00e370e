"""Histograms of latencies."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulate.latency import BUCKETS, MOST_US, STRETCHES_MAX, UPPERS, Latencies, bucket

latencies = st.lists(st.floats(0, 130), min_size=1, max_size=60)


@given(st.integers(0, MOST_US))
def test_a_value_is_known_to_a_128th_of_itself(us: int) -> None:
    upper = round(UPPERS[bucket(us)] * 1e6)
    assert us <= upper <= us * (1 + 1 / 128)


def test_buckets_follow_one_another_without_gap() -> None:
    uppers = np.round(UPPERS * 1e6).astype(int).tolist()
    assert [bucket(upper) for upper in uppers] == list(range(BUCKETS))
    assert [bucket(upper + 1) for upper in uppers[:-1]] == list(range(1, BUCKETS))


@given(latencies, st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_quantiles_are_those_of_the_values_by_nearest_rank(values: list[float], share: float) -> None:
    seen = Latencies.over(10)
    for value in values:
        seen.add(3.0, value)
    exact = sorted(values)[max(math.ceil(share * len(values)), 1) - 1]
    (told,) = seen.quantiles((share,))
    assert exact - 1e-6 <= told <= exact * (1 + 1 / 128) + 1e-6


@given(latencies, latencies)
def test_histograms_of_processes_add_up(one: list[float], other: list[float]) -> None:
    first, second, both = Latencies.over(4), Latencies.over(4), Latencies.over(4)
    for n, value in enumerate(one):
        first.add(n % 4, value)
        both.add(n % 4, value)
    for n, value in enumerate(other):
        second.add(n % 4, value)
        both.add(n % 4, value)
    first.merge(second)
    assert np.array_equal(first.counts, both.counts)
    assert first.number == len(one) + len(other)


def test_what_was_due_in_a_stretch_is_told_by_stretch_and_stragglers_belong_to_the_last() -> None:
    seen = Latencies.over(3)
    seen.add(0.5, 0.001)
    seen.add(1.5, 0.002)
    seen.add(99.0, 0.003)
    assert [round(value, 4) for value in seen.over_time(1.0)] == [0.001, 0.002, 0.003]
    assert seen.quantiles((0.0,), since_s=1.0)[0] > 0.0019


def test_memory_does_not_grow_with_the_duration() -> None:
    assert len(Latencies.over(1e7).counts) == STRETCHES_MAX
    assert len(Latencies.over(0.2).counts) == 1
    assert math.isnan(Latencies.over(1).quantiles((0.5,))[0])
