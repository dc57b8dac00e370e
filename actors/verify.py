"""Is the live state what the log says? The log is folded again from its start, beside the service, and compared.

Works on the files alone, so a running host need not know of it: a copy of its last commit is taken, the log is folded
into a scratch state up to the same offset, and both are compared profile by profile.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from actors.dedupe import DedupeSettings
from actors.fold import fold
from actors.lmdb_state import LmdbState
from actors.profile import Profile, digest
from actors.reader import PartitionFiles
from actors.refold import OFFSET, Fold, Refold
from actors.state import StateReader
from actors.store import Store
from actors.working_set import HEADS, PROFILES, from_row
from events.errors import Conflict
from events.ids import PartitionId
from events.vault import VaultReader

DIFFERING_MAX: Final = 10
"""Differences named; more are counted."""


@dataclass(frozen=True)
class Verified:
    """The result for one partition."""

    partition: PartitionId
    records: int
    """Folded, from the start of the log."""
    skipped: int
    """Of those, unreadable because their subject was erased."""
    actors: int
    live: str
    """Digest of the live state: 32 hex digits over every key and its canonical bytes, in key order."""
    refolded: str
    differing: tuple[str, ...] = ()
    """Key hashes of the first actors that differ."""

    @property
    def equal(self) -> bool:
        return self.live == self.refolded


def verify(
    store: Store,
    number: PartitionId,
    scratch: Path,
    beat: Callable[[], None] = lambda: None,
    folding: Fold = fold,
) -> Verified:
    """Compare partition ``number`` with its log; ``scratch`` is a folder to make and remove, on a disk with room for
    two copies of the state.

    Raises `Conflict` when the log no longer reaches back to its first record, `PartitionStopped` in one of its kinds
    for a log that cannot be folded.
    """
    files = PartitionFiles(store.folder(number), number, store)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        return _compare(files, number, scratch, beat, folding)
    finally:
        files.close()
        shutil.rmtree(scratch)


def _compare(
    files: PartitionFiles, number: PartitionId, scratch: Path, beat: Callable[[], None], folding: Fold
) -> Verified:
    if files.log.bounds()[0] > 0:
        raise Conflict(f"the log of partition {number} was trimmed: there is nothing to compare its state with")
    live = files.state.copied(scratch / "live")
    again = LmdbState(scratch / "again")
    try:
        end = live.offsets().get(OFFSET, 0)
        refold = Refold(again, files.log, files.vault, DedupeSettings(), folding, beat=beat)
        refold.run(end)
        left, right = _Digest(), _Digest()
        differing: list[str] = []
        for name, a, b in _pairs(_rows(live, files.vault), _rows(again, files.vault)):
            left.add(name, a)
            right.add(name, b)
            if a != b and len(differing) < DIFFERING_MAX:
                differing.append(name.hex())
            beat()
        return Verified(number, end, refold.skipped, left.count, left.hex(), right.hex(), tuple(differing))
    finally:
        live.close()
        again.abandon()


class _Digest:
    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16, person=b"everfold-verify")
        self.count = 0

    def add(self, name: bytes, row: bytes | None) -> None:
        if row is not None:
            self._hash.update(name + row)
            self.count += 1

    def hex(self) -> str:
        return self._hash.hexdigest()


def _rows(state: StateReader, vault: VaultReader) -> Iterator[tuple[bytes, bytes]]:
    """(table and key, canonical bytes), in order; without those erased since their state was copied."""
    for table in (HEADS, PROFILES):
        for key, row in state.scan(table):
            actor = from_row(table, row)
            if not vault.erased(actor.subject):
                yield table.encode() + key, digest(actor) if isinstance(actor, Profile) else row


def _pairs(
    left: Iterator[tuple[bytes, bytes]], right: Iterator[tuple[bytes, bytes]]
) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    """Merge two ordered streams by key."""
    a, b = next(left, None), next(right, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a[0] < b[0]):
            assert a is not None
            yield a[0], a[1], None
            a = next(left, None)
        elif a is None or b[0] < a[0]:
            yield b[0], None, b[1]
            b = next(right, None)
        else:
            yield a[0], a[1], b[1]
            a, b = next(left, None), next(right, None)
