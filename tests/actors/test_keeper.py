from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actors.heartbeat import Heartbeat, Pulse
from actors.keeper import MISSING_S, Keeper, Watched
from actors.locking import holder

OWNER = """
import sys, threading
from pathlib import Path
from actors.heartbeat import Heartbeat
from actors.locking import FolderLock
folder = Path(sys.argv[1])
lock, beat, stop = FolderLock(folder), Heartbeat(folder), threading.Event()
print("owned", flush=True)
while not stop.wait(0.02):
    beat.touch_all()
"""


@contextmanager
def owner(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "owned\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def watched(folder: Path, again: list[str]) -> Keeper:
    return Keeper([Watched("h0", [folder], lambda: again.append("again"), silent_s=0.3)])


def wait_until_silent(folder: Path, seconds: float) -> None:
    pulse, tick, deadline = Pulse(folder), threading.Event(), time.monotonic() + 10
    while pulse.silence_s() < seconds:
        assert time.monotonic() < deadline
        tick.wait(0.01)
    pulse.close()


def test_a_live_owner_is_left_alone(tmp_path: Path) -> None:
    again: list[str] = []
    with owner(tmp_path) as process:
        assert watched(tmp_path, again).check(0.0) == []
        assert holder(tmp_path) == process.pid
    assert again == []


def test_a_stopped_owner_is_killed_and_its_folder_is_free(tmp_path: Path) -> None:
    again: list[str] = []
    with owner(tmp_path) as process:
        os.kill(process.pid, signal.SIGSTOP)
        wait_until_silent(tmp_path, 0.35)
        (said,) = watched(tmp_path, again).check(0.0)
        assert str(process.pid) in said
        assert process.wait() == -signal.SIGKILL
    assert holder(tmp_path) is None
    assert again == ["again"]


def test_a_dead_owner_is_left_to_its_own_restart_for_a_while(tmp_path: Path) -> None:
    again: list[str] = []
    Heartbeat(tmp_path).close()
    keeper = watched(tmp_path, again)
    assert keeper.check(0.0) == []
    assert keeper.check(MISSING_S - 1) == []
    assert again == []
    assert len(keeper.check(MISSING_S)) == 1
    assert again == ["again"]
