"""A backup of the data, taken beside the running service, without the master key: useless to whoever finds it alone.

Logs are copied record by record, so that every check is made on the way and the copy is whole whatever is written
meanwhile. The vault is copied after the log, hence knows every subject in it; where an erasure fell in between, the log
is brought up to it. A checkpoint saves the restored store most of its replay. The manifest comes last: a folder without
one is no backup.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from actors.checkpoints import Checkpoints
from actors.reader import PartitionFiles
from actors.recovery import CHECKPOINTS
from actors.store import MANIFEST, SETTINGS, Store
from events.disk import LocalDisk
from events.epoch import take
from events.errors import Conflict, NotFound
from events.ids import PartitionId
from events.log import LogReader
from events.quarantine import NAME as QUARANTINE
from events.secrets import MASTER_KEY
from events.segment_log import SegmentLog, SegmentLogReader, SegmentSettings
from events.unseal import ERASED_TYPE
from events.vault import SLOTS, VaultReader

BATCH: Final = 1024


@dataclass
class Copied:
    """What `backup` copied."""

    records: int = 0
    subjects: int = 0


def backup(store: Store, dest: Path, beat: Callable[[int], None] = lambda records: None) -> Copied:
    """Copy ``store`` into the new folder ``dest``; ``beat`` is told the records copied so far.

    Raises `Conflict` when ``dest`` holds something, `Corrupt` when a record fails its check: then the copy is left
    without a manifest, and no older backup should be thrown away for it.
    """
    if dest.exists() and any(dest.iterdir()):
        raise Conflict(f"{dest} is not empty: choose another folder for the backup")
    dest.mkdir(parents=True, exist_ok=True)
    copied = Copied()
    for number in store.numbers():
        _Partition(store, number, dest, copied, beat).copy()
    for name in (*SETTINGS, MANIFEST):
        if (store.path / name).exists():
            shutil.copy2(store.path / name, dest / name)
    return copied


def restore(backup_path: Path, dest: Path, master_key: Path) -> Store:
    """A store in the new folder ``dest`` out of a backup and the master key kept elsewhere.

    Raises `NotFound` when there is no whole backup or no file at ``master_key``, `Conflict` when ``dest`` holds
    something, `KeyMissing` for another store's key: then nothing is left in ``dest``.
    """
    if not (backup_path / MANIFEST).exists():
        raise NotFound(f"{backup_path} holds no whole backup: it has no {MANIFEST}")
    if not master_key.is_file():
        raise NotFound(f"{master_key} is no file: name the master key that was kept apart from the backup")
    if dest.exists() and any(dest.iterdir()):
        raise Conflict(f"{dest} is not empty: choose another folder to restore into")
    shutil.copytree(backup_path, dest, dirs_exist_ok=True)
    shutil.copy2(master_key, dest / MASTER_KEY)
    (dest / MASTER_KEY).chmod(0o600)
    try:
        return Store.open(dest)
    except BaseException:
        shutil.rmtree(dest)
        raise


class _Partition:
    def __init__(
        self, store: Store, number: PartitionId, dest: Path, copied: Copied, beat: Callable[[int], None]
    ) -> None:
        self._source = store.folder(number)
        self._folder = dest / self._source.relative_to(store.path)
        self._folder.mkdir(parents=True)
        self._files = PartitionFiles(self._source, number, store)
        self._store = store
        self._copied = copied
        self._beat = beat
        self._erased: set[bytes] = set()

    def copy(self) -> None:
        self._copy_checkpoint()
        disk = LocalDisk(self._folder)
        epoch = take(disk, "")
        log = SegmentLog(disk, "", epoch)
        self._copy_log(self._files.log, log)
        while not self._copy_vault():
            self._copy_log(self._files.log, log)
        log.close()
        self._copy_quarantine(disk, epoch)
        self._files.close()

    def _copy_checkpoint(self) -> None:
        """Before the log, so that it is not ahead of it."""
        newest = Checkpoints(self._source / CHECKPOINTS).newest()
        if newest is not None:
            shutil.copytree(newest, self._folder / CHECKPOINTS / newest.name)

    def _copy_log(self, source: LogReader, log: SegmentLog) -> None:
        start, end = source.bounds()
        if start > 0:
            raise Conflict(
                f"the log in {self._source} was trimmed to LSN {start}: copy the folder of a stopped service"
            )
        at = log.bounds()[1]
        while at < end:
            records = source.read(at, min(BATCH, end - at))
            log.append(records, "os")
            self._erased.update(record.subject for record in records if record.type == ERASED_TYPE)
            at += len(records)
            self._copied.records += len(records)
            self._beat(self._copied.records)

    def _copy_vault(self) -> bool:
        """Whether the copied log tells of every erasure that the copied vault shows."""
        target = self._folder / SLOTS
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(self._source / SLOTS, target)
        vault = VaultReader(LocalDisk(self._folder).open(SLOTS, "read"), self._store.secrets.vault_wrap)
        shown, subjects = set(vault.erasures()), vault.count()
        vault.close()
        whole = shown <= self._erased
        self._copied.subjects += subjects if whole else 0
        return whole

    def _copy_quarantine(self, disk: LocalDisk, epoch: int) -> None:
        """Numbered anew, since the oldest may have given way."""
        source = SegmentLogReader(self._source, name=QUARANTINE)
        log = SegmentLog(disk, "", epoch, SegmentSettings(), QUARANTINE)
        at, end = source.bounds()
        while at < end:
            records = source.read(at, min(BATCH, end - at))
            first = log.bounds()[1]
            log.append([replace(record, lsn=lsn) for lsn, record in enumerate(records, first)], "os")
            at += len(records)
        log.close()
        source.close()
