"""What a crash, a torn tail, rot and a replaced owner leave behind, and what the next owner makes of it."""

from __future__ import annotations

from copy import deepcopy
from random import Random

import pytest
from log_contract import record, records

from events.disk import join
from events.epoch import take
from events.errors import Corrupt, NotOwner
from events.log import scan
from events.memory_disk import Crashed, MemoryDisk
from events.segment import HEADER_BYTES, parse_name
from events.segment_log import SegmentLog, SegmentLogReader, SegmentSettings
from events.segments import chain

SMALL = SegmentSettings(segment_bytes=1_500, floor_bytes=0, merge_bytes=0, spare=False)
WHOLE = SegmentSettings(floor_bytes=0, merge_bytes=0, spare=False)
"""One segment that never fills."""
MERGING = SegmentSettings(segment_bytes=1_500, floor_bytes=0, merge_bytes=700, spare=False)
LOG = "p0/log"


def opened(disk: MemoryDisk, settings: SegmentSettings = WHOLE) -> SegmentLog:
    return SegmentLog(disk, "p0", take(disk, "p0"), settings)


def segments(disk: MemoryDisk) -> list[str]:
    return [join(LOG, name) for name in disk.list(LOG) if parse_name(name)]


def contents(disk: MemoryDisk, path: str) -> bytes:
    file = disk.open(path, "read")
    return file.read(0, file.size())


def size(disk: MemoryDisk, path: str) -> int:
    return disk.open(path, "read").size()


def acknowledged_and_not() -> tuple[MemoryDisk, int, list[int]]:
    """A log of six acknowledged records and six that were not, whose owner was killed; the offset up to which all is
    acknowledged, and the offsets where its batches end."""
    disk = MemoryDisk()
    log = opened(disk)
    ends = [HEADER_BYTES]
    for first in range(0, 12, 2):
        log.append(records(first, first + 2), "durable" if first < 6 else "os")
        ends.append(size(disk, segments(disk)[0]))
    disk.kill()
    return disk, ends[3], ends


def cut(disk: MemoryDisk, path: str, offset: int) -> None:
    disk.open(path).truncate(offset)


def blank(disk: MemoryDisk, path: str, offset: int) -> None:
    disk.open(path).write(offset, bytes(size(disk, path) - offset))


def flip(disk: MemoryDisk, path: str, offset: int) -> None:
    disk.flip(path, offset, 1 << offset % 8)


def scramble(disk: MemoryDisk, path: str, offset: int) -> None:
    disk.open(path).write(offset, Random(offset).randbytes(size(disk, path) - offset))


def first_difference(left: bytes, right: bytes) -> int:
    """Where two contents begin to differ; the length of the shorter when one merely ends earlier."""
    shorter = min(len(left), len(right))
    return next((place for place in range(shorter) if left[place] != right[place]), shorter)


HARM = [cut, blank, flip, scramble]


@pytest.mark.parametrize("harm", HARM)
def test_harm_at_any_offset_of_the_last_segment_costs_no_acknowledged_record(harm) -> None:
    before, acknowledged, ends = acknowledged_and_not()
    path = segments(before)[0]
    for offset in range(acknowledged, size(before, path)):
        disk = deepcopy(before)
        harm(disk, path, offset)
        harmed = first_difference(contents(before, path), contents(disk, path))
        log = opened(disk)
        whole = sum(end <= harmed for end in ends[1:])
        assert list(scan(log, 0)) == records(0, 2 * whole), offset
        assert list(scan(SegmentLogReader("p0", disk), 0)) == records(0, 2 * whole), offset
        log.append([record(2 * whole)])
        disk.crash(Random(offset))
        assert list(scan(opened(disk), 0)) == [*records(0, 2 * whole), record(2 * whole)], offset


@pytest.mark.parametrize("harm", HARM)
def test_harm_to_an_acknowledged_record_of_the_last_segment_stops_the_log_and_drops_nothing(harm) -> None:
    before, acknowledged, ends = acknowledged_and_not()
    path = segments(before)[0]
    for offset in range(acknowledged):
        disk = deepcopy(before)
        harm(disk, path, offset)
        harmed = contents(disk, path)
        first = first_difference(contents(before, path), harmed)
        if first >= acknowledged:
            continue
        with pytest.raises(Corrupt) as stopped:
            opened(disk)
        start = max((end for end in ends if end <= first), default=0)
        assert path.removeprefix(f"{LOG}/") in str(stopped.value)
        assert f"offset {start}" in str(stopped.value), offset
        assert contents(disk, path) == harmed
        assert segments(disk) == [path]


