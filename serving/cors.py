"""What lets a browser on a shop's own site call the collector here."""

from __future__ import annotations

from serving.http import Header, Reply, Request

ALLOWED_HEADERS = b", ".join(
    (
        *(b"authorization", b"content-type", b"content-encoding", b"anonymousid", b"sentat"),
        *(b"x-retry-count", b"x-write-key", b"x-request-id", b"if-none-match"),
    )
)
"""Spelt out: ``*`` does not cover ``Authorization``, and is literal with credentials."""
EXPOSED_HEADERS = b"etag, retry-after, x-everfold-token, x-request-id"
PREFLIGHT_AGE_S = b"900"


def cors_headers(request: Request) -> tuple[Header, ...]:
    """The reply's headers; the caller's origin is reflected, since any site may hold the public write key. Cookies are
    never looked at on these routes, so allowing credentials gives nothing away."""
    origin = request.header(b"origin")
    if not origin:
        return ()
    return (
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", EXPOSED_HEADERS),
        (b"vary", b"origin"),
    )


def preflight(request: Request, methods: tuple[str, ...]) -> Reply:
    """The answer to a browser's ``OPTIONS``."""
    return Reply(
        b"",
        204,
        headers=(
            *cors_headers(request),
            (b"access-control-allow-methods", ", ".join((*methods, "OPTIONS")).encode()),
            (b"access-control-allow-headers", ALLOWED_HEADERS),
            (b"access-control-max-age", PREFLIGHT_AGE_S),
        ),
    )
