"""Money: what was paid, saved, and how dear it was."""

from __future__ import annotations

from fold_facts import fact, folded

from actors.profile import Spending
from events.types import Interaction, Line


def test_orders_add_up_and_a_refund_takes_back_what_was_paid() -> None:
    profile = folded(
        [
            fact(1, Interaction("purchase", revenue=8.0, discount=2.0, coupon=True, price_rank=0.25)),
            fact(2, Interaction("purchase", (Line("a", quantity=3.0, price=1.5),))),
            fact(3, Interaction("refund", revenue=1.25)),
            fact(4, Interaction("cart", (Line("a", price=9.0),), revenue=9.0)),
        ]
    )
    assert profile.spending == Spending(paid=11_250, gross=14_500, saved=2_000, coupons=1, ranks=250, ranked=1)


def test_sums_no_shop_ever_sees_do_not_overflow() -> None:
    profile = folded(fact(n, Interaction("purchase", revenue=float("inf"), discount=float("nan"))) for n in range(3))
    assert profile.spending.paid == 3_000_000_000_000
