"""The decision log: spools shipped, kept for 30 days, found by ``recommendation_id``.

A `Shipper` is a follower of spools: it appends their entries to a log of its own (the same segment files as the
partitions'), then commits the index and each spool's offset together. The log is the truth: a record names the spool
and the offset behind it, so an index that lags or is lost is made again from the log, and no decision is kept twice.
`Decisions` is the reading side, in every replica: a decision is still in its spool or already in the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shutil import rmtree

from actors.lmdb_state import LmdbReader, LmdbState, trusted
from actors.state import Change, StateReader, StateStore
from events.disk import LocalDisk
from events.epoch import take
from events.errors import KeyMissing, NotFound, Unavailable
from events.ids import Micros
from events.log import Log, LogReader, scan
from events.record import Record
from events.segment_log import SegmentLog, SegmentLogReader, SegmentSettings
from serving import decision, spool
from serving.decision import Decision, Place
from serving.sealing import Sealer
from serving.spool import Entry

BY_ID = "decision_by_id"
BY_REQUEST = "decision_by_request"
SPOOLS = "spools"
INDEXED = "log"
"""Name of the index's offset: the next LSN of the decision log to be indexed."""

FORGOTTEN = "forgotten"
"""Name of another offset: decisions below this LSN are past their retention and no longer indexed."""

RECORD_TYPE = "decision"
RETENTION_US = 30 * 86_400 * 1_000_000
"""30 days: longer than any attribution window, short enough to be explained to a privacy officer."""


class Shipper:
    """Moves decisions from spools to the log. One per store; not shared between threads."""

    def __init__(self, spools: Path, log: Log, index: StateStore) -> None:
        """Bring the index up to the log first: a crash may have come between the two."""
        self._spools = spools
        self._log = log
        self._index = index
        self.torn_bytes = 0
        """Bytes behind the last whole entry of dead replicas' spools: lost to a machine crash."""
        start, end = log.bounds()
        offsets = index.offsets()
        at = max(offsets.get(INDEXED, start), offsets.get(FORGOTTEN, start), start)
        self._appended = log.get(end - 1).appended if end > start else 0
        while at < end:
            records = log.read(at, 2048)
            at = records[-1].lsn + 1
            self._commit([(record.lsn, entry_of(record)) for record in records], at)

    def ship(self) -> int:
        """Ship what there is; returns how many decisions. Spools of dead replicas are adopted like any other, and
        removed once empty."""
        shipped = 0
        for name in spool.spools(self._spools):
            final = not spool.is_written(self._spools, name)
            offset = self._offset(name)
            while batch := list(spool.entries(self._spools, name, offset)):
                self._append(batch)
                offset = batch[-1].end
                shipped += len(batch)
            if final:
                self._remove(name, offset)
        return shipped

    def backlog(self) -> int:
        """Bytes in spools that are not in the log yet."""
        waiting = 0
        for name in spool.spools(self._spools):
            try:
                waiting += spool.path_of(self._spools, name).stat().st_size - self._offset(name)
            except FileNotFoundError:
                pass
        return waiting

    def trim(self, now: Micros, retention_us: int = RETENTION_US) -> int:
        """Forget decisions older than the retention; returns how many. They are no longer found at once; their bytes go
        with their segment."""
        start, end = self._log.bounds()
        at = max(self._index.offsets().get(FORGOTTEN, start), start)
        old: list[Entry] = []
        for record in scan(self._log, at, end, chunk=256):
            if record.appended >= now - retention_us:
                break
            old.append(entry_of(record))
        if old:
            changes: list[Change] = [(BY_ID, entry.place.id, None) for entry in old]
            changes += [(BY_REQUEST, entry.request, None) for entry in old if entry.request != spool.NO_REQUEST]
            self._index.commit(changes, {FORGOTTEN: at + len(old)})
            self._log.trim(at + len(old))
        return len(old)

    def close(self) -> None:
        self._log.close()
        self._index.close()

    def _offset(self, name: bytes) -> int:
        stored = self._index.get(SPOOLS, name)
        return int.from_bytes(stored, "little") if stored else len(spool.MAGIC)

    def _append(self, entries: list[Entry]) -> None:
        _, lsn = self._log.bounds()
        records: list[Record] = []
        for entry in entries:
            self._appended = max(entry.at, self._appended + 1)
            records.append(_record(entry, lsn + len(records), self._appended))
        self._log.append(records)
        self._commit(list(enumerate(entries, lsn)), lsn + len(records))

    def _commit(self, entries: Sequence[tuple[int, Entry]], indexed: int) -> None:
        """Index these (LSN, entry), the last of the log so far, and remember how far their spools are shipped."""
        changes: list[Change] = []
        ends: dict[bytes, int] = {}
        for number, entry in entries:
            lsn = number.to_bytes(8, "little")
            changes.append((BY_ID, entry.place.id, lsn))
            if entry.request != spool.NO_REQUEST:
                changes.append((BY_REQUEST, entry.request, lsn))
            ends[entry.place.spool] = entry.end
        changes += [(SPOOLS, name, end.to_bytes(8, "little")) for name, end in ends.items()]
        self._index.commit(changes, {INDEXED: indexed})

    def _remove(self, name: bytes, offset: int) -> None:
        path = spool.path_of(self._spools, name)
        self.torn_bytes += max(path.stat().st_size - max(offset, len(spool.MAGIC)), 0)
        path.unlink()
        self._index.commit([(SPOOLS, name, None)])


