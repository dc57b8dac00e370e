"""Things an address may be besides a healthy service: each a real HTTP server (or none) on a port of this machine."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from serving.keys import Keys
from simulate.clients import Target

KEYS = Keys("wk_" + "0" * 32, "sk_" + "0" * 64)
Answering = Callable[[str, bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def target(answering: Answering) -> AsyncIterator[Target]:
    """A server whose connections read requests one after another and have ``answering`` deal with each."""

    serving: set[asyncio.Task[object]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next((int(x.split(":")[1]) for x in head.split("\r\n") if x.startswith("Content-Length")), 0)
                await answering(head.split("\r\n")[0], await reader.readexactly(length), writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            serving.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Target.named(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", KEYS)
    finally:
        server.close()
        for task in list(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def answer(writer: asyncio.StreamWriter, body: bytes = b"{}", status: int = 200, extra: str = "") -> None:
    writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body)


async def well(line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
    """As the service answers, with always the same list."""
    shown = [{"item_id": f"i{n}"} for n in range(3)]
    answer(writer, json.dumps({"recommendation_id": "r1", "items": shown, "profile_version": 1}).encode())


async def failing(line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
    answer(writer, b'{"code": "error"}', 500)


async def hanging(line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def babbling(line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello, what do you want?\r\n\r\n")


async def hanging_up(line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


HELD: list[socket.socket] = []
"""Bound and not listening: connections are refused, and nobody else gets the port."""


def nobody() -> Target:
    """An address where nothing listens."""
    HELD.append(socket.socket())
    HELD[-1].bind(("127.0.0.1", 0))
    return Target.named(f"http://127.0.0.1:{HELD[-1].getsockname()[1]}", KEYS)
