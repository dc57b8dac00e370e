"""Segments of every format version ever written are read, to the byte, for ever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from segment_recipe import GOLDEN, RECIPES, VERSION, as_json, every_field, files, opened

from events.disk import LocalDisk
from events.log import scan
from events.memory_disk import MemoryDisk
from events.segment_log import SegmentLogReader

LOGS = sorted(GOLDEN.glob("segment_v*.json"))


def restored(log: Path, folder: Path) -> dict[str, Any]:
    told = json.loads(log.read_text())
    (folder / "log").mkdir()
    for golden, name in told["files"].items():
        (folder / "log" / name).write_bytes((GOLDEN / golden).read_bytes())
    (folder / "watermark").write_bytes(told["watermark"].to_bytes(8, "little"))
    return dict(told)


def test_no_golden_log_was_lost() -> None:
    assert [log.stem for log in LOGS] == [
        "segment_v1_plain",
        "segment_v1_replaced",
        "segment_v1_rolled",
        "segment_v1_trimmed",
    ], "golden files are only ever added: python tests/events/segment_recipe.py"
    named = {golden for log in LOGS for golden in json.loads(log.read_text())["files"]}
    assert named == {path.name for path in GOLDEN.glob("segment_*.seg")}


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_a_log_of_any_version_is_read(log: Path, tmp_path: Path) -> None:
    told = restored(log, tmp_path)
    reader = SegmentLogReader(tmp_path)
    start, end = reader.bounds()
    assert as_json(list(scan(reader, start))) == told["records"]
    assert end == told["watermark"]
    assert [reader.get(lsn).lsn for lsn in range(start, end)] == list(range(start, end))


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_a_log_of_any_version_is_opened_and_goes_on(log: Path, tmp_path: Path) -> None:
    told = restored(log, tmp_path)
    disk = LocalDisk(tmp_path)
    disk.open("epoch").append(b"90")
    writer = opened(disk)
    start, end = writer.bounds()
    writer.append(every_field(end, end + 2))
    again = [*told["records"], *as_json(every_field(end, end + 2))]
    assert as_json(list(scan(writer, start))) == again
    writer.close()
    assert as_json(list(scan(opened(disk), start))) == again


@pytest.mark.parametrize("title", RECIPES)
def test_todays_writer_writes_the_newest_version_to_the_byte(title: str) -> None:
    disk = MemoryDisk()
    RECIPES[title](disk)
    golden = sorted(GOLDEN.glob(f"segment_{VERSION}_{title}_*.seg"))
    assert [path.read_bytes() for path in golden] == list(files(disk).values()), (
        "the format changed: give it a new magic in events.segment, keep reading the old one, add golden files"
    )
