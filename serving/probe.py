"""One question to a service over loopback: how are you?"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Condition:
    """``alive``: a replica answers. ``faults``: which parts are not ready and why, empty when all are."""

    alive: bool
    faults: Mapping[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return self.alive and not self.faults


def look(port: int, timeout_s: float = 0.5) -> Condition:
    """What ``/readyz`` says. The answer of the proxy itself, while it knows no replica, is no sign of life."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        told = answer.read()
        if answer.status == 200:
            return Condition(alive=True)
        parts = json.loads(told)
        if "ready" not in parts:
            return Condition(alive=False)
        return Condition(True, {part: str(why) for part, why in parts.items() if why not in (True, False, "ready")})
    except (OSError, http.client.HTTPException, ValueError):
        return Condition(alive=False)
    finally:
        connection.close()


def is_ready(port: int) -> bool:
    """Whether ``/readyz`` answers 200."""
    return look(port).ready