def test_without_a_watermark_later_batches_still_prove_what_was_acknowledged() -> None:
    before = MemoryDisk()
    log = opened(before)
    for first in range(0, 8, 2):
        log.append(records(first, first + 2))
    path = segments(before)[0]
    last = size(before, path)
    log.append(records(8, 10))
    before.kill()
    before.remove("p0/watermark")
    for offset in range(size(before, path)):
        disk = deepcopy(before)
        flip(disk, path, offset)
        if offset < last:
            with pytest.raises(Corrupt, match=segments(disk)[0].removeprefix(f"{LOG}/")):
                opened(disk)
        else:
            assert list(scan(opened(disk), 0)) == records(0, 8), (
                "only the very last batch cannot be told from a torn one"
            )


def test_a_flipped_bit_anywhere_in_a_left_segment_is_named_or_harmless() -> None:
    before = MemoryDisk()
    log = opened(before, SMALL)
    for first in range(0, 30, 2):
        log.append(records(first, first + 2))
    log.close()
    path = segments(before)[0]
    stop = int(segments(before)[1].removeprefix(f"{LOG}/").partition("-")[0])
    data_bytes = int.from_bytes(contents(before, segments(before)[1])[40:48], "little")
    for offset in range(size(before, path)):
        disk = deepcopy(before)
        flip(disk, path, offset)
        if offset >= data_bytes:
            assert list(scan(opened(disk, SMALL), 0)) == records(0, 30), "a harmed index is rebuilt by walking"
            continue
        with pytest.raises(Corrupt, match=rf"{path.removeprefix(f'{LOG}/')}.* offset \d"):
            list(scan(opened(disk, SMALL), 0))
        if offset >= HEADER_BYTES:
            log = opened(disk, SMALL)
            assert list(scan(log, stop)) == records(stop, 30), "what lies in other segments is still readable"


def test_a_left_segment_that_was_cut_short_is_corrupt() -> None:
    before = MemoryDisk()
    log = opened(before, SMALL)
    for first in range(0, 30, 2):
        log.append(records(first, first + 2))
    log.close()
    path = segments(before)[0]
    for offset in range(HEADER_BYTES, 1_000, 13):
        disk = deepcopy(before)
        cut(disk, path, offset)
        with pytest.raises(Corrupt, match="offset"):
            list(scan(opened(disk, SMALL), 0))


@pytest.mark.parametrize("lost", [0, 1, 2, 3])
def test_a_segment_that_is_gone_from_the_middle_is_missed(lost: int) -> None:
    disk = MemoryDisk()
    log = opened(disk, SMALL)
    for first in range(0, 50, 2):
        log.append(records(first, first + 2))
    log.close()
    paths = segments(disk)
    assert len(paths) > 4
    disk.remove(paths[lost])
    if lost == 0:
        assert opened(disk, SMALL).bounds()[0] > 0, "as after a trim"
    else:
        with pytest.raises(Corrupt, match="missing"):
            opened(disk, SMALL)


def test_a_log_whose_segments_are_all_gone_is_not_begun_anew() -> None:
    disk = MemoryDisk()
    opened(disk).append(records(0, 3))
    disk.kill()
    for path in segments(disk):
        disk.remove(path)
    with pytest.raises(Corrupt, match="restore"):
        opened(disk)


@pytest.mark.parametrize("settings", [SMALL, WHOLE, MERGING])
def test_an_owner_never_appends_to_a_file_another_wrote(settings: SegmentSettings) -> None:
    disk = MemoryDisk()
    log = opened(disk, settings)
    end = 0
    for life in range(12):
        log.append(records(end, end + 3))
        end += 3
        if life % 3 == 0:
            log.append(records(end, end + 2), "os")
            end += 2
        if life % 2:
            log.close()
        disk.kill()
        before = {path: contents(disk, path) for path in segments(disk)}
        log = opened(disk, settings)
        log.append(records(end, end + 1))
        end += 1
        for path in before.keys() & set(segments(disk)):
            after = contents(disk, path)
            assert before[path].startswith(after), "it may be cut to what counts of it, never added to"
    assert list(scan(log, 0)) == records(0, end)
    assert list(scan(SegmentLogReader("p0", disk), 0)) == records(0, end)


def test_restarts_do_not_leave_a_trail_of_small_files() -> None:
    disk = MemoryDisk()
    reader = SegmentLogReader("p0", disk)
    for life in range(20):
        log = opened(disk, SegmentSettings(floor_bytes=0, spare=False))
        log.append(records(5 * life, 5 * life + 5))
        assert list(reader.read(5 * life, 9)) == records(5 * life, 5 * life + 5)
        assert reader.get(0) == record(0, b"")
        log.close()
    assert len(segments(disk)) == 1


def strays(disk: MemoryDisk) -> list[str]:
    """Files that are no part of the log."""
    listing = disk.list(LOG)
    return [name for name in listing if not parse_name(name)] + chain(disk, LOG, listing)[1]


