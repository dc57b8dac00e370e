"""HTTP lines to one target, whatever the target does."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from targets import (
    KEYS,
    Answering,
    answer,
    babbling,
    failing,
    hanging,
    hanging_up,
    nobody,
    target,
    well,
)

from events.errors import BadSettings
from simulate.clients import BODY_BYTES_MAX, Lines, Reply, Target, _listening


def replies(answering: Answering, number: int, most: int = 4, timeout_s: float = 5.0) -> list[Reply]:
    """Of so many requests sent at once."""

    async def run() -> list[Reply]:
        async with target(answering) as there:
            lines = Lines(there, most, 1_000)
            asked = [lines.ask(there.get("/x", n=str(n)), timeout_s) for n in range(number)]
            found = await asyncio.gather(*asked)
            assert lines.busy == 0
            await lines.close()
            return list(found)

    return asyncio.run(run())


def test_requests_share_a_few_connections() -> None:
    connections: set[object] = set()

    async def counted(line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        connections.add(writer.get_extra_info("peername"))
        await well(line, body, writer)

    found = replies(counted, 40)
    assert [reply.status for reply in found] == [200] * 40
    assert json.loads(found[0].body)["recommendation_id"] == "r1"
    assert 1 <= len(connections) <= 4


@pytest.mark.parametrize(
    ("answering", "outcome"),
    [(failing, "500"), (hanging, "timeout"), (babbling, "garbled"), (hanging_up, "lost")],
)
def test_every_request_ends_with_a_reason(answering: Answering, outcome: str) -> None:
    assert [reply.outcome for reply in replies(answering, 9, timeout_s=0.3)] == [outcome] * 9


def test_a_body_without_end_is_given_up() -> None:
    async def endless(line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {1 << 40}\r\n\r\n".encode())
        for _ in range(2 + (BODY_BYTES_MAX >> 20)):
            writer.write(bytes(1 << 20))
            await writer.drain()

    assert replies(endless, 1)[0].outcome == "garbled"


def test_chunked_answers_and_closed_connections_are_read_as_http_says() -> None:
    async def chunked(line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        writer.write(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        writer.close()

    assert [(reply.status, reply.body) for reply in replies(chunked, 5)] == [(200, b"abcde")] * 5


def test_a_request_that_crossed_the_closing_of_an_idle_line_goes_again() -> None:
    heard: list[str] = []

    async def once_each(line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        heard.append(line)
        if writer in seen:
            writer.transport.abort()
            return
        seen.add(writer)
        answer(writer)

    seen: set[asyncio.StreamWriter] = set()

    async def run() -> list[int]:
        async with target(once_each) as there:
            lines = Lines(there, 1, 10)
            found = [(await lines.ask(there.get("/x"), 5)).status for _ in range(3)]
            await lines.close()
            return found

    assert asyncio.run(run()) == [200, 200, 200]
    assert len(heard) == 5


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    visited: list[str] = []

    async def elsewhere(line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        visited.append(line)
        answer(writer, b"", 302, "Location: http://127.0.0.1:9/\r\n")

    assert replies(elsewhere, 2, most=1)[0].outcome == "302"
    assert len(visited) == 2


def test_nobody_there_is_a_refusal_and_too_many_waiting_are_given_up_unsent() -> None:
    async def run(there: Target, waiting: int, timeout_s: float) -> list[str]:
        lines = Lines(there, 1, waiting)
        found = await asyncio.gather(*(lines.ask(there.get("/x"), timeout_s) for _ in range(4)))
        await lines.close()
        return sorted(reply.outcome for reply in found)

    async def held() -> list[str]:
        async with target(hanging) as there:
            return await run(there, 2, 0.3)

    assert set(asyncio.run(run(nobody(), 9, 5))) == {"refused"}
    assert asyncio.run(held()) == ["timeout", "timeout", "unsent", "unsent"]


def test_who_was_refused_may_ask_again_at_once() -> None:
    async def run() -> list[str]:
        lines = Lines(nobody(), 1, 10)
        found = [(await lines.ask(b"", 5)).outcome for _ in range(5)]
        await lines.close()
        return found

    assert asyncio.run(run()) == ["refused"] * 5


def test_closing_ends_what_is_under_way() -> None:
    async def run() -> list[str]:
        async with target(hanging) as there:
            lines = Lines(there, 1, 10)
            asked = [asyncio.ensure_future(lines.ask(there.get("/x"), 60)) for _ in range(3)]
            await asyncio.sleep(0)
            await lines.close()
            return [(await one).outcome for one in asked]

    assert asyncio.run(run()) == ["unsent"] * 3


def test_keys_travel_as_sdks_send_them_and_never_in_a_representation() -> None:
    there = nobody()
    assert f"Bearer {KEYS.api_key}".encode() in there.get("/v1/recommend", user_id="a b&c")
    assert b"user_id=a+b%26c " in there.get("/v1/recommend", user_id="a b&c")
    assert b"Authorization: Basic " in there.batch(b"{}")
    assert KEYS.api_key not in repr(there)


@pytest.mark.parametrize(
    "address",
    ["", "localhost", "ftp://x", "http://", "http://a:b", "http://u:p@h:1", "http://h:1/path", "http://h:1?q=1"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(BadSettings, match="--target"):
        Target.named(address, KEYS)


def test_a_name_of_several_addresses_stands_for_the_one_where_somebody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert _listening([("127.0.0.2", port), ("127.0.0.1", port)]) == ("127.0.0.1", port)
        assert Target.named(f"http://localhost:{port}", KEYS).peer == ("127.0.0.1", port)
    assert _listening([("127.0.0.2", port), ("127.0.0.1", port)]) == ("127.0.0.2", port)


def test_a_name_that_stands_for_no_address_is_refused() -> None:
    with pytest.raises(BadSettings, match="stands for no address"):
        Target.named("http://no-such-host.invalid:1", KEYS)
