"""A partition on a disk that fails on command, and drafts to feed it."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from random import Random

from msgspec.structs import replace

from actors.dedupe import DedupeSettings
from actors.fold import fold
from actors.history import History
from actors.partition import Partition, PartitionSettings, Ports
from actors.profile import Profile, decode, digest
from actors.refold import Fold, Refold
from actors.state import MemoryState
from actors.working_set import PROFILES
from events.clock import ManualClock
from events.epoch import take
from events.errors import PartitionStopped
from events.ids import Key, Micros, PartitionId
from events.log import scan
from events.memory_disk import MemoryDisk
from events.payload import encode, type_of
from events.quarantine import Quarantine
from events.record import Draft, Record
from events.secrets import Secrets
from events.segment_log import SegmentLog, SegmentLogReader, SegmentSettings
from events.types import Event, Interaction, Line, Meta, Payload
from events.vault import Vault, open_slots

SECRETS = Secrets.derive(bytes(range(32)))
NOW = 1_760_000_000_000_000
"""Microseconds."""
FOLDER = "p0"
SMALL = DedupeSettings(ids_max=4_000, bucket_ids=1_000)


def view(user: str, number: int, item: str = "nachos", **more: object) -> Draft:
    """Fact ``number``: ``user`` looked at an item."""
    event = Interaction("view", (Line(item, "Food > Snacks", "Brand"),), name="Product Viewed")
    return fact(f"u:{user}", number, event, **more)


def fact(key: str, number: int, event: Event, **more: object) -> Draft:
    name, version = type_of(event)
    meta = Meta(user_id=key[2:], message_id=str(number))
    at = NOW // 1000 + number
    return Draft(key, fact_id(number), at, name, version, encode(meta, event), **more)  # type: ignore[arg-type]


def fact_id(number: int) -> bytes:
    return blake2b(str(number).encode(), digest_size=16).digest()


def picky(profile: Profile, lsn: int, event_time: int, event_id: bytes, payload: Payload) -> Profile:
    """A fold that cannot take some facts, as a faulty version of the real one might."""
    if payload.meta.message_id in {"13", "14"}:
        raise ZeroDivisionError("thirteen")
    return fold(profile, lsn, event_time, event_id, payload)


class World:
    """What outlives a process: the disk, and the state on it. `opened` is one process's life."""

    def __init__(self, seed: int = 0) -> None:
        self.disk = MemoryDisk(seed)
        self.state = MemoryState()
        self.clock = ManualClock(Micros(NOW))
        self.random = Random(seed)
        self.replay_skipped = 0

    def opened(
        self,
        steps: Callable[[str], None] = lambda step: None,
        folding: Fold = fold,
        settings: PartitionSettings | None = None,
    ) -> Partition:
        """Recover as the host does: replay, then a partition; one that stops the replay takes no writes."""
        settings = settings or PartitionSettings(free_floor_bytes=0, dedupe=SMALL)
        epoch = take(self.disk, FOLDER)
        quiet = SegmentSettings(segment_bytes=20_000, floor_bytes=0, spare=False)
        log = SegmentLog(self.disk, FOLDER, epoch, quiet)
        vault = Vault(open_slots(self.disk, FOLDER), SECRETS.vault_wrap, random=self.random.randbytes)
        quarantine = Quarantine.open(self.disk, FOLDER, epoch, SECRETS.quarantine, floor_bytes=0)
        refold = Refold(self.state, log, vault, settings.dedupe, folding, vault.erase)
        stopped = None
        try:
            refold.run()
        except PartitionStopped as error:
            stopped = error
        self.replay_skipped = refold.skipped
        ports = Ports(self.disk, log, self.state, vault, quarantine, self.clock, self.random.randbytes)
        partition = Partition(PartitionId(0), SECRETS.key_hash, ports, settings, steps, folding)
        if stopped is not None:
            partition.stop(stopped)
        self.ports = ports
        return partition

    def power_loss(self) -> None:
        """The machine dies: what was not synced is lost or torn, and the state cannot be trusted any more."""
        self.disk.crash()
        self.state = MemoryState()

    def kill(self) -> None:
        """The process dies alone."""
        self.disk.kill()

    def records(self) -> list[Record]:
        return list(scan(SegmentLogReader(FOLDER, self.disk), 0))

    def history(self) -> History:
        vault = Vault(open_slots(self.disk, FOLDER), SECRETS.vault_wrap)
        return History(PartitionId(0), SECRETS.key_hash, self.state, SegmentLogReader(FOLDER, self.disk), vault)

    def digests(self) -> dict[bytes, bytes]:
        """Key hash → digest of the committed profile, subjects (drawn at random) left out."""
        return {key: _digest(row) for key, row in self.state.scan(PROFILES)}

    def refolded(self) -> dict[bytes, bytes]:
        """`digests` of the log folded anew from its start."""
        again = MemoryState()
        Refold(again, self.ports.log, self.ports.vault, SMALL).run()
        return {key: _digest(row) for key, row in again.scan(PROFILES)}

    def version(self, user: str) -> int:
        profile = self.history().profile(Key(f"u:{user}"))
        return 0 if profile is None else profile.version


def _digest(row: bytes) -> bytes:
    return digest(replace(decode(row), subject=b""))
