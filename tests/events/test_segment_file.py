"""One segment as its readers know it."""

from __future__ import annotations

from log_contract import records

from events.epoch import take
from events.memory_disk import MemoryDisk
from events.segment_file import Block, BlockCache, SegmentFile
from events.segment_log import SegmentLog, SegmentSettings
from events.segments import read_header


def test_a_tail_walked_before_the_next_owner_sealed_it_earlier_is_forgotten() -> None:
    disk = MemoryDisk()
    log = SegmentLog(disk, "", take(disk, ""), SegmentSettings(floor_bytes=0, spare=False))
    lengths = {}
    for first in range(0, 10, 2):
        log.append(records(first, first + 2))
        lengths[first + 2] = disk.open(f"log/{disk.list('log')[0]}").size()
    name = disk.list("log")[0]
    cache = BlockCache(1 << 20)
    file = SegmentFile(disk, f"log/{name}", read_header(disk, "log", name))
    assert file.block(9, 10, cache).records(0, 10) == records(0, 10)
    file.seal(6, lengths[6])
    assert (file.end, file.length) == (6, lengths[6])
    assert file.block(5, 6, cache).records(0, 10) == records(0, 6)


def test_the_cache_keeps_what_was_used_last_within_its_bytes() -> None:
    cache = BlockCache(100)
    for number in range(3):
        cache.put(("a", number), Block((), (), 40))
        assert cache.get(("a", 0)) is not None
    assert [cache.get(("a", number)) is not None for number in range(3)] == [True, False, True]
    cache.put(("a", 2), Block((), (), 60))
    assert [cache.get(("a", number)) is not None for number in range(3)] == [True, False, True], "grown in place"
    cache.put(("b", 0), Block((), (), 500))
    assert cache.get(("b", 0)) is not None, "one block is always kept, however large"
    assert cache.get(("a", 2)) is None
