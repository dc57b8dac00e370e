"""The embedded log: append-only segment files, checked batches, a sync before each acknowledgement.

`SegmentLog` is the one writer of a partition, `SegmentLogReader` everybody else. Bytes: `events.segment`; what belongs
to the log: `events.segments`; opening after a crash: `events.takeover`; who may write: `events.epoch`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from events.disk import Disk, LocalDisk, join
from events.epoch import ensure_owner
from events.errors import Corrupt, DiskFull, EverfoldError, NotFound, NotOwner, SyncFailed
from events.log import Durability
from events.record import Record
from events.segment import Header, encode_body, parse_name
from events.segment_writer import SegmentWriter, Spare
from events.segments import CACHE_BYTES, LogPaths, Segments
from events.takeover import TEMPORARY, take_over
from events.watermark import Watermark, WatermarkReader

T = TypeVar("T")


@dataclass(frozen=True)
class SegmentSettings:
    """Sizes in bytes."""

    segment_bytes: int = 64 << 20
    """A segment is left when the next batch would pass this. What `SegmentLog.trim` can drop at a time, and what is
    walked when a killed owner's partition is opened again (0.1 s)."""

    floor_bytes: int = 256 << 20
    """With less than this free, appends are refused: the state store and its checkpoints need room to finish."""

    merge_bytes: int = 1 << 20
    """A last segment up to this size is rewritten into the next owner's, so restarts leave no trail of small files."""

    cache_bytes: int = CACHE_BYTES
    spare: bool = True
    """Make the next segment's space in the background once this one is an eighth full. Costs a thread; off where a
    run must repeat exactly."""


class SegmentLog:
    """A partition's log, opened by its owner. One thread appends; others may read beside it.

    ``epoch`` comes from `events.epoch.take` on the same folder. Opening rewrites what the last owner had not synced,
    into this owner's first segment. Raises `NotOwner`, `Corrupt`, `DiskFull`.
    """

    def __init__(
        self,
        disk: Disk,
        folder: str,
        epoch: int,
        settings: SegmentSettings = SegmentSettings(),
        name: str = "log",
    ) -> None:
        ensure_owner(disk, folder, epoch)
        self.last_sync_s = 0.0
        """Duration of the last sync of an append, in seconds."""
        self._disk = disk
        self._paths = LogPaths.of(folder, name)
        self._epoch = epoch
        self._settings = settings
        self._segments = Segments(disk, self._paths.segments, settings.cache_bytes)
        mark = WatermarkReader(disk, self._paths.watermark)
        self._writer = take_over(disk, self._paths, epoch, self._segments, mark.read(), settings.merge_bytes)
        mark.close()
        self._durable = self._writer.end
        self._watermark = Watermark(disk, self._paths.watermark)
        self._watermark.publish(self._durable)
        self._stopped: EverfoldError | None = None
        self.spare: Spare | None = None
        """The next segment's space, while there is some or it is being made."""

    def bounds(self) -> tuple[int, int]:
        """(start, end). The end counts what was appended with ``os``; readers elsewhere see it once it is synced."""
        return self._segments.start, self._writer.end if self._stopped is None else self._durable

    def read(self, start: int, limit: int) -> Sequence[Record]:
        return self._segments.records(start, min(start + limit, self.bounds()[1]))

    def get(self, lsn: int) -> Record:
        _ensure_within(lsn, self.bounds())
        return self._segments.record(lsn)

    def append(self, records: Sequence[Record], durability: Durability = "durable") -> None:
        """See `events.log.Log`. Appending nothing as ``durable`` syncs what was appended as ``os``.

        Raises `NotOwner` when the partition was taken meanwhile: what was written is not acknowledged, and whether
        the next owner found it is for the event ids to tell.
        """
        if self._stopped is not None:
            raise type(self._stopped)(str(self._stopped))
        try:
            if records:
                self._write(records)
            self._acknowledge(durability)
        except (DiskFull, AssertionError):
            raise
        except (SyncFailed, NotOwner) as error:
            self._stopped = error
            raise
        except Exception as error:
            self._stopped = self._unknown(error)
            raise self._stopped from error

    def trim(self, before: int) -> int:
        ensure_owner(self._disk, self._paths.folder, self._epoch)
        headers = self._segments.headers()
        while len(headers) > 1 and headers[1].base <= before:
            headers.pop(0)
        for name in self._disk.list(self._paths.segments):
            key = parse_name(name)
            # Names sort by base, so whatever is left after a crash in between has no hole.
            if key is not None and key[1] < headers[0].base:
                self._disk.remove(join(self._paths.segments, name))
        self._segments.replace(headers)
        return self._segments.start

    def close(self) -> None:
        """Sync, index the last segment, let go of the files. Quiet on a log that has already failed.

        Raises `SyncFailed` when what was appended as ``os`` could not be made durable.
        """
        if self.spare is not None:
            self.spare.discard()
            self.spare = None
        try:
            if self._stopped is None:
                self._finish()
        finally:
            self._stopped = NotOwner(f"the log of {self._paths.folder or 'this partition'} was closed")
            self._writer.close()
            self._watermark.close()
            self._segments.close()

    def _finish(self) -> None:
        try:
            self._commit()
        except NotOwner:
            return
        self._writer.leave(self._segments.active)
        self._watermark.sync()

    def _write(self, records: Sequence[Record]) -> None:
        end = self._writer.end
        assert records[0].lsn == end, f"append at LSN {records[0].lsn}, but the log ends at {end}"
        assert records[-1].lsn == end + len(records) - 1, "the LSNs of one append are dense"
        if self._disk.free() < self._settings.floor_bytes:
            raise DiskFull(
                f"less than {self._settings.floor_bytes >> 20} MiB free below {self._paths.folder or 'the log'}: "
                "nothing was written; free some space, then send again"
            )
        body = encode_body(records)
        if self._writer.length + len(body) > self._settings.segment_bytes and end > self._writer.header.base:
            self._roll()
        with self._segments.lock:
            self._writer.append(body, len(records), self._durable, self._segments.active)
        self._prepare_spare()

    def _acknowledge(self, durability: Durability) -> None:
        try:
            if durability == "durable":
                self._commit()
            else:
                ensure_owner(self._disk, self._paths.folder, self._epoch)
        except DiskFull as error:
            # The batch is written, so this is not the refusal a caller may repeat.
            raise self._unknown(error) from error

    def _unknown(self, error: Exception) -> SyncFailed:
        where = self._paths.folder or "the log"
        return SyncFailed(f"append to {where} failed half-way ({error}): what is on disk is unknown; restart")

    def _commit(self) -> None:
        if self._writer.end > self._durable:
            started = perf_counter()
            self._writer.sync()
            self.last_sync_s = perf_counter() - started
        ensure_owner(self._disk, self._paths.folder, self._epoch)
        if self._writer.end > self._durable:
            self._durable = self._writer.end
            self._watermark.publish(self._durable)

    def _roll(self) -> None:
        """Go on in a new segment. It is visible before the old one gets its index, which is only there for speed."""
        self._commit()
        old = self._writer
        header = Header(old.end, self._epoch, old.header.base, self._epoch, old.length, old.chain)
        fresh = None if self.spare is None else self.spare.take()
        if self.spare is not None and fresh is None:
            self.spare.discard()
        self.spare = None
        self._writer = self._published(header, fresh)
        with self._segments.lock:
            left = self._segments.active
            old.leave(left)
            self._segments.replace([*self._segments.headers(), header])

    def _published(self, header: Header, fresh: str | None) -> SegmentWriter:
        writer = SegmentWriter(self._disk, self._paths.segments, header, fresh)
        try:
            writer.publish()
        except NotFound:
            # The next owner clears away files that never became part of the log.
            ensure_owner(self._disk, self._paths.folder, self._epoch)
            raise
        except EverfoldError:
            writer.abandon()
            raise
        return writer

    def _prepare_spare(self) -> None:
        if self.spare is None and self._settings.spare and self._writer.length > self._settings.segment_bytes // 8:
            size = self._settings.segment_bytes
            if self._disk.free() > self._settings.floor_bytes + size:
                path = join(self._paths.segments, f"spare-{self._epoch}{TEMPORARY}")
                self.spare = Spare(self._disk, path, size)


