"""Which handler answers a method and path: one dictionary look-up for fixed paths, one per depth for named parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import unquote

from events.errors import BadRequest, EverfoldError, NotFound
from serving.http import Handler, did_you_mean

Access: TypeAlias = Literal["open", "write", "api"]
"""Who may call. ``open``: anyone. ``write``: the handler checks for the write key where SDKs put it. ``api``: the API
key as Bearer, or a page session; checked before the handler runs."""


@dataclass(frozen=True)
class Field:
    """A query parameter, a part of the path, or a field of the JSON body, as it is documented."""

    name: str
    doc: str
    example: object = None
    required: bool = False


@dataclass(frozen=True)
class Doc:
    """What ``/docs`` says of a route. ``example`` is a whole request body, ``answer`` a real answer to it."""

    summary: str
    tag: str
    query: tuple[Field, ...] = ()
    path: tuple[Field, ...] = ()
    body: tuple[Field, ...] = ()
    example: object = None
    answer: object = None
    statuses: tuple[int, ...] = (200,)


@dataclass(frozen=True)
class Route:
    """``path`` may hold parts such as ``{user_id}``. Routes without a ``doc`` (page files, aliases of SDK paths) are
    not in ``/docs``. With ``strict_query`` an unknown query parameter is a 400; SDK paths take whatever comes."""

    methods: tuple[str, ...]
    path: str
    handler: Handler
    access: Access = "api"
    doc: Doc | None = None
    strict_query: bool = True
    cors: bool = False
    names: frozenset[str] = field(default=frozenset(), init=False)

    def __post_init__(self) -> None:
        known = {one.name for one in self.doc.query} if self.doc else set()
        object.__setattr__(self, "names", frozenset(known))

    def check_query(self, query: Mapping[str, str]) -> None:
        """Raises `BadRequest` naming the first unknown parameter and the nearest valid one."""
        for name in query:
            if name not in self.names:
                raise BadRequest(f"unknown query parameter `{name[:64]}`" + did_you_mean(name, tuple(self.names)))


class MethodNotAllowed(EverfoldError):
    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, allowed: tuple[str, ...], *, cors: bool) -> None:
        super().__init__(message)
        self.allowed = allowed
        self.cors = cors


class Router:
    """The table of routes. A trailing slash is ignored. A named part is one path segment, percent-decoded *after* the
    path was split, so that an id may hold an encoded slash."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._fixed: dict[str, dict[str, Route]] = {}
        self._named: dict[int, list[tuple[tuple[str, ...], dict[str, Route]]]] = {}
        for route in self.routes:
            table = self._table(route.path)
            for method in route.methods:
                assert method not in table, f"two routes for {method} {route.path}"
                table[method] = route

    def _table(self, path: str) -> dict[str, Route]:
        if "{" not in path:
            return self._fixed.setdefault(path, {})
        parts = tuple(path.split("/"))
        shapes = self._named.setdefault(len(parts), [])
        for shape, table in shapes:
            if shape == parts:
                return table
        shapes.append((parts, {}))
        return shapes[-1][1]

    def at(self, raw_path: str) -> tuple[dict[str, Route], tuple[str, ...]]:
        """The routes of a path by method, and the named parts. Raises `NotFound`."""
        path = raw_path.rstrip("/") or "/"
        table = self._fixed.get(path)
        if table is not None:
            return table, ()
        parts = path.split("/")
        for shape, table in self._named.get(len(parts), ()):
            if all(want == got or want[:1] == "{" for want, got in zip(shape, parts, strict=True)):
                named = tuple(_decoded(got) for want, got in zip(shape, parts, strict=True) if want[:1] == "{")
                return table, named
        raise NotFound("there is nothing at this path: see /docs for what is")

    def pick(self, table: dict[str, Route], method: str) -> Route:
        """The route of ``table`` for ``method``; HEAD is answered as GET. Raises `MethodNotAllowed`."""
        route = table.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = tuple(sorted(table))
            cors = any(one.cors for one in table.values())
            raise MethodNotAllowed(f"{method[:16]} is not taken here: use {', '.join(allowed)}", allowed, cors=cors)
        return route


def _decoded(part: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError as error:
        raise BadRequest("the path is not percent-encoded UTF-8") from error
