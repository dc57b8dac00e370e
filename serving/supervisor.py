"""``everfold up``: starts a service, keeps it up, stops it. Imports no Ray, holds no state.

Under it runs one *driver* (`serving.on_ray`), which starts Ray and everything on it. The driver dies with the
supervisor, Ray dies with the driver, workers die with Ray and HAProxy with its worker, each by the kernel's hand; what
should survive that all the same carries this folder's stamp and is swept at the next start and at stop.

When the driver ends, because the GCS or the raylet died or by itself, everything is swept and started anew: what was
acknowledged is durable, so a start from nothing is the only recovery there is to get right.
"""

from __future__ import annotations

import fcntl
import os
import random
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from events.errors import Conflict, EverfoldError
from serving import ray_environment
from serving.ports import Ports, choose
from serving.probe import look
from serving.processes import adopt_orphans, offspring, reap, stamped, sweep
from serving.ray_environment import Places
from serving.run import Run

ALIVE_S = 90.0
"""A start of which no replica answers for longer is ended and made anew: something in it hangs."""
PATIENCE_S = 20.0
"""After this long the terminal is told what is not ready yet."""
STOP_S = 3.5
"""What the driver has to end by itself, in order, before everything is killed; the whole stop stays under 5 s."""
FAILED_STARTS_MAX = 4
"""Starts in a row that never came up before the supervisor gives up and says why."""
_SCRATCH = "scratch"


class StartFailed(EverfoldError):
    """The service did not come up; the message says where its log is."""

    code = "start_failed"


@dataclass(frozen=True)
class Plan:
    """What is to be run."""

    data: Path
    host: str
    port: int
    replicas: int
    demo: bool = False
    app: str = ""
    """See `serving.run.Run`."""

    @property
    def run(self) -> Path:
        return self.data / "run"

    @property
    def stamp(self) -> str:
        return stamp_of(self.data)


def stamp_of(data: Path) -> str:
    """What the processes of the service over ``data`` carry: the folder's device and inode. So a copy or a restored
    backup, which holds the same store, is another service, and a folder that was moved is still the same."""
    folder = data.stat()
    return f"{folder.st_dev:x}-{folder.st_ino:x}"


@dataclass(frozen=True)
class Up:
    """A running service."""

    plan: Plan
    ports: Ports
    seconds: float

    @property
    def address(self) -> str:
        host = "127.0.0.1" if self.plan.host in ("0.0.0.0", "::") else self.plan.host
        return f"http://{host}:{self.ports.front}"


