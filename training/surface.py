"""A surface: one place where a list is shown, and everything that makes its list different from another's.

Stored by name in every decision, so that what was shown can be judged by the rules it was shown under.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from events.errors import BadRequest

Repeats = Literal["allow", "hide", "cooldown"]


class Values(BaseModel):
    """What one outcome of a shown item is worth here, relative to each other; relevance is
    Σ over outcomes of value · P(outcome)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    click: float = Field(default=1.0, ge=0)
    cart: float = Field(default=3.0, ge=0)
    purchase: float = Field(default=10.0, ge=0)


class Surface(BaseModel):
    """The rules of one surface."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    repeats: Repeats = "allow"
    """What to do with items this profile has bought: `allow` them (half of a grocery basket was bought before), `hide`
    them, or hide them for `cooldown_hours` after the last purchase."""
    cooldown_hours: float = Field(default=24.0, gt=0)
    weights: Mapping[str, Annotated[float, Field(ge=0)]] = Field(min_length=1)
    """Recommender → its share of the blend, not negative. Recommenders not named are not asked. Those that abstain
    drop out and the rest is renormalised, so only ratios matter."""
    history_share: float = Field(default=1.0, ge=0, le=1)
    """Weight of what the profile did lately beside the anchors of the request, when it names any."""
    values: Values = Values()
    tau: float = Field(default=0.0, ge=0, le=0)
    """Temperature of sampling, in units of the standardised gain. 0, the only value the fixed policy knows: no
    sampling, the best item gets the slot and its propensity is 1."""
    floor: float = Field(default=0.0, ge=0, le=0)
    """Share of a slot that is drawn uniformly; 0 for the same reason."""
    impression: Literal["seen", "assumed"] = "seen"
    """`seen`: only items reported by "Product List Viewed" count as shown. `assumed`: every answered item does, for
    clients that cannot report (mails)."""


# Item-kNN weighs little where lift does the same work: one item given, 3,000 held-out baskets of The Complete Journey,
# information-weighted Recall@10 is .022 against .038 for co-visitation, and what it adds is chance small baskets.
SURFACES: Final[Mapping[str, Surface]] = {
    surface.name: surface
    for surface in (
        Surface(
            name="home",
            weights={
                "repeat_purchase": 0.45,
                "covisitation": 0.2,
                "item_knn": 0.15,
                "popularity": 0.15,
                "content": 0.05,
                "newest": 0.02,
            },
        ),
        Surface(name="buy_again", weights={"repeat_purchase": 1.0}),
        Surface(
            name="discover",
            repeats="hide",
            weights={"covisitation": 0.5, "item_knn": 0.1, "popularity": 0.25, "content": 0.15, "newest": 0.02},
        ),
        Surface(
            name="product",
            history_share=0.25,
            weights={"covisitation": 0.7, "item_knn": 0.05, "content": 0.15, "popularity": 0.1, "newest": 0.02},
        ),
        Surface(
            name="cart",
            repeats="cooldown",
            history_share=0.1,
            weights={"covisitation": 0.75, "item_knn": 0.05, "repeat_purchase": 0.1, "popularity": 0.1, "newest": 0.02},
        ),
    )
}
"""The surfaces every service has. `home` leans on repeat purchase because a 90-day decayed personal count is the best
single model on grocery baskets; `discover` hides what was bought; `product` and `cart` follow the items they are
given."""


def surface_named(surfaces: Mapping[str, Surface], name: str) -> Surface:
    """Raises `BadRequest` naming the surfaces there are.

    >>> surface_named(SURFACES, "cart").repeats
    'cooldown'
    """
    found = surfaces.get(name)
    if found is None:
        raise BadRequest(f"surface {name[:64]!r} is unknown: use one of {', '.join(sorted(surfaces))}")
    return found
