"""Taking events in, as real SDKs send them."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode

import pytest
from service import Service, viewed

EVENT = {"userId": "c-1", "event": "Product Viewed", "properties": {"product_id": "milk"}}
SUCCESS = b'{"success":true}'


def body(**more: object) -> bytes:
    return json.dumps({**EVENT, **more}).encode()


def ids_of(service: Service, user: str) -> list[object]:
    events = service.get(f"/v1/profiles/{user}/events").json["events"]
    assert isinstance(events, list)
    return [event["event_id"] for event in events]


CALLS = {
    "identify": {"traits": {"a": 1}},
    "track": {"event": "Product Viewed", "properties": {"product_id": "milk"}},
    "page": {"name": "Home"},
    "screen": {"name": "Home"},
    "group": {"groupId": "g"},
    "alias": {"previousId": "old"},
}


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("form", ["/v1/{kind}", "/v1/{letter}", "/v1/{kind}/"])
def test_every_call_is_taken_at_its_long_and_its_short_path(service: Service, kind: str, form: str) -> None:
    path = form.format(kind=kind, letter=kind[0])
    user = "paths" + path.replace("/", "-")
    answer = service.call("POST", path, {"userId": user, "messageId": path, **CALLS[kind]}, service.sdk)
    assert (answer.status, answer.body) == (200, SUCCESS)
    assert ids_of(service, user) == [path]


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/batch/", "/beacon/v1/batch"])
def test_batches_are_taken_at_every_path(service: Service, path: str) -> None:
    user = "batch" + path.replace("/", "-")
    batch = {"batch": [{"type": "track", **EVENT, "userId": user, "messageId": f"{path}{n}"} for n in range(3)]}
    answer = service.call("POST", f"{path}?writeKey={service.embedded.keys.write_key}", batch, {})
    assert (answer.status, answer.body) == (200, SUCCESS)
    assert ids_of(service, user) == [f"{path}2", f"{path}1", f"{path}0"]


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense", ""]
)
@pytest.mark.parametrize("packed", [False, True])
def test_the_content_type_is_not_believed(service: Service, content_type: str, packed: bool) -> None:
    raw = body(messageId=f"{content_type}{packed}", userId="types")
    headers = {**service.sdk, "Content-Type": content_type, **({"Content-Encoding": "gzip"} if packed else {})}
    answer = service.call("POST", "/v1/track", gzip.compress(raw) if packed else raw, headers)
    assert answer.status == 200
    assert f"{content_type}{packed}" in ids_of(service, "types")


def test_the_write_key_is_found_wherever_sdks_put_it(service: Service) -> None:
    key = service.embedded.keys.write_key
    places: list[tuple[str, dict[str, str], bytes]] = [
        ("", {"Authorization": "Basic " + b64encode(f"{key}:".encode()).decode()}, body()),
        ("", {"Authorization": "Basic " + b64encode(key.encode()).decode()}, body()),
        ("", {}, body(writeKey=key)),
        (f"?writeKey={key}", {}, body()),
        ("", {"X-Write-Key": key}, body()),
        ("", {"Authorization": "Bearer oauth-token-of-segment"}, body(writeKey=key)),
        ("", service.api, body()),
    ]
    for query, headers, data in places:
        assert service.call("POST", f"/v1/track{query}", data, headers).status == 200, (query, headers)


def test_the_first_key_found_decides(service: Service) -> None:
    key = service.embedded.keys.write_key
    wrong = {"Authorization": "Basic " + b64encode(b"wrong:").decode()}
    assert service.call("POST", f"/v1/track?writeKey={key}", body(writeKey=key), wrong).status == 401
    assert service.call("POST", f"/v1/track?writeKey={key}", body(writeKey="wrong"), {}).status == 401
    assert service.call("POST", "/v1/track?writeKey=wrong", body(), {"X-Write-Key": key}).status == 401


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic ???"}, {"Authorization": "Bearer x"}])
def test_without_a_key_nothing_is_taken(service: Service, headers: dict[str, str]) -> None:
    answer = service.call("POST", "/v1/batch", {"batch": [viewed("nobody-1", "milk")]}, headers)
    assert answer.status == 401
    assert set(answer.json) == {"code", "message"}
    assert ids_of(service, "nobody-1") == []


def test_one_malformed_event_does_not_fail_its_batch(service: Service) -> None:
    batch = [
        {**viewed("mixed", "milk"), "messageId": "good-1"},
        {"type": "track", "event": "nobody did this"},
        {"type": "dance", "userId": "mixed"},
        {**viewed("mixed", "bread"), "messageId": "good-2"},
    ]
    before = quarantined(service)
    answer = service.call("POST", "/v1/batch", {"batch": batch}, service.sdk)
    assert (answer.status, answer.body) == (200, SUCCESS)
    assert ids_of(service, "mixed") == ["good-2", "good-1"]
    after = quarantined(service)
    assert {reason: after[reason] - before.get(reason, 0) for reason in after} == {
        **dict.fromkeys(after, 0),
        "not_identifiable": 1,
        "unknown_type": 1,
    }


def quarantined(service: Service) -> dict[str, float]:
    prefix = 'everfold_quarantined_total{reason="'
    lines = service.get("/metrics").body.decode().splitlines()
    rows = [line.removeprefix(prefix).split('"} ') for line in lines if line.startswith(prefix)]
    return {reason: float(value) for reason, value in rows}


def test_an_event_that_is_not_json_costs_its_batch_nothing(service: Service) -> None:
    good = json.dumps({**viewed("torn", "milk"), "messageId": "good"}).encode()
    answer = service.call("POST", "/v1/batch", b'{"batch":[{"type":"track","userId":NaN},' + good + b"]}", service.sdk)
    assert answer.status == 200
    assert ids_of(service, "torn") == ["good"]


def test_a_single_event_that_cannot_be_a_fact_is_kept_aside_and_refused_with_the_reason(service: Service) -> None:
    before = quarantined(service).get("not_identifiable", 0)
    answer = service.call("POST", "/v1/track", {"event": "x"}, service.sdk)
    assert answer.status == 400
    assert answer.json["code"] == "not_identifiable"
    assert quarantined(service)["not_identifiable"] == before + 1


def test_an_event_sent_twice_is_kept_once(service: Service) -> None:
    event = {**viewed("twice", "milk"), "messageId": "same"}
    service.send(event)
    service.send(event, event)
    assert ids_of(service, "twice") == ["same"]


def test_sdk_telemetry_is_accepted_without_a_key_and_dropped(service: Service) -> None:
    answer = service.call("POST", "/v1/m", {"series": [{"type": "Counter"}]}, {})
    assert (answer.status, answer.body) == (200, SUCCESS)
    assert "x-everfold-token" not in answer.headers


def test_a_preflight_allows_what_sdks_send(service: Service) -> None:
    for path in ("/v1/t", "/v1/batch", "/sourceConfig/", "/v1/projects/x/settings"):
        answer = service.call("OPTIONS", path, None, {"Origin": "https://shop.example"})
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert answer.headers["access-control-max-age"] == "900"
        allowed = answer.headers["access-control-allow-headers"]
        for header in ("authorization", "content-type", "anonymousid", "sentat", "x-retry-count", "x-write-key"):
            assert header in allowed
        assert "*" not in allowed


def test_answers_and_refusals_can_be_read_across_origins(service: Service) -> None:
    origin = {"Origin": "https://shop.example"}
    for headers, status in ((service.sdk, 200), ({}, 401)):
        answer = service.call("POST", "/v1/track", body(), {**headers, **origin})
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert answer.headers["vary"] == "origin"
        assert "retry-after" in answer.headers["access-control-expose-headers"]


def test_the_api_cannot_be_called_across_origins(service: Service) -> None:
    origin = {**service.api, "Origin": "https://shop.example"}
    assert service.call("OPTIONS", "/v1/recommend", None, origin).status == 405
    assert "access-control-allow-origin" not in service.get("/v1/popular", origin).headers


def test_analytics_next_finds_its_settings(service: Service) -> None:
    key = service.embedded.keys.write_key
    answer = service.get(f"/v1/projects/{key}/settings", {})
    host = f"127.0.0.1:{service.port}/v1"
    assert answer.json == {"integrations": {"Segment.io": {"apiKey": key, "apiHost": host, "protocol": "http"}}}
    assert service.get("/v1/projects/wrong/settings", {}).status == 401


def test_rudderstack_finds_its_source(service: Service) -> None:
    answer = service.get("/sourceConfig/?p=npm&v=3.34.1&build=modern", service.sdk)
    source = answer.json["source"]
    assert isinstance(source, dict)
    assert source["enabled"] is True
    assert source["writeKey"] == service.embedded.keys.write_key
    assert source["destinations"] == []
    assert service.get("/sourceConfig/?p=npm", {}).status == 401


def test_a_pixel_is_an_image_whatever_happens(service: Service) -> None:
    key = service.embedded.keys.write_key
    data = b64encode(json.dumps({"event": "Mail Opened", "anonymousId": "px", "messageId": "p2"}).encode()).decode()
    queries = (
        f"writeKey={key}&event=Mail+Opened&anonymousId=px&messageId=p1&properties.campaign=may",
        f"writeKey={key}&data={data}",
        "",
        "writeKey=wrong&event=x&anonymousId=px",
        f"writeKey={key}&data=!!!",
        f"writeKey={key}&event=nobody",
    )
    for query in queries:
        answer = service.get(f"/pixel/v1/track?{query}", {})
        assert (answer.status, answer.headers["content-type"]) == (200, "image/gif")
        assert answer.body.startswith(b"GIF89a")
        assert "no-store" in answer.headers["cache-control"]
    assert ids_of_anonymous(service, "px") == ["p2", "p1"]


def ids_of_anonymous(service: Service, anonymous: str) -> list[object]:
    events = service.get(f"/v1/profiles/{anonymous}/events?anonymous=true").json["events"]
    assert isinstance(events, list)
    return [event["event_id"] for event in events]


def test_global_privacy_control_is_stored_as_a_fact(service: Service) -> None:
    service.call("POST", "/v1/track", body(userId="gpc", messageId="1"), {**service.sdk, "Sec-GPC": "1"})
    service.call("POST", "/v1/track", body(userId="gpc", messageId="2"), {**service.sdk, "Sec-GPC": "true"})
    events = service.get("/v1/profiles/gpc/events").json["events"]
    assert isinstance(events, list)
    assert [event["meta"].get("gpc", False) for event in events] == [False, True]


def test_a_request_id_goes_there_and_back(service: Service) -> None:
    answer = service.call("POST", "/v1/track", body(), {**service.sdk, "X-Request-Id": "abc-1"})
    assert answer.headers["x-request-id"] == "abc-1"
    first = service.call("POST", "/v1/track", body(), {**service.sdk, "X-Request-Id": "x" * 500})
    second = service.call("POST", "/v1/track", body(), service.sdk)
    assert len({first.headers["x-request-id"], second.headers["x-request-id"], "x" * 500}) == 3