def test_a_whole_batch_that_does_not_continue_the_one_before_is_not_taken_for_the_next() -> None:
    mixed, other = MemoryDisk(), MemoryDisk()
    for disk, payload in ((mixed, b"this"), (other, b"that")):
        log = opened(disk)
        log.append(records(0, 2))
        log.append([record(2, payload)], "os")
        left_over = size(disk, segments(disk)[0])
        log.append([record(3)], "os")
        disk.kill()
    path = segments(mixed)[0]
    mixed.open(path).write(left_over, contents(other, path)[left_over:])
    assert list(scan(opened(mixed), 0)) == [*records(0, 2), record(2, b"this")]


def test_dying_at_any_step_of_a_trim_leaves_no_hole() -> None:
    for power_loss in (True, False):
        steps = 0
        finished = False
        while not finished:
            steps += 1
            disk = MemoryDisk(seed=steps)
            log = opened(disk, SMALL)
            for first in range(0, 60, 2):
                log.append(records(first, first + 2))
            disk.crash_after(steps)
            finished = dies_not(lambda log=log: log.trim(50))
            end_of_life(disk, power_loss)
            again = opened(disk, SMALL)
            start, end = again.bounds()
            assert start <= 50
            assert end == 60
            assert list(scan(again, start)) == records(start, end)
        assert steps > 5


def test_a_reader_goes_on_when_the_file_it_was_about_to_open_was_merged_away() -> None:
    disk = MemoryDisk()
    log = opened(disk, MERGING)
    log.append(records(0, 3))
    reader = SegmentLogReader("p0", disk)
    assert reader.bounds() == (0, 3)
    log.close()
    opened(disk, MERGING)
    assert list(reader.read(0, 5)) == records(0, 3)


class Owner:
    """Opens the log and lives on it: appends, rolls, trims; knows what it was promised."""

    def __init__(self, disk: MemoryDisk, settings: SegmentSettings) -> None:
        self.disk = disk
        self.settings = settings
        self.durable = 0
        """Acknowledged as durable: must survive a power loss."""
        self.handed = 0
        """Acknowledged at all: must survive the death of the process."""
        self.tried = 0

    def live(self, batches: int) -> None:
        log = opened(self.disk, self.settings)
        end = log.bounds()[1]
        for number in range(batches):
            size = 1 + number % 3
            self.tried = max(self.tried, end + size)
            durable = number % 4 != 2
            log.append(records(end, end + size), "durable" if durable else "os")
            end += size
            self.handed = end
            if durable:
                self.durable = end
            if number % 7 == 6:
                log.trim(max(0, end - 20))
        log.close()
        self.durable = self.handed

    def check(self, at_least: int) -> None:
        log = opened(self.disk, self.settings)
        start, end = log.bounds()
        assert max(at_least, start) <= end <= self.tried
        assert list(scan(log, start)) == records(start, end)
        assert not strays(self.disk)
        reader = SegmentLogReader("p0", self.disk)
        assert reader.bounds() == (start, end)
        assert list(scan(reader, start)) == records(start, end)
        log.append(records(end, end + 1))
        assert reader.get(end) == records(end, end + 1)[0]
        self.tried = max(self.tried, end + 1)
        self.durable = self.handed = end + 1


@pytest.mark.parametrize("settings", [SMALL, MERGING])
@pytest.mark.parametrize("power_loss", [True, False])
def test_dying_at_any_step_loses_nothing_acknowledged(settings: SegmentSettings, power_loss: bool) -> None:
    steps = 0
    finished = False
    while not finished:
        steps += 1
        disk = MemoryDisk(seed=steps)
        owner = Owner(disk, settings)
        disk.crash_after(steps)
        finished = dies_not(lambda owner=owner: owner.live(16))
        end_of_life(disk, power_loss)
        owner.check(owner.durable if power_loss else owner.handed)
    assert steps > 100


@pytest.mark.parametrize("power_loss", [True, False])
def test_dying_at_any_step_of_a_recovery_loses_nothing_acknowledged(power_loss: bool) -> None:
    for seed in range(6):
        before = MemoryDisk(seed)
        owner = Owner(before, MERGING if seed % 2 else SMALL)
        before.crash_after(60 + 10 * seed)
        assert not dies_not(lambda owner=owner: owner.live(16))
        end_of_life(before, power_loss)
        steps = 0
        finished = False
        while not finished:
            steps += 1
            owner.disk = disk = deepcopy(before)
            promised = owner.durable if power_loss else owner.handed
            disk.crash_after(steps)
            finished = dies_not(lambda disk=disk, owner=owner: opened(disk, owner.settings).close())
            end_of_life(disk, power_loss)
            again = deepcopy(owner)
            again.check(promised)


def dies_not(life) -> bool:
    try:
        life()
    except Crashed:
        return False
    return True


