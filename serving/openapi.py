"""``/docs``: what the API takes and answers, as OpenAPI 3.1 and as a page made from it.

Both are built from the routes themselves; a test sends every example and compares the answer's shape with the one
shown. The page is plain HTML without script, so it works offline.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

import orjson

from serving.access import Doors
from serving.http import Reply, Request, json_reply
from serving.router import Doc, Field, Route
from serving.shop import GUARDS, refused

VERSION = "1"
_WITH_BODY = ("POST", "PUT")
ERROR = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
}
SECURITY: Mapping[str, list[dict[str, list[str]]]] = {
    "open": [],
    "write": [{"writeKey": []}, {"apiKey": []}],
    "api": [{"apiKey": []}],
}
SCHEMES = {
    "apiKey": {"type": "http", "scheme": "bearer", "description": "The secret API key of DIR/keys.toml."},
    "writeKey": {"type": "http", "scheme": "basic", "description": "The public write key as user, empty password."},
}
TITLES = {
    400: "The request cannot succeed as it is",
    401: "No key, or not the right one",
    404: "Not found",
    409: "It contradicts what the store holds",
    413: "The body is too large",
    503: "Not now: send the same again after Retry-After",
}


def openapi(routes: Iterable[Route]) -> dict[str, object]:
    """The OpenAPI document of the documented routes."""
    paths: dict[str, dict[str, object]] = {}
    for route in routes:
        if route.doc is not None:
            for method in route.methods:
                paths.setdefault(route.path, {})[method.lower()] = _operation(route, route.doc, method)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Everfold", "version": VERSION, "description": ABOUT},
        "components": {"schemas": {"Error": ERROR}, "securitySchemes": SCHEMES},
        "paths": paths,
    }


ABOUT = (
    "Real-time personalization from one event log. Send events as any Segment SDK does, ask for recommendations, see "
    "and rewind every profile. Errors are always `{code, message}`. A write returns a token in the header "
    "`X-Everfold-Token`; passing it as `after` makes an answer wait until it has seen that write."
)


def _operation(route: Route, doc: Doc, method: str) -> dict[str, object]:
    operation: dict[str, object] = {
        "summary": doc.summary,
        "tags": [doc.tag],
        "operationId": f"{method.lower()}{route.path.replace('/', '_').replace('{', '').replace('}', '')}",
        "security": SECURITY[route.access],
        "responses": {str(status): _response(status, doc) for status in sorted({*doc.statuses, *_errors(route)})},
    }
    parameters = [_parameter(one, "path") for one in doc.path]
    parameters += [_parameter(one, "query") for one in (doc.query if method not in _WITH_BODY or not doc.body else ())]
    if parameters:
        operation["parameters"] = parameters
    if method in _WITH_BODY and doc.example is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": _body(doc)}}
    return operation


def _errors(route: Route) -> set[int]:
    return {400} | ({401} if route.access != "open" else set())


def _response(status: int, doc: Doc) -> dict[str, object]:
    if status < 300:
        example = {} if doc.answer is None else {"content": {"application/json": {"example": doc.answer}}}
        return {"description": "Done", **example}
    schema = {"schema": {"$ref": "#/components/schemas/Error"}}
    return {"description": TITLES[status], "content": {"application/json": schema}}


def _parameter(field: Field, where: str) -> dict[str, object]:
    return {
        "name": field.name,
        "in": where,
        "required": field.required or where == "path",
        "description": field.doc,
        "schema": {"type": _type(field.example)},
        **({} if field.example is None else {"example": field.example}),
    }


def _body(doc: Doc) -> dict[str, object]:
    properties = {one.name: {"type": _type(one.example), "description": one.doc} for one in doc.body}
    required = [one.name for one in doc.body if one.required]
    return {"schema": {"type": "object", "properties": properties, "required": required}, "example": doc.example}


def _type(example: object) -> str:
    names: tuple[tuple[type, str], ...] = (
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (list, "array"),
        (dict, "object"),
    )
    return next((name for kind, name in names if isinstance(example, kind)), "string")


class Docs:
    """Routes of the documentation of ``routes`` (its own left out)."""

    def __init__(self, routes: Iterable[Route], doors: Doors, *, demo: bool) -> None:
        document = openapi(routes)
        self._json = json_reply(document)
        self._page = Reply(page(document).encode(), content_type=b"text/html; charset=utf-8", headers=DOC_GUARDS)
        self._doors = doors
        self._demo = demo

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(("GET",), "/docs", self.html, access="open"),
            Route(("GET",), "/docs/openapi.json", self.document, access="open"),
        )

    async def html(self, request: Request) -> Reply:
        return self._page if self._doors.may_open_page(request, demo=self._demo) else refused()

    async def document(self, request: Request) -> Reply:
        return self._json if self._doors.may_open_page(request, demo=self._demo) else refused()


DOC_GUARDS = (
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    *GUARDS[1:],
)

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h2{margin-top:2.5rem;border-bottom:1px solid #d0d7de}details{border:1px solid #d0d7de;border-radius:6px;margin:.6rem 0}
summary{padding:.5rem .8rem;cursor:pointer}summary code{font-weight:600}details>div{padding:0 1rem 1rem}
pre{background:#f6f8fa;padding:.8rem;overflow:auto;border-radius:6px}td,th{text-align:left;padding:.2rem .8rem .2rem 0;
vertical-align:top}.method{display:inline-block;min-width:4.5rem}
"""


