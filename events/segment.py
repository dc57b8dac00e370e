"""The bytes of a segment file, version 1. All integers are little-endian.

A *segment* holds one owner's consecutive records from LSN ``base`` on::

    header   72 bytes   magic "EVFSEG1\\n", base, epoch, previous base, previous epoch, previous length, chain, check
    batch*              as below; then zeros (space made ahead) or an index

    batch    48 bytes   magic "EVB1", length u32, check u64, chain u64, base u64, durable u64, count u32, epoch u32
             4 x count  where each record ends, u32, counted from the first record's first byte
             ...        the records, each one msgpack array (`events.record`)

``check`` is XXH3-64 of all that follows it in the header or batch. ``chain`` is the check of the batch before (of the
segment's header for the first), so that bytes left over from an earlier write can never pass for the next batch.
``durable`` is the LSN up to which everything was synced when the batch was written: a batch whose ``durable`` lies
above a bad spot proves that spot was acknowledged. ``length`` counts the bytes after the 48. One append is one batch.

The ``previous`` fields name the segment this one follows (epoch 0: none) and how many of its bytes count: whatever an
owner wrote past that, after it was replaced, is not part of the log. A segment appears under its name only when its
header is durable, and is never renamed again.

An *index*, written when a segment is left, has the shape of a batch with magic "EVX1" and count 0; its body is pairs
(LSN, offset) of u64, then the end's. It saves a cold reader the walk and is rebuilt by walking where it is missing.

XXH3 and not CRC32: ten times as fast here, and its 64 bits leave a chance of 5e-20 for a garbled batch to pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from struct import Struct, pack
from typing import NamedTuple, TypeAlias

import msgspec
import xxhash

from events.errors import Corrupt
from events.record import DECODER, ENCODER, Record

Buffer: TypeAlias = bytes | memoryview

_HEADER = Struct("<8sQQQQQQ")
_BATCH = Struct("<4sIQQQQII")
_CHECKED_FROM = 16
"""Where in a batch the bytes under ``check`` begin."""
_U32 = Struct("<I")
_U64 = Struct("<Q")
_PAIR = Struct("<QQ")

MAGIC = b"EVFSEG1\n"
BATCH_MAGIC = b"EVB1"
INDEX_MAGIC = b"EVX1"
HEADER_BYTES = _HEADER.size + _U64.size
BATCH_BYTES = _BATCH.size

_RECORDS = msgspec.msgpack.Decoder(list[Record])


def check(data: Buffer) -> int:
    """XXH3-64 of ``data``."""
    value: int = xxhash.xxh3_64_intdigest(data)
    return value


class Header(NamedTuple):
    """What stands at the head of a segment."""

    base: int
    epoch: int
    previous_base: int = 0
    previous_epoch: int = 0
    previous_length: int = 0
    chain: int = 0

    @property
    def name(self) -> str:
        return segment_name(self.base, self.epoch)

    @property
    def previous(self) -> str | None:
        """Name of the segment before, if there was one."""
        return segment_name(self.previous_base, self.previous_epoch) if self.previous_epoch else None

    def encode(self) -> bytes:
        body = _HEADER.pack(MAGIC, *self)
        return body + _U64.pack(check(body))

    @property
    def check(self) -> int:
        """What the first batch's ``chain`` must be."""
        return check(_HEADER.pack(MAGIC, *self))


def segment_name(base: int, epoch: int) -> str:
    """File name of a segment; names sort by first LSN, then by epoch.

    >>> segment_name(1234, 7)
    '00000000000000001234-00000007.seg'
    """
    return f"{base:020d}-{epoch:08d}.seg"


def parse_name(name: str) -> tuple[int, int] | None:
    """(epoch, base) of a segment's file name, None for any other file."""
    stem, dot, suffix = name.partition(".")
    base, dash, epoch = stem.partition("-")
    return (int(epoch), int(base)) if suffix == "seg" and dot and dash and base.isdigit() and epoch.isdigit() else None


