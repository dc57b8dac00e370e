"""A host's pulse, in a few shared bytes beside the lock: when its event loop and when its writer last moved.

Two instants of CLOCK_MONOTONIC, which all processes of one boot share and SIGSTOP does not touch, and the wall clock of
the latest touch for telling people an age. A host counts as alive only while both parts move: a loop may run while its
writer hangs in fsync.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path
from typing import Final, Literal, TypeAlias

BEAT: Final = "beat"
SILENT_S: Final = 2.5
"""Silence after which what a host committed is no longer taken for the newest there is: two missed beats."""

Part: TypeAlias = Literal["loop", "writer"]
_INSTANT = struct.Struct("<Q")
_OFFSETS: Final = {"loop": 0, "writer": 8}
_WALL: Final = 16
_BYTES: Final = 24
_NEVER: Final = float("inf")


class Heartbeat:
    """The owner's side. Made after the lock was taken, never before."""

    def __init__(self, folder: Path) -> None:
        file = os.open(folder / BEAT, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(file, _BYTES)
            self._map = mmap.mmap(file, _BYTES)
        finally:
            os.close(file)
        self.touch_all()

    def touch(self, part: Part) -> None:
        _INSTANT.pack_into(self._map, _OFFSETS[part], time.monotonic_ns())
        _INSTANT.pack_into(self._map, _WALL, time.time_ns())

    def touch_all(self) -> None:
        """While a partition is opened, whoever opens it speaks for both parts."""
        self.touch("loop")
        self.touch("writer")

    def close(self) -> None:
        self._map.close()


class Pulse:
    """The other side; cheap enough for every read. Never creates anything."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / BEAT
        self._map: mmap.mmap | None = None

    def silence_s(self) -> float:
        """Seconds since the slower part last moved; infinite when it never did since this machine started."""
        at = min(self._instant(_OFFSETS["loop"]), self._instant(_OFFSETS["writer"]))
        silent_ns = time.monotonic_ns() - at
        return silent_ns / 1e9 if at and silent_ns >= 0 else _NEVER

    def age_ms(self) -> int:
        """How long ago what the owner had committed was known to be the newest: 0 while it lives; -1 when unknown."""
        if self.silence_s() <= SILENT_S:
            return 0
        at = self._instant(_WALL)
        return max(0, (time.time_ns() - at) // 1_000_000) if at else -1

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None

    def _instant(self, offset: int) -> int:
        if self._map is None:
            self._map = self._opened()
        return 0 if self._map is None else int(_INSTANT.unpack_from(self._map, offset)[0])

    def _opened(self) -> mmap.mmap | None:
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            whole = os.fstat(file).st_size == _BYTES
            return mmap.mmap(file, _BYTES, access=mmap.ACCESS_READ) if whole else None
        finally:
            os.close(file)
