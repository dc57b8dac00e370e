"""Another number of partitions: every readable record is written again into a new store, in the order it was known.

No public id holds a partition or an LSN, so nobody outside notices. The new store keeps the old one's identity, master
key and ``appended`` times; erased subjects stay behind. States are folded when the new store is opened. The old one
must not be running; it is left as it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import merge
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from actors.locking import FolderLock
from actors.reader import PartitionFiles
from actors.store import SETTINGS, Store
from events.disk import LocalDisk
from events.epoch import take
from events.ids import PartitionId
from events.log import scan
from events.record import Link, Record
from events.secrets import MASTER_KEY
from events.segment_log import SegmentLog, SegmentSettings
from events.unseal import ERASED_TYPE, Unsealer
from events.vault import Owner, Vault, open_slots

BATCH: Final = 1024
"""Records per append; each append is a sync."""


@dataclass
class Moved:
    """What `repartition` did."""

    records: int = 0
    skipped: int = 0
    """Left behind: records of erased subjects and the facts of their erasure."""


def repartition(
    old: Store,
    new_path: Path,
    partitions: int,
    beat: Callable[[int], None] = lambda records: None,
    settings: SegmentSettings | None = None,
) -> tuple[Store, Moved]:
    """Write ``old`` again into the empty folder ``new_path`` with another number of ``partitions``.

    ``beat`` is told the number of records written so far. Raises `Held` while the old store runs, `Conflict` when
    there is a store in ``new_path``, `KeyMissing` and `Corrupt` for a damaged one.
    """
    locks = [FolderLock(old.folder(number)) for number in old.numbers()]
    try:
        new_path.mkdir(parents=True, exist_ok=True)
        for name in (MASTER_KEY, *SETTINGS):
            if (old.path / name).exists():
                shutil.copy2(old.path / name, new_path / name)
        manifest = old.manifest
        new = Store.create(new_path, partitions, manifest.created, manifest.pinned, manifest.store_id)
        return new, _move(old, new, beat, settings or SegmentSettings())
    finally:
        for lock in locks:
            lock.release()


class _Target:
    """One partition of the new store, being filled."""

    def __init__(self, store: Store, number: PartitionId, settings: SegmentSettings) -> None:
        folder = store.folder(number)
        disk = LocalDisk(folder)
        self._number = number
        self._log = SegmentLog(disk, "", take(disk, ""), settings)
        self._vault = Vault(open_slots(disk), store.secrets.vault_wrap)
        self._heads: dict[bytes, tuple[bytes, int]] = {}
        """Old subject → its new one and its newest record here."""
        self._batch: list[Record] = []
        self._end = 0
        self._appended = 0

    def add(self, owner: Owner, record: Record, plain: bytes) -> None:
        subject, head = self._heads.get(record.subject, (b"", -1))
        if not subject:
            subject = self._vault.adopt(owner.key_hash, owner.key_digest, owner.kind)
        lsn = self._end
        links: tuple[Link, ...] = () if head < 0 else ((self._number, head),)
        self._appended = max(record.appended, self._appended + 1)
        sealed = self._vault.seal(subject, record.event_id, lsn, plain)
        self._batch.append(
            replace(record, lsn=lsn, links=links, appended=self._appended, subject=subject, payload=sealed)
        )
        self._heads[record.subject] = (subject, lsn)
        self._end += 1
        if len(self._batch) >= BATCH:
            self.flush()

    def flush(self) -> None:
        self._vault.sync()
        if self._batch:
            self._log.append(self._batch)
            self._batch = []

    def close(self) -> None:
        self.flush()
        self._log.close()
        self._vault.close()


def _move(old: Store, new: Store, beat: Callable[[int], None], settings: SegmentSettings) -> Moved:
    moved = Moved()
    targets = [_Target(new, number, settings) for number in new.numbers()]
    sources = [_Source(old, number) for number in old.numbers()]
    for record, unsealed in merge(*(source.records() for source in sources), key=lambda each: each[0].appended):
        if unsealed is None:
            moved.skipped += 1
            continue
        owner, plain = unsealed
        targets[new.partition_of_digest(owner.key_digest)].add(owner, record, plain)
        moved.records += 1
        if moved.records % BATCH == 0:
            beat(moved.records)
    for target in targets:
        target.close()
    for source in sources:
        source.close()
    return moved


class _Source:
    """One partition of the old store."""

    def __init__(self, store: Store, number: PartitionId) -> None:
        self._files = PartitionFiles(store.folder(number), number, store)

    def records(self) -> Iterator[tuple[Record, tuple[Owner, bytes] | None]]:
        opener = Unsealer(self._files.log, self._files.vault)
        for record in scan(self._files.log, self._files.log.bounds()[0]):
            yield record, None if record.type == ERASED_TYPE else opener.unseal(record)

    def close(self) -> None:
        self._files.close()
