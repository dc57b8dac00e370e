"""Opening a partition: lock, epoch, log, vault, then a state that is trusted or rebuilt, and caught up with the log.

Replay ends before the first write is taken. A state that cannot be trusted (the machine crashed, the folder was
copied) is replaced by the newest checkpoint, or by nothing, plus replay; one of another fold version is rebuilt from
the start of the log beside the old one, which readers go on using until the two are swapped.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from actors.checkpoints import Checkpoints
from actors.fold import FOLD_VERSION, fold
from actors.heartbeat import Heartbeat
from actors.ledger import META
from actors.lmdb_state import LmdbState, trusted
from actors.locking import FolderLock
from actors.partition import Partition, PartitionSettings, Ports
from actors.refold import OFFSET, Fold, Refold
from events.clock import Clock
from events.disk import LocalDisk
from events.epoch import take
from events.errors import PartitionStopped
from events.ids import PartitionId
from events.quarantine import Quarantine
from events.secrets import Secrets
from events.segment_log import SegmentLog, SegmentSettings
from events.vault import Vault, open_slots

STATE = "state"
BUILDING = "state.building"
REPLACED = "state.replaced"
CHECKPOINTS = "checkpoints"
FOLD_KEY = b"fold"


@dataclass(frozen=True)
class Opening:
    """How to open partitions of one store."""

    secrets: Secrets
    clock: Clock
    partition: PartitionSettings = field(default_factory=PartitionSettings)
    log: SegmentSettings = field(default_factory=SegmentSettings)
    folding: Fold = fold
    fold_version: int = FOLD_VERSION
    steps: Callable[[str], None] = lambda step: None


class OwnedPartition:
    """A partition with what this process holds for it on the local disk."""

    def __init__(self, folder: Path, number: PartitionId, opening: Opening) -> None:
        """Take the folder and bring its state up with its log, beating while that goes on.

        Raises `Held` naming the owner's pid, `NotFound` for a missing folder, `Corrupt` for a log that cannot be
        opened. What stops the replay stops the partition's writes instead (`Partition.stopped`): reads go on.
        """
        self._lock = FolderLock(folder)
        self.heartbeat = Heartbeat(folder)
        beat = self.heartbeat.touch_all
        try:
            disk = LocalDisk(folder)
            self.epoch = take(disk, "")
            self.log = SegmentLog(disk, "", self.epoch, opening.log)
            self.vault = Vault(open_slots(disk), opening.secrets.vault_wrap)
            self.quarantine = Quarantine.open(
                disk, "", self.epoch, opening.secrets.quarantine, floor_bytes=opening.log.floor_bytes
            )
            self.checkpoints = Checkpoints(folder / CHECKPOINTS)
            self.state, stopped = _caught_up(folder, self.checkpoints, self.log, self.vault, opening, beat)
            ports = Ports(disk, self.log, self.state, self.vault, self.quarantine, opening.clock)
            self.partition = Partition(
                number, opening.secrets.key_hash, ports, opening.partition, opening.steps, opening.folding, beat
            )
            if stopped is not None:
                self.partition.stop(stopped)
        except BaseException:
            self._lock.release()
            raise

    def checkpoint(self) -> None:
        """Copy the committed state aside, so that a machine crash costs little replay."""
        self.log.append([])  # a checkpoint must not be ahead of the durable log
        self.checkpoints.take(self.state)

    def close(self) -> None:
        """A clean end: the log is synced, the state is synced and marked, the folder is free."""
        self.log.close()
        self.quarantine.close()
        self.state.close()
        self.vault.close()
        self.heartbeat.close()
        self._lock.release()


def _caught_up(
    folder: Path,
    checkpoints: Checkpoints,
    log: SegmentLog,
    vault: Vault,
    opening: Opening,
    beat: Callable[[], None],
) -> tuple[LmdbState, PartitionStopped | None]:
    """The state, folded as far as the log can be folded, and what stopped that."""
    for leftover in (BUILDING, REPLACED):
        shutil.rmtree(folder / leftover, ignore_errors=True)
    whole = trusted(folder / STATE)
    if whole:
        state = LmdbState(folder / STATE)
        if _usable(state, log, opening):
            return state, _replayed(state, log, vault, opening, beat)
        state.close()
    state = _begun(folder / BUILDING, checkpoints, log, opening, beat)
    stopped = _replayed(state, log, vault, opening, beat)
    state.close()
    if stopped is not None and whole:
        shutil.rmtree(folder / BUILDING)  # what the old fold made is more than what this one can
    else:
        _swap(folder)
    return LmdbState(folder / STATE), stopped


def _replayed(
    state: LmdbState, log: SegmentLog, vault: Vault, opening: Opening, beat: Callable[[], None]
) -> PartitionStopped | None:
    settings = opening.partition
    refold = Refold(
        state, log, vault, settings.dedupe, opening.folding, vault.erase, beat, cache_bytes=settings.cache_bytes
    )
    try:
        refold.run()
    except PartitionStopped as error:
        return error
    return None


def _begun(
    building: Path, checkpoints: Checkpoints, log: SegmentLog, opening: Opening, beat: Callable[[], None]
) -> LmdbState:
    """A state to fold into: the newest checkpoint where it can be used, else an empty one."""
    if checkpoints.restore(building, beat):
        state = LmdbState(building)
        if _usable(state, log, opening):
            return state
        state.abandon()
        shutil.rmtree(building)
    state = LmdbState(building)
    state.commit([(META, FOLD_KEY, opening.fold_version.to_bytes(4, "little"))])
    return state


def _usable(state: LmdbState, log: SegmentLog, opening: Opening) -> bool:
    """Whether the state was made by this fold, and of no more than this log (which may be an older copy)."""
    version = int.from_bytes(state.get(META, FOLD_KEY) or b"", "little")
    return version == opening.fold_version and state.offsets().get(OFFSET, 0) <= log.bounds()[1]


def _swap(folder: Path) -> None:
    """Put the built state in the place of the old. Readers keep the old file until they see the new."""
    if (folder / STATE).exists():
        (folder / STATE).rename(folder / REPLACED)
    (folder / BUILDING).rename(folder / STATE)
    shutil.rmtree(folder / REPLACED, ignore_errors=True)
