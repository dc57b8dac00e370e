"""What can go wrong, and the ports through which it reaches a process: its disk and its state store.

A `Process` is what dies. It counts the moments at which it could (two per change on disk, one before and one after each
commit, one at every step the engine names) and carries one armed fault, which strikes at one of them. All its disks and
states ask it first, so that whatever outlives it (bytes, commits) is handed to the next process as it was left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal, TypeAlias

from actors.state import NO_OFFSETS, Change, HeldTable, MemoryState
from events.disk import OpenMode
from events.errors import DiskFull
from events.memory_disk import Crashed, MemoryDisk, MemoryFile
from serving.spool import Spool


class Fault(StrEnum):
    """Kinds of faults."""

    KILLED = "killed"
    KILLED_BEFORE_COMMIT = "killed before a commit"
    KILLED_AFTER_COMMIT = "killed after a commit"
    STOPPED = "stopped for a while"
    STALE_OWNER = "replaced while alive"
    POWER_LOST = "power lost"
    WRITE_LOST = "unsynced write lost"
    WRITE_TORN = "unsynced write torn"
    NAME_LOST = "unsynced name lost"
    SPOOL_LOST = "spool cut by a power loss"
    OLD_STATE = "state restored from a checkpoint"
    SYNC_FAILED = "sync failed"
    DISK_FULL = "disk full"
    STATE_FULL = "state full"
    SPOOL_REFUSED = "spool refused a write"
    CLOCK_JUMPED = "clock jumped"
    MESSAGE_LOST = "message lost"
    MESSAGE_DELAYED = "message delayed"
    MESSAGE_DUPLICATED = "message duplicated"


Place: TypeAlias = Literal["moment", "step", "before commit", "after commit", "sync", "state", "spool"]
"""Where a fault strikes: at a moment of the disk, at a step the engine names, around a commit, in a sync, in a commit,
in a write to the spool."""

POINTS: Final[Mapping[str, tuple[str, ...]]] = {
    "owner": (
        "opening",
        "log open",
        "replayed",
        "idle",
        "preparing",
        "folded",
        "vault synced",
        "prepared",
        "writing",
        "refused",
        "appended",
        "written",
        "committing",
        "committed",
        "erasing",
        "key destroyed",
        "copying",
    ),
    "follower": ("opening", "idle", "following", "committing", "committed", "sending", "delivered", "settled"),
    "segments": (
        "opening",
        "idle",
        "following",
        "begun",
        "levelled",
        "read",
        "looked",
        "committing",
        "committed",
        "sending",
        "delivered",
        "settled",
    ),
    "learner": ("opening", "idle", "following", "committing", "planned", "folded", "committed", "done"),
    "shipper": ("opening", "idle", "shipping", "committing", "committed"),
    "replica": ("idle", "answering", "spooling", "spooled"),
}
"""Role → the points at which a process of that role can be when it dies: the latest step it passed."""


UNNAMED: Final = frozenset({"idle", "committing"})
"""Points that are no steps: where a process waits, or is inside a commit."""
STEPPED: Final = {role: tuple(point for point in points if point not in UNNAMED) for role, points in POINTS.items()}
"""Role → points that a fault can be put at."""


SELDOM: Final[Mapping[str, int]] = {
    "begun": 6,
    "levelled": 20,
    "sending": 6,
    "delivered": 6,
    "settled": 8,
    "erasing": 6,
    "key destroyed": 24,
    "refused": 10,
    "vault synced": 6,
    "copying": 12,
    "folded": 3,
    "planned": 8,
    "done": 6,
}
"""Points that most rounds do not come to: how many times as often as others they are chosen for a fault."""


@dataclass
class Armed:
    """A fault that waits: it strikes when the process has passed ``left`` further places of its kind."""

    fault: Fault
    place: Place
    left: int
    strike: Callable[[Process], None]
    point: str = ""
    """With the place ``step``: only at the step of this name."""
    spared: str = ""
    """A point at which it does not strike."""


class Process:
    """One life of one process. ``told`` hears of every fault that struck and the point where it did."""

    def __init__(self, name: str, role: str, told: Callable[[Fault, str], None]) -> None:
        self.name = name
        self.role = role
        self.alive = True
        self.point = "idle"
        self.armed: Armed | None = None
        self.resumes = 0
        """Stopped until this moment, us."""
        self._told = told

    @property
    def where(self) -> str:
        """Role and point."""
        return f"{self.role}: {self.point}"

    def step(self, name: str) -> None:
        """It has come to the step ``name``."""
        self.ensure_alive()
        self.point = name
        if self.armed is not None and self.armed.point in ("", name):
            self.pass_by("step")

    def pass_by(self, place: Place) -> None:
        """A place where an armed fault may strike."""
        if not self.alive:
            raise Crashed(f"{self.name} is dead")
        armed = self.armed
        if armed is not None and armed.place == place and armed.spared != self.point:
            armed.left -= 1
            if armed.left < 0:
                self.armed = None
                self._told(armed.fault, self.where)
                armed.strike(self)

    def ensure_alive(self) -> None:
        if not self.alive:
            raise Crashed(f"{self.name} is dead")

    def die(self) -> None:
        """End here: for whoever is inside one of its calls."""
        self.alive = False
        raise Crashed(f"{self.name} died, {self.point}")


class ProcessFile:
    """A file as one process has it open."""

    def __init__(self, file: MemoryFile, path: str, disk: ProcessDisk) -> None:
        self._file = file
        self._path = path
        self._disk = disk
        self._process = disk.process

    def append(self, data: bytes) -> None:
        self.write(self._file.size(), data)

    def write(self, offset: int, data: bytes) -> None:
        self._process.pass_by("moment")
        self._file.write(offset, data)
        self._disk.wrote(self._path, offset, data)
        self._process.pass_by("moment")

    def sync(self) -> None:
        self._process.pass_by("moment")
        self._process.pass_by("sync")
        self._file.sync()
        self._process.pass_by("moment")

    def truncate(self, size: int) -> None:
        self._process.pass_by("moment")
        self._file.truncate(size)
        self._process.pass_by("moment")

    def read(self, offset: int, size: int) -> bytes:
        self._process.ensure_alive()
        return self._file.read(offset, size)

    def size(self) -> int:
        self._process.ensure_alive()
        return self._file.size()

    def close(self) -> None:
        """Nothing is held."""


class ProcessDisk:
    """The machine's disk as one process sees it. ``wrote`` hears of every write."""

    def __init__(
        self,
        disk: MemoryDisk,
        process: Process,
        wrote: Callable[[str, int, bytes], None] = lambda path, offset, data: None,
    ) -> None:
        self.process = process
        self.wrote = wrote
        self._disk = disk

    def open(self, path: str, mode: OpenMode = "write") -> ProcessFile:
        if mode == "write":
            self.process.pass_by("moment")
        else:
            self.process.ensure_alive()
        return ProcessFile(self._disk.open(path, mode), path, self)

    def list(self, folder: str) -> list[str]:
        self.process.ensure_alive()
        return self._disk.list(folder)

    def rename(self, old: str, new: str) -> None:
        self.process.pass_by("moment")
        self._disk.rename(old, new)
        self.process.pass_by("moment")

    def remove(self, path: str) -> None:
        self.process.pass_by("moment")
        self._disk.remove(path)
        self.process.pass_by("moment")

    def free(self) -> int:
        self.process.ensure_alive()
        return self._disk.free()


