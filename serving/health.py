"""``/healthz``: this process answers. ``/readyz``: the service can take events and answer, or which part cannot and
why. ``/metrics``: its numbers, summed over all processes."""

from __future__ import annotations

from pathlib import Path

from serving.backend import PARTS, Backend
from serving.http import Reply, Request, json_reply
from serving.metrics import Merged, Numbers
from serving.router import Doc, Route


class Health:
    """``folder`` is where all processes publish their numbers; None: only this process's are known."""

    def __init__(self, backend: Backend, numbers: Numbers, folder: Path | None) -> None:
        self._backend = backend
        self._numbers = numbers
        self._folder = folder

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(("GET",), "/healthz", self.healthz, "open", HEALTHZ, strict_query=False),
            Route(("GET",), "/readyz", self.readyz, "open", READYZ, strict_query=False),
            Route(("GET",), "/metrics", self.metrics, "api", METRICS_DOC),
        )

    async def healthz(self, _: Request) -> Reply:
        return json_reply({"alive": True})

    async def readyz(self, _: Request) -> Reply:
        faults = (await self._backend.status()).faults
        parts: dict[str, str] = {part: faults.get(part, "ready") for part in PARTS}
        return json_reply({"ready": not faults, **parts}, 503 if faults else 200)

    async def metrics(self, _: Request) -> Reply:
        status = await self._backend.status()
        if self._folder is None:
            merged = Merged()
            merged.add(self._numbers.read())
            merged.replicas = 1
        else:
            merged = Merged.of(self._folder)
        merged.add({"everfold_replicas": [float(merged.replicas)]})
        merged.add(status.numbers)
        return Reply(merged.text().encode(), content_type=b"text/plain; version=0.0.4; charset=utf-8")


HEALTHZ = Doc("Whether this process answers", "Service", answer={"alive": True})
READYZ = Doc(
    "Whether the service can take events and answer, and if not, which part is not ready",
    "Service",
    answer={"ready": True, "log": "ready", "state": "ready", "followers": "ready", "replicas": "ready"},
    statuses=(200, 503),
)
METRICS_DOC = Doc("Numbers in Prometheus' text format, summed over all processes", "Service")
