"""The segments of one log folder, in order: which files belong to it, and finding a record among them.

The newest segment is that of the highest epoch, then the highest base. From it the headers lead back, each naming the
segment before. What is not on that path was written by an owner after it was replaced, or was rewritten, and is no
part of the log.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from threading import RLock

from events.disk import Disk, join
from events.errors import Corrupt, NotFound
from events.record import Record
from events.segment import HEADER_BYTES, Header, decode_header, parse_name
from events.segment_file import Block, BlockCache, SegmentFile

CACHE_BYTES = 8 << 20
"""Blocks kept by a reader: what the profiles active in the last seconds touch, at little memory per process."""


@dataclass(frozen=True)
class LogPaths:
    """Where a log lies on its disk."""

    segments: str
    watermark: str
    folder: str
    """Holds the ``epoch``."""

    @classmethod
    def of(cls, folder: str, name: str = "log") -> LogPaths:
        """The log ``name`` of a partition's folder. Its main log keeps the watermark beside the epoch, any other in
        its own folder.

        >>> LogPaths.of("p0").watermark, LogPaths.of("p0", "quarantine").watermark
        ('p0/watermark', 'p0/quarantine/watermark')
        """
        segments = join(folder, name)
        return cls(segments, join(folder if name == "log" else segments, "watermark"), folder)


def read_header(disk: Disk, folder: str, name: str) -> Header:
    """Raises `Corrupt`, or `NotFound` when the file is gone."""
    file = disk.open(join(folder, name), "read")
    try:
        return decode_header(name, file.read(0, HEADER_BYTES))
    finally:
        file.close()


def chain(
    disk: Disk, folder: str, listing: Iterable[str], known: Iterable[Header] = ()
) -> tuple[list[Header], list[str]]:
    """The log's segments from the oldest to the newest, and the names of those that were superseded.

    ``listing`` is what ``folder`` holds. Headers in ``known`` are not read again: a segment's header never changes.
    Raises `Corrupt` when a segment that the next one follows is missing although older ones are there.
    """
    headers = {header.name: header for header in known}
    names = {name: key for name in listing if (key := parse_name(name)) is not None}
    name: str | None = max(names, key=names.__getitem__, default=None)
    path: list[Header] = []
    while name in names:
        assert name is not None
        path.append(headers.get(name) or read_header(disk, folder, name))
        name = path[-1].previous
    path.reverse()
    superseded = sorted(names.keys() - {header.name for header in path})
    for stray in superseded:
        epoch, base = names[stray]
        if not any(header.epoch > epoch and header.base <= base for header in path):
            raise Corrupt(
                f"segment {name} is missing from {folder}: {path[0].name} follows it and the older {stray} is still "
                "there; restore it from a backup"
            )
    return path, superseded


class Segments:
    """The log's segments, oldest first, and the records in them. May be read by several threads."""

    def __init__(self, disk: Disk, folder: str, cache_bytes: int = CACHE_BYTES) -> None:
        self.lock = RLock()
        """Held while a block is looked up and while the list or its newest segment changes."""
        self._disk = disk
        self._folder = folder
        self._cache = BlockCache(cache_bytes)
        self._files: list[SegmentFile] = []
        self._bases: list[int] = []
        self._listing: list[str] = []

    @property
    def start(self) -> int:
        """First LSN held; 0 when there is no segment yet."""
        return self._bases[0] if self._bases else 0

    @property
    def active(self) -> SegmentFile:
        """The newest."""
        return self._files[-1]

    def headers(self) -> list[Header]:
        return [file.header for file in self._files]

    def replace(self, headers: Iterable[Header]) -> None:
        """Take this list from now on, keeping what is known of segments that are still in it."""
        with self.lock:
            known = {file.header.name: file for file in self._files}
            self._files = [known.get(header.name) or self._file(header) for header in headers]
            self._bases = [file.header.base for file in self._files]
            for file, after in zip(self._files, self._files[1:], strict=False):
                file.seal(after.header.base, after.header.previous_length)
            for gone in known.values():
                if gone not in self._files:
                    gone.close()

    def refresh(self) -> None:
        """Look at the folder again."""
        listing = self._disk.list(self._folder)
        if listing != self._listing:
            self.replace(chain(self._disk, self._folder, listing, self.headers())[0])
            self._listing = listing

    def record(self, lsn: int) -> Record:
        """One record, known to be held."""
        return self._block(lsn, lsn + 1).record(lsn)

    def records(self, start: int, stop: int) -> list[Record]:
        """Those with start <= LSN < stop, known to be held."""
        found: list[Record] = []
        while start < stop:
            block = self._block(start, stop)
            found += block.records(start, stop)
            start = block.stop
        return found

    def close(self) -> None:
        with self.lock:
            for file in self._files:
                file.close()

    def _file(self, header: Header) -> SegmentFile:
        return SegmentFile(self._disk, join(self._folder, header.name), header)

    def _block(self, lsn: int, stop: int) -> Block:
        # Decoding goes on outside the lock: a long read holds an append up for one block at most.
        with self.lock:
            file = self._holding(lsn)
            return file.block(lsn, stop if file.sealed is None else min(stop, file.sealed[0]), self._cache)

    def _holding(self, lsn: int) -> SegmentFile:
        place = bisect_right(self._bases, lsn) - 1
        if place < 0:
            raise NotFound(f"LSN {lsn} was trimmed: the log starts at {self.start}")
        return self._files[place]
