"""Events as image requests, for mails and pages without script: ``/pixel/v1/track?writeKey=…&event=…``.

The answer is a transparent 1x1 GIF with status 200 whatever happens: a broken image helps nobody.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Final

import orjson

from events.errors import BadRequest
from serving.http import Header, Reply

_BYTES = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff"
    b"!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
_NEVER_CACHED: tuple[Header, ...] = ((b"cache-control", b"no-store, private"),)
GIF: Final = Reply(_BYTES, content_type=b"image/gif", headers=_NEVER_CACHED)
DEPTH_MAX = 8


def event_of(query: Mapping[str, str]) -> bytes:
    """The event a pixel's query stands for, as JSON: either ``data`` (base64 of the event, Segment), or one field per
    parameter with dots for nesting (RudderStack).

    Raises `BadRequest` for ``data`` that is no base64, and for names that nest too deep or contradict each other.

    >>> event_of({"writeKey": "wk", "event": "Mail Opened", "properties.campaign": "may"})
    b'{"event":"Mail Opened","properties":{"campaign":"may"}}'
    """
    data = query.get("data")
    if data:
        try:
            return urlsafe_b64decode(
                data.replace("+", "-").replace("/", "_").replace(" ", "-") + "=" * (-len(data) % 4)
            )
        except (Base64Error, ValueError) as error:
            raise BadRequest("`data` is not base64") from error
    event: dict[str, object] = {}
    for name, value in query.items():
        if name != "writeKey":
            _place(event, name.split("."), value)
    return orjson.dumps(event)


def _place(event: dict[str, object], path: list[str], value: str) -> None:
    if len(path) > DEPTH_MAX:
        raise BadRequest(f"a parameter nests deeper than {DEPTH_MAX} levels")
    for part in path[:-1]:
        inner = event.setdefault(part, {})
        if not isinstance(inner, dict):
            raise BadRequest(f"parameter `{'.'.join(path)[:64]}` contradicts another one")
        event = inner
    event[path[-1]] = value
