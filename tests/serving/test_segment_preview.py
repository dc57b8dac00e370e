"""Previews: exact where everybody can be asked in time, honest estimates elsewhere."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import pytest
from service import Answered, Service, bought, until, viewed

from actors.segment_rules import understand
from actors.store import Store
from events.clock import SystemClock, millis
from serving.segment_people import Aside
from serving.segment_preview import Counted, Sampler


@pytest.fixture(scope="module")
def shop(service: Service) -> Service:
    stranger: dict[str, object] = {
        "type": "track",
        "anonymousId": "n",
        "event": "Product Viewed",
        "properties": {"product_id": "milk"},
    }
    events = [viewed(f"p{n}", f"item {step}") for n in range(300) for step in range(n % 3 + 1)]
    token = service.send(*events, *(bought(f"p{n}", "milk") for n in range(0, 300, 10)), stranger)
    assert preview(service, "did(view)", after=token).status == 200
    return service


def preview(service: Service, rule: str, **more: object) -> Answered:
    return service.call("POST", "/v1/segments/preview", {"rule": rule, **more})


def test_a_small_store_is_counted_exactly_with_examples(shop: Service) -> None:
    shown: Any = preview(shop, "count(view, 7 days) >= 3", examples=3).json
    assert (shown["matching"], shown["low"], shown["high"], shown["exact"]) == (100, 100, 100, True)
    assert shown["looked"] == shown["profiles"] == 301
    assert len(shown["examples"]) == 3
    assert all(int(one["user_id"][1:]) % 3 == 2 for one in shown["examples"])
    strangers: Any = preview(shop, "count(view, 7 days) == 1 and not did(purchase)", examples=20).json
    assert {"user_id": "p0"} not in strangers["examples"]


def test_nothing_is_defined_by_looking(shop: Service) -> None:
    preview(shop, "did(view)")
    listed: Any = shop.get("/v1/segments").json
    assert "preview" not in [one["name"] for one in listed["segments"]]


def test_a_rule_may_ask_about_segments_and_quantiles(shop: Service) -> None:
    shop.call("PUT", "/v1/segments/fans", {"rule": "count(view, 7 days) >= 3"})
    assert until(lambda: preview(shop, 'segment("fans")').json["matching"] == 100)
    assert preview(shop, 'segment("fans") and did(purchase)').json["matching"] == 10
    shown: Any = preview(shop, "engagement > quantile(engagement, 0.9)").json
    assert 15 <= shown["matching"] <= 45
    assert preview(shop, 'segment("unheard")').status == 400


def test_profiles_as_they_were_known_at_an_earlier_moment(fresh: Service) -> None:
    fresh.send(viewed("w1", "milk"), viewed("w2", "milk"))
    first: Any = fresh.get("/v1/profiles/w1/events").json
    token = fresh.send(bought("w1", "milk"))
    then = first["events"][0]["appended"]
    assert preview(fresh, "did(purchase)", after=token).json["matching"] == 1
    assert preview(fresh, "did(purchase)", as_of=then).json["matching"] == 0
    assert preview(fresh, "did(view)", as_of=then).json["exact"] is True
    assert preview(fresh, "did(view)", as_of="2020-01-01T00:00:00Z").json["matching"] == 0


def test_what_makes_no_sense_is_refused(shop: Service) -> None:
    wrong = preview(shop, "did(view) and engagment > 1")
    assert (wrong.status, wrong.json["message"]) == (
        400,
        "position 14: 'engagment' is unknown, did you mean 'engagement'?",
    )
    for body in (b"{", {"rul": "did(view)"}, {}, {"rule": "did(view)", "examples": 99}):
        assert shop.call("POST", "/v1/segments/preview", body).status == 400, body
    assert shop.call("POST", "/v1/segments/preview", {"rule": "x" * (1 << 20)}).status == 413


def counted(shop: Service, rule: str, budget_s: float) -> Counted:
    """By a clock that goes on by a second whenever it is looked at."""
    ticks = count()
    aside = Aside(Store.open(shop.data))
    sampler = Sampler(aside, budget_s, lambda: float(next(ticks)))
    try:
        return asyncio.run(sampler.count(understand(rule), millis(SystemClock().now()), None, 5))
    finally:
        aside.close()


def test_when_the_time_is_up_the_rest_is_estimated_and_said_to_be(shop: Service) -> None:
    one = counted(shop, "did(view)", 1.0)
    assert (one.exact, one.looked) == (False, 1)
    shown: Any = one.shown()
    assert shown["exact"] is False
    assert shown["low"] < shown["high"]


def test_the_size_of_the_store_is_estimated_from_how_far_the_sample_reached(shop: Service) -> None:
    half = counted(shop, "count(view, 7 days) >= 3", 150.0)
    assert (half.exact, half.looked) == (False, 150)
    shown: Any = half.shown()
    assert 200 <= shown["profiles"] <= 430  # five deviations: keys are hashed with another secret in every run
    assert 20 <= shown["low"] < shown["matching"] < shown["high"] <= 260
    whole = counted(shop, "count(view, 7 days) >= 3", 1_000.0)
    assert (whole.exact, whole.looked, whole.matched) == (True, 301, 100)
