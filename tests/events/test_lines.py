"""What a client says of a product is used where it can be, and kept where it cannot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.lines import attributes_of, category_path, lines_at, no_enrichment, number
from events.types import Line
from events.vocabulary import MANY, ONE, Place


@pytest.mark.parametrize("value", ["", "x", "nan", "inf", "1" * 400, True, None, [], {}, 11, -1, float("nan"), 10**400])
def test_what_is_no_number_within_bounds_is_none(value: object) -> None:
    assert number(value, 0, 10) is None


@pytest.mark.parametrize("value", [3, 3.0, "3", " 3.0 ", "3e0"])
def test_numbers_may_come_as_text(value: object) -> None:
    assert number(value, 0, 10) == 3.0


@given(st.lists(st.text(alphabet="abc ", min_size=1).filter(str.strip), min_size=1, max_size=4))
def test_a_category_path_is_the_same_however_it_is_written(parts: list[str]) -> None:
    path = " > ".join(part.strip() for part in parts)
    assert category_path(parts) == category_path(">".join(parts)) == category_path(path) == path


@pytest.mark.parametrize("value", [None, 5, {}, ["a", 1], "c" * 1_000])
def test_a_category_that_is_none_is_empty(value: object) -> None:
    assert category_path(value) == ""


def test_attributes_are_taken_whole_or_not_at_all() -> None:
    assert attributes_of({"colour": "red", "vegan": True, "size": 4}) == ("colour:red", "vegan:true", "size:4")
    assert attributes_of(["a", "b"]) == ("a", "b")
    assert attributes_of(["a", []]) == attributes_of({"a": None}) == attributes_of("a") == ()


def test_a_list_of_plain_ids_is_a_list_of_products() -> None:
    properties: dict[str, object] = {"products": ["a", 7]}
    assert lines_at(properties, MANY, no_enrichment) == (Line("a"), Line("7"))
    assert properties == {}


def test_a_place_of_ones_own_is_looked_at() -> None:
    properties: dict[str, object] = {"songs": [{"isrc": "x"}, {"id": "y"}], "id": "playlist"}
    assert lines_at(properties, Place("songs", ("isrc", "id")), no_enrichment) == (Line("x"), Line("y"))
    assert properties == {"id": "playlist"}


def test_an_empty_id_is_looked_for_under_the_next_name() -> None:
    assert lines_at({"product_id": "", "sku": "s"}, ONE, no_enrichment) == (Line("s"),)
