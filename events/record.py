"""The record: one fact as it lies in a partition's log. The envelope holds no personal data."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Link: TypeAlias = tuple[int, int]
"""(partition, lsn) of an earlier record of the same actor."""


class Draft(msgspec.Struct, frozen=True, array_like=True):
    """A fact on its way to the log: checked and named by the collector, not yet placed, sealed or stamped."""

    key: str
    event_id: bytes
    event_time: int
    """Milliseconds."""
    type: str
    version: int
    payload: bytes
    """Unsealed: `events.payload.encode`."""
    producer: str = ""
    seq: int = 0
    """With ``producer``: numbered from 1; the partition keeps the highest per producer and drops what is not above."""
    appended: int = 0
    """Microseconds; a wish, honoured only while the log holds nothing but this producer's import."""


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One fact, appended.

    ``appended`` is max(clock, previous + 1 us), so it is strictly monotone in ``lsn``. ``links`` lead to the same
    subject's previous record (a merge adds the other chain's head); a walk ends where there are none or at the log's
    start. ``payload`` is sealed with the subject's key, except for `subject_erased`.
    """

    lsn: int
    links: tuple[Link, ...]
    appended: int
    event_time: int
    type: str
    version: int
    subject: bytes
    event_id: bytes
    payload: bytes
    producer: str = ""
    seq: int = 0


ENCODER = msgspec.msgpack.Encoder()
DECODER = msgspec.msgpack.Decoder(Record)
