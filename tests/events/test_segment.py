"""The bytes of a segment: what is framed is parsed again, and no harmed byte goes unnoticed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_contract import record

from events.errors import Corrupt
from events.record import Record
from events.segment import (
    Header,
    decode_header,
    decode_one,
    decode_slice,
    encode_body,
    frame,
    frame_index,
    parse,
    parse_index,
    parse_name,
)

HEADER = Header(base=7, epoch=3, previous_base=2, previous_epoch=1, previous_length=999, chain=1 << 63)

batches = st.lists(st.binary(max_size=60), min_size=1, max_size=12).map(
    lambda payloads: [record(lsn, payload) for lsn, payload in enumerate(payloads, 7)]
)


def framed(batch: list[Record]) -> bytes:
    return frame(HEADER, encode_body(batch), 7, len(batch), 7, 1 << 63)[0]


@settings(max_examples=60, deadline=None)
@given(batches, st.data())
def test_any_run_of_a_batch_is_decoded_without_the_rest(batch: list[Record], data: st.DataObject) -> None:
    found = parse(memoryview(b"before" + framed(batch) + b"after"), 6)
    assert found is not None
    assert (found.base, found.number, found.durable, found.epoch, found.chain) == (7, len(batch), 7, 3, 1 << 63)
    first = data.draw(st.integers(0, len(batch) - 1))
    last = data.draw(st.integers(first + 1, len(batch)))
    assert decode_slice(found.body, found.number, first, last) == batch[first:last]
    assert decode_one(found.body, found.number, first) == batch[first]


@settings(max_examples=60, deadline=None)
@given(batches, st.data())
def test_a_batch_with_any_byte_changed_or_missing_is_no_batch(batch: list[Record], data: st.DataObject) -> None:
    whole = bytearray(framed(batch))
    assert parse(memoryview(whole)[: data.draw(st.integers(0, len(whole) - 1))], 0) is None
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    assert parse(memoryview(whole), 0) is None


def test_a_header_comes_back_and_any_flipped_bit_of_it_is_corrupt() -> None:
    whole = HEADER.encode()
    assert decode_header(HEADER.name, whole) == HEADER
    for bit in range(8 * len(whole)):
        harmed = bytearray(whole)
        harmed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Corrupt, match=HEADER.name):
            decode_header(HEADER.name, bytes(harmed))
    with pytest.raises(Corrupt, match="offset 0"):
        decode_header(HEADER.name, whole[:-1])


def test_a_segment_under_another_name_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="renamed"):
        decode_header(HEADER._replace(base=8).name, HEADER.encode())


def test_an_index_comes_back_and_a_harmed_one_is_none() -> None:
    entries = [(7, 72), (19, 17_000), (40, 33_500)]
    whole = frame_index(HEADER, entries, 5)
    assert parse_index(whole + b"zeros") == entries
    for place in range(len(whole)):
        harmed = bytearray(whole)
        harmed[place] ^= 1
        assert parse_index(bytes(harmed)) is None
        assert parse_index(whole[:place]) is None


@pytest.mark.parametrize("name", ["", "a.seg", "1-2.tmp", "1-2.seg.tmp", "spare-1.tmp", "-1.seg", "1-.seg", "x-1.seg"])
def test_other_files_are_not_taken_for_segments(name: str) -> None:
    assert parse_name(name) is None
    assert parse_name(HEADER.name) == (3, 7)
