"""The Python SDKs of Segment and RudderStack, unmodified."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import rudderstack.analytics.client as rudder
import rudderstack.analytics.request as rudder_request
import segment.analytics.client as segment
import segment.analytics.request as segment_request
from service import Service

Sdk = Callable[..., Any]


def through_segment(service: Service, **options: Any) -> Any:
    return segment.Client(service.embedded.keys.write_key, host=service.address, **options)


def through_rudder(service: Service, **options: Any) -> Any:
    return rudder.Client(service.embedded.keys.write_key, host=service.address, **options)


SDKS = pytest.mark.parametrize("sdk", [through_segment, through_rudder])


def events(service: Service, user: str) -> list[dict[str, Any]]:
    found = service.get(f"/v1/profiles/{user}/events").json["events"]
    assert isinstance(found, list)
    return found


def deliver(client: Any, *calls: Callable[[], object]) -> list[Exception]:
    problems: list[Exception] = []
    for consumer in client.consumers:
        consumer.on_error = lambda error, batch: problems.append(error)
    for call in calls:
        call()
    client.flush()
    client.shutdown()
    return problems


@SDKS
@pytest.mark.parametrize("gzip", [False, True])
def test_all_calls_arrive_once_and_in_order(service: Service, sdk: Sdk, gzip: bool) -> None:
    user = f"{sdk.__name__}-{gzip}"
    client = sdk(service, gzip=gzip)
    problems = deliver(
        client,
        lambda: client.identify(user, {"plan": "free"}, message_id=f"{user}-m1"),
        lambda: client.track(user, "Product Viewed", {"product_id": "milk", "price": 2.5}, message_id=f"{user}-m2"),
        lambda: client.page(user, "Docs", "Home", {"url": "/"}, message_id=f"{user}-m3"),
        lambda: client.group(user, "acme", {"size": 3}, message_id=f"{user}-m4"),
        lambda: client.alias("before", user, message_id=f"{user}-m5"),
    )
    assert problems == []
    assert [event["event_id"] for event in events(service, user)] == [f"{user}-m{n}" for n in (5, 4, 3, 2, 1)]
    profile = service.get(f"/v1/profiles/{user}").json
    assert profile["version"] == 5
    assert profile["traits"] == {"plan": "free"}


@SDKS
def test_hundreds_of_events_from_a_queue_all_arrive(service: Service, sdk: Sdk) -> None:
    user = f"{sdk.__name__}-many"
    client = sdk(service)
    calls = [
        lambda n=n: client.track(user, "Product Viewed", {"product_id": f"p{n}"}, message_id=f"{user}-m{n}")
        for n in range(250)
    ]
    assert deliver(client, *calls) == []
    found = service.get(f"/v1/profiles/{user}/events?limit=1000").json["events"]
    assert isinstance(found, list)
    assert [event["event_id"] for event in found] == [f"{user}-m{n}" for n in reversed(range(250))]


@SDKS
def test_one_bad_event_costs_the_others_nothing(service: Service, sdk: Sdk) -> None:
    user = f"{sdk.__name__}-bad"
    client = sdk(service)
    problems = deliver(
        client,
        lambda: client.track(user, "Product Viewed", {"product_id": "milk"}, message_id=f"{user}-m1"),
        lambda: client.track("x" * 10_000, "Product Viewed", {"product_id": "milk"}, message_id=f"{user}-m2"),
        lambda: client.track(user, "Product Viewed", {"product_id": "bread"}, message_id=f"{user}-m3"),
    )
    assert problems == []
    assert [event["event_id"] for event in events(service, user)] == [f"{user}-m3", f"{user}-m1"]


@SDKS
def test_a_wrong_key_is_refused_in_words_the_sdk_understands(service: Service, sdk: Sdk) -> None:
    request, error = (
        (segment_request, segment_request.APIError)
        if sdk is through_segment
        else (rudder_request, rudder_request.APIError)
    )
    with pytest.raises(error) as caught:
        request.post("wrong", host=service.address, batch=[{"type": "track", "userId": "u", "event": "e"}])
    assert (caught.value.status, caught.value.code) == (401, "unauthorized")
