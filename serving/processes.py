"""The processes of a run: stamped, so that each can be found and ended, and dying with their parents.

Every process started for a data folder carries ``EVERFOLD_RUN=<its stamp>`` in its environment. What an earlier run on
the same folder left behind (its supervisor was killed, a child was reparented) is found by that stamp and ended by pid.
Nothing is ever matched by name.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

STAMP = "EVERFOLD_RUN"
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PROC = Path("/proc")
_ENDED = (b"Z", b"X")


def die_with(parent: int) -> None:
    """Have the kernel kill this process the moment process ``parent``, which started it, ends.

    Survives ``exec``; is not inherited by children. Exits at once when the parent is gone already.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def adopt_orphans() -> None:
    """Make this process the parent of every descendant whose own parent ends, instead of init."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def parents() -> dict[int, int]:
    """pid -> parent's pid of every process that runs (zombies do not)."""
    found: dict[int, int] = {}
    for entry in os.listdir(_PROC):
        if entry.isdigit():
            with suppress(OSError, ValueError, IndexError):
                state, parent = _state_and_parent(int(entry))
                if state not in _ENDED:
                    found[int(entry)] = parent
    return found


def _state_and_parent(pid: int) -> tuple[bytes, int]:
    """The name before them, in parentheses, may hold anything."""
    words = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    return words[0], int(words[1])


def below(roots: Collection[int], tree: Mapping[int, int]) -> set[int]:
    """``roots`` and everything under them.

    >>> sorted(below([2], {2: 1, 3: 2, 4: 3, 5: 1}))
    [2, 3, 4]
    """
    found = set(roots)
    grown = True
    while grown:
        more = {pid for pid, parent in tree.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found


def stamped(stamp: str) -> set[int]:
    """Every process that carries ``stamp``, and what they started (a process may overwrite its environment to show a
    title). Never this process nor one it stems from."""
    tree = parents()
    return below(_carriers(tree, stamp), tree) - _above(os.getpid(), tree)


def _carriers(tree: Iterable[int], stamp: str) -> set[int]:
    wanted = f"{STAMP}={stamp}".encode()
    found: set[int] = set()
    for pid in tree:
        with suppress(OSError):
            if wanted in (_PROC / str(pid) / "environ").read_bytes().split(b"\0"):
                found.add(pid)
    return found


def _above(pid: int, tree: Mapping[int, int]) -> set[int]:
    found: set[int] = set()
    while pid and pid not in found:
        found.add(pid)
        pid = tree.get(pid, 0)
    return found


def offspring() -> set[int]:
    """Everything under this process."""
    tree = parents()
    return below([os.getpid()], tree) - {os.getpid()}


def children(names: Collection[str]) -> list[int]:
    """Children of this process that run a program or script of one of these names."""
    own = os.getpid()
    return [pid for pid, parent in parents().items() if parent == own and _runs(pid) & set(names)]


def _runs(pid: int) -> set[str]:
    """Base names of the program and of what it was given to run."""
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return set()
    return {os.path.basename(word).decode(errors="replace") for word in words[:3]}


def sweep(find: Callable[[], set[int]], seconds: float = 3.0) -> int:
    """End every process that ``find`` finds and wait until they are gone; returns how many there were.

    SIGKILL: what must be kept is durable before it is acknowledged. Looks again until a look finds none, because a
    process may be starting others while it is being ended.
    """
    ended: set[int] = set()
    deadline = time.monotonic() + seconds
    while (left := find()) and time.monotonic() < deadline:
        ended |= left
        kill(left)
    return len(ended)


def reap() -> None:
    """Take the exit statuses of children that ended and that nobody waits for."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def kill(pids: Iterable[int], wait_s: float = 1.0) -> None:
    """SIGKILL each and wait until all have ended, or ``wait_s`` have passed. Gone ones are fine."""
    handles: list[int] = []
    for pid in pids:
        with suppress(OSError):
            handles.append(os.pidfd_open(pid))
            signal.pidfd_send_signal(handles[-1], signal.SIGKILL)
    wait_ended(handles, wait_s)
    for handle in handles:
        os.close(handle)


def wait_ended(handles: Collection[int], seconds: float) -> bool:
    """Whether the processes behind these pidfds all ended within ``seconds``."""
    poll = select.poll()
    for handle in handles:
        poll.register(handle, select.POLLIN)
    left, deadline = set(handles), time.monotonic() + seconds
    while left and (rest := deadline - time.monotonic()) > 0:
        for handle, _ in poll.poll(rest * 1000):
            poll.unregister(handle)
            left.discard(handle)
    return not left


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return _state_and_parent(pid)[0] not in _ENDED
    except (OSError, IndexError, ValueError):
        return False


def private_bytes(pids: Iterable[int]) -> int:
    """The sum of the processes' proportional set sizes: a page shared by n of them counts 1/n for each, so the sum is
    what the machine really gives up."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total
