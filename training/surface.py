"""A surface: one place where a list is shown, and everything that makes its list different from another's.

Stored by name in every decision, so that what was shown can be judged by the rules it was shown under.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from events.errors import BadRequest

Repeats = Literal["allow", "hide", "cooldown"]

TAU_MIN: Final = 0.05
"""Below this, sampling is as good as none, and propensities are numbers nobody can estimate with."""
RATIO_MAX: Final = 1e6
"""Of weights and values, of which only ratios matter: sums of larger ones would overflow somewhere."""


def _temperature(tau: float) -> float:
    if tau and not tau >= TAU_MIN:
        raise ValueError(f"a temperature is 0 (no sampling) or at least {TAU_MIN}")
    return tau


class Values(BaseModel):
    """What one outcome of a shown item is worth here, relative to each other; relevance is
    Σ over outcomes of value · P(outcome)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    click: float = Field(default=1.0, ge=0, le=RATIO_MAX)
    cart: float = Field(default=3.0, ge=0, le=RATIO_MAX)
    purchase: float = Field(default=10.0, ge=0, le=RATIO_MAX)

    @model_validator(mode="after")
    def _worth_something(self) -> Values:
        if not self.click + self.cart + self.purchase:
            raise ValueError("one of click, cart and purchase must be worth more than 0")
        return self


class Surface(BaseModel):
    """The rules of one surface."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=64)
    repeats: Repeats = "allow"
    """What to do with items this profile has bought: `allow` them (half of a grocery basket was bought before), `hide`
    them, or hide them for `cooldown_hours` after the last purchase."""
    cooldown_hours: float = Field(default=24.0, gt=0)
    weights: Mapping[str, Annotated[float, Field(ge=0, le=RATIO_MAX)]] = Field(min_length=1)
    """Recommender → its share of the blend, not negative. Recommenders not named are not asked. Those that abstain
    drop out and the rest is renormalised, so only ratios matter."""
    history_share: float = Field(default=1.0, ge=0, le=1)
    """Weight of what the profile did lately beside the anchors of the request, when it names any."""
    values: Values = Values()
    tau: Annotated[float, AfterValidator(_temperature)] = 0.0
    """Temperature of sampling, in units of the standardised gain: 0 (no sampling, the best item gets the slot), or
    at least `TAU_MIN`. At 0.15 an item 0.1 deviations behind is drawn half as often as the one before it, one that is
    a whole deviation behind once in 800 times."""
    floor: float = Field(default=0.0, ge=0, le=1)
    """Share of an exploration slot that is drawn uniformly from what is left."""
    exploration_slots: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = ()
    """Slots with that floor, counted from 1; what the floor puts there is shown as "Trying something new". One slot
    instead of a floor everywhere: an importance weight is at most (candidates left) / floor, and only there."""
    diversity: float = Field(default=0.0, ge=0, le=2)
    """lambda of maximal marginal relevance: what an item's gain loses where something above shares all of category,
    parent category and brand (`serving.slate.POINTS`), in units of the standardised gain."""
    fatigue: float = Field(default=1.0, gt=0, le=1)
    """Factor on an item's odds for each time it was seen without an act since, impressions decayed with a half-life of
    a day. 1: nobody tires."""
    fairness: float = Field(default=0.0, ge=0, le=10)
    """Strength of the exposure term (`training.fairness`), in units of the standardised gain: a group that lacks a
    tenth of all attention gains strength / 10. 0: no look at exposure, which costs 0.1 ms."""
    fairness_group: Literal["brand", "category"] = "brand"
    """Whose exposure is balanced."""
    rotation_minutes: int = Field(default=30, ge=1, le=7 * 24 * 60)
    """How long the noise of one subject on this surface stays the same: the list moves because facts moved, not because
    the page was loaded again."""
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
                "user_knn": 0.15,
                "ials": 0.1,
                "ease": 0.05,
                "ridge_next_item": 0.1,
                "session_knn": 0.03,
                "trending": 0.03,
                "segment_popularity": 0.05,
                "rating": 0.1,
                "exploration": 0.0,
            },
            tau=0.15,
            floor=0.2,
            exploration_slots=(4,),
            diversity=0.1,
            fatigue=0.9,
        ),
        Surface(name="buy_again", weights={"repeat_purchase": 1.0}),
        Surface(
            name="discover",
            tau=0.15,
            floor=0.2,
            exploration_slots=(4,),
            diversity=0.1,
            fatigue=0.9,
            repeats="hide",
            weights={
                "covisitation": 0.5,
                "item_knn": 0.1,
                "popularity": 0.25,
                "content": 0.15,
                "newest": 0.02,
                "user_knn": 0.1,
                "ials": 0.15,
                "ease": 0.15,
                "trending": 0.05,
                "segment_popularity": 0.05,
                "rating": 0.1,
                "exploration": 0.0,
            },
        ),
        Surface(
            name="product",
            history_share=0.25,
            tau=0.1,
            floor=0.2,
            exploration_slots=(4,),
            diversity=0.1,
            fatigue=0.95,
            weights={
                "covisitation": 0.7,
                "item_knn": 0.05,
                "content": 0.15,
                "popularity": 0.1,
                "newest": 0.02,
                "ease": 0.1,
                "session_knn": 0.1,
                "exploration": 0.0,
            },
        ),
        Surface(
            name="cart",
            repeats="cooldown",
            history_share=0.1,
            tau=0.1,
            diversity=0.1,
            fatigue=0.95,
            weights={
                "covisitation": 0.75,
                "item_knn": 0.05,
                "repeat_purchase": 0.1,
                "popularity": 0.1,
                "newest": 0.02,
                "ease": 0.05,
                "ridge_next_item": 0.05,
                "session_knn": 0.1,
            },
        ),
    )
}
"""The surfaces every service has. `home` leans on repeat purchase because a 90-day decayed personal count is the best
single model on grocery baskets; `discover` hides what was bought; `product` and `cart` follow the items they are
given. `home` asks the full ensemble: with the weights above, what retraining fits lifts repeat purchase from Recall@10
.206 to .220 and NDCG@10 from .222 to .230 (The Complete Journey, 1,198 baskets of weeks 45 and 46, fitted on 1 to 44).
Exploration weighs nothing: what it names comes up on exploration slots, and by what is learned of it.

All but `buy_again` draw: without chance in the log nobody can estimate what another policy would have done. The
temperatures let near ties change places and leave clear winners alone; `product` and `cart`, where somebody is about to
decide, are colder, and nothing is tried out on `cart`. On the profile of `benchmarks/recommend_core.py` a list of 12
drawn at 0.15 (with the floor) shares 86 % of its items with the one without chance and loses 0.07 of a mean gain of
2.34 deviations; at 0.1 90 % and 0.05, at 0.3 72 % and 0.21 (300 seeds).

Lists shorter than four have no exploration slot. A tenth of a deviation of diversity breaks near ties in favour of
another shelf."""


def surface_named(surfaces: Mapping[str, Surface], name: str) -> Surface:
    """Raises `BadRequest` naming the surfaces there are.

    >>> surface_named(SURFACES, "cart").repeats
    'cooldown'
    """
    found = surfaces.get(name)
    if found is None:
        raise BadRequest(f"surface {name[:64]!r} is unknown: use one of {', '.join(sorted(surfaces))}")
    return found
