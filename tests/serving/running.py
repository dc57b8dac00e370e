"""A service as people run it: ``everfold up`` in a process of its own, with everything it starts; and load upon it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from serving.keys import Keys
from serving.probe import is_ready
from serving.processes import kill, stamped, sweep
from serving.supervisor import stamp_of

COMMAND = (sys.executable, "-m", "serving.cli")
READY_S = 120.0
STOP_S = 30.0


def until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition, looking every few milliseconds."""
    tick, deadline = threading.Event(), time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        tick.wait(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value


@dataclass
class Running:
    """Started and stopped by ``with``; may be killed and started again in between."""

    data: Path
    port: int = field(default_factory=free_port)

    def __enter__(self) -> Running:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None:
            log = self.data / "run" / "driver.log"
            print(log.read_text()[-8000:] if log.exists() else "no driver.log")
        try:
            if self.process.poll() is None:
                self.stop()
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close() if self.process.stdout else None
            sweep(lambda: stamped(self.stamp))

    def start(self) -> None:
        """Returns once it is ready."""
        self.launch()
        until(lambda: self.process.poll() is not None or is_ready(self.port), READY_S, "the service is ready")
        assert self.process.poll() is None, f"`up` ended with {self.process.returncode}:\n{self.output()}"
        self.keys = Keys.open(self.data, create=False)

    def launch(self) -> None:
        self._said = self.data.parent / f"{self.data.name}.out"
        with self._said.open("ab") as out:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "serving.cli",
                    "up",
                    "--no-demo",
                    "--data",
                    str(self.data),
                    "--port",
                    str(self.port),
                ],
                stdout=out,
                stderr=out,
            )

    def output(self) -> str:
        """What `up` wrote to the terminal so far."""
        return self._said.read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Seconds until it had ended by itself."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(STOP_S)
        return time.monotonic() - began

    @property
    def stamp(self) -> str:
        return stamp_of(self.data)

    def pids(self, title: str) -> list[int]:
        """This service's processes with these words in their command line."""
        return [pid for pid in sorted(stamped(self.stamp)) if title in _title(pid)]

    def signal(self, title: str, number: signal.Signals) -> int:
        """Signal the one process, or the first, of that title."""
        pid = self.pids(title)[0]
        os.kill(pid, number)
        return pid

    def kill_everything(self) -> None:
        """SIGKILL to all of it, the supervisor first."""
        below = stamped(self.stamp)
        self.process.kill()
        kill(below)
        self.process.wait()

    def call(self, method: str, path: str, body: object = None, timeout: float = 10.0) -> Answer:
        """One request with the API key over a connection of its own."""
        return request(self.port, method, path, body, {"Authorization": f"Bearer {self.keys.api_key}"}, timeout)

    def send(self, events: list[dict[str, object]], timeout: float = 10.0) -> Answer:
        """A batch as an SDK sends it."""
        user = base64.b64encode(f"{self.keys.write_key}:".encode()).decode()
        headers = {"Authorization": f"Basic {user}", "Content-Type": "application/json"}
        return request(self.port, "POST", "/v1/batch", {"batch": events}, headers, timeout)

    def verified(self) -> str:
        """What ``everfold verify`` says; fails unless state and log agree."""
        command = [*COMMAND, "verify", "--data", str(self.data)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def request(
    port: int, method: str, path: str, body: object, headers: Mapping[str, str], timeout: float = 10.0
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), dict(headers))
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def ended(pid: int, seconds: float = 10.0) -> bool:
    """Whether the process ended within that time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


class Load:
    """Somebody's SDK: batches for a few users, each sent again with the same ids until it is acknowledged."""

    USERS = 6
    EVENTS = 10

    def __init__(self, service: Running, name: str) -> None:
        self._service = service
        self._name = name
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.acknowledged: dict[str, list[str]] = {}
        self.statuses: Counter[int | str] = Counter()
        self.batches = 0

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(90)
        assert not self._thread.is_alive()

    def goes_on(self, seconds: float, batches: int = 5) -> None:
        """Wait until that many further batches were acknowledged."""
        wanted = self.batches + batches
        until(lambda: self.batches >= wanted, seconds, f"writes are taken again ({dict(self.statuses)})")

    def check(self) -> None:
        """Everything acknowledged is in the log and in the profiles, once; nobody was ever told to give up."""
        refused = [status for status in self.statuses if isinstance(status, int) and 400 <= status < 500]
        assert not refused, f"clients were answered {dict(self.statuses)}"
        for user, sent in self.acknowledged.items():
            told = self._service.call("GET", f"/v1/profiles/{user}/events?limit=1000", timeout=30).json["events"]
            assert isinstance(told, list)
            kept = Counter(str(event["event_id"]) for event in told)
            assert not [one for one in sent if one not in kept], f"{user}: acknowledged and lost"
            assert max(kept.values()) == 1, f"{user}: folded twice"
            profile = self._service.call("GET", f"/v1/profiles/{user}").json
            assert profile["version"] == len(kept)

    def _run(self) -> None:
        number = 0
        while not self._stopping.is_set():
            user = f"{self._name}-{number % self.USERS}"
            if len(self.acknowledged.get(user, ())) >= 900:
                self._stopping.wait(0.05)
                number += 1
                continue
            events = [_viewed(user, f"{self._name}-{number}-{n}") for n in range(self.EVENTS)]
            if not self._acknowledged(events):
                return
            self.acknowledged.setdefault(user, []).extend(str(event["messageId"]) for event in events)
            self.batches += 1
            number += 1
            self._stopping.wait(0.03)

    def _acknowledged(self, events: list[dict[str, object]]) -> bool:
        """Send until it is taken; False when the load was stopped first."""
        while True:
            try:
                answer = self._service.send(events, timeout=8)
                self.statuses[answer.status] += 1
                if answer.status == 200:
                    return True
            except (OSError, http.client.HTTPException) as error:
                self.statuses[type(error).__name__] += 1
            if self._stopping.wait(0.1):
                return False


def _viewed(user: str, message: str) -> dict[str, object]:
    properties = {"product_id": f"item-{hash_of(message) % 50}", "category": "A > B"}
    return {"type": "track", "userId": user, "messageId": message, "event": "Product Viewed", "properties": properties}


def hash_of(text: str) -> int:
    return sum(map(ord, text))
