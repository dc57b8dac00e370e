"""A host's pulse, in 16 shared bytes beside the lock: when its event loop and when its writer last moved.

Two instants of CLOCK_MONOTONIC in nanoseconds, which all processes of one boot share and SIGSTOP does not touch. A host
counts as alive only while both move: a loop may run while its writer hangs in fsync.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path
from typing import Literal

BEAT = "beat"
_PULSE = struct.Struct("<QQ")
_PART = struct.Struct("<Q")
_OFFSETS = {"loop": 0, "writer": 8}


class Heartbeat:
    """The host's side."""

    def __init__(self, folder: Path) -> None:
        file = os.open(folder / BEAT, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(file, _PULSE.size)
            self._map = mmap.mmap(file, _PULSE.size)
        finally:
            os.close(file)
        self.touch("loop")
        self.touch("writer")

    def touch(self, part: Literal["loop", "writer"]) -> None:
        _PART.pack_into(self._map, _OFFSETS[part], time.monotonic_ns())

    def close(self) -> None:
        self._map.close()


def silence_s(folder: Path) -> float:
    """Seconds since the slower part of the host of ``folder`` last moved; infinite when it never did this boot."""
    try:
        data = (folder / BEAT).read_bytes()
    except FileNotFoundError:
        return float("inf")
    if len(data) != _PULSE.size:
        return float("inf")
    silent_ns = time.monotonic_ns() - min(_PULSE.unpack(data))
    return silent_ns / 1e9 if silent_ns >= 0 else float("inf")
