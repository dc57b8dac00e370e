"""How the golden segments in ``tests/golden`` were made. Run it to add those of a new format version::

    python tests/events/segment_recipe.py

It never overwrites: files of a version that was ever written stay as they are, and today's reader must read them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from events.disk import Disk
from events.epoch import take
from events.errors import NotOwner
from events.memory_disk import MemoryDisk
from events.record import Record
from events.segment import MAGIC, parse_name
from events.segment_log import SegmentLog, SegmentSettings

GOLDEN = Path(__file__).parent.parent / "golden"
VERSION = "v" + MAGIC.decode().strip()[-1]


def every_field(start: int, stop: int) -> list[Record]:
    return [
        Record(
            lsn=lsn,
            links=((0, lsn - 1), (1, 7 * lsn))[: lsn % 3],
            appended=1_700_000_000_000_000 + lsn,
            event_time=1_699_999_999_000 - lsn,
            type="interaction" if lsn % 2 else "visité",
            version=1 + lsn % 2,
            subject=bytes(range(lsn % 7, lsn % 7 + 16)),
            event_id=lsn.to_bytes(16),
            payload=bytes(lsn % 256 for _ in range((lsn * 37) % 300)),
            producer="import" if lsn % 5 == 0 else "",
            seq=1 << lsn % 50 if lsn % 5 == 0 else 0,
        )
        for lsn in range(start, stop)
    ]


def opened(disk: Disk, segment_bytes: int = 1 << 20) -> SegmentLog:
    settings = SegmentSettings(segment_bytes=segment_bytes, floor_bytes=0, merge_bytes=0, spare=False)
    return SegmentLog(disk, "", take(disk, ""), settings)


def plain(disk: MemoryDisk) -> None:
    """One segment, still open: batches of one and of many."""
    log = opened(disk)
    log.append(every_field(0, 1))
    log.append(every_field(1, 30))


def rolled(disk: MemoryDisk) -> None:
    """Three segments, the last closed clean; all have their index."""
    log = opened(disk, 4_000)
    for first in range(0, 60, 6):
        log.append(every_field(first, first + 6))
    log.close()


def trimmed(disk: MemoryDisk) -> None:
    """The oldest segments are gone."""
    log = opened(disk, 4_000)
    for first in range(0, 60, 6):
        log.append(every_field(first, first + 6))
    log.trim(30)


def replaced(disk: MemoryDisk) -> None:
    """A second owner, which wrote the first one's unsynced tail again; the first one's last bytes are stale."""
    old = opened(disk)
    old.append(every_field(0, 5))
    old.append(every_field(5, 9), "os")
    new = opened(disk)
    try:
        old.append(every_field(9, 10))
    except NotOwner:
        new.append(every_field(9, 14))


RECIPES: dict[str, Callable[[MemoryDisk], None]] = {
    "plain": plain,
    "rolled": rolled,
    "trimmed": trimmed,
    "replaced": replaced,
}


def files(disk: MemoryDisk) -> dict[str, bytes]:
    """Every segment by name."""
    names = [name for name in disk.list("log") if parse_name(name)]
    return {name: disk.open(f"log/{name}", "read").read(0, 1 << 24) for name in names}


def as_json(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [{name: _plain(value) for name, value in msgspec.structs.asdict(each).items()} for each in records]


def _plain(value: object) -> object:
    match value:
        case bytes():
            return value.hex()
        case tuple():
            return [_plain(part) for part in value]
        case _:
            return value


def write(title: str) -> None:
    expected = GOLDEN / f"segment_{VERSION}_{title}.json"
    if expected.exists():
        return
    disk = MemoryDisk()
    RECIPES[title](disk)
    stored = {f"segment_{VERSION}_{title}_{number}.seg": name for number, name in enumerate(files(disk))}
    for golden, name in stored.items():
        (GOLDEN / golden).write_bytes(files(disk)[name])
    disk.kill()
    start, end = opened(disk).bounds()
    told = {"files": stored, "watermark": end, "records": as_json(every_field(start, end))}
    expected.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    for each in RECIPES:
        write(each)
