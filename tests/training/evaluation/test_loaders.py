"""What somebody downloaded becomes a table, or a complaint that names file, line and field."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from events.errors import EverfoldError
from training.evaluation import event_files, movielens, s3rec
from training.evaluation.history_table import HistoryTable
from training.evaluation.protocols import Evaluation, evaluate

Load = Callable[[Path], HistoryTable]


def put(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def said(of: HistoryTable) -> list[tuple[str, str]]:
    return [(of.user_ids[u], of.item_ids[i]) for u, i in zip(of.user, of.item, strict=True)]


def sequences(folder: Path) -> Path:
    return put(
        folder,
        sequences_chronological__tsv="user_id\tsas_user\tmovie_ids_oldest_first\n7\t2\t30 10 20\n9\t1\t10 30\n",
        val_users_sas__txt="1\n",
        movies__dat="10::First (1990)::Drama|War\n20::Secönd, The (2001)::Comedy\n30::Third (1990)::War\n",
        users__dat="7::F::25::1::00000\n9::M::1::1::00000\n",
    )


def test_sequences_keep_their_order_and_bring_films_people_and_validation_users(tmp_path: Path) -> None:
    found = movielens.load(sequences(tmp_path))
    assert said(found) == [("7", "30"), ("7", "10"), ("7", "20"), ("9", "10"), ("9", "30")]
    assert not found.timed
    assert found.validation_users is not None
    assert found.validation_users.tolist() == [False, True]
    assert found.groups == {"gender": ["F", "M"], "age": ["25-34", "under 18"]}
    assert found.attributes is not None
    shared = (found.attributes @ found.attributes.T).toarray()
    assert shared[0, 2] == 4  # the war and the three words of the year
    assert shared[0, 1] == 0


def test_rated_rows_are_ordered_by_time_within_each_user(tmp_path: Path) -> None:
    found = movielens.load(put(tmp_path, ratings__dat="1::5::3::200\n1::6::4.5::100\n2::5::1::50\n"))
    assert said(found) == [("1", "6"), ("1", "5"), ("2", "5")]
    assert found.at.tolist() == [100_000, 200_000, 50_000]
    assert found.rating is not None
    assert found.rating.tolist() == [4.5, 3.0, 1.0]


def test_the_hundred_thousand_and_the_atomic_files_are_the_same_ratings(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    plain = put(tmp_path / "a", u__data="1\t5\t3\t200\n2\t5\t1\t50\n", u__user="1|24|M|artist|0\n2|53|F|other|0\n")
    atomic = put(
        tmp_path / "b",
        mine__inter="user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t5\t3\t200\n2\t5\t1\t50\n",
        mine__user="user_id:token\tage:token\tgender:token\n1\t24\tM\n2\t53\tF\n",
    )
    one, other = movielens.load(plain), movielens.load(atomic)
    assert said(one) == said(other)
    assert one.groups == other.groups == {"gender": ["M", "F"], "age": ["20-29", "50-59"]}


def s3rec_folder(folder: Path) -> Path:
    return put(folder, Shoes__txt="1 4 5 6\n2 6 4\n", Shoes_item2attributes__json=json.dumps({"4": [1, 2], "6": [2]}))


def test_a_folder_of_s3rec_may_have_any_name(tmp_path: Path) -> None:
    found = s3rec.load(s3rec_folder(tmp_path))
    assert said(found) == [("1", "4"), ("1", "5"), ("1", "6"), ("2", "6"), ("2", "4")]
    assert found.attributes is not None
    assert found.attributes.toarray().tolist() == [[1, 1], [0, 0], [0, 1]]


def test_retail_rocket_is_known_by_its_columns_and_sorted(tmp_path: Path) -> None:
    rows = "timestamp,visitorid,event,itemid,transactionid\n1433221332117,25,view,355,\n1433221000000,25,view,99,\n"
    found = event_files.load(put(tmp_path, events__csv=rows))
    assert said(found) == [("25", "99"), ("25", "355")]
    assert len(set(found.session.tolist())) == 1


def test_rees46_brings_its_own_sessions(tmp_path: Path) -> None:
    rows = (
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
        "2019-10-01 00:00:00 UTC,view,44,1,,x,3.5,5,aa\n2019-10-01 00:00:04 UTC,view,39,1,,x,3.5,5,bb\n"
    )
    found = event_files.load(put(tmp_path, october__csv=rows))
    assert found.at.tolist() == [1569888000000, 1569888004000]
    assert len(set(found.session.tolist())) == 2


def test_sessions_end_with_a_pause_of_half_an_hour(tmp_path: Path) -> None:
    rows = [{"user": "a", "item": n, "time": 1_600_000_000 + 60 * minute} for n, minute in enumerate((0, 29, 60, 61))]
    (tmp_path / "mine.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    found = event_files.load(tmp_path)
    assert np.unique(found.session, return_inverse=True)[1].tolist() == [0, 0, 1, 1]


def test_rows_without_time_keep_the_order_of_the_file(tmp_path: Path) -> None:
    found = event_files.load(put(tmp_path, mine__csv="item;user\nz;b\na;b\nq;a\n"))
    assert said(found) == [("a", "q"), ("b", "z"), ("b", "a")]
    assert not found.timed


HEAD = "user_id\tsas_user\tmovie_ids_oldest_first\n"
BAD: list[tuple[Load, dict[str, str], str]] = [
    (movielens.load, {}, "none of sequences_chronological.tsv"),
    (movielens.load, {"sequences_chronological__tsv": ""}, "sequences_chronological.tsv is empty"),
    (movielens.load, {"sequences_chronological__tsv": HEAD}, "sequences_chronological.tsv is empty"),
    (movielens.load, {"sequences_chronological__tsv": "a\tb\n1\t2\n"}, "line 1: column user_id is missing"),
    (movielens.load, {"sequences_chronological__tsv": HEAD + "1\t1\t5 x 6\n"}, "line 2: movie_ids_oldest_first is 'x'"),
    (movielens.load, {"sequences_chronological__tsv": HEAD + "\t1\t5 6\n"}, "line 2: user_id is missing"),
    (movielens.load, {"sequences_chronological__tsv": HEAD + "1\t1\t5\n1\t2\t6\n"}, "line 3: user_id 1 .* second time"),
    (
        movielens.load,
        {"sequences_chronological__tsv": HEAD + "1\t1\t5\n", "val_users_sas__txt": "8\n"},
        "val_users_sas.txt line 1: sas_user 8 is not in",
    ),
    (
        movielens.load,
        {"sequences_chronological__tsv": HEAD + "1\t1\t5\n", "movies__dat": "5::No year::War\n"},
        "movies.dat line 1: title has no year",
    ),
    (movielens.load, {"ratings__dat": "1::2::3\n"}, "ratings.dat line 1: 3 cells where user, item, rating, timestamp"),
    (movielens.load, {"ratings__dat": "1::2::good::7\n"}, "ratings.dat line 1: rating is 'good'"),
    (movielens.load, {"u__data": "1\t\t3\t7\n"}, "u.data line 1: item is missing"),
    (movielens.load, {"x__inter": "user_id:token\titem_id:token\n1\t2\n"}, "x.inter line 1: column rating is missing"),
    (s3rec.load, {"A__txt": "1 2 3\n"}, "one file .*_item2attributes.json is needed, found none"),
    (s3rec.load, {"A_item2attributes__json": "{}"}, "A.txt is missing"),
    (s3rec.load, {"A_item2attributes__json": "{}", "A__txt": ""}, "A.txt is empty"),
    (s3rec.load, {"A_item2attributes__json": "[]", "A__txt": "1 2 3\n"}, "not an object of item"),
    (s3rec.load, {"A_item2attributes__json": "{}", "A__txt": "1 2 3\n\n4\n"}, "A.txt line 3: items are missing"),
    (s3rec.load, {"A_item2attributes__json": "{}", "A__txt": "1 2 c\n"}, "A.txt line 1: item is 'c'"),
    (event_files.load, {}, "one file of .csv"),
    (event_files.load, {"a__csv": ""}, "a.csv line 1: the names of the columns are missing"),
    (event_files.load, {"a__csv": "user,item\n"}, "a.csv is empty"),
    (event_files.load, {"a__csv": "person,item\n1,2\n"}, "a.csv line 2: column user is missing"),
    (event_files.load, {"a__csv": "user,item\n1,\n"}, "a.csv line 2: item is missing"),
    (event_files.load, {"a__csv": "user,item,time\n1,2,soon\n"}, "a.csv line 2: time: 'soon'"),
    (event_files.load, {"a__csv": "user,item,time\n1,2,50\n1,3,40\n"}, "a.csv line 3: time runs backwards for user 1"),
    (event_files.load, {"a__csv": "visitorid,itemid\n1,2\n"}, "a.csv line 2: column timestamp is missing"),
    (
        event_files.load,
        {"a__csv": "user_id,product_id,when\n1,2,3\n"},
        "column event_time is missing, which files with user_id and product_id have, found user_id, product_id, when",
    ),
    (event_files.load, {"a__csv": "user,item,timestamp\n1,2,3\n"}, "column timestamp would not be read as the time"),
    (event_files.load, {"a__jsonl": '{"user": 1, "item": "x"}\n{"user": 1}\n'}, "a.jsonl line 2: item is missing"),
    (event_files.load, {"a__jsonl": "[1]\n"}, "a.jsonl line 1: not a JSON object"),
]


@pytest.mark.parametrize(("load", "files", "message"), BAD, ids=lambda case: case if isinstance(case, str) else None)
def test_bad_input_is_named_by_file_line_and_field(
    tmp_path: Path, load: Load, files: dict[str, str], message: str
) -> None:
    with pytest.raises(EverfoldError, match=message):
        load(put(tmp_path, **files))


@pytest.mark.parametrize("load", [movielens.load, s3rec.load, event_files.load])
def test_a_folder_that_is_not_there_is_said_to_be_missing(tmp_path: Path, load: Load) -> None:
    with pytest.raises(EverfoldError, match=r"nowhere is no (file|folder)"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("load", "name", "rest"),
    [
        (movielens.load, "sequences_chronological.tsv", {}),
        (movielens.load, "ratings.dat", {}),
        (s3rec.load, "A.txt", {"A_item2attributes__json": "{}"}),
        (event_files.load, "a.csv", {}),
    ],
)
def test_another_encoding_is_an_error_and_not_a_traceback(
    tmp_path: Path, load: Load, name: str, rest: dict[str, str]
) -> None:
    put(tmp_path, **rest)
    (tmp_path / name).write_bytes("user,item\n1,ä\n".encode("utf-16"))
    with pytest.raises(EverfoldError, match=f"{name}.*(not utf-8|missing|expected)"):
        load(tmp_path)


def test_the_line_that_is_in_another_encoding_is_named_though_text_is_decoded_ahead(tmp_path: Path) -> None:
    rows = [b"user,item", *(b"%d,tea" % number for number in range(50)), "51,café".encode("latin-1")]
    (tmp_path / "a.csv").write_bytes(b"\n".join(rows))
    with pytest.raises(EverfoldError, match=r"a\.csv line 52: not utf-8 \("):
        event_files.load(tmp_path)


@pytest.mark.parametrize("rows", [2, 3])
def test_a_file_too_short_to_be_split_is_refused(tmp_path: Path, rows: int) -> None:
    lines = [f"ann,tea{number},{1_700_000_000 + number}" for number in range(rows)]
    put(tmp_path, a__csv="\n".join(["user,item,time", *lines]))
    with pytest.raises(EverfoldError, match=rf"of its {rows} rows, split timeline leaves none as"):
        evaluate("csv", Evaluation(tmp_path))
