"""Purchase history per item: when, how often, how much, and a decayed count.

Counts, quantities and decayed sums add up, times are the latest of a set: no order of arrival matters. Beyond 256 items
the one bought longest ago gives way with what was known of it; bought again later, it starts anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from actors import decay
from actors.profile import LONG_AGO, PURCHASE_TIMES_MAX, PURCHASES_MAX, Purchase
from events.types import Line

UNKNOWN = Purchase("", (), 0, 0.0, 0, 0.0)


def bought(purchases: dict[str, Purchase], lines: Sequence[Line], at: int, sign: int) -> dict[str, Purchase]:
    """After an order (``sign`` 1) or a refund (-1) of ``lines``, which name every item at most once.

    A refund takes one order and its quantity back, now and in the decayed count; the times of purchases stay.
    """
    after = purchases.copy()
    newest = _latest(next(reversed(purchases.values()))) if purchases else LONG_AGO
    in_order = sign > 0 and at > newest
    term = decay.add(0, 0.0, at, float(sign), "quarter")
    for line in sorted(lines, key=_item) if len(lines) > 1 else lines:
        held = after.pop(line.item, UNKNOWN) if in_order else after.get(line.item, UNKNOWN)
        after[line.item] = _once_more(held, line, at, sign, term)
    if not in_order:
        after = dict(sorted(after.items(), key=_by_time))
    while len(after) > PURCHASES_MAX:
        del after[next(iter(after))]
    return after


def _once_more(held: Purchase, line: Line, at: int, sign: int, term: tuple[int, float]) -> Purchase:
    """``term``: landmark and stored form of ``sign`` at ``at``, the same for every line of an order whose item has that
    landmark."""
    times = held.times
    if sign > 0:
        times = (*times, at) if at > _latest(held) else tuple(sorted({*times, at}))
        times = times[-PURCHASE_TIMES_MAX:]
    k, s = term[0], held.s + term[1]
    if k != held.k:
        k, s = decay.add(held.k, held.s, at, float(sign), "quarter")
    quantity = decay.bounded(held.quantity + sign * line.quantity, 1e15)
    return Purchase(line.item, times, held.count + sign, quantity, k, s)


def _item(line: Line) -> str:
    return line.item


def _latest(purchase: Purchase) -> int:
    return purchase.times[-1] if purchase.times else LONG_AGO


def _by_time(entry: tuple[str, Purchase]) -> tuple[int, str]:
    return _latest(entry[1]), entry[0]
