"""The floor: a Serve application that does nothing, under the supervisor, flags and replicas of the service.

``python -m benchmarks.noop FOLDER PORT`` serves until SIGTERM.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.service import free_port, wait_ready
from serving.supervisor import Plan, Supervisor


class Nothing:
    """The smallest ASGI application."""

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


def serve(folder: Path, port: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(data=folder, host="127.0.0.1", port=port, replicas=2, app="benchmarks.noop:Nothing")
    Supervisor(plan, lambda up: None, print).run()


@contextmanager
def running(folder: Path) -> Iterator[int]:
    """The port of a running floor."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.noop", str(folder), str(port)], cwd=Path(__file__).parent.parent
    )
    try:
        wait_ready(port, process)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


if __name__ == "__main__":
    serve(Path(sys.argv[1]).resolve(), int(sys.argv[2]))
