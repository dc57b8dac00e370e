"""What every log must do. A backend's test class inherits `LogContract` and says how to make one."""

from __future__ import annotations

from abc import abstractmethod

import pytest

from events.errors import NotFound
from events.log import Log, LogReader, scan
from events.record import Record


def record(lsn: int, payload: bytes = b"sealed") -> Record:
    """A record that tells its LSN in every field that can."""
    links = ((0, lsn - 1),) if lsn else ()
    return Record(lsn, links, 1_000_000 + lsn, 1_000 + lsn, "interaction", 1, b"s" * 16, lsn.to_bytes(16), payload)


def records(start: int, stop: int) -> list[Record]:
    return [record(lsn, b"p" * (lsn % 40)) for lsn in range(start, stop)]


class LogContract:
    @abstractmethod
    @pytest.fixture
    def log(self) -> Log: ...

    @abstractmethod
    def reader(self, log: Log) -> LogReader:
        """A reader of ``log`` as a follower would have one."""

    def test_a_new_log_is_empty_and_starts_at_zero(self, log: Log) -> None:
        assert log.bounds() == (0, 0)
        assert list(log.read(0, 10)) == []
        assert self.reader(log).bounds() == (0, 0)

    def test_what_was_appended_is_read_back_in_order(self, log: Log) -> None:
        log.append(records(0, 3))
        log.append(records(3, 4))
        assert log.bounds() == (0, 4)
        assert list(log.read(0, 100)) == records(0, 4)
        assert list(self.reader(log).read(0, 100)) == records(0, 4)

    @pytest.mark.parametrize(("start", "limit"), [(0, 1), (1, 3), (4, 5), (9, 1), (3, 0), (0, 10), (7, 100)])
    def test_a_read_gives_at_most_its_limit_from_its_start(self, log: Log, start: int, limit: int) -> None:
        for first in range(0, 10, 2):
            log.append(records(first, first + 2))
        assert list(log.read(start, limit)) == records(start, min(start + limit, 10))
        assert list(self.reader(log).read(start, limit)) == records(start, min(start + limit, 10))

    def test_a_read_at_the_end_is_empty(self, log: Log) -> None:
        log.append(records(0, 2))
        assert list(log.read(2, 5)) == []
        assert list(self.reader(log).read(2, 5)) == []

    def test_every_record_can_be_got_alone(self, log: Log) -> None:
        log.append(records(0, 5))
        log.append(records(5, 6))
        reader = self.reader(log)
        for lsn in (5, 0, 4, 2, 1, 3):
            assert log.get(lsn) == records(lsn, lsn + 1)[0]
            assert reader.get(lsn) == records(lsn, lsn + 1)[0]

    @pytest.mark.parametrize("lsn", [-1, 2, 1000])
    def test_a_record_outside_the_bounds_is_not_found(self, log: Log, lsn: int) -> None:
        log.append(records(0, 2))
        with pytest.raises(NotFound, match=str(lsn)):
            log.get(lsn)
        with pytest.raises(NotFound, match=str(lsn)):
            self.reader(log).get(lsn)

    def test_a_reader_opened_early_sees_what_comes_later(self, log: Log) -> None:
        reader = self.reader(log)
        for first in range(0, 60, 3):
            log.append(records(first, first + 3))
            assert list(reader.read(first, 10)) == records(first, first + 3)

    def test_a_scan_gives_every_record_once(self, log: Log) -> None:
        for first in range(0, 30, 3):
            log.append(records(first, first + 3))
        assert list(scan(self.reader(log), 4, chunk=7)) == records(4, 30)
        assert list(scan(log, 0, 11, chunk=2)) == records(0, 11)

    def test_appending_out_of_order_is_a_programming_error(self, log: Log) -> None:
        log.append(records(0, 2))
        with pytest.raises(AssertionError):
            log.append(records(3, 4))
        with pytest.raises(AssertionError):
            log.append([record(2), record(4)])
        assert log.bounds() == (0, 2)

    def test_appending_nothing_changes_nothing(self, log: Log) -> None:
        log.append([])
        assert log.bounds() == (0, 0)

    def test_what_was_handed_to_the_system_is_durable_after_the_next_durable_append(self, log: Log) -> None:
        reader = self.reader(log)
        log.append(records(0, 2), "os")
        assert list(log.read(0, 9)) == records(0, 2)
        log.append([], "durable")
        assert list(reader.read(0, 9)) == records(0, 2)

    def test_trimming_drops_only_what_lies_below(self, log: Log) -> None:
        for first in range(0, 100, 5):
            log.append(records(first, first + 5))
        reader = self.reader(log)
        reader.bounds()
        start = log.trim(60)
        assert 0 < start <= 60
        assert log.bounds() == (start, 100)
        assert list(log.read(start, 1000)) == records(start, 100)
        assert list(self.reader(log).read(start, 1000)) == records(start, 100)
        assert log.trim(0) == start
        for trimmed in (log, reader):
            with pytest.raises(NotFound):
                trimmed.get(start - 1)
            with pytest.raises(NotFound):
                trimmed.read(start - 1, 5)

    def test_trimming_everything_leaves_a_log_that_goes_on(self, log: Log) -> None:
        log.append(records(0, 50))
        start = log.trim(50)
        log.append(records(50, 53))
        assert log.bounds() == (start, 53)
        assert list(log.read(start, 100)) == records(start, 53)

    def test_a_large_batch_and_an_empty_payload_come_back_whole(self, log: Log) -> None:
        batch = [record(0, b""), record(1, b"x" * 200_000), record(2, b"")]
        log.append(batch)
        assert list(self.reader(log).read(0, 9)) == batch
        assert log.get(1) == batch[1]
