"""The epoch of a partition: how many times it was taken, and by that who may write.

Each owner takes the next number before it touches the log, writes segments of its own under that number only, and
reads the number again after each sync and before it acknowledges. An owner that was stopped, replaced and continued
finds a higher number and refuses (`NotOwner`). All it ever acknowledged was synced before the number changed, hence
lies in what the next owner found.

Two processes that take at the same moment are kept apart by the lock on the folder (one machine) or by whoever
assigns partitions; a log refuses to open under a number that has already written.
"""

from __future__ import annotations

from events.disk import Disk, join
from events.errors import Corrupt, NotFound, NotOwner

FILE = "epoch"


def current(disk: Disk, folder: str) -> int:
    """The epoch in force; 0 when the partition was never taken. Raises `Corrupt` when the file holds no number."""
    path = join(folder, FILE)
    try:
        file = disk.open(path, "read")
    except NotFound:
        return 0
    try:
        text = file.read(0, 32)
    finally:
        file.close()
    if not text.strip().isdigit():
        raise Corrupt(f"{path} holds {text!r}, not an epoch: restore it from a backup")
    return int(text)


def take(disk: Disk, folder: str) -> int:
    """Make this caller the owner: the epoch after the current one, durable when it returns."""
    epoch = current(disk, folder) + 1
    fresh = join(folder, f"{FILE}.tmp")
    file = disk.open(fresh)
    try:
        file.truncate(0)
        file.append(b"%d\n" % epoch)
        file.sync()
    finally:
        file.close()
    disk.rename(fresh, join(folder, FILE))
    return epoch


def ensure_owner(disk: Disk, folder: str, epoch: int) -> None:
    """Raises `NotOwner` unless ``epoch`` is still the one in force."""
    now = current(disk, folder)
    if now != epoch:
        where = folder or "this partition"
        raise NotOwner(f"{where} was taken under epoch {now}; this process owned epoch {epoch} and stops writing")
