"""Who is in a segment: paged, filtered, exported, now and at any earlier moment; and how many, and since when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from service import Answered, Service, bought, until, viewed

from actors.segment_rules import understand
from actors.store import Store
from events.clock import ManualClock, SystemClock, millis
from events.ids import Micros
from serving.moments import moment_text
from serving.segment_members import Filter, Pages, Place
from serving.segment_people import People

EVERYBODY = 60


@pytest.fixture(scope="module")
def shop(service: Service) -> Service:
    """60 people: 60 fans, 20 of them buyers; one more who did neither."""
    for name, rule in (("fans", "did(view)"), ("buyers", "did(purchase)")):
        assert service.call("POST", "/v1/segments", {"name": name, "rule": rule}).status == 200
    views = [viewed(f"m{n}", "tea") for n in range(EVERYBODY)]
    service.send(*views, *(bought(f"m{n}", "tea") for n in range(0, EVERYBODY, 3)))
    service.send({"type": "identify", "userId": "m-silent", "traits": {"plan": "free"}})
    assert until(lambda: figures(service) == {"fans": EVERYBODY, "buyers": EVERYBODY // 3})
    assert until(lambda: len(told(service, "m57")) == 2)
    return service


def figures(service: Service, query: str = "") -> dict[str, Any]:
    listed: Any = service.get("/v1/segments" + query).json
    return {one["name"]: one["members"] for one in listed["segments"]}


def told(service: Service, user: str) -> list[Any]:
    shown: Any = service.get(f"/v1/profiles/{user}/segments").json
    found: list[Any] = shown["segments"]
    return found


def members(service: Service, query: str = "", name: str = "fans") -> Answered:
    return service.get(f"/v1/segments/{name}/members{query}")


def who(answer: Answered) -> list[str]:
    assert answer.status == 200, answer
    found: Any = answer.json["members"]
    return [one["user_id"] for one in found]


def everybody(service: Service, query: str) -> list[str]:
    return sorted(user for page in all_pages(service, query) for user in page)


def all_pages(service: Service, query: str, name: str = "fans") -> list[list[str]]:
    pages, cursor = [], ""
    while True:
        answer = members(service, f"?{query}{cursor}", name)
        pages.append(who(answer))
        if "cursor" not in answer.json:
            return pages
        cursor = "&cursor=" + str(answer.json["cursor"])


def test_members_come_in_pages_each_once_with_since_when_and_why(shop: Service) -> None:
    pages = all_pages(shop, "limit=7")
    assert all(len(page) <= 7 for page in pages)
    assert everybody(shop, "limit=7") == sorted(f"m{n}" for n in range(EVERYBODY))
    first: Any = members(shop, "?limit=1").json
    assert (first["count"], first["phase"], first["progress"]) == (EVERYBODY, "live", 1.0)
    (one,) = first["members"]
    assert one["since"].startswith("20")
    assert one["evidence"]["values"] == {"did(view)": True}
    assert all_pages(shop, "limit=7") == pages


def test_members_are_filtered_by_rule_by_other_segments_and_by_when_they_entered(shop: Service) -> None:
    buyers = sorted(f"m{n}" for n in range(0, EVERYBODY, 3))
    assert sorted(who(members(shop, "?where=" + quote("count(purchase) >= 1")))) == buyers
    assert sorted(who(members(shop, "?also=buyers"))) == buyers
    assert len(who(members(shop, "?without=buyers"))) == EVERYBODY - len(buyers)
    assert who(members(shop, "?also=buyers&without=buyers")) == []
    assert len(who(members(shop, "?entered_after=2020-01-01T00:00:00Z"))) == EVERYBODY
    assert who(members(shop, "?entered_before=2020-01-01T00:00:00Z")) == []
    above = quote("engagement >= quantile(engagement, 0.5) and segment('buyers')")
    assert set(who(members(shop, "?where=" + above))) <= set(buyers)


def test_all_of_them_are_exported_as_lines(shop: Service) -> None:
    answer = members(shop, "?format=ndjson&limit=3&also=buyers")
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert len(lines) == EVERYBODY // 3
    assert set(lines[0]) == {"user_id", "since", "evidence"}


def test_who_was_in_at_an_earlier_moment_is_told_by_their_own_facts(fresh: Service) -> None:
    fresh.call("POST", "/v1/segments", {"name": "fans", "rule": "did(view) and not did(purchase)"})
    fresh.send(*(viewed(f"w{n}", "tea") for n in range(12)))
    assert until(lambda: figures(fresh) == {"fans": 12})
    assert until(lambda: all(told(fresh, f"w{n}") for n in range(12)))
    events: list[Any] = [fresh.get(f"/v1/profiles/w{n}/events").json["events"] for n in range(12)]
    then = max(each[0]["appended"] for each in events)
    fresh.send(*(bought(f"w{n}", "tea") for n in range(5)), viewed("w99", "tea"))
    assert until(lambda: figures(fresh) == {"fans": 8})
    assert until(lambda: bool(told(fresh, "w99")) and not any(told(fresh, f"w{n}") for n in range(5)))
    assert everybody(fresh, f"limit=5&as_of={then}") == sorted(f"w{n}" for n in range(12))
    assert len(everybody(fresh, "limit=5")) == 8
    assert len(members(fresh, f"?format=ndjson&as_of={then}").body.splitlines()) == 12
    assert everybody(fresh, f"limit=5&as_of={then}&where=did(purchase)") == []
    assert len(everybody(fresh, "limit=5&where=did(purchase)")) == 0
    assert members(fresh, "?as_of=2020-01-01T00:00:00Z").status == 404


def test_a_page_ends_when_its_time_is_up_and_goes_on_where_it_was(shop: Service) -> None:
    people, now = People(Store.open(shop.data)), SystemClock().now()
    try:
        for as_of in (None, now):
            ticks = iter(range(10_000))
            wanted = Filter(understand("did(purchase)"))
            pages = Pages("fans", wanted, millis(now), as_of, 1.0, lambda ticks=ticks: float(next(ticks)))  # type: ignore[misc]
            found, place, read = 0, Place(-1 if as_of is None else 0), 0
            while True:
                page = pages.read(people, place, 100)
                found, read = found + len(page.members), read + 1
                if page.then is None:
                    break
                place = page.then
            assert found == EVERYBODY // 3
            assert read >= EVERYBODY
    finally:
        people.close()


def test_what_was_counted_in_the_past_is_told_as_of_then_with_what_it_grew_by(tmp_path: Path) -> None:
    clock = ManualClock(Micros(1_790_000_000_000_000))
    with Service(tmp_path / "data", clock=clock) as service:
        service.call("POST", "/v1/segments", {"name": "fans", "rule": "did(view, 100 minutes)"})
        for hour in range(4):
            clock.advance(3_600_000_000)
            service.send(*(viewed(f"h{hour}-{n}", "tea") for n in range(hour + 1)))
            expected = hour + 1 + hour  # those of this hour and of the one before
            assert until(lambda expected=expected: figures(service) == {"fans": expected})  # type: ignore[misc]
        shown: Any = service.get("/v1/segments/fans?hours=6").json
        assert (shown["members"], shown["growth"]) == (7, {"hour": 2, "day": 7, "week": 7})
        assert shown["history"][-1]["members"] == 7
        assert sum(each["entered"] for each in shown["history"]) == 10
        then = [moment_text(Micros(clock.now() - hours * 3_600_000_000)) for hours in range(4)]
        assert [figures(service, f"?as_of={at}")["fans"] for at in then] == [7, 5, 3, 1]
        before: Any = service.get(f"/v1/segments/fans?as_of={then[1]}").json
        assert (before["members"], before["growth"]["hour"]) == (5, 2)
        assert figures(service, "?as_of=2020-01-01T00:00:00Z") == {}


@pytest.mark.parametrize(
    "query",
    [
        "?limit=0",
        "?limit=9999",
        "?cursor=x",
        "?cursor=1.zz",
        "?cursor=1.ab",
        "?cursor=99999999999",
        "?as_of=2999-01-01",
        "?cursor=3&as_of=1767225600000",
        "?format=csv",
        "?where=" + quote("engagment > 1"),
        "?where=" + quote("segment('unheard-of')"),
        "?where=" + "x" * 5_000,
        "?also=unheard-of",
        "?also=" + ",".join("fans" for _ in range(40)),
        "?entered_after=yesterday",
        "?unknown=1",
    ],
)
def test_questions_that_make_no_sense_are_refused(shop: Service, query: str) -> None:
    assert members(shop, query).status in (400, 404), query


def test_a_segment_nobody_defined_has_no_members_and_no_key_means_no_answer(shop: Service) -> None:
    assert members(shop, name="unheard-of").status == 404
    assert shop.get("/v1/segments/fans/members", {}).status == 401
