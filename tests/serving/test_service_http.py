"""Health, numbers, documentation, the page, and who may ask for what."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from artefacts import made
from service import Service, viewed

from serving.app import build_app
from serving.asgi import App
from serving.logs import JsonLog
from serving.metrics import METRICS
from serving.openapi import openapi

OPEN = {"/healthz", "/readyz"}


def routes(service: Service) -> App:
    return build_app(service.embedded.deps(JsonLog(service.clock, service.log)))


def test_every_route_but_health_needs_a_key(service: Service) -> None:
    for route in routes(service).router.routes:
        path = route.path.replace("{write_key}", "wrong").replace("{file}", "shop.css")
        path = re.sub(r"\{\w+\}", "x", path)
        for method in route.methods:
            answer = service.call(method, path, b"{}" if method == "POST" else None, {})
            if path in OPEN or path in ("/v1/m", "/page/shop.css") or path.startswith("/pixel/"):
                assert answer.status == 200, path
            else:
                assert answer.status == 401, (method, path, answer)
                assert set(answer.json) == {"code", "message"}


def test_the_write_key_does_not_open_the_api(service: Service) -> None:
    bearer = {"Authorization": f"Bearer {service.embedded.keys.write_key}"}
    for headers in (service.sdk, bearer, {"X-Write-Key": service.embedded.keys.write_key}):
        assert service.get("/v1/profiles/u", headers).status == 401
        assert service.call("POST", "/v1/import", {}, headers).status == 401


def test_a_running_service_is_alive_and_ready(service: Service) -> None:
    assert service.get("/healthz", {}).json == {"alive": True}
    ready = service.get("/readyz", {})
    parts = dict.fromkeys(("log", "state", "followers", "replicas"), "ready")
    assert (ready.status, ready.json) == (200, {"ready": True, **parts})


def test_head_is_answered_without_a_body(service: Service) -> None:
    answer = service.call("HEAD", "/healthz", None, {})
    assert (answer.status, answer.body) == (200, b"")


def test_numbers_are_published(service: Service) -> None:
    token = service.send(viewed("n-1", "milk"))
    service.get(f"/v1/recommend?user_id=n-1&after={token}")
    answer = service.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = answer.body.decode()
    published = set(re.findall(r"^# TYPE (\S+?)(?:_quantile)? ", text, re.MULTILINE))
    rare = {"everfold_writes_refused_total", "everfold_quarantined_total", "everfold_recommender_failures_total"}
    rare |= {f"everfold_learner_{quality}" for quality in ("log_loss", "auc", "calibration", "calibration_error")}
    rare |= {"everfold_alerts_total", "everfold_webhook_deliveries_total"}
    assert published | rare == set(METRICS)
    for promised in (
        'everfold_append_seconds_quantile{quantile="0.99"}',
        'everfold_fsync_seconds_quantile{quantile="0.5"}',
        'everfold_durable_minus_applied{partition="0"} 0',
        'everfold_follower_lag_records{follower="items"}',
        "everfold_spool_backlog_bytes",
        "everfold_state_age_seconds 0",
        "everfold_replicas 1",
    ):
        assert promised in text, promised


def test_log_lines_are_json_with_the_request_and_without_secrets(service: Service) -> None:
    key = service.embedded.keys.api_key
    service.call("GET", f"/v1/profiles/secret-person?nonsense={key}", None, {**service.api, "X-Request-Id": "find-me"})
    service.call("GET", f"/v1/profiles/secret-person?writeKey={key}", None, {"Authorization": f"Bearer {key}x"})
    lines = service.log.getvalue()
    found = [json.loads(line) for line in lines.splitlines() if "find-me" in line]
    assert [(line["route"], line["status"]) for line in found] == [("/v1/profiles/{user_id}", 400)]
    for secret in (key, service.embedded.keys.write_key, "secret-person", "nonsense"):
        assert secret not in lines


def test_the_documentation_is_complete(service: Service) -> None:
    document: Any = service.get("/docs/openapi.json").json
    assert document["openapi"] == "3.1.0"
    documented = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    expected = {
        (route.path, method)
        for route in routes(service).router.routes
        for method in route.methods
        if route.doc is not None
    }
    assert documented == expected
    for path in ("/v1/recommend", "/v1/batch", "/v1/items", "/v1/profiles/{user_id}", "/v1/import", "/metrics"):
        assert path in document["paths"]
    page = service.get("/docs").body.decode()
    assert all(path in page for path, _ in documented)
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page


def test_every_documented_example_works_and_answers_as_shown(fresh: Service) -> None:
    """Against a small shop in which the examples' ids exist."""
    products = [(f"102974{n}", f"Thing {n}", "GROCERY > FLUID MILK") for n in range(8)]
    fresh.add_items(*({"item_id": i, "title": t, "category": c, "price": 2.5} for i, t, c in products))
    both = [{"product_id": item} for item, _, _ in products]
    events = [
        {"type": "track", "userId": str(890 + n), "event": "Order Completed", "properties": {"products": both}}
        for n in range(12)
    ]
    fresh.send(*events)
    fresh.settle()
    models = [made(fresh.data, number) for number in (1, 2)]
    for model in models:
        assert fresh.call("POST", f"/v1/models/{model}/promote").status == 200
    given: Any = fresh.call("POST", "/v1/recommend", {"user_id": "900"}).json
    document: Any = openapi(routes(fresh).router.routes)
    tried = 0
    operations = [(path, *one) for path, methods in document["paths"].items() for one in methods.items()]
    for path, method, operation in sorted(operations, key=lambda one: (one[1] == "delete", one[0], one[1])):
        ids = {"recommendation_id": str(given["recommendation_id"]), "model": models[1]}
        answer = send_example(fresh, path, method, operation, ids)
        assert answer.status == 200, (method, path, answer)
        shown = operation["responses"]["200"].get("content", {}).get("application/json", {}).get("example")
        if shown is not None:
            assert shape(answer.json) == shape(shown), (method, path)
            tried += 1
    assert tried >= 12


