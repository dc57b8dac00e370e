from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace
from partition_world import view
from reader_contract import hosted
from store_world import made, opening, sent

from actors.backup import backup, restore
from actors.checkpoints import Checkpoints
from actors.lmdb_state import LmdbState
from actors.profile import EMPTY, decode, digest, encode
from actors.reader import LocalProfiles, PartitionFiles
from actors.recovery import OwnedPartition
from actors.repartition import repartition
from actors.store import Store
from actors.verify import verify
from events.errors import Conflict, Held, KeyMissing, NotFound
from events.ids import PartitionId, user_key
from events.log import scan
from events.segment_log import SegmentSettings

P0 = PartitionId(0)
USERS = [f"user-{number}" for number in range(12)]
NO_FLOOR = SegmentSettings(floor_bytes=0, spare=False)


def lived(path: Path, partitions: int = 2) -> Store:
    """A store with a life behind it: two starts, an erasure, items, duplicates."""
    store = made(path, partitions)

    async def life(start: int) -> None:
        async with hosted(store) as host:
            await sent(host, [view(USERS[n % 12], n, item=f"item-{n % 5}") for n in range(start, start + 60)])
            if not start:
                await host.erase(user_key("user-5"))

    asyncio.run(life(0))
    asyncio.run(life(50))
    return store


def profiles(store: Store) -> dict[str, bytes]:
    """Profiles without what names their place in a log."""
    reader = LocalProfiles(store)
    read = {user: reader.read(user_key(user)).profile or EMPTY for user in USERS}
    return {user: digest(replace(profile, subject=b"", lsn=0)) for user, profile in read.items()}


def opened(store: Store) -> None:
    for number in store.numbers():
        OwnedPartition(store.folder(number), number, opening(store)).close()


def test_a_stopped_store_agrees_with_its_log(tmp_path: Path) -> None:
    store = lived(tmp_path / "store")
    results = [verify(store, number, tmp_path / "scratch") for number in store.numbers()]
    assert all(result.equal for result in results)
    assert sum(result.actors for result in results) == 12
    assert sum(result.records for result in results) == 111
    assert sum(result.skipped for result in results) == 5
    assert not (tmp_path / "scratch").exists()


def test_a_running_store_is_verified_beside_its_host(tmp_path: Path) -> None:
    async def scene() -> None:
        store = made(tmp_path / "store", 1)
        async with hosted(store) as host:
            await sent(host, [view("ann", number) for number in range(50)])
            writes = asyncio.gather(*(sent(host, [view("ann", 100 + number)]) for number in range(50)))
            result = await asyncio.to_thread(verify, store, P0, tmp_path / "scratch")
            await writes
            assert result.equal
            assert result.records >= 50

    asyncio.run(scene())


def test_a_state_that_differs_from_the_log_is_found_and_named(tmp_path: Path) -> None:
    store = lived(tmp_path / "store", 1)
    state = LmdbState(store.folder(P0) / "state")
    rows = list(state.scan("profiles"))
    changed = decode(rows[3][1])
    state.commit([("profiles", rows[3][0], encode(replace(changed, version=changed.version + 1)))])
    state.commit([("profiles", rows[7][0], None)])
    state.close()
    result = verify(store, P0, tmp_path / "scratch")
    assert not result.equal
    assert result.differing == tuple((b"profiles" + rows[n][0]).hex() for n in (3, 7))


@pytest.mark.parametrize("partitions", [1, 3, 5])
def test_repartitioning_keeps_every_profile_and_forgets_the_erased(tmp_path: Path, partitions: int) -> None:
    old = lived(tmp_path / "old")
    new, moved = repartition(old, tmp_path / "new", partitions, settings=NO_FLOOR)
    assert (moved.records, moved.skipped) == (105, 6)
    opened(new)
    assert profiles(new) == profiles(old)
    assert all(verify(new, number, tmp_path / "scratch").equal for number in new.numbers())
    assert new.manifest.store_id == old.manifest.store_id
    for number in new.numbers():
        files = PartitionFiles(new.folder(number), number, new)
        appended = [record.appended for record in scan(files.log, 0)]
        assert appended == sorted(set(appended))
        assert {record.subject for record in scan(files.log, 0)} == {s for _, s in files.vault.entries(0)}