class _Watch:
    """Follows one start until the service is ready. A service that answers but is not ready (a partition is damaged, a
    long replay) is left alone and said so: starting it again would not mend it, and what works of it works."""

    def __init__(self, plan: Plan, ports: Ports, on_ready: Callable[[Up], None], tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._ports = ports
        self._on_ready = on_ready
        self._tell = tell
        self._began = time.monotonic()
        self._told: Mapping[str, str] = {}
        self._ready = False
        self.alive = False

    @property
    def pause_s(self) -> float:
        return 60.0 if self._ready else 0.1

    def look(self, now: float) -> bool:
        """Ask once; False when nothing has answered for so long that the start is given up."""
        if self._ready:
            return True
        found = look(self._ports.front)
        self.alive |= found.alive
        seconds = now - self._began
        if found.ready:
            self._ready = True
            self._on_ready(Up(self._plan, self._ports, seconds))
        elif found.alive and seconds > PATIENCE_S and found.faults != self._told:
            self._told = found.faults
            self._tell("answering, but not ready: " + "; ".join(f"{part}: {why}" for part, why in found.faults.items()))
        elif not self.alive and seconds > ALIVE_S:
            self._tell(f"nothing answers after {ALIVE_S:.0f} s: starting again")
            return False
        return True


class Supervisor:
    """Runs a `Plan` until SIGINT or SIGTERM.

    ``on_ready`` is called after every start that came up (the first time and after each restart), ``tell`` with a line
    worth showing.
    """

    def __init__(self, plan: Plan, on_ready: Callable[[Up], None], tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._on_ready = on_ready
        self._tell = tell
        self._stopping = False
        self._wake, self._woken = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)

    def run(self) -> None:
        """Returns after a clean stop. Raises `Conflict` when another supervisor runs this folder or the port is
        taken, `StartFailed` when the service does not come up."""
        plan = self._plan
        plan.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _lock(plan.run)
        adopt_orphans()
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        try:
            self._sweep()
            ports = choose(plan.host, plan.port, random.Random(secrets.token_bytes(16)), plan.replicas)
            failed = 0
            while not self._stopping:
                failed = 0 if self._once(ports) else failed + 1
                if failed == FAILED_STARTS_MAX and not self._stopping:
                    raise StartFailed(f"the service did not come up in {failed} starts: read {plan.run}/driver.log")
        finally:
            self._sweep()
            _forget_scratch(plan.run)
            os.close(lock)

    def _once(self, ports: Ports) -> bool:
        """One life of the driver; whether its service came alive."""
        driver = self._start(ports)
        handle = os.pidfd_open(driver.pid)
        watch = _Watch(self._plan, ports, self._on_ready, self._tell)
        try:
            while not self._stopping:
                waited = select.select([handle, self._wake], [], [], watch.pause_s)[0]
                self._drain()
                if handle in waited:
                    self._tell(f"the service's driver ended ({driver.wait()}): starting it again")
                    break
                if not self._stopping and not watch.look(time.monotonic()):
                    break
            if self._stopping:
                driver.send_signal(signal.SIGTERM)
                select.select([handle], [], [], STOP_S)
        finally:
            os.close(handle)
            self._sweep()
            driver.wait()
        return watch.alive

    def _start(self, ports: Ports) -> subprocess.Popen[bytes]:
        plan = self._plan
        _forget_scratch(plan.run)
        shutil.rmtree(plan.run / "metrics", ignore_errors=True)  # every process that counted there is gone
        places = Places(plan.run, _new_scratch(plan.run))
        ray_environment.write_token(plan.run)
        ray_environment.write_shim(plan.run, plan.host, ray_environment.haproxy_binary(os.environ))
        run = Run(
            data=str(plan.data),
            scratch=str(places.scratch),
            parent=os.getpid(),
            ports=ports,
            replicas=plan.replicas,
            demo=plan.demo,
            app=plan.app,
        )
        path = run.write(plan.run)
        code = "from serving.on_ray import main; main()"  # by import, so that Ray finds the classes by name
        with _rotated(plan.run / "driver.log") as log:
            return subprocess.Popen(
                [sys.executable, "-c", code, str(path)],
                env=ray_environment.ray_environment(os.environ, plan.stamp, ports, places),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C of the terminal reaches the supervisor alone, which stops in order
            )

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._wake, 512):
                pass

    def _sweep(self) -> None:
        """End everything of this store's: what is below this process, and what an earlier run left."""
        sweep(lambda: offspring() | stamped(self._plan.stamp))
        reap()


def _lock(run: Path) -> int:
    """Held as long as this process lives. Raises `Conflict` naming the other supervisor."""
    file = os.open(run / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(file, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(file)
        raise Conflict(f"{run.parent} is already being served by process {pid}: stop it first") from None
    os.ftruncate(file, 0)
    os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
    return file


def _new_scratch(run: Path) -> Path:
    """A folder on a short path for sockets and Ray's session, reachable as ``run/ray``."""
    scratch = Path(tempfile.mkdtemp(prefix="ef-", dir="/tmp"))
    (run / _SCRATCH).write_text(str(scratch))
    (run / "ray").symlink_to(scratch / "r" / "session_latest")
    return scratch


def _forget_scratch(run: Path) -> None:
    """Remove what `_new_scratch` made. Only a folder of that form, owned by this user, is touched."""
    (run / "ray").unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        scratch = Path((run / _SCRATCH).read_text())
        if scratch.parent == Path("/tmp") and scratch.name.startswith("ef-"):
            shutil.rmtree(scratch, ignore_errors=True)
        (run / _SCRATCH).unlink()


def _rotated(path: Path) -> BinaryIO:
    """The log opened for appending, the earlier one kept aside once it has grown past 16 MB."""
    with suppress(FileNotFoundError):
        if path.stat().st_size > 16 << 20:
            path.rename(path.with_suffix(".old.log"))
    return path.open("ab")
