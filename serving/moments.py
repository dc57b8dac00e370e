"""Moments in time as clients write and read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from events.errors import BadRequest
from events.ids import Micros

AHEAD_MAX = 86_400_000_000
"""Microseconds a client's clock may run ahead of ours: a day. Anything later is a mistake, not a clock."""
SECONDS_LIKE = 100_000_000_000
"""A number below this is taken for seconds sent by mistake: as milliseconds it would lie before March 1973."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_moment(name: str, text: str, now: Micros) -> Micros:
    """ISO 8601 (without an offset it is UTC) or integer milliseconds since the Unix epoch; a moment slightly in the
    future becomes ``now``.

    Raises `BadRequest`.

    >>> parse_moment("as_of", "1970-01-02T00:00:00.000001Z", Micros(10**15))
    86400000001
    """
    moment = _from_number(name, text) if text.lstrip("-").isdecimal() else _from_iso(name, text)
    if moment < 0:
        raise BadRequest(f"`{name}` lies before 1970")
    if moment > now + AHEAD_MAX:
        raise BadRequest(f"`{name}` lies more than a day in the future")
    return Micros(min(moment, now))


def _from_number(name: str, text: str) -> int:
    if len(text) > 18 or not text.isascii():
        raise BadRequest(f"`{name}` is not a moment: send ISO 8601 or milliseconds since 1970")
    number = int(text)
    if 0 <= number < SECONDS_LIKE:
        raise BadRequest(f"`{name}` {number} looks like seconds: send milliseconds since 1970, or ISO 8601")
    return number * 1000


def _from_iso(name: str, text: str) -> int:
    try:
        parsed = datetime.fromisoformat(text[:64].replace(" ", "+") if "T" in text else text[:64])
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=UTC)
        return (parsed - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError) as error:
        raise BadRequest(
            f"`{name}` is not a moment: send ISO 8601 (2026-01-31T12:00:00Z) or milliseconds since 1970"
        ) from error


def moment_text(at: Micros) -> str:
    """ISO 8601 in UTC with microseconds, which `parse_moment` reads back exactly.

    >>> moment_text(Micros(86400000001))
    '1970-01-02T00:00:00.000001Z'
    """
    return (_EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds")[:-6] + "Z"
