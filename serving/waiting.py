"""Read-your-writes: holding an answer back until it has seen a write."""

from __future__ import annotations

from events.errors import Unavailable
from serving.backend import Reader
from serving.http import Request
from serving.token import Token


class NotYet(Unavailable):
    """The write named by ``after`` has not reached this reader; asking again is right."""

    code = "not_yet"


class Waiting:
    """``wait_ms`` is the longest wait (`ServerSettings.after_wait_ms`)."""

    def __init__(self, reader: Reader, wait_ms: int) -> None:
        self._reader = reader
        self._wait_ms = wait_ms

    async def is_seen(self, token: Token) -> bool:
        """Whether the readers see it, in time."""
        return await self._reader.seen(token, self._wait_ms)

    async def until(self, text: str) -> None:
        """Wait for the token ``text``. Raises `BadRequest` when it is none, `NotYet` when the wait was too short."""
        if text and not await self.is_seen(Token.parse(text)):
            raise NotYet("what `after` stands for is not visible yet: ask again")

    async def until_seen(self, request: Request) -> None:
        """As `until`, with the query's ``after``."""
        if request.scope.get("query_string"):
            await self.until(request.query().get("after", ""))
