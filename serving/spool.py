"""A replica's spool: where its decisions go first.

One append-only file per replica and 16 MB, written with one `write()` per decision and no fsync: 5 us instead of a call
to another process, safe from ``kill -9`` because the page cache belongs to the kernel, lost only when the machine goes
down. `serving.decisions` ships spools into the decision log and removes them.

    file    magic ‖ record*            DIR/spool/<8 hex>.spool, flocked for as long as its replica writes it
    record  size u32 ‖ crc32 u32 ‖ at u64 (us) ‖ nonce 6 ‖ partition u16 ‖ subject 16 ‖ request 16 ‖ flags u8
            ‖ pad 3 ‖ sealed

``size`` counts the sealed bytes, ``crc32`` covers everything after itself, integers are little-endian. The head holds
no personal data: a random subject id, and a keyed hash of the request id (zeros where none was sent).
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from events.ids import Micros
from serving.decision import Owner, Place

MAGIC = b"EFSPOOL1"
SUFFIX = ".spool"
ROLL_BYTES = 16 << 20
"""A spool is removed whole once shipped, so it is rolled; 16 MB are about 4,000 decisions."""
NO_REQUEST = bytes(16)

_HEAD = struct.Struct("<IIQ6sH16s16sB3x")
_REST = struct.Struct("<Q6sH16s16sB3x")
_TEST = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision as it lies in a spool, still sealed. ``raw`` is the whole record, ``end`` the offset after it."""

    place: Place
    at: Micros
    owner: Owner
    request: bytes
    test: bool
    sealed: bytes
    raw: bytes
    end: int


class Spool:
    """The writing side; one per replica, not shared between threads."""

    def __init__(self, folder: Path, random: Callable[[int], bytes] = os.urandom, roll_bytes: int = ROLL_BYTES) -> None:
        self._folder = folder
        self._random = random
        self._roll_bytes = roll_bytes
        self._file = -1
        self._id = b""
        self._size = 0
        self.failures = 0
        """Decisions that could not be written since the start."""

    def write(
        self,
        at: Micros,
        owner: Owner,
        seal: Callable[[bytes], bytes],
        *,
        request: bytes = NO_REQUEST,
        test: bool = False,
    ) -> Place | None:
        """Keep one decision; None when it cannot be written. ``seal`` is given the id it will have.

        A write that comes up short is taken back; where even that fails, the file is given up and the next decision
        starts another.
        """
        try:
            if self._file < 0 or self._size >= self._roll_bytes:
                self._roll()
            place = Place(self._id, self._size, self._random(6))
            record = pack(place, at, owner, request, test, seal(place.id))
            self._append(record)
        except OSError:
            self.failures += 1
            return None
        return place

    def close(self) -> None:
        """Let go of the file: whoever ships it may now remove it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _append(self, record: bytes) -> None:
        try:
            written = os.write(self._file, record)
            if written < len(record):
                raise OSError(f"only {written} of {len(record)} bytes were written")
        except OSError:
            try:
                os.ftruncate(self._file, self._size)
            except OSError:
                self.close()
            raise
        self._size += len(record)

    def _roll(self) -> None:
        """Start a new file. It is locked before it gets its name, so nobody takes it for a dead replica's."""
        self.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        name = self._random(4)
        hidden = self._folder / f".{name.hex()}.new"
        file = os.open(hidden, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.write(file, MAGIC) != len(MAGIC):
                raise OSError("a new spool could not be started")
            os.link(hidden, path_of(self._folder, name))
        except OSError:
            os.close(file)
            raise
        finally:
            hidden.unlink()
        self._file, self._id, self._size = file, name, len(MAGIC)


def pack(place: Place, at: Micros, owner: Owner, request: bytes, test: bool, sealed: bytes) -> bytes:
    rest = _REST.pack(at, place.nonce, owner.partition, owner.subject, request, _TEST if test else 0)
    return b"".join((struct.pack("<II", len(sealed), zlib.crc32(sealed, zlib.crc32(rest))), rest, sealed))


def unpack(data: bytes, position: int, spool: bytes, offset: int) -> Entry | None:
    """The entry at ``data[position]``, which is ``offset`` in its file. None where it is cut off or fails its check."""
    start = position + _HEAD.size
    if start > len(data):
        return None
    size, crc, at, nonce, partition, subject, request, flags = _HEAD.unpack_from(data, position)
    stop = start + size
    if stop > len(data) or zlib.crc32(memoryview(data)[position + 8 : stop]) != crc:
        return None
    return Entry(
        place=Place(spool, offset, nonce),
        at=Micros(at),
        owner=Owner(partition, subject),
        request=request,
        test=bool(flags & _TEST),
        sealed=data[start:stop],
        raw=data[position:stop],
        end=offset + stop - position,
    )


def path_of(folder: Path, spool: bytes) -> Path:
    return folder / f"{spool.hex()}{SUFFIX}"


def spools(folder: Path) -> list[bytes]:
    """The ids of all spools there are, sorted."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    stems = [name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)]
    return sorted(bytes.fromhex(stem) for stem in stems if len(stem) == 8)


def is_written(folder: Path, spool: bytes) -> bool:
    """Whether a live replica still holds the spool. A killed one no longer does."""
    try:
        file = os.open(path_of(folder, spool), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(file)


def read(folder: Path, spool: bytes, offset: int, size: int) -> bytes | None:
    """Up to ``size`` bytes of a spool from ``offset``; None when it is gone (shipped)."""
    try:
        file = os.open(path_of(folder, spool), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return os.pread(file, size, offset)
    finally:
        os.close(file)


def entry_at(folder: Path, place: Place) -> Entry | None:
    """The entry with this id, if it is still in a spool."""
    if place.offset < len(MAGIC):
        return None
    head = read(folder, place.spool, place.offset, _HEAD.size)
    if head is None or len(head) < _HEAD.size:
        return None
    (size,) = struct.unpack_from("<I", head)
    if size > ENTRY_BYTES_MAX:
        return None
    data = read(folder, place.spool, place.offset, _HEAD.size + size)
    entry = unpack(data, 0, place.spool, place.offset) if data else None
    return entry if entry is not None and entry.place == place else None


ENTRY_BYTES_MAX = 4 << 20
"""Larger than any decision: an id whose offset points into the middle of a record must not make us read gigabytes."""


def entries(folder: Path, spool: bytes, start: int, limit: int = 4 << 20) -> Iterator[Entry]:
    """The entries of a spool from ``start`` on (0: the first), up to about ``limit`` bytes; ends at the last whole one.
    While its replica lives, what follows may simply not be there yet."""
    offset = max(start, len(MAGIC))
    data = read(folder, spool, offset, limit)
    position = 0
    while data and (entry := unpack(data, position, spool, offset + position)) is not None:
        yield entry
        position += len(entry.raw)
