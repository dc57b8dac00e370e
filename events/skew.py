"""When something happened: the device's time, corrected only where its clock is plainly wrong.

The textbook rule, receivedAt − (sentAt − originalTimestamp), adds the transit delay of every request to its events and
so reorders the events of one device. Here a device's clock is believed unless it is more than five minutes off, and
then moved by whole multiples of five minutes: events of one device, or one batch, keep their order and distance.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from events.ids import Millis
from events.reasons import Unfit

SKEW_THRESHOLD_MS: Final = 5 * 60_000
SKEW_QUANTUM_MS: Final = 5 * 60_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SECONDS_BELOW: Final = 100_000_000_000
"""A number below this counts seconds (up to the year 5138), from it on milliseconds (from March 1973)."""
_LATEST_MS: Final = 253_402_300_800_000
"""The end of the year 9999."""


def parse_time(value: object) -> int:
    """Milliseconds since the epoch of an ISO 8601 text or a number; 0 for None and ``""``.

    Without an offset UTC is meant. Raises `Unfit` for anything that is no time between 1970 and 9999.

    >>> parse_time("2024-02-01T00:00:00.5Z"), parse_time(1706745600), parse_time(None)
    (1706745600500, 1706745600000, 0)
    """
    if value is None or value == "":
        return 0
    if isinstance(value, str) and len(value) <= 64:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise Unfit("bad_time", f"{value!r} is no ISO 8601 time, such as 2024-02-01T12:00:00.000Z") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        at = (moment - _EPOCH) // _MILLISECOND
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _LATEST_MS:
        at = int(value if value >= _SECONDS_BELOW else value * 1000)
    else:
        raise Unfit("bad_time", f"{type(value).__name__} is no time: send ISO 8601 text or milliseconds")
    if not 0 <= at < _LATEST_MS:
        raise Unfit("bad_time", f"{value!r} lies outside 1970..9999")
    return at


def event_time(original: int, sent: int, received: Millis) -> Millis:
    """When it happened, in ms: ``original`` moved by the device's skew, never after ``received``.

    skew = received − sent; nothing is moved while |skew| <= 5 minutes, beyond it the skew is rounded to 5 minutes.
    0 stands for a time that was not sent: no ``sent`` means no correction, no ``original`` means ``received``.

    >>> event_time(1_000_000, 1_100_000, Millis(1_390_000))  # 290 s of transit are no skew
    1000000
    >>> event_time(1_000_000, 1_100_000, Millis(4_760_000))  # an hour and a minute slow
    4600000
    """
    if not original:
        return received
    if sent:
        skew = received - sent
        if abs(skew) > SKEW_THRESHOLD_MS:
            original += (skew + SKEW_QUANTUM_MS // 2) // SKEW_QUANTUM_MS * SKEW_QUANTUM_MS
    return Millis(max(0, min(original, received)))