class SegmentLogReader:
    """A log seen from another process, or read-only: up to the durable watermark, never creating anything.

    ``folder`` is the partition's, on ``disk`` where one is given. Follows the writer through new segments and new
    owners. For one thread.
    """

    def __init__(self, folder: Path | str, disk: Disk | None = None, name: str = "log") -> None:
        paths = LogPaths.of("" if disk is None else str(folder), name)
        disk = LocalDisk(Path(folder)) if disk is None else disk
        self._watermark = WatermarkReader(disk, paths.watermark)
        self._segments = Segments(disk, paths.segments)
        self._end = 0

    def bounds(self) -> tuple[int, int]:
        end = self._watermark.read()
        if end > self._end:
            self._again(self._segments.refresh)
            self._end = end
        return self._segments.start, self._end

    def read(self, start: int, limit: int) -> Sequence[Record]:
        stop = min(start + limit, self.bounds()[1])
        return self._again(lambda: self._segments.records(start, stop))

    def get(self, lsn: int) -> Record:
        _ensure_within(lsn, self.bounds())
        return self._again(lambda: self._segments.record(lsn))

    def close(self) -> None:
        self._watermark.close()
        self._segments.close()

    def _again(self, look: Callable[[], T]) -> T:
        """Look once more after reading the folder anew: a listing may fall between two renames of the writer, and
        files are trimmed while they are read."""
        try:
            return look()
        except (Corrupt, NotFound):
            self._segments.refresh()
            return look()


def _ensure_within(lsn: int, bounds: tuple[int, int]) -> None:
    start, end = bounds
    if not start <= lsn < end:
        raise NotFound(f"LSN {lsn} is not in the log: it holds {start} up to {end} (excluded)")
