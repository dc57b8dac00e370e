"""Cut a batch body into its events without believing that each of them is JSON.

One event with ``NaN``, a lone surrogate or a thousand brackets makes the whole text invalid, yet the events beside it
must not be lost. This scanner looks at brackets, strings, commas and colons only. It is the second way, walked after
the strict decoder refused a body: about 20 MB/s, hence its own bound on size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

SPLIT_BYTES_MAX: Final = 512 * 1024
"""Largest body worth splitting: the bound Segment's own SDKs keep. Costs about 30 ms of CPU at most."""

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},:]', re.DOTALL)
"""A string runs to its closing quote or to the end of the text, so that no quote is ever tried twice: linear time."""


def members(text: bytes) -> dict[str, bytes] | None:
    """The members of the object ``text``: name → the bytes of its value, unchecked. None when it is no object.

    >>> members(b'{"a": NaN, "b": [1, {"c": 2}]}')
    {'a': b'NaN', 'b': b'[1, {"c": 2}]'}
    """
    text = text.strip()
    if not (text.startswith(b"{") and text.endswith(b"}")):
        return None
    found: dict[str, bytes] = {}
    for part in _parts(text):
        head = _TOKEN.match(part)
        if head is None or part[:1] != b'"':
            return None
        name, colon = head.group()[1:-1], part[head.end() :].lstrip()
        if not colon.startswith(b":"):
            return None
        found[name.decode(errors="replace")] = colon[1:].strip()
    return found


def elements(text: bytes) -> list[bytes] | None:
    """The elements of the array ``text``, unchecked. None when it is no array.

    >>> elements(b'[{"a": NaN}, {"b": "x,]"}, [[]]]')
    [b'{"a": NaN}', b'{"b": "x,]"}', b'[[]]']
    """
    text = text.strip()
    if not (text.startswith(b"[") and text.endswith(b"]")):
        return None
    return list(_parts(text))


def _parts(text: bytes) -> Iterator[bytes]:
    """What stands between the outermost brackets, cut at the commas of that level."""
    depth, start = 0, 1
    for token in _TOKEN.finditer(text):
        sign = text[token.start()]
        if sign in b"[{":
            depth += 1
        elif sign in b"]}":
            depth -= 1
        elif sign == 0x2C and depth == 1:
            yield text[start : token.start()].strip()
            start = token.end()
    last = text[start:-1].strip()
    if last:
        yield last
