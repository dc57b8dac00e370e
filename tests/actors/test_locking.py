from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_world import until

from actors.heartbeat import SILENT_S, Heartbeat, Pulse
from actors.locking import FolderLock, end_holder, end_silent_holder, holder
from events.errors import Held, NotFound

HOLDER = """
import sys, threading
from pathlib import Path
from actors.heartbeat import Heartbeat
from actors.locking import FolderLock
folder = Path(sys.argv[1])
lock = FolderLock(folder)
beat = Heartbeat(folder)
print("held", flush=True)
pause = threading.Event()
while True:
    beat.touch_all()
    pause.wait(0.02)
"""


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    yield child
    child.kill()
    child.communicate()


def test_a_second_opener_is_refused_with_the_holders_pid(tmp_path: Path, owner: subprocess.Popen[bytes]) -> None:
    with pytest.raises(Held, match=f"process {owner.pid}"):
        FolderLock(tmp_path)
    assert holder(tmp_path) == owner.pid


def test_a_second_opener_in_the_same_process_is_refused_too(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with pytest.raises(Held, match=f"process {os.getpid()}"):
        FolderLock(tmp_path)
    assert holder(tmp_path) == os.getpid()
    lock.release()
    assert holder(tmp_path) is None
    FolderLock(tmp_path).release()


def test_looking_at_a_lock_does_not_take_it(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    assert end_holder(tmp_path, 1.0) is None
    lock = FolderLock(tmp_path)
    lock.release()
    assert holder(tmp_path) is None


def test_a_lock_ends_with_its_holder(tmp_path: Path, owner: subprocess.Popen[bytes]) -> None:
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    FolderLock(tmp_path).release()


def test_a_missing_folder_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="the manifest lists it"):
        FolderLock(tmp_path / "p7")
    assert not (tmp_path / "p7").exists()


def test_a_stopped_holder_keeps_its_lock_until_it_is_ended(tmp_path: Path, owner: subprocess.Popen[bytes]) -> None:
    pulse = Pulse(tmp_path)
    os.kill(owner.pid, signal.SIGSTOP)
    until(lambda: pulse.silence_s() > 0.3, "the heart stops")
    with pytest.raises(Held):
        FolderLock(tmp_path)
    assert end_silent_holder(tmp_path, 3600.0, 30.0) is None
    assert end_silent_holder(tmp_path, 0.3, 30.0) == owner.pid
    assert owner.wait() == -signal.SIGKILL
    FolderLock(tmp_path).release()


def test_a_living_holder_is_left_alone(tmp_path: Path, owner: subprocess.Popen[bytes]) -> None:
    assert end_silent_holder(tmp_path, 30.0, 1.0) is None
    assert owner.poll() is None


def test_a_recycled_pid_is_not_killed(tmp_path: Path, owner: subprocess.Popen[bytes]) -> None:
    """The lock file names a process that started at another time than the one with that pid."""
    (tmp_path / "lock").write_text(f"{owner.pid} 12345\n")
    assert end_holder(tmp_path, 1.0) is None
    assert owner.poll() is None


def test_a_heart_beats_only_while_both_parts_move(tmp_path: Path) -> None:
    pulse = Pulse(tmp_path)
    assert pulse.silence_s() == float("inf")
    assert pulse.age_ms() == -1
    beat = Heartbeat(tmp_path)
    assert pulse.silence_s() < SILENT_S
    assert pulse.age_ms() == 0

    def only_the_loop_moves() -> bool:
        beat.touch("loop")
        return pulse.silence_s() > 0.2

    until(only_the_loop_moves, "the writer counts as silent")
    beat.touch("writer")
    assert pulse.silence_s() < 0.2
    beat.close()
