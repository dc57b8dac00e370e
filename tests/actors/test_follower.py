from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from crashing_state import Crash, CrashingState
from partition_stream import NOW, Stream

from actors.follower import Fact, Folded, Follower
from actors.items import ItemProjection
from actors.lmdb_state import LmdbState
from actors.state import Change, MemoryState, StateReader, StateStore
from events.errors import KeyMissing, NotFound
from events.types import Interaction, ItemUpserted, Line, Tracked


class Tally:
    """How often each record was applied, and in what order: what exactly-once is about. Its memory runs ahead of the
    store between `apply` and commit, as any projection's does."""

    def __init__(self, store: StateReader, deferred: int = 0) -> None:
        self._seen = {key: int(value) for key, value in store.scan("tally")}
        self._order = [value.decode() for _, value in store.scan("order")]
        self._deferred = deferred

    def apply(self, facts: Sequence[Fact]) -> Folded:
        changes: list[Change] = []
        for fact in facts:
            name = f"p{fact.partition}:{fact.record.lsn}"
            self._seen[name.encode()] = self._seen.get(name.encode(), 0) + 1
            changes.append(("tally", name.encode(), str(self._seen[name.encode()]).encode()))
            changes.append(("order", f"{len(self._order):06}".encode(), name.encode()))
            self._order.append(name)
        return Folded(changes)

    def tidy(self) -> list[Change]:
        self._deferred -= 1
        return [("tidied", b"%d" % self._deferred, b"")] if self._deferred >= 0 else []


def tally(store: StateStore) -> dict[str, int]:
    return {key.decode(): int(value) for key, value in store.scan("tally")}


def order(store: StateStore, partition: int) -> list[int]:
    names = [value.decode() for _, value in store.scan("order")]
    return [int(name.split(":")[1]) for name in names if name.startswith(f"p{partition}:")]


@pytest.fixture
def streams() -> list[Stream]:
    """Two partitions, twelve and five records."""
    streams = [Stream(0), Stream(1)]
    for number in range(12):
        streams[0].add(f"u:{number % 3}", Tracked("thing"))
    for _ in range(5):
        streams[1].add("u:9", Tracked("thing"))
    return streams


def follower(streams: list[Stream], store: StateStore) -> Follower:
    return Follower("tally", [stream.source() for stream in streams], store, Tally)


def test_every_record_of_every_partition_is_applied_in_its_order(streams: list[Stream]) -> None:
    store = MemoryState()
    following = follower(streams, store)
    while following.step(limit=4):
        pass
    assert order(store, 0) == list(range(12))
    assert order(store, 1) == list(range(5))
    assert set(tally(store).values()) == {1}
    assert following.lag() == 0


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("crash_at", range(5))
def test_a_kill_around_any_commit_applies_every_record_once(streams: list[Stream], crash_at: int, after: bool) -> None:
    store = MemoryState()
    with pytest.raises(Crash):
        _until_done(follower(streams, CrashingState(store, crash_at, after)), limit=4)
    _until_done(follower(streams, store), limit=4)
    assert order(store, 0) == list(range(12))
    assert order(store, 1) == list(range(5))
    assert set(tally(store).values()) == {1}


def test_a_commit_that_fails_is_made_good_by_the_same_follower(streams: list[Stream]) -> None:
    store = MemoryState()
    following = follower(streams, CrashingState(store, 1, after=False))
    following.catch_up(4)
    with pytest.raises(Crash):
        following.catch_up(4)
    while following.step(limit=4):
        pass
    assert set(tally(store).values()) == {1}
    assert order(store, 0) == list(range(12))


def test_what_an_erased_subject_did_is_skipped_and_counted(streams: list[Stream]) -> None:
    streams[0].erase("u:1")
    store = MemoryState()
    following = follower(streams, store)
    following.catch_up()
    assert order(store, 0) == [0, 2, 3, 5, 6, 8, 9, 11, 12]
    assert [each.skipped for each in following.standing()] == [4, 0]
    assert following.lag() == 0


