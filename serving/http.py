"""One HTTP request and its reply, on plain ASGI.

The hot routes of a shop are called thousands of times a second on a core, so there is no framework between the server
and a handler: a `Request` looks at the ASGI scope only where it is asked to, and a `Reply` is a status, bytes and
header pairs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TypeAlias, cast
from urllib.parse import parse_qsl

import msgspec
import orjson

from events.errors import BadRequest, EverfoldError, TooLarge

Message: TypeAlias = MutableMapping[str, object]
Scope: TypeAlias = MutableMapping[str, object]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Header: TypeAlias = tuple[bytes, bytes]

DRAINED_MAX = 32 << 20
"""Bytes of an oversized body still read (and thrown away), so that a client in the middle of sending hears the 413
instead of a reset connection. Beyond it the connection is closed."""
QUERY_FIELDS_MAX = 256
STALLED_S = 15.0
"""How long a reader of a stream may take nothing."""


class Disconnected(Exception):
    """The client went away while its body was read: there is nobody to answer."""


class Request:
    """One request. ``own_id`` names it uniquely; ``id`` is the client's ``X-Request-Id`` when that is sane, else the
    same; ``params`` are the parts of
    the path named by the route, percent-decoded; ``page`` says that a page session stood in for the API key."""

    __slots__ = ("_headers", "_query", "_receive", "id", "method", "own_id", "page", "params", "scope", "trusted")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self._receive = receive
        self.method = cast(str, scope["method"])
        self._headers = dict(cast("list[Header]", scope["headers"]))
        self._query: dict[str, str] | None = None
        self.id = ""
        self.own_id = ""
        self.params: tuple[str, ...] = ()
        self.page = False
        self.trusted = False

    def header(self, name: bytes) -> str:
        """A header's value by its lower-case name; empty when it was not sent."""
        return self._headers.get(name, b"").decode("latin-1")

    def query(self) -> dict[str, str]:
        """The query's fields; of a repeated one the last counts.

        Raises `BadRequest` for more than 256 fields or bytes that are not UTF-8.
        """
        if self._query is None:
            raw = cast(bytes, self.scope.get("query_string", b""))
            self._query = _parse_query(raw) if raw else {}
        return self._query

    async def body(self, limit: int) -> bytes:
        """The whole body.

        Raises `TooLarge` above ``limit`` bytes, `Disconnected` when the client left.
        """
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk = cast(bytes, message.get("body", b""))
        if not message.get("more_body", False):
            if len(chunk) > limit:
                raise _too_large(len(chunk), limit)
            return chunk
        return await self._rest(chunk, limit)

    async def gone(self) -> None:
        """Until the client goes away; a body it sends meanwhile is thrown away."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _rest(self, first: bytes, limit: int) -> bytes:
        chunks, size = [first], len(first)
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            chunk = cast(bytes, message.get("body", b""))
            size += len(chunk)
            if size <= limit:
                chunks.append(chunk)
            elif size > max(limit, DRAINED_MAX):
                raise _too_large(size, limit)
            if not message.get("more_body", False):
                if size > limit:
                    raise _too_large(size, limit)
                return b"".join(chunks)


def _too_large(size: int, limit: int) -> TooLarge:
    return TooLarge(f"the body has {size} bytes or more: the most is {limit}")


def _parse_query(raw: bytes) -> dict[str, str]:
    if b"%" not in raw and b"+" not in raw and raw.isascii() and raw.count(b"&") < QUERY_FIELDS_MAX:
        parts = [part.partition("=") for part in raw.decode("ascii").split("&") if part]
        return {name: value for name, _, value in parts}  # most queries encode nothing, and the parser is slow
    try:
        return dict(
            parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX)
        )
    except ValueError as error:
        raise BadRequest(f"the query string cannot be read ({error}): percent-encode it as UTF-8") from error


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent back. ``Content-Type`` and ``Content-Length`` stand apart from the other ``headers``."""

    body: bytes
    status: int = 200
    content_type: bytes = b"application/json"
    headers: tuple[Header, ...] = ()

    def with_headers(self, headers: tuple[Header, ...]) -> Reply:
        return Reply(self.body, self.status, self.content_type, self.headers + headers)

    async def send(self, send: Send, request_id: str, *, head: bool = False) -> None:
        headers = [
            (b"content-type", self.content_type),
            (b"content-length", str(len(self.body)).encode()),
            (b"x-request-id", request_id.encode("latin-1")),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if head else self.body})


