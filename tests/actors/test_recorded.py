"""Recorded batches: what is read and what time it is are committed before either happens."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import pytest
from partition_stream import NOW, Stream

from actors.follower import Fact, Folded
from actors.recorded import PLANS, PLANS_KEPT, RecordedFollower, plans
from actors.state import MemoryState, StateReader
from events.errors import EverfoldError
from events.record import Record
from events.types import Tracked

US = NOW * 1000


class Batches:
    """Keeps where every batch ended and what time it was: what must not depend on a death. Something is due every
    `EVERY` microseconds of log time."""

    EVERY = 1_000_000

    def __init__(self, store: StateReader) -> None:
        self._store = store

    def wanted(self, source: int, record: Record) -> bool:
        return record.type == "tracked"

    def apply(self, facts: Sequence[Fact], clock: int) -> Folded:
        number = sum(1 for _ in self._store.scan("batches"))
        names = " ".join(fact.payload.event.name for fact in facts if isinstance(fact.payload.event, Tracked))
        due = struct.pack(">Q", clock + self.EVERY)
        return Folded([("batches", struct.pack(">Q", number), f"{clock - US}: {names}".encode()), ("due", b"", due)])

    def due(self) -> int | None:
        row = self._store.get("due", b"")
        return None if row is None else int(struct.unpack(">Q", row)[0])

    def horizon(self) -> int | None:
        return None


def batches(store: StateReader) -> list[str]:
    return [row.decode() for _, row in store.scan("batches")]


@pytest.fixture
def streams() -> list[Stream]:
    return [Stream(0), Stream(1)]


def follower(
    streams: Sequence[Stream], store: MemoryState, steps: Callable[[str], None] = lambda step: None
) -> RecordedFollower:
    return RecordedFollower("batches", [stream.source() for stream in streams], store, Batches, steps=steps)


def add(stream: Stream, name: str, at_ms: int) -> None:
    stream.add("u:ann", Tracked(name), NOW + at_ms)


def test_facts_of_all_sources_come_in_the_order_they_were_appended(streams: list[Stream]) -> None:
    store = MemoryState()
    add(streams[0], "one", 10)
    add(streams[1], "two", 20)
    add(streams[0], "three", 30)
    follower(streams, store).step(US + 40_000)
    assert batches(store) == ["40000: one two three"]


def test_while_a_source_is_behind_time_is_that_of_its_last_record(streams: list[Stream]) -> None:
    store = MemoryState()
    for number in range(6):
        add(streams[0], f"a{number}", 10 * number)
    add(streams[1], "b0", 5)
    one = follower(streams, store)
    while one.step(US + 900_000, limit=4):
        pass
    assert batches(store) == ["10001: a0 b0 a1", "30003: a2 a3", "900000: a4 a5"]


def test_time_never_goes_back(streams: list[Stream]) -> None:
    store = MemoryState()
    one = follower(streams, store)
    add(streams[0], "one", 0)
    one.step(US + 500_000)
    add(streams[0], "two", 1)
    one.step(US + 400_000)
    assert batches(store) == ["500000: one", "500000: two"]


def test_without_facts_there_is_a_round_only_when_something_is_due(streams: list[Stream]) -> None:
    store = MemoryState()
    one = follower(streams, store)
    assert not one.step(US)
    add(streams[0], "one", 0)
    one.step(US + 1)
    assert not one.step(US + 999_999)
    assert len(batches(store)) == 1
    one.step(US + 1_000_001)
    assert batches(store)[1:] == ["1000001: "]


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", ["planned", "folded", "done"])
def test_a_plan_that_was_made_is_carried_out_as_it_was_made(streams: list[Stream], at: str) -> None:
    store = MemoryState()

    def dying(step: str) -> None:
        if step == at:
            raise Killed

    add(streams[0], "one", 0)
    with pytest.raises(Killed):
        follower(streams, store, dying).step(US + 7)
    add(streams[0], "too late", 1)
    again = follower(streams, store)
    again.step(US + 99)
    again.step(US + 99)
    assert batches(store) == ["7: one", "99: too late"]


def test_what_fails_is_tried_again_with_the_same_plan(streams: list[Stream]) -> None:
    store = MemoryState()
    add(streams[0], "one", 0)
    one = follower(streams, store)
    store.full = True
    with pytest.raises(EverfoldError):
        one.step(US + 1)
    store.full = False
    one.step(US + 2)
    assert batches(store) == ["2: one"]


def test_records_nobody_wants_are_never_opened(streams: list[Stream]) -> None:
    """Their key may be lost for good."""
    from events.types import Visited

    store = MemoryState()
    streams[0].add("u:bob", Visited())
    streams[0].lose_key("u:bob")
    add(streams[0], "one", 1)
    follower(streams, store).step(US + 2_000)
    assert batches(store) == ["2000: one"]


def test_plans_run_again_make_the_same_state(streams: list[Stream]) -> None:
    store, again = MemoryState(), MemoryState()
    one = follower(streams, store)
    for number in range(20):
        add(streams[number % 2], f"f{number}", 100 * number)
        if number % 3 == 0:
            one.step(US + 100_000 * number, limit=4)
    other = follower(streams, again)
    for plan in plans(store):
        other.replan(plan)
    assert batches(again) == batches(store)
    assert again.offsets() == store.offsets()


def test_plans_that_were_dropped_are_missed() -> None:
    store = MemoryState()
    store.commit([(PLANS, struct.pack(">Q", 5), b"\x92\x80\x00")])
    with pytest.raises(EverfoldError, match="dropped"):
        list(plans(store))


def test_only_the_latest_plans_are_kept(streams: list[Stream]) -> None:
    store = MemoryState()
    store.commit([(PLANS, struct.pack(">Q", 0), b"\x92\x80\x00")], {"plans": PLANS_KEPT})
    add(streams[0], "one", 0)
    follower(streams, store).step(US)
    assert [struct.unpack(">Q", key)[0] for key, _ in store.scan(PLANS)] == [PLANS_KEPT]


def test_a_follower_tells_how_far_it_is(streams: list[Stream]) -> None:
    store = MemoryState()
    one = follower(streams, store)
    add(streams[0], "one", 0)
    add(streams[0], "two", 0)
    assert one.lag() == 2
    one.step(US, limit=2)
    assert (one.lag(), one.clock) == (1, US)
    assert one.age_us(US + 50) == 50
    one.step(US + 9, limit=2)
    assert (one.lag(), one.age_us(US + 50)) == (0, 0)
