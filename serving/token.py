"""The token a write returns, and what it takes to have read one's own write.

A token says, per partition, the last record the write made, and which reader has to have seen it: the profiles' state
or also the item follower. Clients pass it back as ``after`` and look at nothing inside. It is not an id and is not
meant to be kept: after a restore or a repartition it is refused or answered 503, never wrongly.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable

import msgspec

from events.errors import BadRequest

TOKEN_CHARS_MAX = 1024


class Token(msgspec.Struct, frozen=True, array_like=True):
    """``marks`` holds (partition, lsn), ascending and unique by partition."""

    items: bool
    marks: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, written: Iterable[tuple[int, int]], *, items: bool = False) -> Token:
        """The token for records written at (partition, lsn).

        >>> Token.of([(1, 7), (0, 3), (1, 9)]).marks
        ((0, 3), (1, 9))
        """
        last: dict[int, int] = {}
        for partition, lsn in written:
            last[partition] = max(lsn, last.get(partition, lsn))
        return cls(items, tuple(sorted(last.items())))

    def text(self) -> str:
        return urlsafe_b64encode(msgspec.msgpack.encode(self)).rstrip(b"=").decode()

    @classmethod
    def parse(cls, text: str) -> Token:
        """Raises `BadRequest` for anything that `text` did not make.

        >>> Token.parse(Token.of([(0, 3)], items=True).text())
        Token(items=True, marks=((0, 3),))
        """
        if len(text) > TOKEN_CHARS_MAX:
            raise BadRequest(f"`after` has {len(text)} characters: send a token as a write returned it")
        try:
            token = _DECODER.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (Base64Error, ValueError, msgspec.DecodeError) as error:
            raise BadRequest("`after` is not a token: send one as a write returned it") from error
        if any(partition < 0 or lsn < 0 for partition, lsn in token.marks):
            raise BadRequest("`after` is not a token of this store")
        return token


_DECODER = msgspec.msgpack.Decoder(Token)
