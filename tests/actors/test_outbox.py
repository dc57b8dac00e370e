from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pytest
from crashing_state import Crash, CrashingState
from partition_stream import NOW, Stream
from partition_world import World

from actors.directory import Directory
from actors.follower import Fact, Folded, Follower
from actors.outbox import Outbox
from actors.partition import Outcome, Partition
from actors.state import Change, MemoryState, StateReader, StateStore
from events.errors import EverfoldError, Unavailable
from events.ids import Key
from events.payload import encode, type_of
from events.record import Draft
from events.types import Meta, Tracked

FOLLOWER = "segments"


class Echo:
    """Writes one fact back for every fact it reads."""

    def __init__(self, store: StateReader) -> None:
        pass

    def apply(self, facts: Sequence[Fact]) -> Folded:
        return Folded([], [echo(fact.record.lsn) for fact in facts])

    def tidy(self) -> list[Change]:
        return []


def echo(lsn: int) -> Draft:
    event = Tracked(f"s{lsn}")
    name, version = type_of(event)
    return Draft(f"u:{lsn}", lsn.to_bytes(16, "big"), NOW, name, version, encode(Meta(), event))


def following(stream: Stream, store: StateStore) -> tuple[Follower, Outbox]:
    outbox = Outbox(FOLLOWER, store, lambda key: 0)
    return Follower(FOLLOWER, [stream.source()], store, Echo, outbox), outbox


@pytest.fixture
def stream() -> Stream:
    stream = Stream()
    for _ in range(8):
        stream.add("u:1", Tracked("thing"))
    return stream


class Target:
    """A partition that can be told to fail before or after it appended."""

    def __init__(self) -> None:
        self.world = World()
        self.partition: Partition = self.world.opened()
        self.fail_before = self.fail_after = 0

    def append(self, partition: int, drafts: Sequence[Draft]) -> list[Outcome]:
        if self.fail_before:
            self.fail_before -= 1
            raise Unavailable("busy: try again")
        outcomes = self.partition.append(drafts)
        if self.fail_after:
            self.fail_after -= 1
            raise Unavailable("the answer was lost: try again")
        return outcomes

    def landed(self) -> list[tuple[str, int]]:
        return [(record.producer, record.seq) for record in self.world.records()]


def test_facts_land_once_and_in_order_and_leave_the_outbox(stream: Stream) -> None:
    store, target = MemoryState(), Target()
    follower, outbox = following(stream, store)
    follower.catch_up()
    assert outbox.backlog() == 8
    assert outbox.send(target.append) == 8
    assert target.landed() == [(FOLLOWER, seq) for seq in range(1, 9)]
    assert outbox.backlog() == 0
    assert outbox.send(target.append) == 0


@pytest.mark.parametrize("how", ["fail_before", "fail_after"])
def test_sending_again_lands_nothing_twice(stream: Stream, how: str) -> None:
    store, target = MemoryState(), Target()
    follower, outbox = following(stream, store)
    follower.catch_up()
    setattr(target, how, 2)
    for _ in range(2):
        with pytest.raises(Unavailable):
            outbox.send(target.append)
        assert outbox.backlog() == 8
    outbox.send(target.append)
    assert target.landed() == [(FOLLOWER, seq) for seq in range(1, 9)]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("crash_at", range(4))
def test_a_kill_around_any_commit_loses_nothing_and_lands_nothing_twice(
    stream: Stream, crash_at: int, after: bool
) -> None:
    store, target = MemoryState(), Target()
    follower, outbox = following(stream, CrashingState(store, crash_at, after))
    with suppress(Crash):
        while follower.catch_up(3) or outbox.send(target.append):
            pass
    follower, outbox = following(stream, store)
    while follower.catch_up(3):
        pass
    outbox.send(target.append)
    assert target.landed() == [(FOLLOWER, seq) for seq in range(1, 9)]
    assert outbox.backlog() == 0


def test_a_failed_commit_gives_its_numbers_back(stream: Stream) -> None:
    store, target = MemoryState(), Target()
    follower, outbox = following(stream, CrashingState(store, 0, after=False))
    with pytest.raises(Crash):
        follower.catch_up()
    follower.catch_up()
    outbox.send(target.append)
    assert target.landed() == [(FOLLOWER, seq) for seq in range(1, 9)]


def test_numbers_go_on_after_everything_was_sent(stream: Stream) -> None:
    store, target = MemoryState(), Target()
    follower, outbox = following(stream, store)
    follower.catch_up()
    outbox.send(target.append)
    stream.add("u:1", Tracked("thing"))
    follower, outbox = following(stream, store)
    follower.catch_up()
    outbox.send(target.append)
    assert target.landed()[-1] == (FOLLOWER, 9)


def test_each_fact_goes_to_the_partition_of_its_key() -> None:
    store = MemoryState()
    directory = Directory.spread(4, 1, ["u:7"])
    outbox = Outbox(FOLLOWER, store, directory.partition)
    store.commit(outbox.stage([echo(number) for number in range(40)]))
    sent: dict[int, list[Draft]] = {}

    def append(partition: int, drafts: Sequence[Draft]) -> list[Outcome]:
        sent.setdefault(partition, []).extend(drafts)
        return [Outcome("ok", 0)] * len(drafts)

    assert outbox.send(append) == 40
    assert [draft.key for draft in sent[4]] == ["u:7"]
    for partition, drafts in sent.items():
        assert {directory.partition(Key(draft.key)) for draft in drafts} == {partition}
        assert [draft.seq for draft in drafts] == list(range(1, len(drafts) + 1))


def test_a_follower_that_writes_needs_an_outbox(stream: Stream) -> None:
    with pytest.raises(EverfoldError, match="outbox"):
        Follower(FOLLOWER, [stream.source()], MemoryState(), Echo).catch_up()
