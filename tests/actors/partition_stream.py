"""One partition's log as followers read it: sealed records, a vault that can lose or destroy keys."""

from __future__ import annotations

from random import Random

from actors.follower import Source
from events.ids import Key, PartitionId, SubjectId, key_hash
from events.memory_disk import MemoryDisk
from events.memory_log import MemoryLog
from events.payload import encode, type_of
from events.record import Record
from events.types import Event, Meta, SubjectErased
from events.unseal import Unsealer
from events.vault import Vault

SECRET = bytes(32)
NOW = 1_760_000_000_000
NO_META = Meta()


class Stream:
    """Append facts by key; read them as a `Source`."""

    def __init__(self, partition: int = 0) -> None:
        self.partition = PartitionId(partition)
        self.log = MemoryLog()
        self.vault = Vault(MemoryDisk(partition).open("slots"), SECRET, random=Random(partition).randbytes)
        self.subjects: dict[str, SubjectId] = {}

    def add(self, key: str, event: Event, at: int = NOW, meta: Meta = NO_META) -> int:
        """The LSN of the fact."""
        subject = self.subjects.get(key)
        if subject is None:
            subject = self.subjects[key] = self.vault.create(Key(key), key_hash(SECRET, Key(key)))
        return self._append(subject, event, at, meta)

    def erase(self, key: str) -> None:
        """As a partition does it: the fact first, then the key."""
        subject = self.subjects.pop(key)
        self._append(subject, SubjectErased(), NOW, NO_META)
        self.vault.erase(subject)

    def lose_key(self, key: str) -> None:
        """Damage: the key goes without a fact."""
        self.vault.erase(self.subjects[key])

    def source(self) -> Source:
        return Source(int(self.partition), self.log, Unsealer(self.log, self.vault))

    def _append(self, subject: SubjectId, event: Event, at: int, meta: Meta) -> int:
        lsn = self.log.bounds()[1]
        name, version = type_of(event)
        event_id = lsn.to_bytes(8, "big") + int(self.partition).to_bytes(8, "big")
        plain = encode(meta, event)
        sealed = plain if isinstance(event, SubjectErased) else self.vault.seal(subject, event_id, lsn, plain)
        self.log.append([Record(lsn, (), at * 1000 + lsn, at, name, version, subject, event_id, sealed)])
        return lsn
