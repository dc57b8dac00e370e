"""What browser SDKs fetch before they send anything: the smallest answers that boot them."""

from __future__ import annotations

from hashlib import blake2b

from serving.http import Request

NEVER_CHANGED = "1970-01-01T00:00:00.000Z"
"""The SDK wants a time here; this configuration has none."""


def segment_settings(request: Request, write_key: str) -> dict[str, object]:
    """``/v1/projects/{write key}/settings`` for analytics-next: no integrations but this service itself."""
    api_host = f"{_host(request)}/v1"
    return {"integrations": {"Segment.io": {"apiKey": write_key, "apiHost": api_host, "protocol": _scheme(request)}}}


def rudder_source(write_key: str) -> dict[str, object]:
    """``/sourceConfig/`` for RudderStack's browser SDK: one enabled source without destinations, its own telemetry
    off."""
    source = blake2b(write_key.encode(), digest_size=8, person=b"everfold-source").hexdigest()
    off = {"enabled": False}
    return {
        "source": {
            "id": source,
            "name": "everfold",
            "writeKey": write_key,
            "workspaceId": source,
            "enabled": True,
            "connections": [],
            "config": {"statsCollection": {"errors": off, "metrics": off}},
            "destinations": [],
            "updatedAt": NEVER_CHANGED,
        },
        "updatedAt": NEVER_CHANGED,
    }


def _host(request: Request) -> str:
    """The Host header where it looks like one: it is echoed into JSON that a browser will call."""
    host = request.header(b"host")
    safe = host and all(sign.isalnum() or sign in ".-:[]" for sign in host) and host.isascii()
    return host if safe else "localhost"


def _scheme(request: Request) -> str:
    forwarded = request.header(b"x-forwarded-proto")
    return forwarded if forwarded in ("http", "https") else str(request.scope.get("scheme", "http"))
