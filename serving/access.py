"""Whether a request may do what it asks for."""

from __future__ import annotations

from ipaddress import ip_address

from events.body import write_key_in
from events.clock import Clock, millis
from events.errors import Unauthorized
from serving.http import Request
from serving.keys import Keys, PageSessions, basic, bearer

SDK_KEY = (
    "the write key is missing or wrong: send it as the user of HTTP Basic, `writeKey` in body or query, or X-Write-Key"
)
API_KEY = "the API key is missing or wrong: send it as `Authorization: Bearer`"


class Doors:
    """The checks, over one store's keys."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self.sessions = PageSessions(keys)

    def api(self, request: Request) -> None:
        """Let in holders of the API key, and the built-in page from the browser that was given a session.

        Sets ``request.trusted`` for the key and ``request.page`` for the page. Raises `Unauthorized`.
        """
        if self._is_api_key(request):
            request.trusted = True
            return
        cookies = request.header(b"cookie")
        if cookies and self.sessions.valid(cookies, millis(self._clock.now())) and is_same_origin(request):
            request.page = True
            return
        raise Unauthorized(API_KEY)

    def _is_api_key(self, request: Request) -> bool:
        token = bearer(request.header(b"authorization"))
        return bool(token) and self._keys.is_api_key(token)

    def writer(self, request: Request, body: bytes = b"") -> None:
        """Let in holders of the write key (or the API key), looked for in the order SDKs rely on: the user of HTTP
        Basic, ``writeKey`` in the body, in the query, ``X-Write-Key``. A Bearer token that is not ours (Segment's
        OAuth) counts as none. The first key found decides. Raises `Unauthorized`.
        """
        user = basic(request.header(b"authorization"))[0]
        if not user and self._is_api_key(request):
            request.trusted = True
            return
        key = user or (write_key_in(body) if body else "") or _query_key(request) or request.header(b"x-write-key")
        self.writer_with(key)

    def writer_with(self, key: str) -> None:
        """Raises `Unauthorized` unless ``key`` is the write key."""
        if not self._keys.is_write_key(key):
            raise Unauthorized(SDK_KEY)

    def may_open_page(self, request: Request, *, demo: bool) -> bool:
        """Whether to hand out a page session: with the API key (as Bearer, or as the password a browser asks for), with
        a session that is still good, or, in demo mode, to anyone who reached us by a loopback name from this machine.

        The name is looked at because a hostile page can point its own name at 127.0.0.1.
        """
        if demo and _is_loopback(request):
            return True
        password = basic(request.header(b"authorization"))[1]
        if password and self._keys.is_api_key(password):
            return True
        try:
            self.api(request)
        except Unauthorized:
            return False
        return True


def _query_key(request: Request) -> str:
    return request.query().get("writeKey", "") if request.scope.get("query_string") else ""


def host_of(request: Request) -> str:
    """The Host header without its port, lower-case."""
    host = request.header(b"host").lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_loopback(request: Request) -> bool:
    name = host_of(request)
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def is_same_origin(request: Request) -> bool:
    """Whether the browser itself says that our own page asks. SameSite is not enough: to a browser every port of a
    host is the same site."""
    fetched_from = request.header(b"sec-fetch-site")
    if fetched_from:
        return fetched_from in ("same-origin", "none")
    origin = request.header(b"origin")
    return not origin or origin.partition("://")[2].lower() == request.header(b"host").lower()
