"""Values out of query strings."""

from __future__ import annotations

from collections.abc import Mapping

from events.errors import BadRequest


def number_in(query: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """An integer within ``low``..``high``. Raises `BadRequest`.

    >>> number_in({"limit": "5"}, "limit", 20, 1, 100), number_in({}, "limit", 20, 1, 100)
    (5, 20)
    """
    given = query.get(name)
    if given is None:
        return default
    if given.isascii() and given.isdecimal() and len(given) < 19 and low <= int(given) <= high:
        return int(given)
    raise BadRequest(f"`{name}` must be a whole number from {low} to {high}")


def flag_in(query: Mapping[str, str], name: str) -> bool:
    """Whether a flag is set: ``true`` or ``1``; absent, ``false`` and ``0`` are not. Raises `BadRequest`."""
    given = query.get(name, "false").lower()
    if given in ("true", "1"):
        return True
    if given in ("false", "0"):
        return False
    raise BadRequest(f"`{name}` must be true or false")
