"""The floor: a Serve application that does nothing, with the flags and replicas of the service.

``python -m benchmarks.noop PORT`` serves until its standard input closes.
"""

from __future__ import annotations

import sys
import tempfile

from serving import supervisor


class Nothing:
    """The smallest ASGI application."""

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"ok"})
