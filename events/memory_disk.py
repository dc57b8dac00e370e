"""A disk in memory that knows what was synced, and can be made to fail in every way a real one does.

The model: a power loss (`MemoryDisk.crash`) keeps, tears or loses each write since its file was last synced; of the
names made, changed and removed since their folder was synced, only the first few survive (`rename` syncs it, as the
port says). After a failed sync the bytes are still readable but count as clean, so that no later sync makes them
durable. A process that dies alone (`MemoryDisk.kill`) loses nothing. Every fault comes from a call or a seed, so a
run can be repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Literal, NamedTuple, TypeAlias

from events.disk import OpenMode
from events.errors import DiskFull, NotFound, SyncFailed

WORD = 8
"""Bytes that are written whole or not at all, when aligned. Real devices promise 512; eight tears harder, and is what
the watermark (one aligned 64-bit number) relies on."""


Loss: TypeAlias = Literal["kept", "torn", "lost", "name lost"]
"""What a power loss did to one write, or to one change of a name, that was not synced."""


class Crashed(BaseException):
    """The machine or process is gone: raised by every call on a dead disk, and by the call it died in. Not an
    `Exception`: nothing that has died can handle it."""


class _Inode:
    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = bytearray()
        self.pending: list[tuple[int, bytes] | int] = []
        """Since the last sync: (offset, bytes) written, or the size it was truncated to."""

    def write(self, offset: int, data: bytes) -> None:
        _put(self.data, offset, data)
        self.pending.append((offset, data))

    def truncate(self, size: int) -> None:
        _resize(self.data, size)
        self.pending.append(size)

    def sync(self) -> None:
        for change in self.pending:
            _apply(self.durable, change)
        self.pending.clear()

    def lose_power(self, random: Random, losses: Counter[Loss]) -> None:
        for change in self.pending:
            match random.randrange(3):
                case 0:
                    losses["lost"] += 1
                case 1 if isinstance(change, tuple):
                    losses["torn"] += 1
                    _apply(self.durable, _torn(change, random))
                case _:
                    losses["kept"] += 1
                    _apply(self.durable, change)
        self.pending.clear()
        self.data = bytearray(self.durable)


def _resize(data: bytearray, size: int) -> None:
    if size < len(data):
        del data[size:]
    else:
        data.extend(bytes(size - len(data)))


def _put(data: bytearray, offset: int, new: bytes) -> None:
    if offset + len(new) > len(data):
        _resize(data, offset + len(new))
    data[offset : offset + len(new)] = new


def _apply(data: bytearray, change: tuple[int, bytes] | int) -> None:
    if isinstance(change, int):
        _resize(data, change)
    else:
        _put(data, *change)


def _torn(change: tuple[int, bytes], random: Random) -> tuple[int, bytes]:
    """One stretch of whole words out of a write."""
    offset, data = change
    first, last = offset // WORD, -(-(offset + len(data)) // WORD)
    low, high = sorted((random.randint(first, last), random.randint(first, last)))
    start, stop = max(offset, low * WORD), min(offset + len(data), high * WORD)
    return start, data[start - offset : max(stop, start) - offset]


class _Naming(NamedTuple):
    """A change of names: ``path`` now leads to ``inode`` (None: nowhere), and ``was`` no longer does."""

    path: str
    inode: _Inode | None
    was: str | None = None

    def apply(self, names: dict[str, _Inode]) -> None:
        if self.was is not None:
            names.pop(self.was, None)
        if self.inode is None:
            names.pop(self.path, None)
        else:
            names[self.path] = self.inode


class MemoryFile:
    """A file of a `MemoryDisk`. A handle outlives a rename or removal, as a descriptor does, but not a crash."""

    def __init__(self, disk: MemoryDisk, path: str, inode: _Inode, mode: OpenMode) -> None:
        self._disk = disk
        self._path = path
        self._inode = inode
        self._mode = mode
        self._life = disk.life

    def append(self, data: bytes) -> None:
        self.write(len(self._inode.data), data)

    def write(self, offset: int, data: bytes) -> None:
        self._before_change()
        grown = offset + len(data) - len(self._inode.data)
        if grown > self._disk.free():
            raise DiskFull(f"no space for {len(data)} bytes in {self._path}: free some, then send again")
        self._inode.write(offset, bytes(data))
        self._disk.step(self._life)

    def sync(self) -> None:
        self._before_change()
        if self._disk.sync_fails():
            self._inode.pending.clear()
            raise SyncFailed(f"fdatasync of {self._path} failed: check the device, then restart")
        self._inode.sync()
        self._disk.step(self._life)

    def truncate(self, size: int) -> None:
        self._before_change()
        self._inode.truncate(size)
        self._disk.step(self._life)

    def read(self, offset: int, size: int) -> bytes:
        self._disk.alive(self._life)
        return bytes(self._inode.data[offset : offset + size])

    def size(self) -> int:
        self._disk.alive(self._life)
        return len(self._inode.data)

    def close(self) -> None:
        """Nothing is held."""

    def _before_change(self) -> None:
        assert self._mode == "write", f"{self._path} was opened for reading"
        self._disk.step(self._life)


class MemoryDisk:
    """See the module. ``capacity`` in bytes may be changed at any time; None is without bound."""

    def __init__(self, seed: int = 0, capacity: int | None = None) -> None:
        self.capacity = capacity
        self.life = 0
        """Counts crashes and kills; handles of an earlier life are dead."""
        self.steps = 0
        """Moments passed at which the machine could have died: two per change, before and after it."""
        self.losses: Counter[Loss] = Counter()
        """What power losses did so far."""
        self._random = Random(seed)
        self._names: dict[str, _Inode] = {}
        self._durable_names: dict[str, _Inode] = {}
        self._unsynced_names: list[_Naming] = []
        self._dead = False
        self._actions: dict[int, Callable[[], None]] = {}
        self._syncs_left: int | None = None

    def open(self, path: str, mode: OpenMode = "write") -> MemoryFile:
        self.alive(self.life)
        inode = self._names.get(path)
        if inode is None:
            if mode == "read":
                raise NotFound(f"{path} does not exist")
            self.step(self.life)
            inode = _Inode()
            self._name(_Naming(path, inode))
        return MemoryFile(self, path, inode, mode)

    def list(self, folder: str) -> list[str]:
        self.alive(self.life)
        prefix = f"{folder}/" if folder else ""
        below = {path[len(prefix) :].split("/")[0] for path in self._names if path.startswith(prefix)}
        return sorted(below)

    def rename(self, old: str, new: str) -> None:
        self.step(self.life)
        if old not in self._names:
            raise NotFound(f"{old} does not exist")
        self._name(_Naming(new, self._names[old], old))
        self.step(self.life)
        self._sync_folder(new.rpartition("/")[0])
        self.step(self.life)

    def remove(self, path: str) -> None:
        self.step(self.life)
        self._name(_Naming(path, None))
        self.step(self.life)

    def free(self) -> int:
        self.alive(self.life)
        if self.capacity is None:
            return 1 << 62
        return self.capacity - sum(len(inode.data) for inode in self._names.values())

    def at_step(self, steps: int, action: Callable[[], None]) -> None:
        """Do ``action`` in the middle of whatever call makes the given number of `steps` from now."""
        self._actions[self.steps + steps] = action

    def crash_after(self, steps: int) -> None:
        """Die at the given number of `steps` from now: that call and all later ones raise `Crashed`."""
        self.at_step(steps, self._die)

    def fail_sync_after(self, syncs: int) -> None:
        """Let that many syncs succeed and fail the next one, once."""
        self._syncs_left = syncs

    def crash(self, random: Random | None = None) -> None:
        """Power loss, then power: what was not synced is lost, torn or kept, by the toss of a coin."""
        random = self._random if random is None else random
        survive = random.randint(0, len(self._unsynced_names))
        self.losses["name lost"] += len(self._unsynced_names) - survive
        for naming in self._unsynced_names[:survive]:
            naming.apply(self._durable_names)
        self._unsynced_names.clear()
        self._names = dict(self._durable_names)
        for inode in self._names.values():
            inode.lose_power(random, self.losses)
        self.kill()

    def kill(self) -> None:
        """The process dies, the machine does not: every byte written stays, every handle is dead."""
        self.life += 1
        self._dead = False
        self._actions.clear()

    def synced(self, path: str) -> bool:
        """Whether every byte written to the file is on the device, under a name that is."""
        inode = self._names[path]
        return not inode.pending and self._durable_names.get(path) is inode

    def files(self) -> Sequence[tuple[str, bytes]]:
        """Every path with what it holds, by path."""
        return [(path, bytes(self._names[path].data)) for path in sorted(self._names)]

    def flip(self, path: str, offset: int, mask: int = 1) -> None:
        """Rot: change bits of one byte, as found on the device."""
        inode = self._names[path]
        for held in (inode.data, inode.durable):
            if offset < len(held):
                held[offset] ^= mask

    def alive(self, life: int) -> None:
        if self._dead or life != self.life:
            raise Crashed("the process that opened this is gone")

    def step(self, life: int) -> None:
        """One moment at which the machine may die, or something else happen."""
        self.alive(life)
        self.steps += 1
        action = self._actions.pop(self.steps, None)
        if action is not None:
            action()

    def sync_fails(self) -> bool:
        if self._syncs_left is None:
            return False
        self._syncs_left -= 1
        if self._syncs_left >= 0:
            return False
        self._syncs_left = None
        return True

    def _die(self) -> None:
        self._dead = True
        raise Crashed(f"died at step {self.steps}")

    def _name(self, naming: _Naming) -> None:
        naming.apply(self._names)
        self._unsynced_names.append(naming)

    def _sync_folder(self, folder: str) -> None:
        later = []
        for naming in self._unsynced_names:
            if naming.path.rpartition("/")[0] == folder:
                naming.apply(self._durable_names)
            else:
                later.append(naming)
        self._unsynced_names = later