def end_of_life(disk: MemoryDisk, power_loss: bool) -> None:
    if power_loss:
        disk.crash()
    else:
        disk.kill()


def test_a_replaced_owner_that_continues_is_refused_for_ever() -> None:
    disk = MemoryDisk()
    old = opened(disk)
    old.append(records(0, 4))
    new = opened(disk)
    for _ in range(3):
        with pytest.raises(NotOwner, match="epoch 2"):
            old.append([record(4, b"stale")])
    with pytest.raises(NotOwner):
        old.trim(2)
    new.append(records(4, 6))
    old.close()
    assert list(scan(new, 0)) == records(0, 6)
    assert list(scan(SegmentLogReader("p0", disk), 0)) == records(0, 6)


def test_what_a_replaced_owner_wrote_past_the_sealed_length_is_ignored() -> None:
    disk = MemoryDisk()
    old = opened(disk)
    old.append(records(0, 4))
    reader = SegmentLogReader("p0", disk)
    assert reader.bounds() == (0, 4)
    new = opened(disk)
    sealed = size(disk, segments(disk)[0])
    with pytest.raises(NotOwner):
        old.append([record(4, b"stale"), record(5, b"stale")])
    assert size(disk, segments(disk)[0]) > sealed, "the stale bytes do lie there"
    new.append(records(4, 7))
    assert list(reader.read(0, 10)) == records(0, 7)
    assert list(scan(SegmentLogReader("p0", disk), 0)) == records(0, 7)
    disk.kill()
    assert list(scan(opened(disk), 0)) == records(0, 7)


def test_what_was_synced_but_refused_may_be_found_by_the_next_owner_and_is_then_kept() -> None:
    disk = MemoryDisk()
    old = opened(disk)
    old.append(records(0, 2))
    epoch = take(disk, "p0")
    with pytest.raises(NotOwner):
        old.append(records(2, 4))
    new = SegmentLog(disk, "p0", epoch, WHOLE)
    new.append(records(4, 5))
    assert list(scan(new, 0)) == records(0, 5)


def test_an_epoch_that_was_not_taken_or_has_written_before_cannot_open_the_log() -> None:
    disk = MemoryDisk()
    with pytest.raises(NotOwner):
        SegmentLog(disk, "p0", 1, WHOLE)
    opened(disk).append(records(0, 1))
    with pytest.raises(NotOwner):
        SegmentLog(disk, "p0", 1, WHOLE)
    with pytest.raises(NotOwner):
        SegmentLog(disk, "p0", 2, WHOLE)


@pytest.mark.parametrize("settings", [SMALL, WHOLE, MERGING])
def test_being_replaced_at_any_step_of_an_append_is_either_before_or_after_it(settings: SegmentSettings) -> None:
    refused = acknowledged = 0
    for step in range(1, 60):
        disk = MemoryDisk()
        old = opened(disk, settings)
        for first in range(0, 18, 2):
            old.append(records(first, first + 2))
        reader = SegmentLogReader("p0", disk)
        newer: list[SegmentLog] = []

        def replace(disk=disk, reader=reader, newer=newer) -> None:
            new = opened(disk, settings)
            newer.append(new)
            end = new.bounds()[1]
            new.append([record(end, b"new")])
            assert reader.get(end) == record(end, b"new")

        disk.at_step(step, replace)
        end = 18
        try:
            while not newer:
                old.append(records(end, end + 2))
                end += 2
            acknowledged += 1
            old.append(records(end, end + 2))
            raise AssertionError("the replaced owner acknowledged an append")
        except NotOwner:
            refused += 1
        new = newer[0]
        begun = new.bounds()[1] - 1
        assert reader.bounds() == (0, begun + 1), "a reader does not go back to the old owner's last mark"
        assert begun >= end, "all that the old owner acknowledged was found by the new one"
        new.append(records(begun + 1, begun + 5))
        expected = [*records(0, begun), record(begun, b"new"), *records(begun + 1, begun + 5)]
        for log in (new, reader, SegmentLogReader("p0", disk)):
            assert list(scan(log, 0)) == expected, step
        disk.kill()
        assert list(scan(opened(disk, settings), 0)) == expected
        assert not strays(disk)
    assert refused == 59
    assert acknowledged


def test_power_lost_while_two_owners_write_keeps_what_either_acknowledged() -> None:
    for seed in range(60):
        disk = MemoryDisk(seed)
        old = opened(disk, MERGING)
        old.append(records(0, 9))
        new = opened(disk, MERGING)
        new.append(records(9, 12))
        with pytest.raises(NotOwner):
            old.append([record(9, b"stale")])
        new.append(records(12, 14), "os")
        disk.crash()
        log = opened(disk, MERGING)
        assert 12 <= log.bounds()[1] <= 14
        assert list(scan(log, 0)) == records(0, log.bounds()[1])
