"""The body of a request as bytes: taken raw whatever its Content-Type says, inflated under a cap.

Browsers send ``text/plain`` to avoid a preflight, one server SDK labels gzip as form data: so neither header is
believed. Gzip is recognised by its two magic bytes, which no JSON text can start with.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

from events.errors import BadRequest, TooLarge

BODY_BYTES_MAX: Final = 4 * 1024 * 1024
"""Largest inflated body. Segment's SDKs stay under 500 KB, RudderStack's default bound is 4,000 KB."""

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS
_PLAIN = frozenset({"", "identity", "gzip", "x-gzip"})
_UTF8_BOM = b"\xef\xbb\xbf"


def open_body(raw: bytes, encoding: str = "", limit: int = BODY_BYTES_MAX) -> bytes:
    """The JSON text inside ``raw``; calling it on an opened body changes nothing.

    ``encoding`` is the Content-Encoding header. Never inflates past ``limit`` bytes, so a zip bomb costs at most that
    much memory. Raises `TooLarge` over the limit, `BadRequest` for an unknown encoding, broken gzip, trailing bytes.

    >>> import gzip
    >>> open_body(gzip.compress(b"{}"), "gzip"), open_body(b"{}", "gzip")
    (b'{}', b'{}')
    """
    if encoding.strip().lower() not in _PLAIN:
        raise BadRequest(f"Content-Encoding {encoding[:40]!r} is not understood: send gzip or none")
    if len(raw) > limit:
        raise TooLarge(f"the body has {len(raw)} bytes: the most is {limit}; send smaller batches")
    if raw[:2] == _GZIP_MAGIC:
        raw = _inflate(raw, limit)
    return raw.removeprefix(_UTF8_BOM)


def _inflate(raw: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(_GZIP)
    try:
        plain = inflater.decompress(raw, limit + 1)
    except zlib.error as broken:
        raise BadRequest(f"the gzip body is broken ({broken}): send it again") from None
    if len(plain) > limit:
        raise TooLarge(f"the body inflates to more than {limit} bytes: send smaller batches")
    if not inflater.eof:
        raise BadRequest("the gzip body is cut short: send it again")
    if inflater.unused_data.strip(b"\x00"):
        raise BadRequest("bytes follow the gzip body: send exactly one gzip member")
    return plain


class _WriteKey(msgspec.Struct, rename="camel"):
    write_key: object = None


_WRITE_KEY = msgspec.json.Decoder(_WriteKey)


def write_key_in(body: bytes) -> str:
    """The ``writeKey`` inside an opened body, or ``""`` where there is none or the body cannot be read.

    >>> write_key_in(b'{"writeKey": "wk", "batch": []}')
    'wk'
    """
    try:
        found = _WRITE_KEY.decode(body).write_key
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""
    return found if isinstance(found, str) else ""
