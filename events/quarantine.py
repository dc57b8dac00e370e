"""Quarantine: what could not become a fact, kept sealed with its reason, to be looked at and sent again after a fix.

A second log under the partition's owner. What a client sent may hold anything, so detail and raw bytes are sealed
(AES-256-GCM under the store's quarantine key); time and reason stand in clear. Bounded: the oldest segments give way,
and how many entries went with them is known, because entries are numbered from 0.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from events.disk import Disk
from events.errors import Corrupt
from events.log import Durability, Log, LogReader, scan
from events.record import Record
from events.segment_log import SegmentLog, SegmentSettings

NAME = "quarantine"
"""Of its folder below the partition's, and of its log there."""

BYTES_MAX = 64 << 20
"""Kept per partition: some 50,000 events of 1 kB, a day of one in a hundred being malformed at 50 events/s."""

_NONCE_BYTES = 12
_SEGMENTS = 16
"""The bound is kept to this fraction of it: the log forgets whole segments."""


class Entry(NamedTuple):
    """Something that was not taken. ``received_at`` in ms; ``reason`` a code of `events.reasons`, at most a word."""

    received_at: int
    reason: str
    detail: str
    raw: bytes


class QuarantineReader:
    """Looks into a quarantine; ``key`` is 32 bytes, `events.secrets.Secrets.quarantine`."""

    def __init__(self, log: LogReader, key: bytes) -> None:
        self._reading = log
        self._cipher = AESGCM(key)
        self._counted = (0, 0)
        self._counts: Counter[str] = Counter()

    def entries(self, reason: str | None = None, start: int = 0) -> Iterator[tuple[int, Entry]]:
        """(number, entry) of what is still held, oldest first, from number ``start`` on.

        Raises `Corrupt` when an entry does not open: the key is another store's.
        """
        for record in scan(self._reading, max(start, self._reading.bounds()[0])):
            if reason is None or record.type == reason:
                yield record.lsn, self._unsealed(record)

    def counts(self) -> dict[str, int]:
        """How many are held for each reason, by reason."""
        start, end = self._reading.bounds()
        first, counted = self._counted
        if first != start:
            self._counts.clear()
            counted = start
        self._counts.update(record.type for record in scan(self._reading, counted, end))
        self._counted = (start, end)
        return dict(sorted(self._counts.items()))

    @property
    def dropped(self) -> int:
        """How many gave way to newer ones since the store was made."""
        return self._reading.bounds()[0]

    def _unsealed(self, record: Record) -> Entry:
        nonce, sealed = record.payload[:_NONCE_BYTES], record.payload[_NONCE_BYTES:]
        try:
            plain = self._cipher.decrypt(nonce, sealed, record.type.encode())
        except InvalidTag as error:
            raise Corrupt(f"quarantine entry {record.lsn} does not open: use the master key of its store") from error
        detail, raw = msgspec.msgpack.decode(plain, type=tuple[str, bytes])
        return Entry(record.event_time, record.type, detail, raw)


class Quarantine(QuarantineReader):
    """The owner's side. One thread appends."""

    def __init__(
        self,
        log: Log,
        key: bytes,
        bytes_max: int = BYTES_MAX,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """``random`` gives nonces: never the same twice under one key."""
        super().__init__(log, key)
        self._log = log
        self._bytes_max = bytes_max
        self._random = random
        end = log.bounds()[1]
        self._total = self._total_at(end - 1) if end > log.bounds()[0] else 0
        self._tried = 0

    @classmethod
    def open(
        cls,
        disk: Disk,
        folder: str,
        epoch: int,
        key: bytes,
        bytes_max: int = BYTES_MAX,
        *,
        floor_bytes: int,
        random: Callable[[int], bytes] = os.urandom,
    ) -> Quarantine:
        """The quarantine of the partition in ``folder``, for its owner under ``epoch``; ``floor_bytes`` as in
        `SegmentSettings`. Raises as `SegmentLog`."""
        part = bytes_max // _SEGMENTS
        settings = SegmentSettings(segment_bytes=part, merge_bytes=part, floor_bytes=floor_bytes, spare=False)
        return cls(SegmentLog(disk, folder, epoch, settings, NAME), key, bytes_max, random)

    def append(self, entries: Sequence[Entry], durability: Durability = "durable") -> None:
        """Keep ``entries``; the oldest give way when there are too many bytes. Raises as `events.log.Log.append`."""
        end = self._log.bounds()[1]
        total = self._total
        records = []
        for number, entry in enumerate(entries, end):
            payload = self._sealed(entry)
            total += len(payload)
            # `seq` carries the bytes ever kept, so how much lies between two entries is known without a walk.
            records.append(
                Record(
                    lsn=number,
                    links=(),
                    appended=entry.received_at * 1000,
                    event_time=entry.received_at,
                    type=entry.reason,
                    version=1,
                    subject=b"",
                    event_id=b"",
                    payload=payload,
                    seq=total,
                )
            )
        self._log.append(records, durability)
        self._total = total
        self._give_way()

    def close(self) -> None:
        self._log.close()

    def _sealed(self, entry: Entry) -> bytes:
        nonce = self._random(_NONCE_BYTES)
        plain = msgspec.msgpack.encode((entry.detail, entry.raw))
        return nonce + self._cipher.encrypt(nonce, plain, entry.reason.encode())

    def _give_way(self) -> None:
        """Trim to the bound, trying again only after another fraction of it has come in."""
        if self._total - self._tried < self._bytes_max // _SEGMENTS:
            return
        self._tried = self._total
        low, high = self._log.bounds()
        while low < high:
            middle = (low + high) // 2
            if self._total - self._total_at(middle) >= self._bytes_max:
                low = middle + 1
            else:
                high = middle
        self._log.trim(low)

    def _total_at(self, number: int) -> int:
        return self._log.get(number).seq
