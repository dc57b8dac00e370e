"""Opening a log for writing: find what the last owner left, and begin a segment of one's own.

A file another process wrote is never appended to. Its bytes past the last durable mark may exist in the page cache
only (a failed sync leaves them there, marked clean), so whole batches found there are written again into the new
segment and synced before anything else happens. What is torn after them was never acknowledged and is left behind;
what is bad before the mark was, and stops the log.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from events.disk import Disk, join
from events.errors import Corrupt, EverfoldError, NotOwner
from events.segment import BATCH_MAGIC, Header, batch_size, parse, parse_index, parse_name
from events.segment_file import SegmentFile
from events.segment_writer import SegmentWriter
from events.segments import LogPaths, Segments, chain

TEMPORARY = ".tmp"


@dataclass(frozen=True)
class Inheritance:
    """What an owner starts from: the segments that stay, where its own begins, and the old files to be dropped."""

    kept: tuple[Header, ...]
    header: Header
    dropped: tuple[str, ...]


def take_over(
    disk: Disk, paths: LogPaths, epoch: int, segments: Segments, mark: int, merge_bytes: int
) -> SegmentWriter:
    """Bring ``segments`` to what the log holds, ending in a new segment of ``epoch``, and return that one's writer.

    ``mark`` is the last published watermark. A last segment of up to ``merge_bytes`` is rewritten whole, so that
    restarts do not leave a trail of small files. Raises `Corrupt` when an acknowledged record cannot be read,
    `NotOwner` when ``epoch`` has written here before.
    """
    listing = disk.list(paths.segments)
    headers, superseded = chain(disk, paths.segments, listing)
    _ensure_unused(epoch, [header.name for header in headers] + superseded)
    for name in listing:
        if name.endswith(TEMPORARY):
            disk.remove(join(paths.segments, name))
    segments.replace(headers)
    if not headers:
        if mark:
            raise Corrupt(f"{paths.segments} holds no segment, but {mark} records were made durable: restore it")
        return _begin(disk, paths, segments, Inheritance((), Header(0, epoch), ()), None)
    last = segments.active
    last.walk(sys.maxsize)
    ensure_torn_only(last, mark)
    writer = _begin(disk, paths, segments, _inherit(headers, last, epoch, mark, merge_bytes), last)
    for name in superseded:
        disk.remove(join(paths.segments, name))
    return writer


def ensure_torn_only(last: SegmentFile, mark: int) -> None:
    """Raises `Corrupt` unless all that is wrong after the segment's last whole batch was never acknowledged.

    Known by two signs: the published ``mark``, and whole batches further on that say the bad spot had been synced
    when they were written.
    """
    if mark > last.end:
        raise last.bad()
    rest = last.read(last.length, last.size() - last.length)
    view = memoryview(rest)
    at = rest.find(BATCH_MAGIC)
    while at >= 0:
        batch = parse(view, at) if batch_size(view, at) else None
        if batch is not None and batch.epoch == last.header.epoch and batch.durable > last.end:
            raise last.bad()
        at = rest.find(BATCH_MAGIC, at + 1)


def _ensure_unused(epoch: int, names: list[str]) -> None:
    newest = max((key[0] for name in names if (key := parse_name(name)) is not None), default=0)
    if newest >= epoch:
        raise NotOwner(f"epoch {epoch} cannot write here: epoch {newest} already has; take the partition again")


def _inherit(headers: list[Header], last: SegmentFile, epoch: int, mark: int, merge_bytes: int) -> Inheritance:
    old = last.header
    base, offset, tail_chain = max(mark, old.base), last.length, last.chain
    for batch, at in last.batches(base):
        base, offset, tail_chain = batch.base, at, batch.chain
        break
    if base == old.base or last.length <= merge_bytes:
        header = old._replace(epoch=epoch)
        return Inheritance(tuple(headers[:-1]), header, (old.name,))
    return Inheritance(tuple(headers), Header(base, epoch, old.base, old.epoch, offset, tail_chain), ())


def _begin(
    disk: Disk, paths: LogPaths, segments: Segments, inheritance: Inheritance, last: SegmentFile | None
) -> SegmentWriter:
    writer = SegmentWriter(disk, paths.segments, inheritance.header)
    try:
        if last is not None:
            for batch, _ in last.batches(inheritance.header.base):
                writer.append(batch.body, batch.number, inheritance.header.base)
        writer.publish()
    except EverfoldError:
        writer.abandon()
        raise
    segments.replace([*inheritance.kept, inheritance.header])
    segments.active.walk(writer.end)
    for name in inheritance.dropped:
        disk.remove(join(paths.segments, name))
    if last is not None and not inheritance.dropped:
        _give_back(disk, paths, last)
    return writer


def _give_back(disk: Disk, paths: LogPaths, left: SegmentFile) -> None:
    """Cut the space a dead owner had made ahead; its index, if it left one, stays."""
    if parse_index(left.read(left.length, left.size() - left.length)) is None:
        file = disk.open(join(paths.segments, left.header.name))
        file.truncate(left.length)
        file.close()
