"""The segment log keeps the contract on both disks, rolls, trims, refuses and follows."""

from __future__ import annotations

import resource
from pathlib import Path
from threading import Thread

import pytest
from log_contract import LogContract, record, records

from events.disk import Disk, LocalDisk
from events.epoch import take
from events.errors import DiskFull, NotFound, NotOwner, SyncFailed
from events.log import Log, LogReader, scan
from events.memory_disk import MemoryDisk
from events.segment import parse_name
from events.segment_log import SegmentLog, SegmentLogReader, SegmentSettings

SMALL = SegmentSettings(segment_bytes=2_000, floor_bytes=0, merge_bytes=0, spare=False)
"""A few batches to a segment, and nothing in the background."""


def opened(disk: Disk, settings: SegmentSettings = SMALL) -> SegmentLog:
    return SegmentLog(disk, "p0", take(disk, "p0"), settings)


def reading(disk: Disk) -> SegmentLogReader:
    return SegmentLogReader("p0", disk)


def segments(disk: Disk) -> list[str]:
    return [name for name in disk.list("p0/log") if parse_name(name)]


def filled(disk: Disk, stop: int, settings: SegmentSettings = SMALL) -> SegmentLog:
    log = opened(disk, settings)
    for first in range(0, stop, 5):
        log.append(records(first, min(first + 5, stop)))
    return log


def append_until_refused(log: SegmentLog) -> None:
    while True:
        end = log.bounds()[1]
        log.append(records(end, end + 5))


