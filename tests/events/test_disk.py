"""What both disks promise, and how the one in memory fails."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from events.disk import Disk, LocalDisk
from events.errors import DiskFull, NotFound, SyncFailed
from events.memory_disk import Crashed, MemoryDisk


@pytest.fixture(params=["local", "memory"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return LocalDisk(tmp_path) if request.param == "local" else MemoryDisk()


def test_what_was_appended_and_overwritten_is_read_back(disk: Disk) -> None:
    file = disk.open("a/b/file")
    file.append(b"hello ")
    file.append(b"world")
    file.write(0, b"J")
    file.write(13, b"!")
    file.sync()
    assert file.size() == 14
    assert file.read(0, 100) == b"Jello world\0\0!"
    assert file.read(6, 5) == b"world"
    assert file.read(14, 1) == b""
    file.truncate(5)
    assert disk.open("a/b/file").read(0, 100) == b"Jello"
    file.close()


def test_a_file_opened_for_reading_is_never_made(disk: Disk) -> None:
    with pytest.raises(NotFound, match="a/b"):
        disk.open("a/b", "read")
    assert disk.list("a") == []
    assert disk.list("") == []


def test_names_are_listed_in_order(disk: Disk) -> None:
    for name in ("b", "c", "a"):
        disk.open(f"folder/{name}").close()
    assert disk.list("folder") == ["a", "b", "c"]
    assert disk.list("") == ["folder"]
    assert disk.list("elsewhere") == []


def test_a_rename_replaces_and_an_open_file_outlives_it(disk: Disk) -> None:
    old, new = disk.open("old"), disk.open("new")
    old.append(b"old")
    new.append(b"new")
    disk.rename("old", "new")
    assert disk.list("") == ["new"]
    assert disk.open("new", "read").read(0, 9) == b"old"
    assert new.read(0, 9) == b"new"
    with pytest.raises(NotFound):
        disk.rename("old", "newer")


def test_removing_what_is_gone_is_no_error(disk: Disk) -> None:
    disk.open("a").close()
    disk.remove("a")
    disk.remove("a")
    assert disk.list("") == []


def test_free_space_is_told(disk: Disk) -> None:
    assert disk.free() > 0


def test_files_of_the_local_disk_are_their_owners_alone(tmp_path: Path) -> None:
    LocalDisk(tmp_path).open("secret").close()
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_a_full_disk_takes_nothing_of_a_write_that_does_not_fit() -> None:
    disk = MemoryDisk(capacity=10)
    file = disk.open("a")
    file.append(b"12345678")
    with pytest.raises(DiskFull, match="a"):
        file.append(b"123")
    assert file.read(0, 20) == b"12345678"
    file.write(0, b"in place")
    disk.remove("a")
    assert disk.free() == 10


def test_synced_bytes_survive_every_power_loss_and_others_are_lost_torn_or_kept() -> None:
    fates = set()
    for seed in range(200):
        disk = MemoryDisk()
        file = disk.open("a.tmp")
        file.append(b"s" * 32)
        file.sync()
        disk.rename("a.tmp", "a")
        file.append(b"u" * 32)
        disk.crash(Random(seed))
        data = disk.open("a").read(0, 100)
        assert data[:32] == b"s" * 32
        fates.add(data[32:])
        with pytest.raises(Crashed):
            file.append(b"x")
    assert {b"", b"u" * 32} < fates
    assert any(0 < fate.count(b"u") < 32 for fate in fates), "some were torn"


def test_an_aligned_word_is_never_torn() -> None:
    for seed in range(100):
        disk = MemoryDisk()
        disk.open("w.tmp").write(0, b"old word")
        disk.open("w.tmp").sync()
        disk.rename("w.tmp", "w")
        disk.open("w").write(0, b"new word")
        disk.crash(Random(seed))
        assert disk.open("w").read(0, 99) in {b"old word", b"new word"}


def test_a_new_name_may_be_lost_until_a_rename_made_it_durable() -> None:
    kept = set()
    for seed in range(50):
        disk = MemoryDisk()
        disk.open("made").sync()
        disk.open("renamed.tmp")
        disk.rename("renamed.tmp", "renamed")
        disk.remove("renamed")
        disk.open("later")
        disk.crash(Random(seed))
        kept.add(tuple(disk.list("")))
    assert kept == {("made", "renamed"), ("made",), ("later", "made")}, "in the order they were made"


def test_an_interrupted_rename_leaves_either_name() -> None:
    seen = set()
    for seed in range(40):
        for step in (1, 2, 3):
            disk = MemoryDisk()
            disk.open("a.tmp").append(b"1")
            disk.open("a.tmp").sync()
            disk.rename("a.tmp", "a")
            disk.open("a.tmp").append(b"2")
            disk.open("a.tmp").sync()
            disk.crash_after(step)
            with pytest.raises(Crashed):
                disk.rename("a.tmp", "a")
            disk.crash(Random(seed))
            assert disk.open("a", "read").read(0, 1) in {b"1", b"2"}
            seen.add(disk.open("a", "read").read(0, 1))
    assert seen == {b"1", b"2"}


def test_a_sync_that_failed_makes_the_bytes_look_clean_without_being_durable() -> None:
    disk = MemoryDisk()
    file = disk.open("a.tmp")
    disk.rename("a.tmp", "a")
    file.append(b"lost")
    disk.fail_sync_after(0)
    with pytest.raises(SyncFailed):
        file.sync()
    file.sync()
    assert file.read(0, 9) == b"lost"
    disk.crash()
    assert disk.open("a").read(0, 9) == b""


def test_a_process_that_dies_alone_loses_nothing_it_wrote() -> None:
    disk = MemoryDisk()
    file = disk.open("a")
    file.append(b"kept")
    disk.crash_after(1)
    for _ in range(2):
        with pytest.raises(Crashed):
            file.append(b"not begun")
    with pytest.raises(Crashed):
        disk.open("a")
    disk.kill()
    assert disk.open("a").read(0, 99) == b"kept"
