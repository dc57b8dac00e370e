"""Anybody's rows become events, or an error that names file, line and field."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import BadSettings, NotFound
from events.row_reader import BadRow
from events.vocabulary import Vocabulary
from serving.field_mapping import Column, read_mapping
from serving.generic_source import GenericSource, by_time
from serving.source import SourceEvent

MAPPING = "user=who,item=what,event=did,time=at,price=cost"
CSV = 'who,what,did,at,cost\nu1,x,Product Viewed,2024-05-01T10:00:00Z,1.5\nu2,"y, z",Order Completed,1714557700,2\n'


def source(path: Path, mapping: str = MAPPING, **more: object) -> GenericSource:
    columns = read_mapping(mapping) if mapping else None
    return GenericSource(path, columns, Vocabulary(), **more)  # type: ignore[arg-type]


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_rows_become_track_calls_with_the_item_where_the_event_has_it(tmp_path: Path) -> None:
    events = list(source(written(tmp_path / "a.csv", CSV)).events(0))
    assert events == [
        {
            "type": "track",
            "event": "Product Viewed",
            "userId": "u1",
            "timestamp": 1_714_557_600_000,
            "properties": {"price": 1.5, "product_id": "x"},
        },
        {
            "type": "track",
            "event": "Order Completed",
            "userId": "u2",
            "timestamp": 1_714_557_700_000,
            "properties": {"products": [{"price": 2.0, "product_id": "y, z"}]},
        },
    ]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters_are_seen(tmp_path: Path, delimiter: str) -> None:
    text = delimiter.join(["who", "did"]) + "\n" + delimiter.join(["u", "Signed Up, twice"]) + "\n"
    event = next(source(written(tmp_path / "a.csv", text), "user=who,event=did").events(0))
    assert event["event"] == "Signed Up, twice"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "utf-16", "cp1252"])
def test_encodings_are_read_as_named(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path / "a.csv", "who,did\nJosé,Käse gekauft\n", encoding)
    event = next(source(path, "user=who,event=did", encoding=encoding).events(0))
    assert (event["userId"], event["event"]) == ("José", "Käse gekauft")


def test_a_gzipped_file_is_read_as_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    assert len(list(source(tmp_path / "a.csv.gz").events(0))) == 2
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(CSV.encode())[:-12])
    with pytest.raises(BadRow, match=r"b\.csv\.gz"):
        list(source(tmp_path / "b.csv.gz").events(0))


def test_json_lines_with_paths_and_constants(tmp_path: Path) -> None:
    rows = [{"actor": {"id": 7}, "song": "s1", "stars": 4, "ts": 1714557600.5}]
    path = written(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)) + "\n\n")
    mapping = "user=actor.id,item=song,event='Product Rated',rating=stars,time=ts"
    assert list(source(path, mapping).events(0)) == [
        {
            "type": "track",
            "event": "Product Rated",
            "userId": "7",
            "timestamp": 1_714_557_600_500,
            "properties": {"rating": 4.0, "product_id": "s1"},
        }
    ]


def test_without_a_mapping_json_lines_are_events_already(tmp_path: Path) -> None:
    event = {"type": "identify", "userId": "u", "traits": {"a": 1}}
    path = written(tmp_path / "a.jsonl", json.dumps(event | {"timestamp": "2024-05-01T10:00:00Z"}))
    assert list(source(path, "").events(1_000)) == [event | {"timestamp": 1_714_557_601_000}]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "who,what,did,at,cost\nu,x,V,2024-05-01,1\nu,x,V,yesterday,1\n",
            ["a.csv line 3", "field time", "'at'", "yesterday"],
        ),
        ("who,what,did,at,cost\nu,x,V,2024-05-01,much\n", ["a.csv line 2", "field price", "'cost'", "much"]),
        ("who,what,did,at,cost\n,x,V,2024-05-01,1\n", ["a.csv line 2", "field user"]),
        ("who,what,did,at,cost\nu,x,,2024-05-01,1\n", ["a.csv line 2", "field event"]),
        ("who,what,did,cost\nu,x,V,1\n", ["a.csv line 2", "field time", "no column 'at'"]),
        ("who,what,did,at,cost\nu,x\n", ["a.csv line 2", "2 columns", "names 5"]),
        ('who,what,did,at,cost\nu,"x\n', ["a.csv line 2"]),
        ("", ["a.csv line 1", "names of the columns"]),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_field(tmp_path: Path, text: str, says: list[str]) -> None:
    with pytest.raises(BadRow) as error:
        list(source(written(tmp_path / "a.csv", text)).events(0))
    for part in says:
        assert part in str(error.value)


@pytest.mark.parametrize("line", ["[1]", "{", '{"a": NaN}', "5"])
def test_a_line_that_is_no_json_object_is_named(tmp_path: Path, line: str) -> None:
    path = written(tmp_path / "a.jsonl", '{"type":"page","userId":"u"}\n' + line + "\n")
    with pytest.raises(BadRow, match=r"a\.jsonl line 2"):
        list(source(path, "").events(0))


def test_bytes_in_another_encoding_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "who,did\nJosé,x\n", "latin-1")
    with pytest.raises(BadRow, match="encoding"):
        list(source(path, "user=who,event=did").events(0))


def test_bad_rows_may_be_skipped_and_are_counted_afresh_by_every_reading(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "who,did\n,x\nu,y\n" + ",x\n" * 20)
    rows = source(path, "user=who,event=did", skip_bad=True)
    for _ in range(2):
        assert [event["event"] for event in rows.events(0)] == ["y"]
        assert rows.skipped == 21
        assert len(rows.complaints) == 10
        assert "line 2" in rows.complaints[0]


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="none"):
        source(tmp_path / "none.csv")


def test_the_producer_is_named_by_the_content(tmp_path: Path) -> None:
    one, same = written(tmp_path / "a.csv", CSV), written(tmp_path / "b.csv", CSV)
    other = written(tmp_path / "c.csv", CSV + "u3,x,V,2024-05-01,1\n")
    assert source(one).producer == source(same).producer != source(other).producer


def at(*times: int | None) -> list[SourceEvent]:
    return [{"timestamp": time} if time is not None else {} for time in times]


@given(st.lists(st.integers(0, 50)))
def test_within_its_patience_rows_are_sorted_and_equal_times_keep_their_order(times: list[int]) -> None:
    events: list[SourceEvent] = [{"timestamp": time, "n": n} for n, time in enumerate(times)]
    ordered = list(by_time(iter(events), 1_000))
    assert ordered == sorted(events, key=lambda event: (event["timestamp"], event["n"]))  # type: ignore[arg-type,return-value]


@given(st.lists(st.integers(0, 50)), st.integers(0, 5))
def test_beyond_its_patience_nothing_is_lost(times: list[int], held: int) -> None:
    events: list[SourceEvent] = [{"timestamp": time, "n": n} for n, time in enumerate(times)]
    assert sorted(event["n"] for event in by_time(iter(events), held)) == list(range(len(times)))  # type: ignore[type-var]


def test_a_late_row_is_passed_on_as_it_comes() -> None:
    assert list(by_time(iter(at(10, 20, 30, 5, 40)), 1)) == at(10, 20, 5, 30, 40)


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ("usr=a,event=b", "did you mean 'user'"),
        ("user=a", "event is missing"),
        ("event=b", "user or anonymous is missing"),
        ("user", "cannot read 'user'"),
        ("user=a,event=", "cannot read 'event='"),
        ("", "event is missing"),
    ],
)
def test_a_wrong_mapping_is_explained(mapping: str, says: str) -> None:
    with pytest.raises(BadSettings) as error:
        read_mapping(mapping)
    assert says in str(error.value)


def test_a_mapping_may_hold_spaces_and_quoted_values() -> None:
    assert read_mapping(' user = my id , event = "It\'s done" ') == {
        "user": Column("my id"),
        "event": Column("", "It's done"),
    }
