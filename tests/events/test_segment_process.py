"""A real process, killed for real while it appends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from log_contract import records

from events.disk import LocalDisk
from events.epoch import take
from events.log import scan
from events.segment_log import SegmentLog, SegmentLogReader, SegmentSettings

SETTINGS = SegmentSettings(segment_bytes=30_000, floor_bytes=0, merge_bytes=5_000)

APPEND_FOR_EVER = """
import sys
from pathlib import Path
from log_contract import records
from test_segment_process import opened
log = opened(Path(sys.argv[1]))
end = log.bounds()[1]
while True:
    size = 1 + end % 7
    log.append(records(end, end + size))
    end += size
    print(end, flush=True)
"""


def opened(folder: Path) -> SegmentLog:
    disk = LocalDisk(folder)
    return SegmentLog(disk, "", take(disk, ""), SETTINGS)


@pytest.mark.parametrize("lives", [4])
def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path, lives: int) -> None:
    reader = SegmentLogReader(tmp_path)
    read = 0
    for life in range(lives):
        with subprocess.Popen(
            [sys.executable, "-c", APPEND_FOR_EVER, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent,
        ) as writer:
            assert writer.stdout is not None
            acknowledged = 0
            for _ in range(60 + 31 * life):
                acknowledged = int(writer.stdout.readline())
                assert reader.bounds()[1] >= acknowledged
                found = list(scan(reader, read))
                assert found == records(read, read + len(found))
                read += len(found)
            writer.kill()
            for line in writer.stdout:
                acknowledged = int(line)
        assert reader.bounds()[1] >= acknowledged
    log = opened(tmp_path)
    start, end = log.bounds()
    assert (start, end >= acknowledged) == (0, True)
    assert list(scan(log, 0)) == records(0, end)
    assert list(scan(reader, 0)) == records(0, end)
