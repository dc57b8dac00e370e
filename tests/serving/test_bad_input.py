"""Whatever is sent: a clear answer, never a 500, and nothing lost beside it."""

from __future__ import annotations

import gzip
import http.client
import json
import string
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from service import Answered, Service, viewed

from serving.app import build_app
from serving.logs import JsonLog

KNOWN = {200, 202, 204, 400, 401, 404, 405, 409, 413, 503}
MEGABYTE = 1 << 20


def is_sane(answer: Answered) -> bool:
    """A status that is promised, and for a refusal the shape that is."""
    if answer.status not in KNOWN:
        return False
    return answer.status < 300 or set(answer.json) == {"code", "message"}


def deep(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


def bomb(size: int) -> bytes:
    return gzip.compress(b'{"batch":[' + b" " * size + b"]}")


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{nope",
    "no object": b"[1,2,3]",
    "a number": b"7",
    "null": b"null",
    "not UTF-8": b'{"userId":"\xff\xfe"}',
    "a lone surrogate": b'{"userId":"\\ud800","event":"x"}',
    "NUL": b'{"userId":"a\\u0000b","event":"x"}',
    "NaN": b'{"userId":"u","event":"x","properties":{"v":NaN}}',
    "infinity": b'{"userId":"u","event":"x","properties":{"v":1e999}}',
    "a huge integer": b'{"userId":"u","event":"x","properties":{"v":' + b"9" * 400 + b"}}",
    "a huge id": b'{"userId":"' + b"x" * 10_000 + b'","event":"x"}',
    "33 KB": json.dumps({"userId": "u", "event": "x", "properties": {"v": "y" * 33_000}}).encode(),
    "deep": b'{"userId":"u","event":"x","properties":' + deep(500) + b"}",
    "very deep": deep(200_000),
    "many names": json.dumps(
        {"userId": "u", "event": "x", "properties": {f"p{n}": n for n in range(100_000)}}
    ).encode(),
    "wrong types": b'{"userId":{},"event":[],"properties":7,"context":"x","timestamp":{},"messageId":[1]}',
    "5 MB": b'{"batch":["' + b"x" * (5 * MEGABYTE) + b'"]}',
    "a zip bomb": bomb(64 * MEGABYTE),
    "cut gzip": gzip.compress(b'{"batch":[]}')[:-4],
    "two gzips": gzip.compress(b"{}") * 2,
    "a strange time": b'{"userId":"u","event":"x","timestamp":"99999-99-99T99:99:99Z"}',
    "the future": b'{"userId":"u","event":"x","timestamp":"2999-01-01T00:00:00Z"}',
    "a poisoned batch": b'{"batch":[null,7,"x",[],{},{"type":null},{"type":"track","userId":1e999}]}',
    "context as a list": b'{"batch":[{"type":"track","userId":"u","event":"x"}],"context":[1]}',
}
POSTS = [
    *("/v1/track", "/v1/i", "/v1/batch", "/beacon/v1/batch", "/v1/import", "/v1/items", "/v1/recommend", "/v1/rank"),
    *("/v1/segments", "/v1/segments/preview"),
]


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", BODIES)
def test_a_strange_body_gets_a_clear_answer(service: Service, path: str, body: str) -> None:
    headers = {**service.api, "X-Write-Key": service.embedded.keys.write_key}
    answer = service.call("POST", path, BODIES[body], headers)
    assert is_sane(answer), (path, body, answer.status, answer.body[:300])


@pytest.mark.parametrize(("body", "status"), [("5 MB", 413), ("a zip bomb", 413), ("cut gzip", 400), ("no JSON", 400)])
def test_bodies_that_cannot_be_read_are_named(service: Service, body: str, status: int) -> None:
    assert service.call("POST", "/v1/batch", BODIES[body], service.sdk).status == status


def test_a_good_event_among_monsters_is_kept(service: Service) -> None:
    monsters = [
        BODIES[name]
        for name in ("a huge id", "33 KB", "deep", "wrong types", "NaN", "NUL", "many names", "a lone surrogate")
    ]
    good = json.dumps({**viewed("survivor", "milk"), "messageId": "good"}).encode()
    for monster in monsters:
        part = b'{"type":"track",' + monster[1:]
        answer = service.call("POST", "/v1/batch", b'{"batch":[' + part + b"," + good + b"]}", service.sdk)
        # A batch over half a megabyte with invalid JSON in it cannot be split and is refused whole.
        assert answer.status in (200, 400), answer
        assert answer.status == 200 or len(part) > 512_000
    assert service.get("/v1/profiles/survivor").json["version"] == 1


def test_a_body_may_come_in_pieces_and_end_early(service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    pieces = (json.dumps({"batch": [viewed("chunks", "milk")]})[at : at + 7].encode() for at in range(0, 400, 7))
    connection.request("POST", "/v1/batch", (piece for piece in pieces if piece), service.sdk, encode_chunked=True)
    assert connection.getresponse().status == 200
    connection.close()
    broken = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    broken.putrequest("POST", "/v1/batch")
    broken.putheader("Content-Length", "1000")
    broken.endheaders(b'{"batch":[')
    broken.close()
    assert service.get("/v1/profiles/chunks").json["version"] == 1


def test_strange_headers_do_no_harm(service: Service) -> None:
    headers = {
        "Authorization": "Basic " + "A" * 5000,
        "Cookie": "everfold_page_=;;;=;" + "x" * 2000,
        "X-Request-Id": "\xe9\xff",
        "Content-Encoding": "br",
        "Origin": "null",
        "Host": "::::",
        "Sec-GPC": "maybe",
    }
    for path in ("/v1/batch", "/v1/recommend"):
        answer = service.call("POST", path, b"{}", headers)
        assert answer.status in (400, 401)
    answer = service.call("POST", "/v1/batch", b"{}", {**service.sdk, "Content-Encoding": "br"})
    assert answer.status == 400


TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
EVENT_NAMES = st.sampled_from(["Product Viewed", "Order Completed", "Product List Viewed", "Anything"])
EVENT = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["track", "identify", "page", "group", "alias"]) | JSON,
        "userId": TEXT | JSON,
        "anonymousId": TEXT | JSON,
        "event": EVENT_NAMES | JSON,
        "properties": st.fixed_dictionaries({}, optional={"product_id": JSON, "products": JSON, "price": JSON}) | JSON,
        "traits": JSON,
        "context": JSON,
        "timestamp": JSON,
        "messageId": JSON,
    },
)
FIELDS = (
    *("user_id", "anonymous_id", "n", "surface", "items", "exclude", "category", "context", "request_id", "after"),
    *("as_of", "test", "details", "candidates", "batch", "producer", "first_seq", "stamp", "limit", "q", "cursor"),
    *("hidden", "by", "anonymous", "sentAt", "writeKey", "unknown", "segment", "idle_s", "last_event_id", "export"),
    *("name", "rule", "stay", "kind", "cluster", "examples", "description", "where"),
)
VALUES = st.sampled_from(["", "0", "1", "-1", "true", "home", "milk", "1e9", "null", "[]", "{}"]) | TEXT
QUERY = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4)
BODY = (
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6).map(json.dumps)
    | st.fixed_dictionaries({"batch": st.lists(EVENT | JSON, max_size=4)}).map(json.dumps)
    | st.fixed_dictionaries({"items": st.lists(st.dictionaries(TEXT, JSON, max_size=4), max_size=3)}).map(json.dumps)
    | EVENT.map(json.dumps)
    | st.text(string.printable, max_size=60)
).map(str.encode) | st.binary(max_size=60)


def every_route(service: Service) -> list[tuple[str, str]]:
    app = build_app(service.embedded.deps(JsonLog(service.clock, service.log)))
    return sorted(
        (method, route.path) for route in app.router.routes for method in (*route.methods, "PATCH", "OPTIONS")
    )


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_no_request_to_any_route_is_answered_with_a_server_error(service: Service, data: st.DataObject) -> None:
    method, path = data.draw(st.sampled_from(every_route(service)))
    while "{" in path:
        before, _, rest = path.partition("{")
        path = before + quote(data.draw(TEXT), safe="") + rest.partition("}")[2]
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in data.draw(QUERY).items())
    body = data.draw(BODY) if method in ("POST", "PUT") else None
    headers = {**service.api, "X-Write-Key": service.embedded.keys.write_key}
    answer = service.call(method, f"{path}?{query}" if query else path, body, headers)
    if not is_sane(answer):
        raise AssertionError(f"{method} {path}?{query} {body!r} was answered {answer.status} {answer.body[:300]!r}")
    assert "request_failed" not in service.log.getvalue()