def test_after_repartitioning_facts_still_count_once_and_history_is_whole(tmp_path: Path) -> None:
    old = lived(tmp_path / "old")
    new, _ = repartition(old, tmp_path / "new", 3, settings=NO_FLOOR)

    async def scene() -> None:
        async with hosted(new) as host:
            again = await sent(host, [view(USERS[n % 12], n) for n in range(110) if n % 12 != 5])
            assert {each.status for each in again} == {"duplicate"}
            files = PartitionFiles(
                new.folder(new.partition(user_key("user-3"))), new.partition(user_key("user-3")), new
            )
            told = files.history.events(user_key("user-3"), 99)
            assert [each.payload.meta.message_id for each in told] == [str(n) for n in range(109, 0, -1) if n % 12 == 3]

    asyncio.run(scene())


def test_a_running_store_is_not_repartitioned(tmp_path: Path) -> None:
    store = made(tmp_path / "store", 1)
    owner = OwnedPartition(store.folder(P0), P0, opening(store))
    with pytest.raises(Held):
        repartition(store, tmp_path / "new", 2)
    owner.close()


def test_a_backup_taken_from_a_running_host_restores_to_the_same_store(tmp_path: Path) -> None:
    async def scene() -> None:
        store = made(tmp_path / "store")
        (tmp_path / "store" / "keys.toml").write_text("write_key = 'w'\n")
        async with hosted(store) as host:
            await sent(host, [view(USERS[n % 12], n) for n in range(40)])
            await host.checkpoint()
            await sent(host, [view(USERS[n % 12], n) for n in range(40, 90)])
            await host.erase(user_key("user-5"))
            copied = await asyncio.to_thread(backup, store, tmp_path / "backup")
            assert (copied.records, copied.subjects) == (91, 12)
        restored = restore(tmp_path / "backup", tmp_path / "restored", tmp_path / "store" / "master.key")
        assert all(Checkpoints(restored.folder(n) / "checkpoints").newest() for n in restored.numbers())
        opened(restored)
        assert profiles(restored) == profiles(store)
        assert all(verify(restored, number, tmp_path / "scratch").equal for number in restored.numbers())
        assert (tmp_path / "restored" / "keys.toml").read_text() == "write_key = 'w'\n"
        async with hosted(restored) as host:
            assert (await sent(host, [view("user-1", 1)]))[0].status == "duplicate"

    asyncio.run(scene())


def test_an_erasure_while_the_backup_is_taken_is_in_it_or_all_of_it_is(tmp_path: Path) -> None:
    store = made(tmp_path / "store", 1)
    owner = OwnedPartition(store.folder(P0), P0, opening(store))
    owner.partition.append([view(user, number) for number, user in enumerate(USERS)])

    def erase_once(records: int) -> None:
        owner.partition.erase(user_key("user-5"))

    backup(store, tmp_path / "backup", beat=erase_once)
    restored = restore(tmp_path / "backup", tmp_path / "restored", tmp_path / "store" / "master.key")
    again = OwnedPartition(restored.folder(P0), P0, opening(restored))
    assert again.partition.append([view("user-1", 1)])[0].status == "duplicate"
    assert again.partition.stopped is None
    again.close()
    owner.close()
    assert profiles(restored) == profiles(store)


def test_restoring_without_the_key_file_leaves_nothing_behind(tmp_path: Path) -> None:
    backup(lived(tmp_path / "store"), tmp_path / "backup")
    with pytest.raises(NotFound, match="master key"):
        restore(tmp_path / "backup", tmp_path / "restored", tmp_path / "mislaid.key")
    assert not (tmp_path / "restored").exists()


def test_a_backup_holds_no_master_key_and_is_useless_with_another(tmp_path: Path) -> None:
    store = lived(tmp_path / "store")
    backup(store, tmp_path / "backup")
    secret = (tmp_path / "store" / "master.key").read_bytes()
    copied = [path for path in (tmp_path / "backup").rglob("*") if path.is_file()]
    assert copied
    assert not any(secret in path.read_bytes() for path in copied)
    (tmp_path / "other.key").write_bytes(bytes(32))
    with pytest.raises(KeyMissing):
        restore(tmp_path / "backup", tmp_path / "restored", tmp_path / "other.key")
    assert not (tmp_path / "restored").exists()


def test_a_backup_goes_into_an_empty_folder_and_is_whole_or_none(tmp_path: Path) -> None:
    store = lived(tmp_path / "store")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    with pytest.raises(Conflict, match="not empty"):
        backup(store, tmp_path / "full")
    backup(store, tmp_path / "backup")
    with pytest.raises(Conflict, match="not empty"):
        restore(tmp_path / "backup", tmp_path / "full", tmp_path / "store" / "master.key")
    (tmp_path / "backup" / "manifest.json").unlink()
    with pytest.raises(NotFound, match="no whole backup"):
        restore(tmp_path / "backup", tmp_path / "restored", tmp_path / "store" / "master.key")
