"""Payloads written by any earlier Everfold can be read for ever.

``tests/golden/payloads_v1.jsonl`` holds one record per line: type, version, the bytes as they were written (hex), and
what they say in the fields of today's types. Bytes are never changed, lines only added.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from events.errors import UnknownEventType
from events.payload import decode, encode, type_of
from events.types import EVENTS, NAME_OF, UPCASTS, Meta

GOLDEN = [json.loads(line) for path in sorted(Path("tests/golden").glob("payloads_v*.jsonl")) for line in path.open()]

KNOWN = {
    ("interaction", 1),
    ("impression", 1),
    ("visited", 1),
    ("identified", 1),
    ("grouped", 1),
    ("aliased", 1),
    ("consented", 1),
    ("exposed", 1),
    ("tracked", 1),
    ("item_upserted", 1),
    ("item_deleted", 1),
    ("subject_erased", 1),
    ("import_started", 1),
    ("import_completed", 1),
    ("segment_changed", 1),
    ("model_promoted", 1),
    ("drift_detected", 1),
    ("segment_defined", 1),
    ("segment_dropped", 1),
    ("content_alerted", 1),
}
"""Every (type, version) ever written; one that is no longer the newest has an upcast."""


def test_the_table_of_types_is_the_written_list() -> None:
    assert set(EVENTS) | set(UPCASTS) == KNOWN
    assert len(NAME_OF) == len(EVENTS)


def test_every_type_and_version_has_a_golden_record() -> None:
    assert {(record["type"], record["version"]) for record in GOLDEN} == KNOWN


@pytest.mark.parametrize("record", GOLDEN, ids=lambda record: f"{record['type']}-{record['version']}-{record['note']}")
def test_an_old_payload_says_what_it_always_said(record: dict[str, Any]) -> None:
    payload = decode(record["type"], record["version"], bytes.fromhex(record["bytes"]))
    name, version = type_of(payload.event)
    assert name == record["type"]
    assert payload.meta == msgspec.convert(record["says"]["meta"], Meta)
    assert payload.event == msgspec.convert(record["says"]["event"], EVENTS[name, version])


@pytest.mark.parametrize("record", GOLDEN, ids=lambda record: f"{record['type']}-{record['note']}")
def test_written_anew_it_still_says_the_same(record: dict[str, Any]) -> None:
    payload = decode(record["type"], record["version"], bytes.fromhex(record["bytes"]))
    name, version = type_of(payload.event)
    assert decode(name, version, encode(payload.meta, payload.event)) == payload


@pytest.mark.parametrize(("name", "version"), [("interaction", 2), ("interaction", 0), ("danced", 1)])
def test_a_type_from_the_future_stops_with_its_name(name: str, version: int) -> None:
    with pytest.raises((UnknownEventType, KeyError), match=name):
        decode(name, version, bytes.fromhex(GOLDEN[0]["bytes"]))
