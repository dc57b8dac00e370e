"""The table of routes."""

from __future__ import annotations

import pytest

from events.errors import BadRequest, NotFound
from serving.http import Reply, Request
from serving.router import Doc, Field, MethodNotAllowed, Route, Router


async def nothing(_: Request) -> Reply:
    return Reply(b"")


LIST = Route(("GET",), "/v1/items", nothing, doc=Doc("List", "T", query=(Field("limit", "how many"),)))
ADD = Route(("POST",), "/v1/items", nothing)
SHOW = Route(("GET",), "/v1/items/{item_id}", nothing)
EVENTS = Route(("GET",), "/v1/profiles/{user_id}/events", nothing, cors=True)
ROUTER = Router((LIST, ADD, SHOW, EVENTS))


def found(method: str, path: str) -> tuple[Route, tuple[str, ...]]:
    table, named = ROUTER.at(path)
    return ROUTER.pick(table, method), named


def test_a_fixed_path_is_found_by_method() -> None:
    assert found("GET", "/v1/items") == (LIST, ())
    assert found("POST", "/v1/items") == (ADD, ())


def test_a_trailing_slash_is_ignored() -> None:
    assert found("POST", "/v1/items/")[0] is ADD


def test_a_named_part_is_decoded_after_the_path_was_split() -> None:
    assert found("GET", "/v1/items/a%2Fb%20%C3%A9") == (SHOW, ("a/b é",))
    assert found("GET", "/v1/profiles/u%3A1/events") == (EVENTS, ("u:1",))


def test_bytes_that_are_no_utf8_in_a_path_are_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="UTF-8"):
        ROUTER.at("/v1/items/%ff")


@pytest.mark.parametrize("path", ["/", "", "/v1", "/v1/items/a/b", "//v1//items", "/v1/profiles/x"])
def test_an_unknown_path_is_not_found(path: str) -> None:
    with pytest.raises(NotFound):
        ROUTER.at(path)


def test_head_is_answered_as_get() -> None:
    assert found("HEAD", "/v1/items")[0] is LIST


def test_another_method_names_those_that_are_taken() -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        found("PUT", "/v1/items")
    assert caught.value.allowed == ("GET", "POST")
    assert not caught.value.cors


def test_an_unknown_query_parameter_names_the_nearest() -> None:
    LIST.check_query({"limit": "3"})
    with pytest.raises(BadRequest, match="unknown query parameter `limt`: did you mean `limit`"):
        LIST.check_query({"limt": "3"})


def test_two_routes_for_one_method_and_path_are_a_mistake() -> None:
    with pytest.raises(AssertionError, match="two routes"):
        Router((ADD, ADD))
