"""The catalogue over HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from service import Service, bought


def listed(service: Service, query: str) -> list[str]:
    answer = service.get(f"/v1/items?{query}")
    assert answer.status == 200, answer
    items: Any = answer.json["items"]
    return [item["item_id"] for item in items]


def test_a_write_is_obeyed_by_the_next_answer(service: Service) -> None:
    service.send(*(bought(f"w-{n}", "w-star", "w-other") for n in range(5)))
    service.settle()
    service.add_items({"item_id": "w-star", "title": "Star"}, {"item_id": "w-other", "title": "Other"})
    assert service.get("/v1/items/w-star").json["title"] == "Star"
    for change, shown in (({"hidden": True}, False), ({"hidden": False}, True), ({"stock": 0}, False)):
        answer = service.call("POST", "/v1/items", {"items": [{"item_id": "w-star", **change}]})
        assert (answer.status, answer.json["applied"]) == (200, True)
        recommended: Any = service.get("/v1/recommend?n=100").json["items"]
        assert ("w-star" in [item["item_id"] for item in recommended]) is shown


def test_fields_left_out_stay_and_null_resets(service: Service) -> None:
    service.add_items({"item_id": "f-1", "title": "Tea", "price": 2.5, "brand": "B", "attributes": ["size:m"]})
    service.add_items({"item_id": "f-1", "price": 3})
    assert service.get("/v1/items/f-1").json == {
        **{"item_id": "f-1", "title": "Tea", "category": "", "brand": "B", "item_group": "", "price": 3.0},
        **{"stock": -1, "hidden": False, "recommendable": True, "attributes": ["size:m"]},
        **{"text": "", "url": "", "image": ""},
    }
    service.add_items({"item_id": "f-1", "brand": None})
    assert service.get("/v1/items/f-1").json["brand"] == ""


def test_one_wrong_item_costs_the_others_nothing(service: Service) -> None:
    items = [{"item_id": "o-1"}, {"item_id": "o-2", "pirce": 3}, {"item_id": "o-3"}]
    answer = service.call("POST", "/v1/items", {"items": items})
    assert answer.status == 200
    assert answer.json["accepted"] == 2
    rejected: Any = answer.json["rejected"]
    assert [one["index"] for one in rejected] == [1]
    assert "price" in rejected[0]["message"]
    assert service.get("/v1/items/o-2").status == 404
    assert service.call("POST", "/v1/items", {"items": items[1:2]}).status == 400


def test_the_same_write_sent_again_is_applied_once(service: Service) -> None:
    headers = {**service.api, "Idempotency-Key": "price-of-may"}
    for price in (1, 2):
        answer = service.call("POST", "/v1/items", {"items": [{"item_id": "r-1", "price": price}]}, headers)
        assert answer.status == 200
    assert service.get("/v1/items/r-1").json["price"] == 1.0


def test_a_deleted_item_is_gone_from_listings_and_answers(service: Service) -> None:
    service.add_items({"item_id": "d/1", "title": "Doomed"}, {"item_id": "d-2", "title": "Doomed too"})
    assert listed(service, "q=doomed") == ["d/1", "d-2"]
    answer = service.call("DELETE", f"/v1/items/{quote('d/1', safe='')}")
    assert (answer.status, answer.json["applied"]) == (200, True)
    assert service.get("/v1/items/d%2F1").status == 404
    assert service.call("DELETE", "/v1/items/d%2F1").status == 404
    assert listed(service, "q=doomed") == ["d-2"]
    assert listed(service, "q=doomed&hidden=true") == ["d-2"]


def test_listings_page_through_everything_once(service: Service) -> None:
    service.add_items(*({"item_id": f"l-{n}", "category": "Listed > Here"} for n in range(25)))
    seen: list[str] = []
    query = "category=Listed&limit=10"
    while query:
        answer = service.get(f"/v1/items?{query}").json
        items: Any = answer["items"]
        seen += [item["item_id"] for item in items]
        query = f"category=Listed&limit=10&cursor={answer['cursor']}" if "cursor" in answer else ""
    assert sorted(seen) == sorted(f"l-{n}" for n in range(25))
    assert listed(service, "category=Listed%20%3E%20Here&limit=3") == seen[:3]
    assert listed(service, "category=Nowhere") == []


def test_search_pages_too(service: Service) -> None:
    service.add_items(*({"item_id": f"s-{n}", "title": "Sorbet lemon"} for n in range(7)))
    first = service.get("/v1/items?q=LEMON+sorbet&limit=5").json
    assert len(first["items"]) == 5  # type: ignore[arg-type]
    second = listed(service, f"q=LEMON+sorbet&limit=5&cursor={first['cursor']}")
    assert len(second) == 2


def test_hidden_items_are_listed_only_when_asked_for(service: Service) -> None:
    service.add_items({"item_id": "h-1", "title": "Hideaway", "hidden": True})
    assert listed(service, "q=hideaway") == []
    assert listed(service, "q=hideaway&hidden=true") == ["h-1"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/items", b"nonsense", 400),
        ("POST", "/v1/items", b'{"items": 3}', 400),
        ("POST", "/v1/items", b'{"items": [{"item_id": ""}]}', 400),
        ("POST", "/v1/items", b'{"items": [{"item_id": "' + b"x" * 300 + b'"}]}', 400),
        ("POST", "/v1/items?items=1", b'{"items": []}', 400),
        ("GET", "/v1/items?limit=0", None, 400),
        ("GET", "/v1/items?limt=5", None, 400),
        ("GET", "/v1/items/unheard", None, 404),
        ("GET", "/v1/items/%00", None, 400),
        ("PUT", "/v1/items", b"{}", 405),
    ],
)
def test_wrong_requests_are_told_what_is_wrong(
    service: Service, method: str, path: str, body: bytes | None, status: int
) -> None:
    answer = service.call(method, path, body)
    assert answer.status == status
    assert set(answer.json) == {"code", "message"}


def test_an_empty_write_changes_nothing(service: Service) -> None:
    answer = service.call("POST", "/v1/items", {"items": []})
    assert (answer.status, answer.json) == (200, {"accepted": 0, "rejected": []})
