"""A broken batch is cut into its events without trusting any of them."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from events.splitting import elements, members

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=150)
@given(st.lists(json_values, max_size=8), st.sampled_from([None, 1]))
def test_the_elements_of_a_valid_array_are_those_of_a_parser(values: list[object], indent: int | None) -> None:
    found = elements(json.dumps(values, indent=indent).encode())
    assert found is not None
    assert [json.loads(part) for part in found] == values


@settings(max_examples=150)
@given(st.dictionaries(st.text(alphabet="abc", min_size=1), json_values, max_size=8))
def test_the_members_of_a_valid_object_are_those_of_a_parser(value: dict[str, object]) -> None:
    found = members(json.dumps(value).encode())
    assert found is not None
    assert {name: json.loads(part) for name, part in found.items()} == value


@settings(max_examples=300)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\ a1').map(str.encode))
def test_any_bytes_are_split_or_refused_without_an_exception(text: bytes) -> None:
    assert members(text) is None or text.strip()[:1] == b"{"
    assert elements(text) is None or text.strip()[:1] == b"["


def test_a_string_without_an_end_takes_linear_time() -> None:
    for text in (b'["' + b'\\"' * 200_000 + b"]", b"[" + b'"' * 400_001 + b"]", b"[" * 500_000 + b"]"):
        assert elements(text) is not None
