from __future__ import annotations

from hashlib import blake2b
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.dedupe import Dedupe, DedupeSettings, Remembered
from actors.id_filter import IdFilter
from actors.id_set import IdSet, pack_ids
from actors.state import MemoryState

SETTINGS = DedupeSettings(ids_max=100, window_us=800, bucket_ids=20, buckets_per_window=8)


def ids(start: int, stop: int) -> list[bytes]:
    return [blake2b(str(number).encode(), digest_size=16).digest() for number in range(start, stop)]


class Remembering:
    """A dedupe whose changes are committed as a partition would."""

    def __init__(self, state: MemoryState, using: DedupeSettings = SETTINGS) -> None:
        self.state = state
        self.dedupe = Dedupe.load(using, state)

    def remember(self, new: list[bytes], at: int) -> None:
        notes = Remembered()
        self.dedupe.remember(new, at, notes)
        self.state.commit(notes.changes, emptied=notes.emptied)

    def known(self, start: int, stop: int) -> list[int]:
        seen = self.dedupe.seen(ids(start, stop))
        return [number for number, hit in zip(range(start, stop), seen, strict=True) if hit]


def test_only_what_was_remembered_is_seen() -> None:
    now = Remembering(MemoryState())
    assert now.known(0, 5) == []
    now.remember(ids(0, 3), 10)
    assert now.known(0, 5) == [0, 1, 2]
    assert now.dedupe.seen([]) == []


def test_ids_survive_a_restart_in_commits_of_any_size() -> None:
    state = MemoryState()
    using = DedupeSettings(ids_max=40_000, bucket_ids=2_000)
    random, at, start = Random(3), 0, 0
    for _ in range(40):
        now = Remembering(state, using)
        for _ in range(3):
            stop = start + random.choice([1, 2, 255, 256, 257, 600])
            now.remember(ids(start, stop), at)
            start, at = stop, at + 1
    again = Remembering(state, using)
    assert len(again.dedupe) == start
    assert again.known(0, start + 5) == list(range(start))


def test_ids_are_forgotten_a_bucket_at_a_time_after_the_window() -> None:
    now = Remembering(MemoryState())
    for at in range(0, 2000, 10):
        now.remember(ids(at, at + 1), at)
    known = now.known(0, 2000)
    assert set(range(1990 - 800, 2000, 10)) <= set(known)
    assert min(known) >= 1990 - 800 - 100
    assert now.dedupe.forgotten_early == 0
    assert Remembering(now.state).known(0, 2000) == known


def test_beyond_the_bound_the_oldest_bucket_gives_way_and_is_counted() -> None:
    now = Remembering(MemoryState())
    for start in range(0, 300, 7):
        now.remember(ids(start, start + 7), start)
    known = now.known(0, 301)
    assert len(known) <= 100
    assert known == list(range(301 - len(known), 301))
    assert len(known) > 60
    assert now.dedupe.forgotten_early == 301 - len(known)


def test_one_commit_may_outlive_a_bucket() -> None:
    """Replay commits thousands of records at once, over any stretch of time."""
    now = Remembering(MemoryState())
    notes = Remembered()
    for at in range(0, 5000, 50):
        now.dedupe.remember(ids(at, at + 1), at, notes)
    now.state.commit(notes.changes, emptied=notes.emptied)
    known = now.known(0, 5000)
    assert 0 < len(known) < 100
    assert Remembering(now.state).known(0, 5000) == known


def test_table_names_go_round_without_mixing() -> None:
    state = MemoryState()
    for start in range(0, 3000, 20):
        Remembering(state).remember(ids(start, start + 20), start)
    again = Remembering(state)
    assert again.known(0, 3000) == list(range(2900, 3000))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=16, max_size=16), unique=True, max_size=60), st.data())
def test_an_id_set_is_a_set(members: list[bytes], data: st.DataObject) -> None:
    """But for the lowest bit of the first byte, which is not told apart."""
    held = IdSet()
    distinct = list({bytes([member[0] | 1]) + member[1:]: member for member in members}.values())
    cut = data.draw(st.integers(0, len(distinct)))
    held.add(pack_ids(distinct[:cut]))
    held.add(pack_ids(distinct[cut:]))
    assert len(held) == len(distinct)
    asked = members + data.draw(st.lists(st.binary(min_size=16, max_size=16), max_size=10))
    expected = [bytes([each[0] | 1]) + each[1:] in {bytes([m[0] | 1]) + m[1:] for m in members} for each in asked]
    assert held.contains(pack_ids(asked)).tolist() == expected


def test_ids_that_want_the_same_place_all_find_one() -> None:
    rows = np.zeros((64, 2), dtype=np.uint64)
    rows[:, 0] = 1
    rows[:, 1] = np.arange(64, dtype=np.uint64) << np.uint64(58)
    held = IdSet()
    held.add(rows)
    assert held.contains(rows).all()
    assert not held.contains(rows + np.array([2, 0], dtype=np.uint64)).any()


def test_a_set_grows_and_forgets_nothing() -> None:
    held, expected = IdSet(), IdSet(20_000)
    for start in range(0, 20_000, 500):
        held.add(pack_ids(ids(start, start + 500)))
        expected.add(pack_ids(ids(start, start + 500)))
    for each in (held, expected):
        assert each.contains(pack_ids(ids(0, 20_000))).all()
        assert not each.contains(pack_ids(ids(20_000, 40_000))).any()
        assert len(each) == 20_000


def test_the_filter_names_every_set_that_holds_an_id_and_few_others() -> None:
    sieve = IdFilter()
    for number in range(64):
        sieve.add(pack_ids(ids(number * 100, number * 100 + 100)), number)
    masks = sieve.masks(pack_ids(ids(0, 6_400))).tolist()
    assert all(mask >> (index // 100) & 1 for index, mask in enumerate(masks))
    assert sum(mask.bit_count() for mask in masks) < 6_400 * 1.01
    sieve.clear(3)
    assert not any(mask >> 3 & 1 for mask in sieve.masks(pack_ids(ids(0, 6_400))).tolist())
    assert all(mask >> 4 & 1 for mask in sieve.masks(pack_ids(ids(400, 500))).tolist())
