"""What travels between a host and its callers: packed batches, one `bytes` per call (msgpack)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from actors.history import Told
from actors.ledger import Import
from actors.partition import Status
from events.ids import Key
from events.payload import decode, encode
from events.quarantine import Entry
from events.record import Draft, Record
from events.types import EVENTS


class Placed(NamedTuple):
    """What became of one draft, and in which partition. ``lsn`` as in `actors.partition.Outcome`."""

    status: Status
    partition: int
    lsn: int
    reason: str = ""


class View(msgspec.Struct, frozen=True, array_like=True):
    """One profile as of the last commit: ``blob`` as in the state (None: never heard of), see `actors.reader`."""

    blob: bytes | None
    partition: int
    applied: int
    age_ms: int


class Marks(msgspec.Struct, frozen=True):
    """How far producers and imports came: ``marks``: partition → highest seq of the producer asked about."""

    marks: dict[int, int]
    imports: list[Import]


_ENCODER: Final = msgspec.msgpack.Encoder()
_DRAFTS: Final = msgspec.msgpack.Decoder(list[Draft])
_PLACED: Final = msgspec.msgpack.Decoder(list[Placed])
_KEYS: Final = msgspec.msgpack.Decoder(list[str])
_VIEWS: Final = msgspec.msgpack.Decoder(list[View])
_HISTORY: Final = msgspec.msgpack.Decoder(list[tuple[Record, bytes]])
_MARKS: Final = msgspec.msgpack.Decoder(Marks)
_ENTRIES: Final = msgspec.msgpack.Decoder(list[Entry])
_NEWEST: Final = dict(EVENTS.keys())


def pack_drafts(drafts: Sequence[Draft]) -> bytes:
    return _ENCODER.encode(drafts)


def unpack_drafts(packed: bytes) -> list[Draft]:
    return _DRAFTS.decode(packed)


def pack_placed(placed: Sequence[Placed]) -> bytes:
    return _ENCODER.encode(placed)


def unpack_placed(packed: bytes) -> list[Placed]:
    return _PLACED.decode(packed)


def pack_keys(keys: Sequence[Key]) -> bytes:
    return _ENCODER.encode(keys)


def unpack_keys(packed: bytes) -> list[Key]:
    return [Key(key) for key in _KEYS.decode(packed)]


def pack_views(views: Sequence[View]) -> bytes:
    return _ENCODER.encode(views)


def unpack_views(packed: bytes) -> list[View]:
    return _VIEWS.decode(packed)


def pack_entries(entries: Sequence[Entry]) -> bytes:
    return _ENCODER.encode(entries)


def unpack_entries(packed: bytes) -> list[Entry]:
    return _ENTRIES.decode(packed)


def pack_history(history: Sequence[Told]) -> bytes:
    """Payloads travel unsealed, in the newest version of their type."""
    return _ENCODER.encode([(told.record, encode(told.payload.meta, told.payload.event)) for told in history])


def unpack_history(packed: bytes) -> list[Told]:
    return [
        Told(record, decode(record.type, _NEWEST[record.type], payload)) for record, payload in _HISTORY.decode(packed)
    ]


def pack_marks(marks: Marks) -> bytes:
    return _ENCODER.encode(marks)


def unpack_marks(packed: bytes) -> Marks:
    return _MARKS.decode(packed)
