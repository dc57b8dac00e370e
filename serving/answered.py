"""Requests already answered: the same request id gets the stored answer, from whichever replica, also after a restart.

A request with an id is answered while holding one byte of ``DIR/spool/requests.lock``, chosen by its hash: the kernel
frees it when the process dies, it makes requests with different ids wait for nobody, and no two replicas can answer
the same id side by side. Under it the decision is looked for where it can be: in the spools (only what was written
since the last look is read; heads carry the hash) and in the index of the decision log.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from events.errors import Unavailable
from serving import spool
from serving.decision import Place
from serving.decisions import Decisions
from serving.spool import Entry

LOCK = "requests.lock"
_LOCK_BYTES = 1 << 62
_FLOCK = struct.Struct("hhqqi4x")


class BeingAnswered(Unavailable):
    """Another replica is answering the same request id at this moment."""

    code = "being_answered"


class Answered:
    """One per replica."""

    def __init__(self, spools: Path, decisions: Decisions) -> None:
        self._spools = spools
        self._decisions = decisions
        self._lock = -1
        self._seen: dict[bytes, dict[bytes, Place]] = {}
        self._offsets: dict[bytes, int] = {}

    @contextmanager
    def claim(self, request: bytes) -> Iterator[Entry | None]:
        """Hold the request and yield its stored entry, None when it was never answered (or no lock can be kept,
        as on a read-only disk, where nothing can be stored either).

        Raises `BeingAnswered` while another replica is at it: the caller's next try, a moment later, finds the answer.
        """
        lock = self._opened()
        start = int.from_bytes(request[:8], "little") % _LOCK_BYTES
        if lock >= 0:
            try:
                fcntl.fcntl(lock, fcntl.F_OFD_SETLK, _range(fcntl.F_WRLCK, start))
            except (BlockingIOError, PermissionError):
                raise BeingAnswered("this request id is being answered right now: send it again") from None
        try:
            yield self._find(request)
        finally:
            if lock >= 0:
                fcntl.fcntl(lock, fcntl.F_OFD_SETLK, _range(fcntl.F_UNLCK, start))

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _find(self, request: bytes) -> Entry | None:
        self._look()
        for requests in self._seen.values():
            place = requests.get(request)
            if place is not None:
                entry = spool.entry_at(self._spools, place)
                if entry is not None:
                    return entry
        return self._decisions.answered(request)

    def _look(self) -> None:
        """Read the heads that were added to any spool since the last look; forget spools that were shipped."""
        present = spool.spools(self._spools)
        for name in self._seen.keys() - set(present):
            del self._seen[name], self._offsets[name]
        for name in present:
            requests = self._seen.setdefault(name, {})
            offset = self._offsets.get(name, 0)
            while batch := list(spool.entries(self._spools, name, offset)):
                requests.update((e.request, e.place) for e in batch if e.request != spool.NO_REQUEST)
                offset = batch[-1].end
            self._offsets[name] = offset

    def _opened(self) -> int:
        if self._lock < 0:
            try:
                self._spools.mkdir(parents=True, exist_ok=True)
                self._lock = os.open(self._spools / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError:
                return -1
        return self._lock


def _range(kind: int, start: int) -> bytes:
    """``struct flock`` for one byte at ``start``."""
    return _FLOCK.pack(kind, os.SEEK_SET, start, 1, 0)
