"""The segments of one profile, now and at any earlier moment, with the evidence."""

from __future__ import annotations

from typing import Any

from moving import moved
from service import Service, bought, viewed


def segments(service: Service, user: str, query: str = "") -> list[dict[str, Any]]:
    shown: Any = service.get(f"/v1/profiles/{user}/segments{query}").json
    assert shown["user_id"] == user
    found: list[dict[str, Any]] = shown["segments"]
    return found


def test_what_somebody_is_in_is_told_with_since_when_and_why(service: Service) -> None:
    service.send(viewed("a", "milk"))
    moved(service, "a", "fans", views=3)
    moved(service, "a", "vip", spent=900)
    moved(service, "a", "fans", entered=False)
    moved(service, "a", "fans", views=5)
    inside = segments(service, "a")
    assert [(one["name"], one["evidence"]) for one in inside] == [("fans", {"views": 5}), ("vip", {"spent": 900})]
    assert all(one["since"].startswith("20") for one in inside)


def test_somebody_never_heard_of_is_in_none(service: Service) -> None:
    assert segments(service, "never") == []


def test_any_earlier_moment_is_told_as_it_was(service: Service) -> None:
    moved(service, "b", "fans", views=3)
    moved(service, "b", "fans", entered=False)
    moved(service, "b", "vip", spent=1)
    service.send(bought("b", "milk"))
    events: Any = service.get("/v1/profiles/b/events").json["events"]
    moments = [one["appended"] for one in reversed(events)]
    assert [[one["name"] for one in segments(service, "b", f"?as_of={at}")] for at in moments] == [
        ["fans"],
        [],
        ["vip"],
        ["vip"],
    ]
    (first,) = segments(service, "b", f"?as_of={moments[0]}")
    assert first["evidence"] == {"views": 3}
    assert segments(service, "b", "?as_of=2020-01-01T00:00:00Z") == []


def test_it_needs_a_key(service: Service) -> None:
    assert service.get("/v1/profiles/a/segments", {}).status == 401