def send_example(service: Service, path: str, method: str, operation: Any, ids: dict[str, str]) -> Any:
    query = []
    for parameter in operation.get("parameters", []):
        example = parameter.get("example")
        if parameter["in"] == "path":
            value = {
                **ids,
                "write_key": service.embedded.keys.write_key,
            }.get(parameter["name"], example)
            path = path.replace("{" + parameter["name"] + "}", str(value))
        elif example is not None and parameter["name"] not in (
            "as_of",
            "writeKey",
            "category",
            "context",
            "anonymous_id",
        ):
            value = ",".join(example) if isinstance(example, list) else str(example).replace("False", "false")
            query.append(f"{parameter['name']}={value.replace(' ', '%20')}")
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
    headers = {**service.api, "X-Write-Key": service.embedded.keys.write_key}
    return service.call(method.upper(), path + ("?" + "&".join(query) if query else ""), body, headers)


def shape(value: object) -> object:
    """Names and kinds, without values; a list is its first element, a map with number names (partitions) is one."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


class TestThePage:
    def test_without_demo_mode_it_needs_the_api_key(self, service: Service) -> None:
        refused = service.get("/", {})
        assert refused.status == 401
        assert refused.headers["www-authenticate"].startswith("Basic")
        assert "set-cookie" not in refused.headers
        password = b64encode(f"me:{service.embedded.keys.api_key}".encode()).decode()
        opened = service.get("/", {"Authorization": f"Basic {password}"})
        assert opened.status == 200
        assert opened.headers["content-type"].startswith("text/html")

    def test_its_session_opens_the_api_for_its_own_origin_only(self, service: Service) -> None:
        session = cookie(service)
        own = {"Cookie": session}
        assert service.get("/v1/profiles/u", own).status == 200
        assert service.get("/v1/profiles/u", {**own, "Sec-Fetch-Site": "same-origin"}).status == 200
        assert service.get("/v1/profiles/u", {**own, "Origin": service.address}).status == 200
        for foreign in ({"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil"}):
            assert service.get("/v1/profiles/u", {**own, **foreign}).status == 401
        assert service.get("/v1/profiles/u", {"Cookie": session[:-1] + "x"}).status == 401
        assert service.get("/", own).status == 200

    def test_its_session_is_no_write_key(self, service: Service) -> None:
        assert service.call("POST", "/v1/batch", {"batch": []}, {"Cookie": cookie(service)}).status == 401

    def test_it_never_shows_the_api_key(self, service: Service) -> None:
        opened = service.get("/")
        everything = json.dumps(dict(opened.headers)) + opened.body.decode()
        assert service.embedded.keys.api_key not in everything
        assert "everfold_write_key" in everything

    def test_only_its_own_files_are_served(self, service: Service) -> None:
        assert service.get("/page/shop.js", {}).headers["content-type"].startswith("text/javascript")
        assert "default-src 'self'" in service.get("/page/shop.css", {}).headers["content-security-policy"]
        for name in ("..%2Fkeys.py", "keys.toml", "%2e%2e", "shop.js%00", ""):
            assert service.get(f"/page/{name}", {}).status == 404

    def test_in_demo_mode_this_machine_may_open_it_by_a_loopback_name(self, tmp_path: Path) -> None:
        with Service(tmp_path / "data", demo=True) as demo:
            for host in ("localhost:1", "127.0.0.1", "[::1]:8000"):
                assert demo.get("/", {"Host": host}).status == 200
            for host in ("evil.example", "127.0.0.1.evil.example", ""):
                assert demo.get("/", {"Host": host}).status == 401
            assert demo.get("/docs", {"Host": "localhost"}).status == 200
            assert demo.get("/v1/profiles/u", {"Host": "localhost"}).status == 401


def cookie(service: Service) -> str:
    values = service.cookies("/")
    return next(value for value in values if value.startswith("everfold_page_"))


@pytest.mark.parametrize("path", ["/nothing", "/v1", "/v1/profiles", "/%2e%2e/etc/passwd"])
def test_unknown_paths_are_not_found(service: Service, path: str) -> None:
    answer = service.get(path)
    assert (answer.status, set(answer.json)) == (404, {"code", "message"})
