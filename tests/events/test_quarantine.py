"""What could not become a fact is kept, sealed, counted and bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.disk import LocalDisk
from events.epoch import take
from events.errors import Corrupt
from events.log import Log
from events.memory_disk import MemoryDisk
from events.memory_log import MemoryLog
from events.quarantine import Entry, Quarantine, QuarantineReader
from events.segment_log import SegmentLog, SegmentLogReader, SegmentSettings

KEY = bytes(range(32))


def entry(number: int, reason: str = "bad_id", size: int = 50) -> Entry:
    return Entry(1_700_000_000_000 + number, reason, f"userId {number} is empty", b"secret" * (size // 6))


def segment_log(disk: MemoryDisk) -> SegmentLog:
    settings = SegmentSettings(segment_bytes=1_000, floor_bytes=0, spare=False)
    return SegmentLog(disk, "p0", take(disk, "p0"), settings, "quarantine")


@pytest.fixture(params=["memory", "segments"])
def log(request: pytest.FixtureRequest) -> Log:
    return MemoryLog() if request.param == "memory" else segment_log(MemoryDisk())


def test_entries_come_back_as_they_came_in(log: Log) -> None:
    quarantine = Quarantine(log, KEY)
    quarantine.append([entry(0), entry(1, "too_large")])
    quarantine.append([Entry(5, "not_json", "", b"\x00{")])
    assert list(quarantine.entries()) == [
        (0, entry(0)),
        (1, entry(1, "too_large")),
        (2, Entry(5, "not_json", "", b"\x00{")),
    ]
    assert list(quarantine.entries("too_large")) == [(1, entry(1, "too_large"))]
    assert [number for number, _ in quarantine.entries(start=1)] == [1, 2]
    assert list(quarantine.entries("unheard_of")) == []


def test_reasons_are_counted_as_they_come(log: Log) -> None:
    quarantine = Quarantine(log, KEY)
    assert quarantine.counts() == {}
    quarantine.append([entry(0, "too_large"), entry(1), entry(2)])
    assert quarantine.counts() == {"bad_id": 2, "too_large": 1}
    quarantine.append([entry(3)])
    assert quarantine.counts() == {"bad_id": 3, "too_large": 1}
    assert QuarantineReader(log, KEY).counts() == quarantine.counts()


def test_nothing_a_client_sent_lies_in_clear(tmp_path: Path) -> None:
    disk = LocalDisk(tmp_path)
    quarantine = Quarantine.open(disk, "p0", take(disk, "p0"), KEY, floor_bytes=0)
    quarantine.append([entry(0)])
    quarantine.close()
    stored = b"".join(path.read_bytes() for path in (tmp_path / "p0" / "quarantine").iterdir())
    assert b"secret" not in stored
    assert b"userId" not in stored
    assert b"bad_id" in stored
    reader = QuarantineReader(SegmentLogReader(tmp_path / "p0", name="quarantine"), KEY)
    assert list(reader.entries()) == [(0, entry(0))]


def test_the_same_entry_twice_is_sealed_to_different_bytes(log: Log) -> None:
    Quarantine(log, KEY).append([entry(0), entry(0)])
    assert log.get(0).payload != log.get(1).payload


def test_another_stores_key_opens_nothing(log: Log) -> None:
    Quarantine(log, KEY).append([entry(0)])
    with pytest.raises(Corrupt, match="entry 0"):
        list(QuarantineReader(log, bytes(32)).entries())


def test_the_oldest_give_way_and_are_counted(log: Log) -> None:
    quarantine = Quarantine(log, KEY, bytes_max=20_000)
    for number in range(400):
        quarantine.append([entry(number, "bad_id" if number % 2 else "too_large", 120)])
        held = sum(len(record.payload) for record in log.read(log.bounds()[0], 1_000))
        assert held < 20_000 * 1.2
    assert held > 15_000
    assert quarantine.dropped == log.bounds()[0] > 200
    assert [number for number, _ in quarantine.entries()] == list(range(quarantine.dropped, 400))
    assert sum(quarantine.counts().values()) == 400 - quarantine.dropped


def test_the_bound_holds_across_restarts() -> None:
    disk = MemoryDisk()
    for life in range(20):
        quarantine = Quarantine(segment_log(disk), KEY, bytes_max=10_000)
        quarantine.append([entry(20 * life + number, size=120) for number in range(20)])
        quarantine.close()
    quarantine = Quarantine(segment_log(disk), KEY, bytes_max=10_000)
    assert quarantine.dropped > 200
    assert sum(len(each.raw) for _, each in quarantine.entries()) < 12_000


def test_what_was_kept_survives_a_power_loss() -> None:
    disk = MemoryDisk()
    Quarantine(segment_log(disk), KEY).append([entry(0)])
    disk.crash()
    assert list(Quarantine(segment_log(disk), KEY).entries()) == [(0, entry(0))]


def test_it_lies_beside_the_partitions_log_without_touching_it() -> None:
    disk = MemoryDisk()
    epoch = take(disk, "p0")
    facts = SegmentLog(disk, "p0", epoch, SegmentSettings(floor_bytes=0, spare=False))
    quarantine = Quarantine.open(disk, "p0", epoch, KEY, floor_bytes=0)
    quarantine.append([entry(0)])
    assert facts.bounds() == (0, 0)
    assert SegmentLogReader("p0", disk).bounds() == (0, 0)
    assert SegmentLogReader("p0", disk, "quarantine").bounds() == (0, 1)