@dataclass(frozen=True, slots=True)
class Streamed(Reply):
    """A reply whose body is made while it is sent. Whoever takes nothing for `STALLED_S` is dropped: what is sent waits
    nowhere, so a slow reader holds one chunk and its own place."""

    chunks: AsyncGenerator[bytes] = field(kw_only=True)
    gone: Callable[[], Awaitable[None]] = field(kw_only=True)
    """`Request.gone`."""
    stalled_s: float = STALLED_S

    def with_headers(self, headers: tuple[Header, ...]) -> Reply:
        return replace(self, headers=self.headers + headers)

    async def send(self, send: Send, request_id: str, *, head: bool = False) -> None:
        """Returns early when the client went away, or was dropped."""
        leaving = asyncio.ensure_future(self.gone())
        making: asyncio.Future[bytes | None] | None = None
        try:
            headers = [(b"content-type", self.content_type), (b"x-request-id", request_id.encode("latin-1"))]
            await send({"type": "http.response.start", "status": self.status, "headers": [*headers, *self.headers]})
            while not head:
                making = asyncio.ensure_future(anext(self.chunks, None))
                await asyncio.wait({making, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if not making.done():
                    return
                chunk = making.result()
                if chunk is None:
                    break
                async with asyncio.timeout(self.stalled_s):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            return
        finally:
            leaving.cancel()
            if making is not None and not making.done():
                making.cancel()
                await asyncio.wait({making})
            await self.chunks.aclose()


Handler: TypeAlias = Callable[[Request], Awaitable[Reply]]


def json_reply(value: object, status: int = 200, headers: tuple[Header, ...] = ()) -> Reply:
    return Reply(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), status, headers=headers)


def error_reply(error: EverfoldError) -> Reply:
    """``{"code", "message"}``, the shape every tracking SDK reads, with ``Retry-After`` in whole seconds where the same
    call may succeed later."""
    headers: tuple[Header, ...] = ()
    if error.retry_after_s is not None:
        headers = ((b"retry-after", str(error.retry_after_s).encode()),)
    return problem(error.status, error.code, str(error), headers)


def problem(status: int, code: str, message: str, headers: tuple[Header, ...] = ()) -> Reply:
    printable = message.encode("utf-8", "replace").decode()
    return json_reply({"code": code, "message": printable}, status, headers)


def explained(error: msgspec.ValidationError, kind: type[msgspec.Struct], also: tuple[str, ...] = ()) -> str:
    """msgspec's message, and the nearest field (or one of ``also``) where an unknown one was sent.

    >>> class Ask(msgspec.Struct, forbid_unknown_fields=True):
    ...     surface: str = ""
    >>> try: msgspec.convert({"surfce": "x"}, Ask)
    ... except msgspec.ValidationError as error: explained(error, Ask)
    'Object contains unknown field `surfce`: did you mean `surface`?'
    """
    text = str(error)
    _, found, rest = text.partition("unknown field `")
    if not found:
        return text
    return text[:300] + did_you_mean(rest.partition("`")[0], (*kind.__struct_fields__, *also))


def did_you_mean(given: str, valid: tuple[str, ...]) -> str:
    """The end of a message about an unknown name.

    >>> did_you_mean("limt", ("limit", "after"))
    ': did you mean `limit`?'
    >>> did_you_mean("zzz", ("limit", "after"))
    ': valid are `after`, `limit`'
    """
    near = get_close_matches(given[:64], sorted(valid), n=1, cutoff=0.5)
    if near:
        return f": did you mean `{near[0]}`?"
    return ": valid are " + ", ".join(f"`{name}`" for name in sorted(valid)) if valid else ": none is taken here"
