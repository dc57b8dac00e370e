"""The disk as a port: what the log, and nothing else of the core, asks of a file system.

`LocalDisk` is the real one. `MemoryDisk` (`events.memory_disk`) is the other: it knows which bytes were synced, and
can crash, tear, fill up and fail. Paths are relative to the disk's root, with ``/``.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from events.errors import DiskFull, NotFound, SyncFailed

FREE_S = 0.02
"""How long an answer about free space is taken for true: asking costs a system call that a busy writer pays for every
batch, and the floors leave room for what 20 ms can write."""

OpenMode: TypeAlias = Literal["write", "read"]
"""``write``: read and write, created (with its folders) when missing. ``read``: never creates, never changes."""


class File(Protocol):
    """One open file. Not meant for several threads, except that `read` may run beside a write."""

    def append(self, data: bytes) -> None:
        """Write at the end. All, or `DiskFull` after the file was cut back to the size it had."""
        ...

    def write(self, offset: int, data: bytes) -> None:
        """Write at ``offset``, over what is there, growing the file as needed.

        All, or `DiskFull` after the file was cut back to the size it had; bytes inside that size may have changed.
        Raises `SyncFailed` when the device refuses the write for another reason.
        """
        ...

    def sync(self) -> None:
        """Return when every byte written is on the device (fdatasync). Raises `SyncFailed`; never to be retried."""
        ...

    def truncate(self, size: int) -> None: ...

    def read(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer only at the end of the file."""
        ...

    def size(self) -> int: ...

    def close(self) -> None: ...


class Disk(Protocol):
    """A tree of files."""

    def open(self, path: str, mode: OpenMode = "write") -> File:
        """Raises `NotFound` for mode ``read`` when there is no such file."""
        ...

    def list(self, folder: str) -> list[str]:
        """Names in ``folder``, sorted; empty when there is no such folder."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Atomic, replaces ``new``, and durable: the folder is synced before it returns. Raises `NotFound`."""
        ...

    def remove(self, path: str) -> None:
        """Not durable by itself; removing what is gone is no error."""
        ...

    def free(self) -> int:
        """Bytes that may still be written."""
        ...


def join(folder: str, name: str) -> str:
    """``folder/name``, where the empty folder is the disk's root.

    >>> join("", "epoch"), join("log", "a.seg")
    ('epoch', 'log/a.seg')
    """
    return f"{folder}/{name}" if folder else name


_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def disk_full(what: str) -> Iterator[None]:
    """Raises `DiskFull` in the place of an `OSError` that says there is no room for what ``what`` writes."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        where = f" to {error.filename}" if error.filename else ""
        raise DiskFull(f"{what} could not write{where} ({error.strerror}): free some, then run it again") from None


class LocalFile:
    """A file of the operating system, by descriptor."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def append(self, data: bytes) -> None:
        self.write(self.size(), data)

    def write(self, offset: int, data: bytes) -> None:
        before = self.size()
        try:
            done = os.pwrite(self._descriptor, data, offset)
            while done < len(data):
                done += os.pwrite(self._descriptor, memoryview(data)[done:], offset + done)
        except OSError as error:
            if self.size() > before:
                os.ftruncate(self._descriptor, before)
            if error.errno in _NO_SPACE:
                raise DiskFull(f"no space for {len(data)} bytes in {self._path}: free some, then send again") from error
            raise self._failed("write", error) from error

    def sync(self) -> None:
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise self._failed("fdatasync", error) from error

    def _failed(self, call: str, error: OSError) -> SyncFailed:
        return SyncFailed(f"{call} of {self._path} failed ({error.strerror}): check the device, then restart")

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def read(self, offset: int, size: int) -> bytes:
        data = os.pread(self._descriptor, size, offset)
        while len(data) < size:
            more = os.pread(self._descriptor, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class LocalDisk:
    """The files below one folder of this machine. Files are made readable for their owner only."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._free = (float("-inf"), 0)

    def open(self, path: str, mode: OpenMode = "write") -> LocalFile:
        target = self._root / path
        if mode == "read":
            try:
                return LocalFile(target, os.open(target, os.O_RDONLY | os.O_CLOEXEC))
            except FileNotFoundError as error:
                raise NotFound(f"{target} does not exist") from error
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            return LocalFile(target, self._create(target, flags))
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise DiskFull(f"no space to create {target}: free some") from error
            raise

    def _create(self, target: Path, flags: int) -> int:
        try:
            return os.open(target, flags, 0o600)
        except FileNotFoundError:
            _make_folder(target.parent)
            return os.open(target, flags, 0o600)

    def list(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(self._root / folder))
        except FileNotFoundError:
            return []

    def rename(self, old: str, new: str) -> None:
        try:
            os.rename(self._root / old, self._root / new)
        except FileNotFoundError as error:
            raise NotFound(f"{self._root / old} does not exist") from error
        _sync_folder((self._root / new).parent)

    def remove(self, path: str) -> None:
        (self._root / path).unlink(missing_ok=True)

    def free(self) -> int:
        looked, free = self._free
        now = time.monotonic()
        if now - looked > FREE_S:
            stat = os.statvfs(self._root)
            free = stat.f_bavail * stat.f_frsize
            self._free = (now, free)
        return free


def _make_folder(folder: Path) -> None:
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise SyncFailed(f"fsync of the folder {folder} failed ({error.strerror}): check the device") from error
    finally:
        os.close(descriptor)
