"""A catalogue that people rate: what somebody rated changes what is shown to that person, and to nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from service import Service, until

PEOPLE = 24
ITEMS = [f"{kind}-{number}" for kind in ("red", "blue") for number in range(8)]


def reviewed(user: str, item: str, stars: float, **more: object) -> dict[str, object]:
    properties = {"product_id": item, "rating": stars}
    return {"type": "track", "userId": user, "event": "Product Reviewed", "properties": properties, **more}


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Even people like red items and not blue ones, odd people the other way round; each rated six of either."""
    with Service(tmp_path_factory.mktemp("rated") / "data") as service:
        service.add_items(*({"item_id": item, "title": item, "category": item[:-2]} for item in ITEMS))
        for number in range(PEOPLE):
            liked = "red" if number % 2 == 0 else "blue"
            shown = [item for item in ITEMS if (int(item[-1]) + number) % 4]
            service.send(*(reviewed(f"p{number}", item, 5 if item.startswith(liked) else 1) for item in shown))
        service.settle()
        yield service


def answer(service: Service, user: str, **more: object) -> dict[str, Any]:
    told = service.call("POST", "/v1/recommend", {"user_id": user, "n": 8, **more})
    assert told.status == 200, told
    return told.json


def by_rating(told: dict[str, Any]) -> list[str]:
    """Items that the rating model speaks for."""
    return [item["item_id"] for item in told["items"] if "rating" in item["sources"]]


def test_ratings_change_the_answers_of_who_rated(rated: Service) -> None:
    rated.send(reviewed("ann", "red-0", 5), reviewed("ann", "red-1", 5), reviewed("ann", "blue-0", 1))
    assert until(lambda: bool(by_rating(answer(rated, "ann"))))
    assert until(lambda: bool(by_rating(answer(rated, "p1"))))
    assert {item[:3] for item in by_rating(answer(rated, "ann"))} == {"red"}
    assert {item[:4] for item in by_rating(answer(rated, "p1"))} == {"blue"}
    first = answer(rated, "ann")["items"][0]["item_id"]
    assert first.startswith("red")
    rated.send(*(reviewed("ann", f"blue-{number}", 5) for number in range(4)))
    rated.send(*(reviewed("ann", f"red-{number}", 1) for number in range(4)))
    assert until(lambda: any(item.startswith("blue") for item in by_rating(answer(rated, "ann"))))


def test_who_never_rated_and_who_is_nobody_are_not_guessed_at(rated: Service) -> None:
    assert until(lambda: bool(by_rating(answer(rated, "p1"))))
    rated.send({"type": "track", "userId": "eve", "event": "Product Viewed", "properties": {"product_id": "red-0"}})
    assert by_rating(answer(rated, "eve")) == []
    nobody = rated.call("POST", "/v1/recommend", {"n": 8})
    assert by_rating(nobody.json) == []


def test_without_consent_ratings_are_no_part_of_the_answer(rated: Service) -> None:
    assert until(lambda: bool(by_rating(answer(rated, "p1"))))
    denied = {"consent": {"categoryPreferences": {"personalization": False}}}
    assert by_rating(answer(rated, "p1", context=denied)) == []
    rated.send(reviewed("p3", "red-0", 2, context=denied))
    assert by_rating(answer(rated, "p3")) == []


def test_a_list_with_ratings_in_it_is_drawn_again_from_its_record_alone(rated: Service) -> None:
    assert until(lambda: bool(by_rating(answer(rated, "p5"))))
    told = answer(rated, "p5")
    explained = rated.get(f"/v1/recommendations/{told['recommendation_id']}").json
    assert explained["recomputed"]["identical"] is True
