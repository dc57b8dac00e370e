"""Looking at profiles over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from service import Service, bought, viewed

from events.clock import ManualClock
from events.ids import Micros


def test_somebody_never_heard_of_has_an_empty_profile(service: Service) -> None:
    profile = service.get("/v1/profiles/stranger").json
    assert profile["user_id"] == "stranger"
    assert profile["version"] == 0
    assert profile["state_age_ms"] == 0
    assert service.get("/v1/profiles/stranger/events").json == {"user_id": "stranger", "events": []}


def test_a_profile_shows_what_happened(service: Service) -> None:
    service.add_items({"item_id": "tea", "title": "Green Tea", "category": "Drinks > Tea"})
    token = service.send(viewed("p-1", "tea"), bought("p-1", "tea"))
    profile = service.get(f"/v1/profiles/p-1?details=true&after={token}").json
    assert profile["version"] == 2
    recent, purchases = profile["recent"], profile["purchases"]
    assert isinstance(recent, list)
    assert isinstance(purchases, list)
    assert (recent[0]["item"], recent[0]["title"]) == ("tea", "Green Tea")
    assert (purchases[0]["item"], purchases[0]["title"]) == ("tea", "Green Tea")


def test_facts_are_listed_newest_first_with_the_ids_the_client_sent(service: Service) -> None:
    service.send(*({**viewed("p-2", f"i{n}"), "messageId": f"m{n}"} for n in range(5)))
    events: Any = service.get("/v1/profiles/p-2/events?limit=3").json["events"]
    assert [event["event_id"] for event in events] == ["m4", "m3", "m2"]
    assert events[0]["type"] == "interaction"
    assert events[0]["body"]["lines"][0][0] == "i4"
    assert events[0]["meta"]["user_id"] == "p-2"


def test_an_id_may_hold_any_printable_character(service: Service) -> None:
    for user in ("a/b", "ä ö", "100%", "a?b#c", "..", "a:b"):
        from urllib.parse import quote

        path = f"/v1/profiles/{quote(user, safe='')}"
        token = service.send(viewed(user, "milk"))
        profile = service.get(f"{path}?after={token}").json
        assert (profile["user_id"], profile["version"]) == (user, 1), user


def test_users_and_visitors_do_not_mix(service: Service) -> None:
    event = {"type": "track", "anonymousId": "v-1", "event": "Product Viewed", "properties": {"product_id": "x"}}
    service.send(event)
    assert service.get("/v1/profiles/v-1").json["version"] == 0
    visitor = service.get("/v1/profiles/v-1?anonymous=true").json
    assert (visitor["anonymous_id"], visitor["version"]) == ("v-1", 1)


def test_a_profile_of_the_past_equals_the_one_answered_then(tmp_path: Path) -> None:
    clock = ManualClock(Micros(1_790_000_000_000_000))
    with Service(tmp_path / "data", clock=clock) as service:
        live = []
        for n in range(4):
            clock.advance(3_600_000_000)
            service.send(viewed("t-1", f"i{n % 3}", category=f"C{n}"))
            live.append(service.get("/v1/profiles/t-1").json)
        clock.advance(86_400_000_000)
        for then in live:
            past = service.get(f"/v1/profiles/t-1?as_of={then['as_of']}").json
            assert past == then
        assert service.get("/v1/profiles/t-1?as_of=2020-01-01").json["version"] == 0