def page(document: Mapping[str, object]) -> str:
    """The document as HTML."""
    sections: dict[str, list[str]] = {}
    paths = document["paths"]
    assert isinstance(paths, dict)
    for path, operations in paths.items():
        for method, operation in operations.items():
            sections.setdefault(operation["tags"][0], []).append(_operation_html(path, method, operation))
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(parts)}" for tag, parts in sections.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Everfold API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><h1>Everfold API</h1>'
        f'<p>{_prose(ABOUT)}</p><p>As data: <a href="/docs/openapi.json">openapi.json</a>.</p>{body}</body></html>'
    )


def _operation_html(path: str, method: str, operation: Mapping[str, object]) -> str:
    parts = [f"<p>{_keys(operation)}</p>"]
    parameters = operation.get("parameters", [])
    assert isinstance(parameters, list)
    if parameters:
        rows = ((one["name"], one["in"], one["description"], one.get("example", "")) for one in parameters)
        parts.append(_table(("name", "where", "what", "example"), rows))
    body = _content(operation.get("requestBody"))
    if body:
        schema = body["schema"]
        assert isinstance(schema, dict)
        parts.append(_table(("field", "what"), ((k, v["description"]) for k, v in schema["properties"].items())))
        parts.append(f"<p>Request</p>{_code(body['example'])}")
    responses = operation["responses"]
    assert isinstance(responses, dict)
    for status, response in responses.items():
        content = _content(response)
        example = _code(content["example"]) if content and "example" in content else ""
        parts.append(f"<p><code>{status}</code> {escape(response['description'])}</p>{example}")
    title = (
        f'<span class="method">{method.upper()}</span><code>{escape(path)}</code> {escape(str(operation["summary"]))}'
    )
    return f"<details><summary>{title}</summary><div>{''.join(parts)}</div></details>"


def _keys(operation: Mapping[str, object]) -> str:
    if not operation["security"]:
        return "Needs no key."
    return "Needs the write key." if operation["security"] == SECURITY["write"] else "Needs the API key."


def _content(part: object) -> Mapping[str, object] | None:
    if not isinstance(part, dict) or "content" not in part:
        return None
    content = part["content"]["application/json"]
    return content if isinstance(content, dict) else None


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    cells = "".join("<tr>" + "".join(f"<td>{_prose(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{cells}</table>"


def _code(value: object) -> str:
    return f"<pre>{escape(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())}</pre>"


def _prose(text: str) -> str:
    """Text with `code` marks."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))