class Decisions:
    """Finds decisions again, wherever they lie by now."""

    def __init__(self, spools: Path, log: LogReader, index: StateReader, sealer: Sealer) -> None:
        self._spools = spools
        self._log = log
        self._index = index
        self._sealer = sealer

    def lookup(self, recommendation_id: str) -> Decision:
        """What was answered under this id. Raises `BadId`, or `NotFound` when it is unknown, older than the retention,
        or its subject was erased."""
        place = Place.parse(recommendation_id)
        entry = self.entry(place)
        if entry is None:
            raise NotFound(f"recommendation {recommendation_id} is unknown: it is kept for 30 days")
        return self.open(entry)

    def entry(self, place: Place) -> Entry | None:
        """The sealed entry. Spool first: an entry is in the log before its spool goes."""
        return spool.entry_at(self._spools, place) or self._logged(BY_ID, place.id)

    def whole(self) -> bool:
        """Whether all that was shipped can be found: not while the index is made again after a machine crash."""
        try:
            return self._index.offsets().get(INDEXED, 0) >= self._log.bounds()[1]
        except (Unavailable, NotFound):
            return False

    def answered(self, request: bytes) -> Entry | None:
        """The shipped entry of a request, by its hash."""
        return self._logged(BY_REQUEST, request)

    def open(self, entry: Entry) -> Decision:
        """Raises `NotFound` when its subject was erased."""
        try:
            plain = self._sealer.unseal(entry.owner, entry.place.id, entry.sealed)
        except KeyMissing:
            raise NotFound(f"recommendation {entry.place.text} was erased with its subject") from None
        return decision.decode(plain)

    def _logged(self, table: str, key: bytes) -> Entry | None:
        try:
            lsn = self._index.get(table, key)
            if lsn is None:
                return None
            record = self._log.get(int.from_bytes(lsn, "little"))
        except (Unavailable, NotFound):
            return None
        return entry_of(record)


def entry_of(record: Record) -> Entry:
    """The entry that a record of the decision log holds."""
    place = Place.of(record.event_id)
    entry = spool.unpack(record.payload, 0, place.spool, place.offset)
    assert entry is not None
    return entry


def _record(entry: Entry, lsn: int, appended: int) -> Record:
    """``producer`` and ``seq`` say which spool it came from and the offset behind it."""
    return Record(
        lsn=lsn,
        links=(),
        appended=appended,
        event_time=entry.at // 1000,
        type=RECORD_TYPE,
        version=1,
        subject=entry.owner.subject,
        event_id=entry.place.id,
        payload=entry.raw,
        producer=entry.place.spool.hex(),
        seq=entry.end,
    )


FOLDER = Path("followers") / "decisions"
SPOOL_FOLDER = Path("spool")
SEGMENT_BYTES = 16 << 20
"""Smaller than a partition's: bytes past their retention go with their segment."""


def open_shipper(data: Path, floor_bytes: int) -> Shipper:
    """The store's one shipper; ``floor_bytes`` as in `SegmentSettings`. An index that a machine crash made doubtful is
    made again from the log.

    Raises `Corrupt` or `DiskFull` as the log does.
    """
    folder = data / FOLDER
    disk = LocalDisk(folder)
    settings = SegmentSettings(segment_bytes=SEGMENT_BYTES, floor_bytes=floor_bytes, spare=False)
    log = SegmentLog(disk, "", take(disk, ""), settings)
    index = folder / "index"
    if index.exists() and not trusted(index):
        rmtree(index)
    return Shipper(data / SPOOL_FOLDER, log, LmdbState(index))


def open_decisions(data: Path, sealer: Sealer) -> Decisions:
    """The reading side. Before the first start of a shipper there are only spools."""
    folder = data / FOLDER
    return Decisions(data / SPOOL_FOLDER, SegmentLogReader(folder), LmdbReader(folder / "index"), sealer)
