"""A real service for a benchmark: ``everfold up`` in a process of its own, stopped at the end."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.supervisor import stamp_of

READY_S = 90.0


@dataclass(frozen=True)
class Service:
    """A running service: where it listens, its keys, its folder and the stamp its processes carry."""

    port: int
    write_key: str
    api_key: str
    data: Path
    run: str
    process: subprocess.Popen[bytes]

    def call(self, method: str, path: str, body: object = None, timeout: float = 30.0) -> tuple[int, dict[str, object]]:
        """One request over a fresh connection, answered as (status, JSON)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            data = json.dumps(body) if body is not None else None
            connection.request(method, path, data, {"Authorization": f"Bearer {self.api_key}"})
            answer = connection.getresponse()
            text = answer.read()
            try:
                return answer.status, json.loads(text or b"{}")
            except ValueError:
                return answer.status, {"text": text.decode(errors="replace")}
        finally:
            connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_ready(port: int, process: subprocess.Popen[bytes], seconds: float = READY_S) -> float:
    """Seconds until ``/readyz`` answers 200."""
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        if process.poll() is not None:
            raise RuntimeError(f"the service ended with {process.returncode} before it was ready")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return time.perf_counter() - start
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    raise RuntimeError(f"the service on port {port} was not ready within {seconds:.0f} s")


def start(data: Path, port: int | None = None, log: Path | None = None) -> Service:
    """Start ``everfold up --no-demo`` on ``data`` and wait until it is ready."""
    port = port or free_port()
    command = [sys.executable, "-m", "serving.cli", "up", "--no-demo", "--data", str(data), "--port", str(port)]
    quiet = {"EVERFOLD_RETRAIN__ENABLED": "false"}  # nothing starts by itself beside what is measured
    with open(log or os.devnull, "ab") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, cwd=Path(__file__).parent.parent, env={**os.environ, **quiet}
        )
    try:
        wait_ready(port, process)
    except RuntimeError:
        process.send_signal(signal.SIGTERM)
        raise
    keys = tomllib.loads((data / "keys.toml").read_text())
    run = stamp_of(data)
    return Service(port, keys["write_key"], keys["api_key"], data, run, process)


def stop(service: Service) -> float:
    """Seconds until the service was gone."""
    begun = time.perf_counter()
    service.process.send_signal(signal.SIGTERM)
    service.process.wait(60)
    return time.perf_counter() - begun


@contextmanager
def running(data: Path, log: Path | None = None) -> Iterator[Service]:
    service = start(data, log=log)
    try:
        yield service
    finally:
        stop(service)
