from __future__ import annotations

import os
import secrets
import select
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from serving.processes import STAMP, is_running, kill, private_bytes, stamped, sweep

WAIT = "import sys; print('up', flush=True); sys.stdin.read()"
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {WAIT!r}], stdin=subprocess.PIPE, env={{"PATH": "/bin"}})
print(child.pid, flush=True)
sys.stdin.read()
"""
TIED = """
import os, subprocess, sys
tie = "import os, sys; from serving.processes import die_with; die_with(os.getppid()); "
code = tie + "print('tied', flush=True); sys.stdin.read()"
child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def stamp() -> Iterator[str]:
    stamp = f"test-{secrets.token_hex(8)}"
    yield stamp
    sweep(lambda: stamped(stamp))


def start(code: str, stamp: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, STAMP: stamp},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def ended(pid: int, seconds: float = 5.0) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def close(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_stamped_process_and_what_it_started_are_found_and_ended(stamp: str) -> None:
    parent, child = start(PARENT, stamp)
    assert stamped(stamp) == {parent.pid, int(child)}
    assert sweep(lambda: stamped(stamp)) == 2
    assert ended(int(child))
    assert parent.wait() == -signal.SIGKILL
    close(parent)


def test_processes_of_another_store_are_left_alone(stamp: str) -> None:
    other, _ = start(WAIT, stamp + "-other")
    assert sweep(lambda: stamped(stamp)) == 0
    assert is_running(other.pid)
    close(other)


def test_the_one_who_sweeps_is_never_swept() -> None:
    own = os.environ.get(STAMP, "")
    assert os.getpid() not in stamped(own or "no such stamp")


def test_a_tied_child_dies_with_its_parent(stamp: str) -> None:
    parent, child = start(TIED, stamp)
    kill([parent.pid])
    assert ended(int(child))
    close(parent)


def test_a_zombie_does_not_count_as_running(stamp: str) -> None:
    process, _ = start(WAIT, stamp)
    handle = os.pidfd_open(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    select.select([handle], [], [], 5)
    os.close(handle)
    assert not is_running(process.pid)
    assert stamped(stamp) == set()
    close(process)


def test_memory_of_a_process_is_counted_once(stamp: str) -> None:
    process, _ = start(WAIT, stamp)
    assert 1 << 20 < private_bytes([process.pid]) < 64 << 20
    close(process)
