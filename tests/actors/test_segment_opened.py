"""The segment follower over a data folder: reopened, restored, with other partitions; nobody is told twice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from partition_world import NOW, fact_id
from segment_world import HOUR

from actors.backup import backup, restore
from actors.lmdb_state import LmdbReader
from actors.outbox import Settled
from actors.recovery import Opening, OwnedPartition
from actors.repartition import repartition
from actors.segment_definition import SEGMENTS_KEY
from actors.segment_opened import OpenedSegments
from actors.segment_reader import SegmentActors
from actors.segment_tables import FOLDER
from actors.store import Store
from actors.working_set import PROFILES
from events.clock import ManualClock
from events.ids import Key, Micros, PartitionId, key_hash, user_key
from events.log import scan
from events.payload import encode, type_of
from events.record import Draft
from events.types import Event, Interaction, Line, Meta, SegmentDefined

USERS = [f"u{number}" for number in range(12)]
LATER = NOW + HOUR * 1000


class Shop:
    """A store whose partitions are open, and its segment follower."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = ManualClock(Micros(NOW))
        opening = Opening(store.secrets, self.clock)
        self.owned = {number: OwnedPartition(store.folder(number), number, opening) for number in store.numbers()}
        self.follower = OpenedSegments(store)

    def say(self, key: Key, number: int, event: Event) -> None:
        name, version = type_of(event)
        user = key[2:] if key[0] == "u" else ""
        draft = Draft(key, fact_id(number), NOW // 1000, name, version, encode(Meta(user_id=user), event))
        self.owned[self.store.partition(key)].partition.append([draft])

    def append(self, target: int, drafts: Sequence[Draft]) -> Sequence[Settled]:
        return self.owned[PartitionId(target)].partition.append(drafts)

    def settle(self, now: int = NOW) -> None:
        self.clock.at = Micros(now)
        while self.follower.step(now) or self.follower.send(self.append):
            pass

    def members(self, name: str) -> set[str]:
        """The users in a segment, as its actor says."""
        actors = SegmentActors(LmdbReader(self.store.path / FOLDER), len(self.owned))
        held = {member.name for member in actors.actor(name).members()}
        return {user for user in USERS if key_hash(self.store.secrets.key_hash, user_key(user)) in held}

    def told(self) -> int:
        """How many transitions are in the logs."""
        logs = [owned.log for owned in self.owned.values()]
        return sum(record.type == "segment_changed" for log in logs for record in scan(log, 0))

    def profiles(self) -> int:
        return sum(1 for owned in self.owned.values() for _ in owned.state.scan(PROFILES))

    def close(self) -> None:
        self.follower.close()
        for owned in self.owned.values():
            owned.close()


@contextmanager
def opened(store: Store) -> Iterator[Shop]:
    shop = Shop(store)
    try:
        yield shop
    finally:
        shop.close()


def filled(path: Path) -> Store:
    """Twelve users, every other one a buyer, all told which segments they are in."""
    store = Store.create(path, 2, NOW // 1000, pinned=("u:u3",))
    with opened(store) as shop:
        shop.say(SEGMENTS_KEY, 1, SegmentDefined("lookers", "did(view)"))
        shop.say(SEGMENTS_KEY, 2, SegmentDefined("buyers", "did(purchase)"))
        shop.settle()
        for number, user in enumerate(USERS):
            shop.say(user_key(user), 10 + number, Interaction("view", (Line("tea", "Drinks"),)))
            if number % 2:
                shop.say(user_key(user), 100 + number, Interaction("purchase", (Line("tea", "Drinks"),)))
        shop.settle()
        check(shop)
    return store


def check(shop: Shop) -> None:
    shop.settle(LATER)
    assert shop.members("lookers") == set(USERS)
    assert shop.members("buyers") == set(USERS[1::2])
    assert shop.told() == 18
    assert shop.profiles() == 12


def test_a_state_is_gone_on_with_where_it_was_left(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    with opened(store) as shop:
        check(shop)
        shop.say(user_key("u0"), 500, Interaction("purchase", (Line("tea", "Drinks"),)))
        shop.settle(LATER)
        assert shop.members("buyers") == {"u0", *USERS[1::2]}
        assert shop.told() == 19


def test_a_state_that_is_lost_is_made_anew_from_the_profiles_and_nobody_is_told_twice(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    shutil.rmtree(store.path / FOLDER)
    with opened(store) as shop:
        check(shop)


def test_a_restored_backup_tells_nobody_twice(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    backup(store, tmp_path / "backup")
    with opened(restore(tmp_path / "backup", tmp_path / "again", store.path / "master.key")) as shop:
        check(shop)


def test_another_number_of_partitions_tells_nobody_twice(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    again, _ = repartition(store, tmp_path / "again", 3)
    with opened(again) as shop:
        check(shop)


def test_a_pinned_key_gets_its_transitions_in_a_partition_of_its_own(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    with opened(store) as shop:
        own = shop.owned[store.partition(user_key("u3"))]
        assert [record.seq for record in scan(own.log, 0) if record.type == "segment_changed"] == [1, 2]
