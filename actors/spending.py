"""Spending: what somebody paid, what was taken off, and how dear their choices are. Sums of integers only."""

from __future__ import annotations

from typing import Final

from actors.decay import bounded
from actors.profile import Spending
from events.types import Interaction

MONEY_MAX: Final = 1e9
"""The most one order counts for."""
_TOTAL_MAX: Final = 1 << 62
"""So that four billion orders of the most still fit into 64 bits."""


def spent(spending: Spending, event: Interaction) -> Spending:
    """After a purchase or a refund. Revenue not stated is the sum of price times quantity.

    >>> spent(Spending(), Interaction("purchase", revenue=8.0, discount=2.0, coupon=True))
    Spending(paid=8000, gross=10000, saved=2000, coupons=1, ranks=0, ranked=0)
    """
    paid = _thousandths(event.revenue or sum([line.price * line.quantity for line in event.lines]))
    if event.signal == "refund":
        return Spending(
            _held(spending.paid - abs(paid)),
            spending.gross,
            spending.saved,
            spending.coupons,
            spending.ranks,
            spending.ranked,
        )
    paid, saved, ranked = max(paid, 0), max(_thousandths(event.discount), 0), event.price_rank >= 0.0
    return Spending(
        _held(spending.paid + paid),
        _held(spending.gross + paid + saved),
        _held(spending.saved + saved),
        spending.coupons + event.coupon,
        spending.ranks + (round(1000 * min(event.price_rank, 1.0)) if ranked else 0),
        spending.ranked + ranked,
    )


def _thousandths(money: float) -> int:
    return round(1000 * bounded(money, MONEY_MAX))


def _held(total: int) -> int:
    return max(-_TOTAL_MAX, min(total, _TOTAL_MAX))
