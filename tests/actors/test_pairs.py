from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.pairs import PairRows, Pairs, lookup, merged, pair_keys, pruned, summed
from actors.state import MemoryState

Triple = tuple[int, int, float]
TRIPLES = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 12), st.sampled_from([0.25, 0.5, 1.0, 2.0])), max_size=60
)


def pairs_of(triples: list[Triple]) -> Pairs:
    columns = list(zip(*triples, strict=True)) or [(), (), ()]
    return summed(np.array(columns[0], np.int64), np.array(columns[1], np.int64), np.array(columns[2], np.float64))


def as_dict(pairs: Pairs) -> dict[tuple[int, int], float]:
    return dict(zip(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True), pairs.sums.tolist(), strict=True))


def counted(triples: list[Triple]) -> dict[tuple[int, int], float]:
    sums: dict[tuple[int, int], float] = defaultdict(float)
    for left, right, weight in triples:
        sums[left, right] += weight
    return dict(sums)


@given(TRIPLES, TRIPLES)
def test_adding_up_equals_counting_one_by_one(first: list[Triple], second: list[Triple]) -> None:
    both = merged(pairs_of(first), pairs_of(second))
    assert as_dict(both) == counted(first + second)
    assert both.keys.tolist() == sorted(both.keys.tolist())


@given(TRIPLES, st.integers(0, 7), st.integers(0, 13))
def test_a_pair_never_counted_looks_up_as_nothing(triples: list[Triple], left: int, right: int) -> None:
    key = pair_keys(np.array([left]), np.array([right]))
    assert lookup(pairs_of(triples), key).tolist() == [counted(triples).get((left, right), 0.0)]


@given(st.lists(TRIPLES, max_size=5))
def test_rows_in_the_store_equal_counting_one_by_one(batches: list[list[Triple]]) -> None:
    store = MemoryState()
    rows = PairRows(store, "pairs", kept=200)
    for batch in batches:
        store.commit(rows.add(pairs_of(batch)))
    assert as_dict(rows.rows(np.arange(7))) == counted([triple for batch in batches for triple in batch])


@given(TRIPLES, st.integers(1, 4))
def test_a_grown_row_is_cut_to_its_heaviest_and_others_are_left_alone(triples: list[Triple], kept: int) -> None:
    pairs = pairs_of(triples)
    got = as_dict(pruned(pairs, kept))
    for left in range(7):
        row = {pair: sum_ for pair, sum_ in as_dict(pairs).items() if pair[0] == left}
        if len(row) > 1.7 * kept:
            row = dict(sorted(row.items(), key=lambda item: (-item[1], item[0]))[:kept])
        assert {pair: sum_ for pair, sum_ in got.items() if pair[0] == left} == row


def test_a_partner_that_keeps_coming_survives_a_crowd_of_strangers() -> None:
    store = MemoryState()
    rows = PairRows(store, "pairs", kept=20)
    for day in range(200):
        strangers = [(0, 1000 + 7 * day + number, 0.1) for number in range(7)]
        regular = [(0, 1, 0.1)] if day % 3 == 0 else []
        store.commit(rows.add(pairs_of(strangers + regular)))
    kept = as_dict(rows.rows(np.array([0])))
    assert len(kept) <= 34
    assert max(kept, key=lambda pair: kept[pair]) == (0, 1)
