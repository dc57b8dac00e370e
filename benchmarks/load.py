"""A bounded HTTP load generator for one address on this machine.

Two loops. *Closed*: each connection sends its next request when the last one was answered; it finds throughput.
*Open*: requests are due at fixed times whether or not earlier ones were answered, and a latency counts from the moment
a request was due; so a stall is charged to every request it delayed (no coordinated omission). Latency is quoted from
the open loop only. Both stop by count or time.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

LOOPBACK = "127.0.0.1"


@dataclass
class Report:
    """What one run saw. Latencies in seconds, in order of completion."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Answers with status 200 per second."""
        return self.statuses[200] / self.seconds if self.seconds else 0.0

    def quantile(self, share: float) -> float:
        """The latency that ``share`` of the requests did not exceed (nearest rank), in milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else float("nan")


def request(
    method: str, path: str, body: bytes = b"", bearer: str = "", content_type: str = "application/json"
) -> bytes:
    """One HTTP/1.1 request as bytes, to be prepared before the clock starts."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {LOOPBACK}"]
    if bearer:
        lines.append(f"Authorization: Bearer {bearer}")
    if body:
        lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Connection(asyncio.Protocol):
    """One keep-alive connection; at most one request is under way on it."""

    def __init__(self) -> None:
        self.buffer = b""
        self.answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, data: bytes) -> asyncio.Future[tuple[int, bytes]]:
        assert self.transport is not None
        assert self.answer is None or self.answer.done()
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return self.answer

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        headers = self.buffer[:head].lower()
        at = headers.find(b"content-length:")
        length = int(headers[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self.buffer) < head + 4 + length:
            return
        status, body = int(headers[9:12]), self.buffer[head + 4 : head + 4 + length]
        self.buffer = self.buffer[head + 4 + length :]
        if self.answer is not None and not self.answer.done():
            self.answer.set_result((status, body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(exc or ConnectionResetError("the service closed the connection"))


async def connect(port: int) -> Connection:
    _, protocol = await asyncio.get_running_loop().create_connection(Connection, LOOPBACK, port)
    return protocol


async def closed_loop(port: int, requests: Iterable[bytes], connections: int, seconds: float) -> Report:
    """Send ``requests`` over ``connections`` until they or the seconds run out."""
    report, pending = Report(), iter(requests)
    opened = [await connect(port) for _ in range(connections)]
    start = time.perf_counter()
    await asyncio.gather(*(_drain(connection, pending, report, start + seconds) for connection in opened))
    report.seconds = time.perf_counter() - start
    return report


async def _drain(connection: Connection, pending: Iterator[bytes], report: Report, stop: float) -> None:
    for data in pending:
        sent = time.perf_counter()
        if sent >= stop:
            break
        status, _ = await connection.send(data)
        report.latencies.append(time.perf_counter() - sent)
        report.statuses[status] += 1
    assert connection.transport is not None
    connection.transport.close()


async def open_loop(port: int, requests: Iterable[bytes], rate: float, connections: int = 64) -> Report:
    """Send request n at n / ``rate`` seconds, over the first free of ``connections``; one waits its turn if none is
    free, and the wait counts."""
    report = Report()
    free = deque([await connect(port) for _ in range(connections)])
    freed = asyncio.Event()
    start = time.perf_counter()
    under_way: set[asyncio.Task[None]] = set()

    async def one(connection: Connection, data: bytes, due: float) -> None:
        status, _ = await connection.send(data)
        report.latencies.append(time.perf_counter() - due)
        report.statuses[status] += 1
        free.append(connection)
        freed.set()

    for n, data in enumerate(requests):
        due = start + n / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        while not free:
            freed.clear()
            await freed.wait()
        task = asyncio.create_task(one(free.popleft(), data, due))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    report.seconds = time.perf_counter() - start
    for connection in free:
        assert connection.transport is not None
        connection.transport.close()
    return report
