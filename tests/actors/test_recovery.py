"""Opening a real folder again: what is trusted, what is rebuilt, and from where."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from partition_world import picky, view
from store_world import made, opening

from actors.fold import FOLD_VERSION, fold
from actors.lmdb_state import LmdbReader
from actors.partition import Outcome
from actors.reader import LocalProfiles
from actors.recovery import OwnedPartition
from actors.refold import BEAT_EVERY
from actors.store import Store
from actors.verify import verify
from events.errors import PartitionStopped
from events.ids import PartitionId, user_key

P0 = PartitionId(0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return made(tmp_path / "store", 1)


def owned(store: Store, **more: object) -> OwnedPartition:
    return OwnedPartition(store.folder(P0), P0, opening(store, **more))


def version(store: Store, user: str) -> int:
    profile = LocalProfiles(store).read(user_key(user)).profile
    return 0 if profile is None else profile.version


def live(store: Store, number: int = 10) -> None:
    """A clean life in which everybody of ten did ``number`` things."""
    partition = owned(store)
    end = partition.partition.end
    partition.partition.append([view(f"user-{n % 10}", end + n) for n in range(number * 10)])
    partition.close()


def machine_crashed(store: Store) -> None:
    """The state's marker is of an earlier boot, as after a power loss without a clean close."""
    marker = store.folder(P0) / "state" / "marker"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "boot": "before", "clean": False}))


def refolds(store: Store) -> tuple[OwnedPartition, Callable[[], int]]:
    """A newly opened partition, and how many records it folded again."""
    folded = 0

    def counting(*args: object) -> object:
        nonlocal folded
        folded += 1
        return fold(*args)  # type: ignore[arg-type]

    partition = owned(store, folding=counting)
    return partition, lambda: folded


def test_a_clean_close_needs_no_replay(store: Store) -> None:
    live(store)
    partition, folded = refolds(store)
    assert folded() == 0
    assert partition.partition.append([view("user-1", 1)]) == [Outcome("duplicate", 99)]
    partition.close()


def test_after_a_machine_crash_the_newest_checkpoint_and_the_tail_are_used(store: Store) -> None:
    live(store)
    partition = owned(store)
    partition.checkpoint()
    partition.close()
    live(store, 2)
    machine_crashed(store)
    partition, folded = refolds(store)
    assert folded() == 20
    assert version(store, "user-3") == 12
    partition.close()
    assert verify(store, P0, store.path / "scratch").equal


def test_without_a_checkpoint_the_whole_log_is_folded_again(store: Store) -> None:
    live(store)
    machine_crashed(store)
    partition, folded = refolds(store)
    assert folded() == 100
    partition.close()
    assert verify(store, P0, store.path / "scratch").equal


def test_a_deleted_state_costs_a_replay_and_nothing_else(store: Store) -> None:
    live(store)
    shutil.rmtree(store.folder(P0) / "state")
    live(store, 1)
    assert version(store, "user-3") == 11
    assert verify(store, P0, store.path / "scratch").equal


def test_a_state_ahead_of_its_log_is_not_used(store: Store) -> None:
    live(store)
    shutil.copytree(store.folder(P0), store.path / "older")
    live(store)
    for name in ("log", "watermark"):
        target = store.folder(P0) / name
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        source = store.path / "older" / name
        shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)
    owned(store).close()
    assert version(store, "user-3") == 10


def test_another_fold_version_is_built_beside_the_old_state_and_swapped_in(store: Store) -> None:
    live(store)
    old = LmdbReader(store.folder(P0) / "state")
    seen: list[bool] = []

    def observing(*args: object) -> object:
        seen.append(old.offsets() == {"log": 100})
        return fold(*args)  # type: ignore[arg-type]

    partition = owned(store, folding=observing, fold_version=FOLD_VERSION + 1)
    assert len(seen) == 100
    assert all(seen), "readers have the old state while the new one is built"
    partition.close()
    assert version(store, "user-3") == 10
    partition, folded = refolds(store)
    assert folded() == 100, "and back"
    partition.close()


def test_a_newer_fold_that_cannot_take_a_record_leaves_the_old_state_to_read(store: Store) -> None:
    live(store)
    partition = owned(store, folding=picky, fold_version=FOLD_VERSION + 1)
    with pytest.raises(PartitionStopped, match=r"LSN 13 .* does not fold"):
        partition.partition.append([view("user-3", 500)])
    assert version(store, "user-3") == 10
    partition.close()
    live(store, 1)
    assert version(store, "user-3") == 11


def test_leftovers_of_a_death_while_building_are_cleared_away(store: Store) -> None:
    live(store)
    folder = store.folder(P0)
    (folder / "state").rename(folder / "state.replaced")
    (folder / "state.building").mkdir()
    live(store, 1)
    assert version(store, "user-3") == 11
    assert not any((folder / name).exists() for name in ("state.replaced", "state.building"))


def test_the_heart_beats_all_through_a_long_replay(store: Store) -> None:
    """A chunk of large profiles took over five seconds on a busy machine: its owner was killed, and began again."""
    live(store, 200)
    beat = store.folder(P0) / "beat"
    seen = set()

    def watching(*args: object) -> object:
        seen.add(beat.read_bytes())
        return fold(*args)  # type: ignore[arg-type]

    owned(store, folding=watching, fold_version=FOLD_VERSION + 1).close()
    assert len(seen) >= 2000 // BEAT_EVERY