def decode_header(name: str, data: bytes) -> Header:
    """Raises `Corrupt`: a segment only gets its name when its header is durable, so this is never a torn write."""
    if len(data) < HEADER_BYTES or check(data[: _HEADER.size]) != _U64.unpack_from(data, _HEADER.size)[0]:
        raise Corrupt(f"segment {name}: the header at offset 0 fails its check: restore the file from a backup")
    magic, *fields = _HEADER.unpack_from(data)
    header = Header(*fields)
    if magic != MAGIC:
        raise Corrupt(f"segment {name} is of format {magic!r}, unknown here: run a newer Everfold")
    if header.name != name:
        raise Corrupt(f"segment {name} says that it is {header.name}: it was renamed; give it its name back")
    return header


class Batch(NamedTuple):
    """One batch of ``number`` records, found in a buffer: ``end`` is the position after it, ``body`` a view into it."""

    base: int
    number: int
    check: int
    chain: int
    durable: int
    epoch: int
    end: int
    body: memoryview


def encode_body(records: Sequence[Record]) -> bytes:
    parts = [ENCODER.encode(record) for record in records]
    return b"".join((pack(f"<{len(parts)}I", *accumulate(map(len, parts))), *parts))


def frame(header: Header, body: Buffer, base: int, count: int, durable: int, chain: int) -> tuple[bytes, int]:
    """A batch for the segment of ``header``, and its check."""
    return _frame(BATCH_MAGIC, header.epoch, body, base, count, durable, chain)


def frame_index(header: Header, entries: Sequence[tuple[int, int]], chain: int) -> bytes:
    """The index of a segment: (LSN, offset) pairs, the last being the end."""
    body = b"".join(_PAIR.pack(*entry) for entry in entries)
    return _frame(INDEX_MAGIC, header.epoch, body, entries[-1][0], 0, 0, chain)[0]


def _frame(
    magic: bytes, epoch: int, body: Buffer, base: int, count: int, durable: int, chain: int
) -> tuple[bytes, int]:
    framed = bytearray(_BATCH.pack(magic, len(body), 0, chain, base, durable, count, epoch))
    framed += body
    value = check(memoryview(framed)[_CHECKED_FROM:])
    _U64.pack_into(framed, 8, value)
    return bytes(framed), value


def batch_size(data: Buffer, at: int) -> int:
    """Bytes of the batch that seems to begin at ``at``, as far as can be told; 0 when none does."""
    if len(data) - at < BATCH_BYTES or data[at : at + 4] != BATCH_MAGIC:
        return 0
    length: int = _U32.unpack_from(data, at + 4)[0]
    return BATCH_BYTES + length


def parse(view: memoryview, at: int) -> Batch | None:
    """The whole, unharmed batch at ``at``, or None."""
    if len(view) - at < BATCH_BYTES:
        return None
    magic, length, value, chain, base, durable, count, epoch = _BATCH.unpack_from(view, at)
    end = at + BATCH_BYTES + length
    if magic != BATCH_MAGIC or end > len(view) or check(view[at + _CHECKED_FROM : end]) != value:
        return None
    return Batch(base, count, value, chain, durable, epoch, end, view[at + BATCH_BYTES : end])


def parse_index(data: bytes) -> list[tuple[int, int]] | None:
    """The entries of an index, the last being the segment's end; None when ``data`` does not begin with one."""
    if len(data) < BATCH_BYTES:
        return None
    magic, length, value, *_ = _BATCH.unpack_from(data, 0)
    end = BATCH_BYTES + length
    if magic != INDEX_MAGIC or end > len(data) or check(memoryview(data)[_CHECKED_FROM:end]) != value:
        return None
    return list(_PAIR.iter_unpack(data[BATCH_BYTES:end]))


def decode_one(body: Buffer, count: int, index: int) -> Record:
    """Record ``index`` of a batch, without touching the others."""
    start, stop = _span(body, count, index, index + 1)
    return DECODER.decode(body[start:stop])


def decode_slice(body: Buffer, count: int, first: int, last: int) -> list[Record]:
    """Records ``first`` to ``last`` (excluded) of a batch, in one call of the decoder."""
    start, stop = _span(body, count, first, last)
    # A msgpack array is a length followed by its elements, so any run of records becomes one by a five-byte prefix.
    return _RECORDS.decode(b"".join((b"\xdd", (last - first).to_bytes(4, "big"), body[start:stop])))


def _span(body: Buffer, count: int, first: int, last: int) -> tuple[int, int]:
    table = 4 * count
    start = _U32.unpack_from(body, 4 * first - 4)[0] if first else 0
    stop = _U32.unpack_from(body, 4 * last - 4)[0]
    return table + start, table + stop
