"""Transitions, each told once and in order, while the processes that find and write them are killed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from running import Running, until

from actors.store import Store
from serving.transitions import Transition, Transitions

pytestmark = pytest.mark.ray

FOLLOWERS, HOST = "ray::Followed", "ray::Hosted"
USERS = [f"u{number}" for number in range(6)]


def views(service: Running, round_: int) -> None:
    """One look by everybody, sent again with the same ids until it is taken."""
    events: list[dict[str, object]] = [
        {
            "type": "track",
            "event": "Product Viewed",
            "userId": user,
            "messageId": f"{user}-{round_}",
            "properties": {"product_id": "tea"},
        }
        for user in USERS
    ]

    def taken() -> bool:
        try:
            return service.send(events).status == 200
        except OSError:
            return False

    until(taken, 60, f"round {round_} is taken")


def kill(service: Running, title: str) -> None:
    until(lambda: bool(service.pids(title)), 60, f"a process {title}")
    service.signal(title, signal.SIGKILL)


def inside(service: Running, user: str) -> set[str]:
    answer = service.call("GET", f"/v1/profiles/{user}/segments").json["segments"]
    assert isinstance(answer, list)
    return {one["name"] for one in answer}


def told(data: Path) -> list[Transition]:
    """Every transition in the logs."""
    transitions = Transitions(Store.open(data))
    try:
        position, found = transitions.begin(), []
        while position != transitions.end():
            some, position = transitions.read(position)
            found += some
        return found
    finally:
        transitions.close()


def test_every_transition_is_told_once_and_in_order_whoever_is_killed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "everfold.toml").write_text("segments_shipped = false\n")
    with Running(data) as service:
        for name, rule in (("lookers", "count(view) >= 3"), ("lately", "count(view, 2 seconds) >= 1")):
            assert service.call("PUT", f"/v1/segments/{name}", {"rule": rule}).status == 200
        for round_, victims in enumerate([[], [FOLLOWERS], [], [HOST], [FOLLOWERS, HOST], [FOLLOWERS], []]):
            views(service, round_)
            for victim in victims:
                kill(service, victim)
        until(lambda: all(inside(service, user) == {"lookers"} for user in USERS), 120, "everybody was moved")
        until(
            lambda: b"everfold_segment_transitions_waiting 0" in service.call("GET", "/metrics").body, 30, "all is told"
        )
    found = told(data)
    assert len({one.id for one in found}) == len(found)
    moves: dict[tuple[str, str], list[Transition]] = {}
    for one in sorted(found, key=lambda one: (one.partition, one.lsn)):
        moves.setdefault((one.key, one.segment), []).append(one)
    assert set(moves) == {(f"u:{user}", name) for user in USERS for name in ("lookers", "lately")}
    for (_, name), each in moves.items():
        assert [one.event == "segment_entered" for one in each] == [place % 2 == 0 for place in range(len(each))]
        assert [one.at_ms for one in each] == sorted({one.at_ms for one in each})
        assert len(each) % 2 == (1 if name == "lookers" else 0)
    assert all(len(each) == 1 for (_, name), each in moves.items() if name == "lookers")
