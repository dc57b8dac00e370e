"""The built-in page: a small shop over the real catalogue, served from ``serving/page``.

Opening it hands the browser a page session (see `serving.keys`) and the public write key as cookies; the API key never
leaves the server. In demo mode on loopback anyone on the machine may open it; otherwise the browser asks for a
password, which is the API key (any user name).
"""

from __future__ import annotations

from pathlib import Path

from events.clock import Clock, millis
from events.errors import NotFound
from serving.access import API_KEY, Doors
from serving.http import Header, Reply, Request, problem
from serving.router import Route

FOLDER = Path(__file__).parent / "page"
KINDS = {".html": b"text/html; charset=utf-8", ".css": b"text/css; charset=utf-8", ".js": b"text/javascript"}
GUARDS: tuple[Header, ...] = (
    (b"content-security-policy", b"default-src 'self'; img-src 'self' data: https:; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
)
"""No script but our own runs on the page, and nobody may frame it."""


class Shop:
    """Routes of the page. ``demo`` is true only for a demo bound to loopback."""

    def __init__(self, doors: Doors, write_key: str, clock: Clock, *, demo: bool, folder: Path = FOLDER) -> None:
        self._doors = doors
        self._write_key = write_key
        self._clock = clock
        self._demo = demo
        self._files = {path.name: path for path in folder.iterdir() if path.suffix in KINDS}

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(("GET",), "/", self.index, access="open", strict_query=False),
            Route(("GET",), "/page/{file}", self.file, access="open", strict_query=False),
        )

    async def index(self, request: Request) -> Reply:
        if not self._doors.may_open_page(request, demo=self._demo):
            return refused()
        reply = self._file("index.html")
        now = millis(self._clock.now())
        return reply.with_headers(
            (
                (b"set-cookie", self._doors.sessions.cookie(now)),
                (b"set-cookie", f"everfold_write_key={self._write_key}; Path=/; SameSite=Strict".encode()),
            )
        )

    async def file(self, request: Request) -> Reply:
        """Style and script hold no secret, and a browser asks for them before it has a session."""
        return self._file(request.params[0])

    def _file(self, name: str) -> Reply:
        path = self._files.get(name)
        if path is None:
            raise NotFound(f"the page has no file {name[:64]!r}")
        return Reply(path.read_bytes(), content_type=KINDS[path.suffix], headers=GUARDS)


def refused() -> Reply:
    """401 in a way that makes a browser ask for the password."""
    ask: tuple[Header, ...] = ((b"www-authenticate", b'Basic realm="everfold: any name, the API key as password"'),)
    return problem(401, "unauthorized", API_KEY, ask)
