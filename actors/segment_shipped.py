"""The segments every store has unless its settings say otherwise (``[[segments]]``, ``enabled = false``).

Levels that depend on what a shop sells are quantiles of its own population; where somebody hovers about a level, the
lower one of ``stay`` keeps them in. Counts of a few acts are this project's own choice: they name habits, not laws.
"""

from __future__ import annotations

from typing import Final

from events.types import SegmentDefined

BY: Final = "shipped"


def _rule(name: str, rule: str, description: str, stay: str = "") -> SegmentDefined:
    return SegmentDefined(name, rule, stay, description=description, by=BY)


def _score(name: str, rule: str, description: str, stay: str) -> SegmentDefined:
    return SegmentDefined(name, rule, stay, kind="score", description=description, by=BY)


SHIPPED: Final = (
    _rule("new-visitors", "age < 7 days and count(purchase) == 0", "Seen first within a week, nothing bought yet"),
    _rule(
        "browsers",
        "count(view, 30 days) >= 5 and not did(purchase, 30 days)",
        "Look a lot and have not bought for a month",
    ),
    _rule(
        "frequent-buyers",
        "count(purchase, 30 days) >= 4",
        "Order about weekly",
        "count(purchase, 30 days) >= 3",
    ),
    _score(
        "price-sensitive",
        "count(purchase) >= 3 and price_sensitivity > quantile(price_sensitivity, 0.8)",
        "The fifth whose orders depend most on discounts, coupons and low prices",
        "count(purchase) >= 3 and price_sensitivity > quantile(price_sensitivity, 0.75)",
    ),
    _rule(
        "high-value",
        "spent > quantile(spent, 0.9) and did(purchase, 90 days)",
        "The tenth that spent most, and still buys (VIP)",
        "spent > quantile(spent, 0.88) and did(purchase, 90 days)",
    ),
    _rule(
        "cart-abandoners",
        "sequence(cart then no purchase for 30 minutes, 7 days)",
        "Put something into the cart this week and did not order within half an hour: high intent",
    ),
    _score("loyal", "loyalty >= 0.8", "Buy again and again, lately too", "loyalty >= 0.75"),
    _score(
        "churn-risk",
        "count(purchase) >= 2 and churn_risk >= 0.7",
        "Customers who have been quiet for much longer than is usual for them",
        "count(purchase) >= 2 and churn_risk >= 0.6",
    ),
    _rule(
        "bargain-hunters",
        "count(purchase, 90 days) >= 2 and price_sensitivity >= 0.4",
        "Buy, and mostly what is reduced",
        "count(purchase, 90 days) >= 2 and price_sensitivity >= 0.36",
    ),
    _rule(
        "weekend-binge",
        "weekend and idle < 7 days and (session.depth >= 15 or session.duration >= 90 minutes)",
        "Their latest session, within a week, was a long one on a weekend",
    ),
)
"""None asks about another, so each may be left out."""
