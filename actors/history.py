"""One key's history: its chain through the log, walked by links, and its profile as of any earlier moment.

Costs O(that subject's events) and needs no index. Reads the log up to the durable watermark and the last committed
state, so it may be used by any thread or process that has readers of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import islice
from typing import NamedTuple

from msgspec.structs import replace

from actors.fold import fold
from actors.profile import EMPTY, Profile, decode
from actors.refold import Fold
from actors.state import StateReader
from actors.working_set import PROFILES, from_row, table_of
from events.errors import NotFound
from events.ids import Key, PartitionId, is_profile, key_hash
from events.log import LogReader
from events.record import Record
from events.types import Payload
from events.unseal import Unsealer
from events.vault import VaultReader


class Told(NamedTuple):
    """One fact of a history."""

    record: Record
    payload: Payload


class History:
    """Histories of the keys of one partition."""

    def __init__(
        self,
        partition: PartitionId,
        secret: bytes,
        state: StateReader,
        log: LogReader,
        vault: VaultReader,
        folding: Fold = fold,
    ) -> None:
        self._partition = partition
        self._secret = secret
        self._state = state
        self._log = log
        self._opener = Unsealer(log, vault)
        self._folding = folding

    def profile(self, key: Key) -> Profile | None:
        """As of the last commit; None when nothing was ever heard of the key (or it was erased)."""
        row = self._state.get(PROFILES, key_hash(self._secret, key))
        return None if row is None else decode(row)

    def events(self, key: Key, limit: int) -> list[Told]:
        """The newest ``limit`` facts of ``key``, newest first."""
        return list(islice(self.walk(key), limit))

    def walk(self, key: Key) -> Iterator[Told]:
        """Every fact of ``key``, newest first, down to the start of its chain or of the log."""
        table = table_of(is_profile(key))
        row = self._state.get(table, key_hash(self._secret, key))
        ahead = [] if row is None else [-from_row(table, row).lsn]
        while ahead:
            lsn = -heappop(ahead)
            try:
                record = self._log.get(lsn)
            except NotFound:
                continue
            payload = self._opener.payload(record)
            if payload is not None:
                yield Told(record, payload)
            for partition, link in record.links:
                if partition == self._partition and -link not in ahead:
                    heappush(ahead, -link)

    def as_of(self, key: Key, appended: int) -> Profile:
        """The profile as the system knew it at ``appended`` (microseconds, inclusive): the fold of the key's records
        appended up to then. `EMPTY` before the first."""
        known = [told for told in self.walk(key) if told.record.appended <= appended]
        profile = EMPTY if not known else replace(EMPTY, subject=known[0].record.subject)
        for told in reversed(known):
            record = told.record
            profile = self._folding(profile, record.lsn, record.event_time, record.event_id, told.payload)
        return profile
