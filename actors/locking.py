"""Ownership of a partition folder on one machine: an OS lock that names its holder, and a way to end a silent holder.

The kernel drops the lock when its holder dies, however it dies; a holder that is stopped (SIGSTOP) keeps it. So silence
is judged by the heartbeat (`actors.heartbeat`), and a silent holder is killed before its lock is taken. The lock is one
of open file descriptions: unlike flock it can be looked at without being taken, unlike POSIX locks it does not vanish
when some other part of the process closes the file.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
from pathlib import Path

from actors.heartbeat import Pulse
from events.errors import Held, NotFound

LOCK = "lock"
_FLOCK = struct.Struct("hhqqi")
_WANTED = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


class FolderLock:
    """Held from construction until `release` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        """Take the lock of ``folder``. Raises `Held`, naming the holder's pid, or `NotFound` for a missing folder."""
        try:
            self._file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise NotFound(f"{folder} does not exist: restore it, the manifest lists it") from None
        try:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _WANTED)
        except (BlockingIOError, PermissionError):
            pid = _read(self._file)[0]
            os.close(self._file)
            raise Held(f"{folder} is held by process {pid}: stop that one, or wait until it has ended") from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()} {_started(os.getpid())}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._file)


def holder(folder: Path) -> int | None:
    """The pid of the process that holds the lock of ``folder``; None when it is free."""
    owner = _owner(folder)
    return None if owner is None else owner[0]


def end_holder(folder: Path, timeout_s: float) -> int | None:
    """Kill the process that holds ``folder`` and wait until it is gone; None when the lock is free already.

    Goes through a pidfd checked against the process's start time, so a recycled pid is never hit. Raises `Held` when
    it has not ended in time (a process in uninterruptible I/O), `PermissionError` when it is not ours to kill.
    """
    owner = _owner(folder)
    if owner is None:
        return None
    pid, started = owner
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        if _started(pid) != started:
            return None
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        if not select.select([descriptor], [], [], timeout_s)[0]:
            raise Held(f"process {pid} holds {folder} and has not ended {timeout_s:g} s after SIGKILL: check its disk")
    finally:
        os.close(descriptor)
    return pid


def end_silent_holder(folder: Path, silent_s: float, timeout_s: float) -> int | None:
    """`end_holder` for one whose heartbeat has been silent for ``silent_s``; the pid that was ended, if any."""
    pulse = Pulse(folder)
    try:
        return end_holder(folder, timeout_s) if pulse.silence_s() > silent_s else None
    finally:
        pulse.close()


def is_alive(pid: int) -> bool:
    """Whether a process of this number runs, whoever's it is."""
    return _started(pid) > 0


def _owner(folder: Path) -> tuple[int, int] | None:
    try:
        file = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        found = _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_OFD_GETLK, _WANTED))
        return None if found[0] == fcntl.F_UNLCK else _read(file)
    finally:
        os.close(file)


def _read(file: int) -> tuple[int, int]:
    """(pid, start time) as written by the holder; (0, 0) in the instant before it has written them."""
    words = os.pread(file, 64, 0).split()
    return (int(words[0]), int(words[1])) if len(words) == 2 else (0, 0)


def _started(pid: int) -> int:
    """When the process started, in clock ticks since boot; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(text.rpartition(")")[2].split()[19])
