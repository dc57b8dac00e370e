"""Who enters and leaves segments, heard as it happens, by clients that come, go, come back and fall asleep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from hearing import listening, told_until_quiet
from moving import moved, moved_all
from service import Service, until

from serving.http import Message, Streamed
from serving.segment_stream import STREAMS_MAX


def test_a_transition_is_heard_as_it_happens_with_its_evidence(service: Service) -> None:
    with listening(service) as heard:
        identity = moved(service, "s-1", "fans", views=3)
        assert until(lambda: len(heard.events) == 1)
    (told,) = heard.events
    assert told == {
        "id": identity,
        "event": "segment_entered",
        "user_id": "s-1",
        "segment": "fans",
        "at": told["at"],
        "evidence": {"views": 3},
    }


def test_coming_back_with_the_last_event_id_misses_nothing_and_hears_nothing_twice(service: Service) -> None:
    moves = [(f"r-{n % 7}", "fans", n % 2 == 0) for n in range(40)]
    with listening(service) as first:
        ids = moved_all(service, moves[:20])
        assert until(lambda: len(first.events) >= 5)
    ids += moved_all(service, moves[20:])
    second = told_until_quiet(service, "", first.place)
    heard = [one["id"] for one in first.events + second.events]
    assert sorted(heard) == sorted(ids)
    assert told_until_quiet(service, "", second.place).events == []


def test_events_of_one_person_come_in_the_order_they_happened(service: Service) -> None:
    begin = told_until_quiet(service, "").place
    moved_all(service, [("o-1", "fans", n % 2 == 0) for n in range(50)])
    heard = told_until_quiet(service, "user_id=o-1", begin)
    assert [one["event"] for one in heard.events] == ["segment_entered", "segment_exited"] * 25


def test_only_the_segments_and_the_person_asked_for_are_told(service: Service) -> None:
    begin = told_until_quiet(service, "").place
    moved_all(service, [("f-1", "fans", True), ("f-1", "vip", True), ("f-2", "vip", True), ("f-2", "loyal", True)])
    heard = told_until_quiet(service, "segment=vip,loyal", begin)
    assert sorted(heard.who()) == [
        ("f-1", "vip", "segment_entered"),
        ("f-2", "loyal", "segment_entered"),
        ("f-2", "vip", "segment_entered"),
    ]
    assert told_until_quiet(service, "user_id=f-1&segment=vip", begin).who() == [("f-1", "vip", "segment_entered")]
    quiet = told_until_quiet(service, "segment=nobody", begin)
    assert quiet.events == []


def test_a_stream_can_begin_at_an_earlier_moment(fresh: Service) -> None:
    moved(fresh, "a-1", "fans")
    heard = told_until_quiet(fresh, "as_of=2020-01-01T00:00:00Z")
    assert heard.who() == [("a-1", "fans", "segment_entered")]
    assert told_until_quiet(fresh, "").events == []


def test_a_place_that_is_none_is_refused(service: Service) -> None:
    for place in ("x", "AAAA", "koDCzQ"):
        answer = service.get("/v1/segments/stream?idle_s=0", {**service.api, "Last-Event-ID": place})
        assert (answer.status, "Last-Event-ID" in str(answer.json["message"])) == (400, True), place
    assert service.get("/v1/segments/stream?idle_s=x").status == 400
    assert service.get("/v1/segments/stream?idle_s=0", {}).status == 401


def test_a_client_that_went_away_leaves_its_seat(fresh: Service) -> None:
    tail = fresh.embedded.replica.tail
    with listening(fresh), listening(fresh):
        assert until(lambda: tail.listeners == 2)
    assert until(lambda: tail.listeners == 0)


def test_more_streams_than_there_are_seats_are_refused(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.segment_stream.STREAMS_MAX", 1)
    assert STREAMS_MAX > 1
    with listening(service):
        answer = service.get("/v1/segments/stream?idle_s=0")
        assert (answer.status, "retry-after" in answer.headers) == (503, True)
    assert until(lambda: service.get("/v1/segments/stream?idle_s=0").status == 200)


def test_a_reader_who_takes_nothing_is_dropped_and_what_was_open_for_it_closed() -> None:
    closed: list[bool] = []

    async def chunks() -> AsyncGenerator[bytes]:
        try:
            while True:
                yield b"x" * 1000
        finally:
            closed.append(True)

    sent: list[Message] = []

    async def send(message: Message) -> None:
        if len(sent) == 3:
            await asyncio.Event().wait()  # the socket's buffer is full and stays so
        sent.append(message)

    async def never() -> None:
        await asyncio.Event().wait()

    reply = Streamed(b"", chunks=chunks(), gone=never, stalled_s=0.01)
    asyncio.run(reply.send(send, "r"))
    assert (len(sent), closed) == (3, [True])