def test_a_key_lost_without_a_fact_stops_the_follower_where_it_stands(streams: list[Stream]) -> None:
    streams[1].lose_key("u:9")
    store = MemoryState()
    following = follower(streams, store)
    with pytest.raises(KeyMissing, match="LSN 0"):
        following.catch_up()
    assert tally(store) == {}
    assert store.offsets() == {}


def test_lag_and_age_tell_how_far_behind_it_is(streams: list[Stream]) -> None:
    following = follower(streams, MemoryState())
    assert following.lag() == 17
    following.catch_up(8)
    assert {each.partition: (each.applied, each.lag) for each in following.standing()} == {0: (4, 8), 1: (4, 1)}
    assert following.age_us(NOW * 1000 + 1_000_003) == 1_000_000
    following.catch_up()
    assert following.age_us(NOW * 1000 + 10**9) == 0


def test_a_log_trimmed_below_where_it_stands_is_an_error(streams: list[Stream]) -> None:
    following = follower(streams, MemoryState())
    following.catch_up(8)
    streams[0].log.trim(8)
    with pytest.raises(NotFound):
        following.catch_up()


def test_a_log_that_starts_later_is_read_from_its_start(streams: list[Stream]) -> None:
    streams[0].log.trim(8)
    store = MemoryState()
    follower(streams, store).catch_up()
    assert order(store, 0) == [8, 9, 10, 11]


def test_deferred_work_waits_for_a_quiet_moment(streams: list[Stream]) -> None:
    store = MemoryState()
    following = Follower(
        "tally", [stream.source() for stream in streams], store, lambda reader: Tally(reader, deferred=2)
    )
    following.step(limit=4)
    assert list(store.scan("tidied")) == []
    while following.step(limit=40):
        pass
    assert len(list(store.scan("tidied"))) == 2


def test_a_running_follower_applies_what_comes_and_stops_when_told(streams: list[Stream]) -> None:
    store = MemoryState()
    following = follower(streams, store)
    stopping, done = threading.Event(), threading.Event()

    def run() -> None:
        following.run(stopping, poll_s=60)
        done.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    waiting = threading.Event()
    for _ in range(500):
        if len(tally(store)) == 17:
            break
        waiting.wait(0.01)
    streams[1].add("u:9", Tracked("thing"))
    following.wake()
    for _ in range(500):
        if len(tally(store)) == 18:
            break
        waiting.wait(0.01)
    stopping.set()
    following.wake()
    assert done.wait(10)
    thread.join()
    assert len(tally(store)) == 18


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("crash_at", [0, 1, 2, 3])
def test_items_know_the_same_after_a_kill_as_without_one(tmp_path: Path, crash_at: int, after: bool) -> None:
    stream = Stream()
    for item in ("tea", "milk", "mug"):
        stream.add(f"i:{item}", ItemUpserted(item, title=item, category="All"))
    for number in range(9):
        lines = (Line("tea"), Line("milk")) if number % 2 else (Line("tea"), Line("mug"))
        stream.add(f"u:{number % 2}", Interaction("purchase", lines), NOW + number)
    whole, killed = MemoryState(), LmdbState(tmp_path)
    _until_done(Follower("items", [stream.source()], whole, ItemProjection))
    with pytest.raises(Crash):
        _until_done(Follower("items", [stream.source()], CrashingState(killed, crash_at, after), ItemProjection))
    _until_done(Follower("items", [stream.source()], killed, ItemProjection))
    for table in ("names", "entries", "shown", "steps", "popular", "pairs:item", "covisited", "similar", "content"):
        assert dict(killed.scan(table)) == dict(whole.scan(table)), table
    killed.close()


def _until_done(following: Follower, limit: int = 5) -> None:
    while following.step(limit):
        pass
