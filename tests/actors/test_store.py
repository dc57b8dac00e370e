from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from store_world import made

from actors.store import Store
from events.errors import BadSettings, Conflict, KeyMissing, NotFound
from events.ids import Key, partition_of, user_key


def test_a_store_is_what_it_was_made_as(tmp_path: Path) -> None:
    store = made(tmp_path, 3)
    again = Store.open(tmp_path)
    assert again == store
    assert again.numbers() == [0, 1, 2]
    assert [path.name for path in sorted((tmp_path / "partitions").iterdir())] == ["p0", "p1", "p2"]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["format"], manifest["partitions"], len(manifest["store_id"])) == (1, 3, 16)


def test_a_store_is_made_once(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(Conflict, match="holds a store already"):
        made(tmp_path)


def test_nothing_is_a_store_without_a_manifest(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(NotFound, match="no store"):
        Store.open(tmp_path)
    assert made(tmp_path).manifest.partitions == 2


def test_a_missing_partition_is_an_error_and_not_made(tmp_path: Path) -> None:
    made(tmp_path)
    shutil.rmtree(tmp_path / "partitions" / "p1")
    with pytest.raises(NotFound, match=r"p1 is missing: restore it"):
        Store.open(tmp_path)
    assert not (tmp_path / "partitions" / "p1").exists()


def test_another_master_key_is_refused(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "master.key").write_bytes(bytes(32))
    with pytest.raises(KeyMissing, match="is not the key this store was made with"):
        Store.open(tmp_path)


@pytest.mark.parametrize("change", [{"format": 2}, {"partitions": "two"}, {"shards": 4}])
def test_a_manifest_of_another_format_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    made(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BadSettings):
        Store.open(tmp_path)


@pytest.mark.parametrize("partitions", [0, -1, 5000])
def test_an_impossible_number_of_partitions_is_refused(tmp_path: Path, partitions: int) -> None:
    with pytest.raises(BadSettings, match="choose 1 to"):
        made(tmp_path, partitions)


def test_keys_go_where_their_hash_says_and_pinned_ones_to_their_own(tmp_path: Path) -> None:
    store = Store.create(tmp_path, 2, 0, pinned=("u:bot", "u:tenant"))
    assert store.numbers() == [0, 1, 2, 3]
    assert [store.partition(Key(key)) for key in ("u:bot", "u:tenant")] == [2, 3]
    assert [store.partition(user_key(str(n))) for n in range(9)] == [
        partition_of(user_key(str(n)), 2) for n in range(9)
    ]
