from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from state_contract import StateContract

from actors.checkpoints import Checkpoints
from actors.lmdb_state import LmdbReader, LmdbState, trusted
from events.errors import DiskFull, Unavailable


class TestLmdbState(StateContract):
    @pytest.fixture
    def state(self, tmp_path: Path) -> Iterator[LmdbState]:
        state = LmdbState(tmp_path / "state")
        yield state
        state.close()


def test_what_was_committed_is_there_after_a_clean_close(tmp_path: Path) -> None:
    state = LmdbState(tmp_path / "state")
    state.commit([("a", b"k", b"1")], {"log": 3})
    state.close()
    assert trusted(tmp_path / "state")
    again = LmdbState(tmp_path / "state")
    assert (again.get("a", b"k"), again.offsets()) == (b"1", {"log": 3})
    again.close()


def test_a_state_left_open_is_trusted_on_this_boot_only(tmp_path: Path) -> None:
    state = LmdbState(tmp_path / "state")
    state.commit([("a", b"k", b"1")])
    state.abandon()
    assert trusted(tmp_path / "state")
    marker = tmp_path / "state" / "marker"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "boot": "another"}))
    assert not trusted(tmp_path / "state")


def test_a_copy_of_an_open_state_is_not_trusted(tmp_path: Path) -> None:
    state = LmdbState(tmp_path / "state")
    state.commit([("a", b"k", b"1")])
    (tmp_path / "copy").mkdir()
    for name in ("data.mdb", "marker"):
        (tmp_path / "copy" / name).write_bytes((tmp_path / "state" / name).read_bytes())
    assert not trusted(tmp_path / "copy")
    state.close()


def test_a_state_without_a_marker_is_not_trusted(tmp_path: Path) -> None:
    state = LmdbState(tmp_path / "state")
    state.close()
    (tmp_path / "state" / "marker").unlink()
    assert not trusted(tmp_path / "state")
    assert not trusted(tmp_path / "nothing")


def test_a_reader_sees_every_commit_and_creates_nothing(tmp_path: Path) -> None:
    reader = LmdbReader(tmp_path / "state")
    with pytest.raises(Unavailable, match="there is no state"):
        reader.get("a", b"k")
    assert not (tmp_path / "state").exists()
    state = LmdbState(tmp_path / "state")
    assert reader.get("a", b"k") is None
    state.commit([("a", b"k", b"1")], {"log": 1})
    assert reader.look("a", [b"k", b"l"]) == ([b"1", None], {"log": 1})
    state.close()
    assert reader.get("a", b"k") == b"1"


def test_a_reader_refuses_a_state_from_before_a_machine_crash(tmp_path: Path) -> None:
    state = LmdbState(tmp_path / "state")
    state.commit([("a", b"k", b"1")])
    state.abandon()
    marker = tmp_path / "state" / "marker"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "boot": "another"}))
    with pytest.raises(Unavailable, match="machine crash"):
        LmdbReader(tmp_path / "state").get("a", b"k")


def test_a_reader_moves_to_a_state_that_was_swapped_in(tmp_path: Path) -> None:
    for name, value in (("state", b"old"), ("fresh", b"new")):
        state = LmdbState(tmp_path / name)
        state.commit([("a", b"k", value)])
        state.close()
    reader = LmdbReader(tmp_path / "state")
    assert reader.get("a", b"k") == b"old"
    (tmp_path / "state").rename(tmp_path / "replaced")
    assert reader.get("a", b"k") == b"old"
    (tmp_path / "fresh").rename(tmp_path / "state")
    deadline = threading.Event()
    assert any(reader.get("a", b"k") == b"new" or deadline.wait(0.02) for _ in range(500))


def test_the_newest_two_checkpoints_are_kept_and_the_newest_is_restored(tmp_path: Path) -> None:
    state = LmdbState(tmp_path / "state")
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.newest() is None
    assert not checkpoints.restore(tmp_path / "none", lambda: None)
    for number in range(4):
        state.commit([("a", b"k", bytes([number]))], {"log": number})
        checkpoints.take(state)
    state.close()
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["00000003", "00000004"]
    assert checkpoints.restore(tmp_path / "restored", lambda: None)
    restored = LmdbState(tmp_path / "restored")
    assert (restored.get("a", b"k"), restored.offsets()) == (b"\x03", {"log": 3})
    restored.close()


def test_usage_names_readers_and_bytes_and_dead_readers_are_freed(tmp_path: Path) -> None:
    state = LmdbState(tmp_path / "state")
    state.commit([("a", b"k", bytes(9000))])
    script = (
        "import sys, os, lmdb\n"
        "env = lmdb.open(sys.argv[1], readonly=True, max_dbs=4)\n"
        "txn = env.begin()\n"
        "print('reading', flush=True)\n"
        "sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "state")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"reading\n"
    for _ in range(3):
        state.commit([("a", b"k", bytes(9000))])
    assert state.usage()["oldest_reader"] >= 3
    assert state.usage()["bytes"] > 9000
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert state.check_readers() == 1
    assert state.usage()["oldest_reader"] == 0
    child.communicate()
    state.close()


TOGETHER = """
import sys, threading
from pathlib import Path
from actors.lmdb_state import LmdbReader, LmdbState

folder = Path(sys.argv[1])
state = LmdbState(folder)
over = threading.Event()

def read() -> None:
    reader = LmdbReader(folder)
    while not over.is_set():
        reader.get("never made", b"k")

readers = [threading.Thread(target=read) for _ in range(2)]
for thread in readers:
    thread.start()
for _ in range(100):
    state.commit([("a", b"%d" % number, bytes(100)) for number in range(500)])
over.set()
for thread in readers:
    thread.join()
print("done")
"""


def test_reader_and_writer_threads_of_one_process_do_not_stop_each_other(tmp_path: Path) -> None:
    """In a process of its own: what they could stop for good is the whole interpreter."""
    command = [sys.executable, "-c", TOGETHER, str(tmp_path / "state")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "done\n"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this process may not mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_last_commit_and_is_said_to_be_full(tiny_disk: Path) -> None:
    state = LmdbState(tiny_disk / "state")
    written = 0

    def write_on() -> None:
        nonlocal written
        while True:
            state.commit([("a", b"%d" % written, bytes(100_000))], {"log": written + 1})
            written += 1

    with pytest.raises(DiskFull, match="free disk space"):
        write_on()
    for _ in range(2):
        assert state.offsets() == {"log": written}
        with pytest.raises(DiskFull):
            state.commit([("a", b"more", bytes(2_000_000))], {"log": 1000})
    subprocess.run(["mount", "-o", "remount,size=16m", str(tiny_disk)], check=True)
    state.commit([("a", b"more", b"")], {"log": 1000})
    assert len(list(state.scan("a"))) == written + 1
    state.close()
    assert trusted(tiny_disk / "state")
