from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from item_source_contract import CATALOGUE, ItemSourceContract, World
from partition_stream import Stream

from actors.catalogue import CHANGES_KEPT
from actors.follower import Fact, Follower, Source
from actors.item_reader import FOLDER, LocalItems, MemoryItems
from actors.items import ItemProjection
from actors.lmdb_state import LmdbState
from events.errors import Unavailable


def catch_up(follower: Follower) -> None:
    while follower.step():
        pass


class Process:
    """The item follower's process: its store in a data folder."""

    def __init__(self, data: Path, generation: int = 1) -> None:
        self.state = LmdbState(data / FOLDER)
        self._generation = generation
        self._follower: Follower | None = None

    def fold(self, stream: Stream) -> None:
        if self._follower is None:
            source: Source = stream.source()
            self._follower = Follower(
                "items", [source], self.state, lambda store: ItemProjection(store, self._generation)
            )
        catch_up(self._follower)


class TestMemoryItems(ItemSourceContract):
    @pytest.fixture
    def world(self) -> World:
        items = MemoryItems()
        return World(items, lambda stream: items.fold(facts_from(stream, items.applied(0))))


class TestLocalItems(ItemSourceContract):
    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[World]:
        process = Process(tmp_path)
        yield World(LocalItems(tmp_path), process.fold)
        process.state.close()


def facts_from(stream: Stream, start: int) -> list[Fact]:
    source = stream.source()
    records = stream.log.read(start, 10_000)
    opened = [(record, source.opener.payload(record)) for record in records]
    return [Fact(0, record, payload) for record, payload in opened if payload is not None]


def test_without_a_follower_s_state_there_is_nothing_to_read_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        LocalItems(tmp_path).snapshot()
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_slept_through_the_whole_change_list_reads_anew(tmp_path: Path) -> None:
    process = Process(tmp_path)
    world = World(LocalItems(tmp_path), process.fold)
    for item in CATALOGUE:
        world.upsert(item)
    before = world.fold()
    for number in range(CHANGES_KEPT + 5):
        world.upsert("tea", price=float(number))
        world.upsert(f"item{number}", hidden=number % 2 == 0)
        process.fold(world.stream)
    after = world.items.snapshot()
    assert before.size == 5
    assert after.size == 5 + CHANGES_KEPT + 5
    assert after.blocked[5:].tolist() == [number % 2 == 0 for number in range(CHANGES_KEPT + 5)]
    assert after.index("item7") == 12
    process.state.close()


def test_a_store_made_anew_may_number_its_items_otherwise(tmp_path: Path) -> None:
    first, again = Process(tmp_path, generation=1), Stream()
    world = World(LocalItems(tmp_path), first.fold)
    for item in CATALOGUE:
        world.upsert(item)
    old = world.fold()
    tables = ["names", "entries", "shown", "items", "changed", "categories", "groups", "terms", "exposure"]
    first.state.commit([], emptied=tables)
    second = Follower("anew", [_renamed(again.source())], first.state, lambda store: ItemProjection(store, 2))
    for item in reversed(CATALOGUE):
        World.upsert(_over(again), item)
    catch_up(second)
    new = world.items.snapshot()
    assert list(new.ids) == list(reversed(CATALOGUE))
    assert list(old.ids) == list(CATALOGUE)
    first.state.close()


def _renamed(source: Source) -> Source:
    return Source(5, source.log, source.opener)


def _over(stream: Stream) -> World:
    world = World(MemoryItems(), lambda _: None)
    world.stream = stream
    return world


READER = """
import json, sys
from pathlib import Path
from actors.item_reader import LocalItems
items = LocalItems(Path(sys.argv[1]))
for _ in sys.stdin:
    view = items.snapshot()
    blocked = [view.ids[idx] for idx in range(view.size) if view.blocked[idx]]
    goes = [view.ids[idx] for idx in view.covisited((view.index("nachos"),), 64)[0][0].tolist()]
    print(json.dumps([view.size, blocked, goes, items.applied(0)]), flush=True)
"""


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", READER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0


def asked(reader: subprocess.Popen[str]) -> list[object]:
    assert reader.stdin is not None
    assert reader.stdout is not None
    reader.stdin.write("\n")
    reader.stdin.flush()
    answer: list[object] = json.loads(reader.stdout.readline())
    return answer


def test_another_process_sees_every_commit_at_once(tmp_path: Path, reader: subprocess.Popen[str]) -> None:
    process = Process(tmp_path)
    world = World(LocalItems(tmp_path), process.fold)
    for item in CATALOGUE:
        world.upsert(item)
    world.fold()
    assert asked(reader) == [5, [], [], 5]
    world.bought("nachos", "salsa")
    world.upsert("tea", hidden=True)
    world.fold()
    assert asked(reader) == [5, ["tea"], ["salsa"], 7]
    world.upsert("tea")
    world.upsert("mug", stock=0)
    world.fold()
    assert asked(reader) == [6, ["mug"], ["salsa"], 9]
    process.state.close()
