"""State in LMDB: one writer, many reading processes through the same map.

Rules, each measured before it was chosen: the map is 1 TiB of address space and never resized (the file stays as long
as its data); no writemap and no sync, since ``kill -9`` in mid-write tore nothing in 60 tries and a machine crash is
answered by checkpoint and replay; a read transaction lives within one call, because one stopped reader keeps every page
written since (2 GB in 6 s); the reader table is sized well above the 126 that killed readers exhaust. Local disks only.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from weakref import WeakValueDictionary

import lmdb

from actors.state import NO_OFFSETS, Change, HeldTable
from events.errors import DiskFull, Unavailable
from events.secrets import sync_folder

MAP_BYTES = 1 << 40
READERS_MAX = 1024
TABLES_MAX = 128
SCAN_ROWS = 512
COPY_BYTES = 16 << 20
ROOM_BYTES = 16 << 20
"""With less than this free, a write that failed is taken to have failed for lack of space."""
MOVED_CHECK_S = 0.1
"""How long a reader may serve a state folder that has since been replaced by a rebuilt one."""

_OFFSETS = "offsets"
_DATA = "data.mdb"
_MARKER = "marker"

_open: WeakValueDictionary[tuple[int, int], lmdb.Environment] = WeakValueDictionary()
_open_lock = threading.Lock()
"""LMDB forbids opening one file twice in a process: reader and writer of one process share the environment."""
_write_locks: dict[tuple[int, int], threading.Lock] = {}


def _write_lock(identity: tuple[int, int]) -> threading.Lock:
    """Held around everything that may begin a write transaction in this process: commits, and opening a table of an
    environment that is open for writing. The binding waits for LMDB's own writer lock without letting go of the
    interpreter, so a thread inside a write transaction and one waiting for it would stop each other for good."""
    return _write_locks.setdefault(identity, threading.Lock())


@dataclass(frozen=True)
class Marker:
    """Beside the data: when these may be trusted. Pages are not synced, so a state that was not closed clean is worth
    something only on the boot, device and inode it was written under."""

    boot: str
    device: int
    inode: int
    clean: bool

    @classmethod
    def of(cls, folder: Path, clean: bool) -> Marker:
        status = (folder / _DATA).stat()
        return cls(Path("/proc/sys/kernel/random/boot_id").read_text().strip(), status.st_dev, status.st_ino, clean)

    def write(self, folder: Path) -> None:
        fresh = folder / (_MARKER + ".new")
        with open(fresh, "w") as file:
            json.dump(asdict(self), file)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(folder / _MARKER)
        sync_folder(folder)


def trusted(folder: Path) -> bool:
    """Whether the state in ``folder`` is whole: closed clean, or written since this machine started."""
    try:
        marker = Marker(**json.loads((folder / _MARKER).read_text()))
        return marker.clean or marker == Marker.of(folder, clean=False)
    except (OSError, ValueError, TypeError):
        return False


def copy_data(old: Path, new: Path, beat: Callable[[], None]) -> None:
    """Copy a state nobody writes (a checkpoint) from folder ``old`` into folder ``new``, unmarked. ``beat`` is called
    every few tens of milliseconds."""
    with open(old / _DATA, "rb") as source, open(new / _DATA, "wb") as copy:
        while os.copy_file_range(source.fileno(), copy.fileno(), COPY_BYTES):
            beat()


class LmdbReader:
    """Read-only look at a state folder that another process (or this one) writes. Creates nothing.

    Raises `Unavailable` while there is no trustworthy state (before the first start, or while it is being rebuilt).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._env: lmdb.Environment | None = None
        self._tables: dict[str, lmdb._Database] = {}
        self._identity = (0, 0)
        self._checked = 0.0

    def get(self, table: str, key: bytes) -> bytes | None:
        with self._begin(table) as txn:
            handle = self._tables.get(table)
            return None if handle is None else txn.get(key, db=handle)

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        with self._begin(table) as txn:
            handle = self._tables.get(table)
            return [None] * len(keys) if handle is None else [txn.get(key, db=handle) for key in keys]

    def look(self, table: str, keys: Sequence[bytes]) -> tuple[list[bytes | None], dict[str, int]]:
        """The values of ``keys`` and the offsets, as of one and the same commit."""
        with self._begin(table, _OFFSETS) as txn:
            handle = self._tables.get(table)
            values: list[bytes | None] = [None] * len(keys)
            if handle is not None:
                values = [txn.get(key, db=handle) for key in keys]
            return values, self._offsets(txn)

    def offsets(self) -> dict[str, int]:
        with self._begin(_OFFSETS) as txn:
            return self._offsets(txn)

    @contextmanager
    def held(self, table: str) -> Iterator[HeldTable]:
        """Several looks at one commit: the one read transaction that outlives a call. Leave it soon, see the module."""
        with self._begin(table, _OFFSETS) as txn:
            yield _HeldTable(txn, self._tables.get(table), self._offsets(txn))

    def scan(self, table: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        rows = self._rows(table, start)
        while rows:
            yield from rows
            rows = self._rows(table, rows[-1][0] + b"\x00")

    def close(self) -> None:
        self._env = None
        self._tables = {}

    def copied(self, to: Path) -> LmdbReader:
        """A compact copy of the last commit in the new folder ``to``, to be read at leisure."""
        to.mkdir()
        self._begin().abort()
        assert self._env is not None
        self._env.copy(str(to), compact=True)
        Marker.of(to, clean=True).write(to)
        return LmdbReader(to)

    def _rows(self, table: str, start: bytes) -> list[tuple[bytes, bytes]]:
        with self._begin(table) as txn:
            handle = self._tables.get(table)
            if handle is None:
                return []
            cursor = txn.cursor(db=handle)
            if not cursor.set_range(start):
                return []
            return [row for row, _ in zip(cursor.iternext(), range(SCAN_ROWS), strict=False)]

    def _begin(self, *tables: str) -> lmdb.Transaction[bytes]:
        now = time.monotonic()
        if self._env is None or now - self._checked > MOVED_CHECK_S:
            self._checked = now
            self._env = self._present()
        try:
            return self._look_at(self._env, tables)
        except lmdb.Error:
            self._env = None  # closed by its owner in this process: look again
            self._env = self._present()
            return self._look_at(self._env, tables)

    def _look_at(self, env: lmdb.Environment, tables: Sequence[str]) -> lmdb.Transaction[bytes]:
        """A read transaction that knows ``tables``, those that exist. Each is opened in a transaction of its own
        before: a handle opened inside a read transaction dies with it, and its number is given to another table."""
        missing = [name for name in tables if name not in self._tables]
        if missing:
            with _write_lock(self._identity):
                for name in missing:
                    try:
                        self._tables[name] = env.open_db(name.encode(), create=False)
                    except lmdb.NotFoundError:
                        pass  # not made yet: empty
        return env.begin()

    def _present(self) -> lmdb.Environment:
        """The folder's present file: recovery builds a new one beside the old and swaps them."""
        try:
            status = (self._folder / _DATA).stat()
        except FileNotFoundError:
            if self._env is not None:
                return self._env
            raise Unavailable(f"there is no state in {self._folder}: start the service that owns it") from None
        identity = (status.st_dev, status.st_ino)
        if self._env is not None and identity == self._identity:
            return self._env
        if not trusted(self._folder):
            raise Unavailable(f"the state in {self._folder} is from before a machine crash: start its owner to rebuild")
        with _open_lock:
            env = _open.get(identity)
            if env is None or _closed(env):
                env = _open[identity] = _environment(self._folder, readonly=True)
        self._identity, self._tables = identity, {}
        return env

    def _offsets(self, txn: lmdb.Transaction[bytes]) -> dict[str, int]:
        handle = self._tables.get(_OFFSETS)
        if handle is None:
            return {}
        return {key.decode(): int.from_bytes(value, "little") for key, value in txn.cursor(db=handle)}


class _HeldTable:
    def __init__(self, txn: lmdb.Transaction[bytes], handle: lmdb._Database | None, offsets: Mapping[str, int]) -> None:
        self._txn = txn
        self._handle = handle
        self.offsets = offsets

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        if self._handle is None:
            return [None] * len(keys)
        return [self._txn.get(key, db=self._handle) for key in keys]

    def rows(self, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        if self._handle is None:
            return []
        cursor = self._txn.cursor(db=self._handle)
        return list(islice(cursor.iternext(), limit)) if cursor.set_range(start) else []

    def entries(self) -> int:
        return 0 if self._handle is None else int(self._txn.stat(self._handle)["entries"])


class LmdbState(LmdbReader):
    """The writer. One per folder and machine; the partition's lock sees to that."""

    def __init__(self, folder: Path) -> None:
        """Open, making the folder when missing. Whether what lies there may be used is for `trusted` to say, before."""
        super().__init__(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with _open_lock:
            env = _left_open(folder) or _environment(folder, readonly=False)
            marker = Marker.of(folder, clean=False)
            self._identity = (marker.device, marker.inode)
            _open[self._identity] = env
        self._env = self._own = env
        marker.write(folder)

    def _present(self) -> lmdb.Environment:
        return self._own

    def commit(
        self, changes: Iterable[Change], offsets: Mapping[str, int] = NO_OFFSETS, emptied: Sequence[str] = ()
    ) -> None:
        tables: dict[str, dict[bytes, bytes | None]] = {}
        for table, key, value in changes:
            tables.setdefault(table, {})[key] = value
        try:
            with _write_lock(self._identity):
                self._commit(tables, offsets, emptied)
        except lmdb.Error as error:
            if self._has_room():
                raise
            raise DiskFull(f"the state in {self._folder} could not be written ({error}): free disk space") from error

    def _commit(
        self, tables: Mapping[str, dict[bytes, bytes | None]], offsets: Mapping[str, int], emptied: Sequence[str]
    ) -> None:
        handles = {name: self._made(name) for name in (*tables, *emptied, _OFFSETS)}
        with self._own.begin(write=True) as txn:
            for name in emptied:
                txn.drop(handles[name], delete=False)
            for name, rows in tables.items():
                _put(txn, handles[name], rows)
            for source, offset in offsets.items():
                txn.put(source.encode(), offset.to_bytes(8, "little"), db=handles[_OFFSETS])

    def _has_room(self) -> bool:
        """LMDB reports a short write as an input/output error, like any other; only the disk knows better."""
        status = os.statvfs(self._folder)
        return status.f_bavail * status.f_frsize > ROOM_BYTES

    def copy(self, to: Path) -> None:
        """A compact, synced copy of the last commit in the empty folder ``to``. Commits may go on meanwhile."""
        self._own.copy(str(to), compact=True)
        descriptor = os.open(to / _DATA, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def check_readers(self) -> int:
        """Free the table entries of readers that died; returns how many."""
        return int(self._own.reader_check())

    def usage(self) -> dict[str, int]:
        """``readers``, ``oldest_reader`` (commits behind), ``bytes`` used, ``map_bytes``."""
        info = self._own.info()
        behind = [info["last_txnid"] - int(t) for t in _reader_transactions(self._own.readers())]
        page_bytes = self._own.stat()["psize"]
        return {
            "readers": info["num_readers"],
            "oldest_reader": max(behind, default=0),
            "bytes": (info["last_pgno"] + 1) * page_bytes,
            "map_bytes": info["map_size"],
        }

    def close(self) -> None:
        """Sync and mark clean. The environment itself goes with whoever looks last: a reader of this process may be in
        the middle of a look, and to pull the map from under it ends the process."""
        self._own.sync(True)
        Marker.of(self._folder, clean=True).write(self._folder)

    def abandon(self) -> None:
        """Let go without syncing or marking clean: what a crash leaves behind."""
        with _open_lock:
            _open.pop(self._identity, None)
        self._own.close()

    def _made(self, name: str) -> lmdb._Database:
        """The table, made in a transaction of its own: a handle dies with the transaction that opened it."""
        handle = self._tables.get(name)
        if handle is None:
            handle = self._tables[name] = self._own.open_db(name.encode())
        return handle


def _left_open(folder: Path) -> lmdb.Environment | None:
    """What an owner before in this process left to its readers, to be gone on with. One that readers opened alone
    cannot be written, and is closed."""
    if not (folder / _DATA).exists():
        return None
    status = (folder / _DATA).stat()
    shared = _open.get((status.st_dev, status.st_ino))
    if shared is None or _closed(shared):
        return None
    if not shared.flags()["readonly"]:
        return shared
    del _open[status.st_dev, status.st_ino]
    shared.close()
    return None


def _environment(folder: Path, readonly: bool) -> lmdb.Environment:
    return lmdb.open(
        str(folder),
        map_size=MAP_BYTES,
        max_dbs=TABLES_MAX,
        max_readers=READERS_MAX,
        readonly=readonly,
        create=not readonly,
        sync=False,
        metasync=False,
        writemap=False,
        readahead=False,
    )


def _put(txn: lmdb.Transaction[bytes], handle: lmdb._Database, rows: dict[bytes, bytes | None]) -> None:
    present: list[tuple[bytes, bytes]] = []
    for key in sorted(rows):
        value = rows[key]
        if value is None:
            txn.delete(key, db=handle)
        else:
            present.append((key, value))
    txn.cursor(db=handle).putmulti(present)


def _closed(env: lmdb.Environment) -> bool:
    try:
        env.info()
    except lmdb.Error:
        return True
    return False


def _reader_transactions(table: str) -> list[str]:
    """The transaction ids in LMDB's textual reader table (``pid thread txnid`` per line, ``-`` when idle)."""
    rows = [line.split() for line in table.splitlines()[1:]]
    return [row[2] for row in rows if len(row) == 3 and row[2].isdigit()]