class TestOnTheLocalDisk(LogContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Log:
        self.folder = tmp_path / "p0"
        return opened(LocalDisk(tmp_path))

    def reader(self, log: Log) -> LogReader:
        return SegmentLogReader(self.folder)


class TestOnTheMemoryDisk(LogContract):
    @pytest.fixture
    def log(self) -> Log:
        self.disk = MemoryDisk()
        return opened(self.disk)

    def reader(self, log: Log) -> LogReader:
        return reading(self.disk)


class TestWithOneLargeSegment(LogContract):
    """Blocks are found through the sparse index instead of through many files; nothing can be trimmed."""

    @pytest.fixture
    def log(self) -> Log:
        self.disk = MemoryDisk()
        return opened(self.disk, SegmentSettings(floor_bytes=0, cache_bytes=0, spare=False))

    def reader(self, log: Log) -> LogReader:
        return reading(self.disk)

    def test_trimming_drops_only_what_lies_below(self, log: Log) -> None:
        log.append(records(0, 5))
        assert log.trim(3) == 0

    @pytest.mark.parametrize("size", [1, 7, 400])
    def test_every_record_is_found_among_many_blocks(self, log: Log, size: int) -> None:
        for first in range(0, 2_000, size):
            log.append(records(first, min(first + size, 2_000)))
        reader = self.reader(log)
        for lsn in [*range(0, 2_000, 37), 1_999]:
            assert reader.get(lsn).lsn == lsn
            assert log.get(lsn).lsn == lsn
        assert list(scan(reader, 0, chunk=300)) == records(0, 2_000)


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


def test_a_log_rolls_into_new_segments_by_size(disk: MemoryDisk) -> None:
    filled(disk, 100)
    assert len(segments(disk)) > 3


def test_a_reader_follows_the_writer_through_every_roll(disk: MemoryDisk) -> None:
    log = opened(disk)
    reader = reading(disk)
    for lsn in range(300):
        log.append([record(lsn)])
        assert reader.bounds() == (0, lsn + 1)
        assert reader.get(lsn) == record(lsn)
    assert list(scan(reader, 0)) == [record(lsn) for lsn in range(300)]


def test_a_cold_reader_of_a_left_segment_reads_its_index_and_one_block(tmp_path: Path) -> None:
    disk = LocalDisk(tmp_path)
    log = opened(disk, SegmentSettings(segment_bytes=400_000, floor_bytes=0, spare=False))
    for first in range(0, 4_000, 10):
        log.append(records(first, first + 10))
    sealed = tmp_path / "p0" / "log" / segments(disk)[0]
    cold = reading(disk)
    cold.bounds()
    sealed.chmod(0o600)
    data = bytearray(sealed.read_bytes())
    data[300_000:310_000] = bytes(10_000)
    sealed.write_bytes(data)
    assert cold.get(17) == records(17, 18)[0], "what lies outside the block need not even be readable"


def test_a_left_segment_without_its_index_is_walked_instead(tmp_path: Path) -> None:
    disk = LocalDisk(tmp_path)
    filled(disk, 200)
    for name in segments(disk)[:-1]:
        path = tmp_path / "p0" / "log" / name
        path.write_bytes(path.read_bytes()[:-9])
    assert list(scan(reading(disk), 0)) == records(0, 200)


def test_a_reader_creates_nothing(tmp_path: Path) -> None:
    reader = SegmentLogReader(tmp_path / "nowhere")
    assert reader.bounds() == (0, 0)
    assert list(reader.read(0, 5)) == []
    with pytest.raises(NotFound):
        reader.get(0)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_opened_before_the_first_owner_sees_its_records(disk: MemoryDisk) -> None:
    reader = reading(disk)
    assert reader.bounds() == (0, 0)
    opened(disk).append(records(0, 3))
    assert list(reader.read(0, 5)) == records(0, 3)


def test_a_reader_never_sees_past_the_durable_watermark(disk: MemoryDisk) -> None:
    log = opened(disk)
    reader = reading(disk)
    log.append(records(0, 2))
    log.append(records(2, 5), "os")
    assert log.bounds() == (0, 5)
    assert reader.bounds() == (0, 2)
    assert list(reader.read(0, 10)) == records(0, 2)
    with pytest.raises(NotFound):
        reader.get(2)
    log.append([])
    assert reader.bounds() == (0, 5)


def test_closing_makes_durable_what_was_handed_to_the_system(disk: MemoryDisk) -> None:
    log = opened(disk)
    log.append(records(0, 4), "os")
    log.close()
    disk.crash()
    assert list(scan(opened(disk), 0)) == records(0, 4)


def test_a_closed_log_takes_no_more(disk: MemoryDisk) -> None:
    log = opened(disk)
    log.append(records(0, 1))
    log.close()
    log.close()
    with pytest.raises(NotOwner, match="closed"):
        log.append(records(1, 2))


def test_appends_are_refused_below_the_floor_before_anything_is_touched(disk: MemoryDisk) -> None:
    log = opened(disk, SegmentSettings(floor_bytes=10_000, spare=False))
    log.append(records(0, 2))
    disk.capacity = 9_000
    steps = disk.steps
    with pytest.raises(DiskFull, match="free some space"):
        log.append(records(2, 4))
    assert disk.steps == steps
    assert list(scan(reading(disk), 0)) == records(0, 2)
    disk.capacity = None
    log.append(records(2, 4))
    assert list(scan(reading(disk), 0)) == records(0, 4)


def test_a_write_that_comes_up_short_leaves_the_log_at_its_last_batch(disk: MemoryDisk) -> None:
    log = filled(disk, 12)
    disk.capacity = 1 << 20
    disk.capacity -= disk.free() - 100
    for _ in range(3):
        with pytest.raises(DiskFull):
            log.append([record(12, b"x" * 300)])
    assert log.bounds() == (0, 12)
    disk.capacity = None
    log.append(records(12, 14))
    disk.kill()
    assert list(scan(opened(disk), 0)) == records(0, 14)


def test_a_disk_that_fills_up_while_rolling_refuses_and_later_goes_on(disk: MemoryDisk) -> None:
    log = filled(disk, 50)
    for room in range(0, 600, 25):
        end = log.bounds()[1]
        disk.capacity = 1 << 20
        disk.capacity -= disk.free() - room
        with pytest.raises(DiskFull):
            append_until_refused(log)
        assert log.bounds()[1] >= end
        assert not [name for name in disk.list("p0/log") if name.endswith(".tmp")]
        disk.capacity = None
        log.append(records(log.bounds()[1], log.bounds()[1] + 5))
    end = log.bounds()[1]
    assert end > 100
    assert list(scan(reading(disk), 0)) == list(scan(log, 0))
    disk.kill()
    assert [r.lsn for r in scan(opened(disk), 0)] == list(range(end))


def test_after_a_failed_sync_nothing_is_ever_appended_again(disk: MemoryDisk) -> None:
    log = filled(disk, 10)
    disk.fail_sync_after(0)
    for _ in range(3):
        with pytest.raises(SyncFailed):
            log.append(records(10, 15))
    assert log.bounds() == (0, 10)
    assert list(scan(log, 0)) == records(0, 10)
    assert reading(disk).bounds() == (0, 10)
    log.close()


def test_an_append_that_fails_for_any_reason_after_its_write_is_the_last(disk: MemoryDisk) -> None:
    log = filled(disk, 10)
    disk.open("p0/epoch").write(0, b"?")
    with pytest.raises(SyncFailed, match="epoch"):
        log.append(records(10, 15))
    disk.open("p0/epoch").write(0, b"1")
    with pytest.raises(SyncFailed, match="epoch"):
        log.append(records(10, 15))
    assert log.bounds() == (0, 10)


def test_bytes_of_a_failed_sync_are_not_taken_for_durable_by_the_next_owner(disk: MemoryDisk) -> None:
    log = filled(disk, 10)
    disk.fail_sync_after(0)
    with pytest.raises(SyncFailed):
        log.append(records(10, 15))
    disk.kill()
    again = opened(disk)
    found = list(scan(reading(disk), 0))
    assert found == records(0, 15), "they are whole in the page cache, so they are written anew and synced"
    disk.crash()
    assert list(scan(opened(disk), 0)) == found
    assert again is not log


def test_a_real_write_that_comes_up_short_is_cut_back_to_the_last_batch(tmp_path: Path) -> None:
    disk = LocalDisk(tmp_path)
    log = opened(disk, SegmentSettings(floor_bytes=0, spare=False))
    log.append(records(0, 5))
    path = tmp_path / "p0" / "log" / segments(disk)[0]
    size = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 1_000, hard))
    try:
        with pytest.raises(DiskFull, match=path.name):
            log.append([record(5, b"x" * 5_000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.stat().st_size == size
    log.append(records(5, 9))
    assert list(scan(reading(disk), 0)) == records(0, 9)


def test_the_real_disk_names_the_file_it_has_no_space_for(tmp_path: Path) -> None:
    full = LocalDisk(Path("/dev")).open("full")
    with pytest.raises(DiskFull, match="/dev/full"):
        full.append(b"x")
    full.close()


def test_the_next_segment_is_made_ahead_and_used(tmp_path: Path) -> None:
    disk = LocalDisk(tmp_path)
    log = opened(disk, SegmentSettings(segment_bytes=1 << 20, floor_bytes=0))
    payload = b"x" * 10_000
    lsn = 0
    while len(segments(disk)) == 1:
        log.append([record(lsn, payload)])
        lsn += 1
        if log.spare is not None:
            log.spare.wait()
    newest = tmp_path / "p0" / "log" / segments(disk)[-1]
    assert newest.stat().st_size == 1 << 20
    log.append([record(lsn, payload)])
    assert list(scan(reading(disk), 0)) == [record(number, payload) for number in range(lsn + 1)]
    log.close()
    assert newest.stat().st_size < 1 << 16, "a clean close gives back the space"
    assert disk.list("p0/log") == segments(disk), "and leaves nothing lying about"


def test_records_are_read_while_another_thread_appends(tmp_path: Path) -> None:
    log = opened(
        LocalDisk(tmp_path), SegmentSettings(segment_bytes=20_000, floor_bytes=0, cache_bytes=5_000, spare=False)
    )
    log.append(records(0, 10))

    def write() -> None:
        for first in range(10, 3_000, 10):
            log.append(records(first, first + 10), "os")

    writer = Thread(target=write)
    writer.start()
    checked = 0
    while writer.is_alive() or checked == 0:
        end = log.bounds()[1]
        assert [r.lsn for r in log.read(max(0, end - 50), 50)] == list(range(max(0, end - 50), end))
        assert log.get(checked % end).lsn == checked % end
        checked += 97
    writer.join()
    assert list(scan(log, 0)) == records(0, 3_000)
