"""Bodies are taken raw, whatever the headers claim, and never inflated past the cap."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib

import pytest

from events.body import BODY_BYTES_MAX, open_body, write_key_in
from events.errors import BadRequest, TooLarge

TEXT = json.dumps({"batch": [], "writeKey": "wk"}).encode()


@pytest.mark.parametrize("encoding", ["", "gzip", "GZIP", "x-gzip", "identity"])
def test_gzip_is_recognised_by_its_bytes_whatever_the_label(encoding: str) -> None:
    assert open_body(gzip.compress(TEXT), encoding) == TEXT
    assert open_body(TEXT, encoding) == TEXT


def test_opening_an_opened_body_changes_nothing() -> None:
    assert open_body(open_body(gzip.compress(TEXT), "gzip"), "gzip") == TEXT


def test_a_byte_order_mark_is_not_part_of_the_json() -> None:
    assert open_body(b"\xef\xbb\xbf" + TEXT) == TEXT


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip", "x" * 10_000])
def test_an_encoding_we_do_not_read_is_refused_by_name(encoding: str) -> None:
    with pytest.raises(BadRequest, match="Content-Encoding"):
        open_body(TEXT, encoding)


def test_a_body_of_four_megabytes_is_read_and_one_byte_more_refused() -> None:
    assert len(open_body(b" " * BODY_BYTES_MAX)) == BODY_BYTES_MAX
    with pytest.raises(TooLarge):
        open_body(b" " * (BODY_BYTES_MAX + 1))


def test_a_zip_bomb_costs_no_more_memory_than_the_cap() -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(128)) + packer.flush()
    assert len(bomb) < 1 << 18
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            open_body(bomb, "gzip")
        assert tracemalloc.get_traced_memory()[1] < 4 * BODY_BYTES_MAX
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("cut", [3, 12, 30])
def test_gzip_cut_short_is_a_bad_request(cut: int) -> None:
    with pytest.raises(BadRequest):
        open_body(gzip.compress(TEXT)[:cut], "gzip")


def test_bytes_behind_the_gzip_member_are_refused_and_padding_is_not() -> None:
    with pytest.raises(BadRequest, match="exactly one"):
        open_body(gzip.compress(TEXT) * 2)
    assert open_body(gzip.compress(TEXT) + bytes(8)) == TEXT


@pytest.mark.parametrize(
    ("body", "key"),
    [(TEXT, "wk"), (b'{"writeKey": 5}', ""), (b"{}", ""), (b"[", ""), (b"\xff", ""), (b'{"writeKey": "\\ud800"}', "")],
)
def test_the_write_key_in_the_body_is_found_or_empty(body: bytes, key: str) -> None:
    assert write_key_in(body) == key