Committed: TypeAlias = Callable[[Sequence[Change], Mapping[str, int]], None]


class ProcessState:
    """A state as the process that commits to it has it. ``committed`` hears of every commit that took effect."""

    def __init__(self, kept: MemoryState, process: Process, committed: Committed) -> None:
        self.kept = kept
        self._process = process
        self._committed = committed

    def get(self, table: str, key: bytes) -> bytes | None:
        return self.kept.get(table, key)

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        return self.kept.get_many(table, keys)

    def scan(self, table: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        return self.kept.scan(table, start)

    def offsets(self) -> dict[str, int]:
        return self.kept.offsets()

    def held(self, table: str) -> AbstractContextManager[HeldTable]:
        return self.kept.held(table)

    def commit(
        self, changes: Iterable[Change], offsets: Mapping[str, int] = NO_OFFSETS, emptied: Sequence[str] = ()
    ) -> None:
        self._process.point = "committing"
        self._process.pass_by("before commit")
        self._process.pass_by("state")
        changes = list(changes)
        self.kept.commit(changes, offsets, emptied)
        self._committed(changes, offsets)
        self._process.point = "committed"
        self._process.pass_by("after commit")

    def close(self) -> None:
        """Nothing is held."""


class SimulatedSpool(Spool):
    """A spool of a process that may die before and after a write, and refuse one as a full disk does."""

    def __init__(self, folder: Path, random: Callable[[int], bytes], roll_bytes: int, process: Process) -> None:
        super().__init__(folder, random, roll_bytes)
        self._process = process

    def _append(self, record: bytes) -> None:
        self._process.step("spooling")
        self._process.pass_by("spool")
        super()._append(record)
        self._process.step("spooled")


def refused(process: Process) -> None:
    """How a full disk refuses a spool's write."""
    raise OSError("no space left")


def no_room(process: Process) -> None:
    """How a full state refuses a commit."""
    raise DiskFull("the state has no room: give it some, then send again")
