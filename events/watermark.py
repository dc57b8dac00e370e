"""The durable watermark: one 64-bit number beside a log, the LSN up to which everything is on the device.

Written in place after each sync and before the acknowledgement, never itself synced: after a power loss it may be
older than the truth, never newer. Readers in other processes go no further.
"""

from __future__ import annotations

from events.disk import Disk, File
from events.errors import NotFound

_BYTES = 8
"""Aligned and less than a sector, so it is never seen half written."""


class Watermark:
    """The writer's side."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._file = disk.open(path)

    def publish(self, lsn: int) -> None:
        self._file.write(0, lsn.to_bytes(_BYTES, "little"))

    def sync(self) -> None:
        self._file.sync()

    def close(self) -> None:
        self._file.close()


class WatermarkReader:
    """The other side: 0 until an owner has published."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self._path = path
        self._file: File | None = None

    def read(self) -> int:
        """The mark as it stands. May step back for a moment while a replaced owner writes its last, older one."""
        if self._file is None:
            self._file = self._open()
        return 0 if self._file is None else int.from_bytes(self._file.read(0, _BYTES), "little")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> File | None:
        try:
            return self._disk.open(self._path, "read")
        except NotFound:
            return None
