"""The parameters of a world, published. `CALIBRATED` is fitted to The Complete Journey (`simulate.calibration`, shown
in ``docs/world.md``) and was fixed before any policy was measured in it; others are variations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from simulate.hours import HOURS_OF_WEEK

Attention = Literal["position", "cascade", "trust"]

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
WEEK_MS: Final = 7 * DAY_MS
START_MS: Final = 1_767_571_200_000
"""Monday, 5 January 2026, 00:00 UTC."""


@dataclass(frozen=True, slots=True)
class SurfaceTraffic:
    """Where lists are asked for: the share of visits. ``product`` and ``cart`` name items. Nothing on ``discover``:
    it hides what was bought, a rule that no judge of lists knows of."""

    home: float = 0.75
    product: float = 0.15
    cart: float = 0.1
    discover: float = 0.0


@dataclass(frozen=True, slots=True)
class WorldSpec:
    """Everything that makes a world, beside its seed. Utilities are log-odds of a click by somebody who looks."""

    people: int = 2_500
    items: int = 3_300
    slots: int = 10
    start_ms: int = START_MS
    weeks: int = 60
    """People and items come over this time."""

    # what there is
    departments: int = 8
    categories: int = 40
    providers: int = 8
    dims: int = 12
    new_items_per_week: float = 0.006
    """Share of the items that are put on the shelf in a week."""
    item_life_weeks: float = 100.0
    """Mean life of an item, exponential."""
    consumable: float = 0.7
    """Share of items that are bought again; the others, once bought, are not wanted for months."""
    cycle_days: float = 30.0
    """Median of the re-buy cycles of consumables, lognormal (0.6)."""
    quality_sigma: float = 0.5
    appeal_sigma: float = 3.5
    """How differently items sell, for everybody alike: deviation of the log of what people take. What makes popularity
    skewed."""
    appeal_liked: float = 0.7
    """Share of that which is liking; the rest is only catching the eye, and does not help on a list."""

    # who there is
    segments: tuple[float, ...] = (0.3, 0.25, 0.2, 0.15, 0.1)
    """Share of each segment of people. The last is the minority that the unfairness is planted on."""
    tastes: int = 3
    """Intents of a person; each session has one."""
    segment_pull: float = 1.0
    """Weight of the segment's centre in a person's tastes, beside a unit of their own."""
    sessions_per_week: float = 1.31
    """Median over people."""
    pages: float = 2.2
    """Mean visits (pages with a list) of a session, geometric; one intent for all of them."""
    page_minutes: float = 2.0
    """Median time between two of them, lognormal (0.7), at most six."""
    activity_sigma: float = 1.1
    new_people_per_week: float = 0.006
    anonymous_share: float = 0.15
    """Of people, who never log in. Others do at their second to fourth visit, and are anonymous until then."""
    second_device: float = 0.3
    """Share of people with a second device, some weeks after their first visit; anonymous there until they log in."""

    # what they like
    base: float = -7.5
    affinity: float = 1.3
    idiosyncrasy: float = 1.6
    """Deviation of what one person likes about one item for no reason anybody else shares."""
    price_sensitivity: float = 0.3
    season: float = 0.3
    wander: float = 0.3
    """Radians a person's tastes turn in ten weeks, deviation over people."""
    context_pull: float = 1.5
    """Log-odds of what is just like the item a product or cart list is asked for."""

    # what changes by what they see and do
    boredom: float = 0.25
    boredom_threshold: float = 3.0
    """Clicks on a category (decayed by half in a day) beyond which each further one costs ``boredom``."""
    fatigue: float = 0.15
    """What an item loses each time it was shown (decayed by half in a day)."""
    satiation: float = 3.5
    habit: float = 1.0
    """What a consumable that was bought before gains once its cycle is over."""

    # how they look and act
    attention: Attention = "position"
    eta: float = 0.7
    """Position: slot k is looked at with chance 1 / k^eta."""
    patience: float = 0.92
    patience_clicked: float = 0.6
    """Cascade: chance to look at the next slot after one that was not, and was, clicked."""
    trust: float = 0.9
    trust_false: float = 0.02
    """Trust: on slot 1 a relevant item is clicked with the chance ``trust``, an irrelevant one with ``trust_false``;
    both fall with the slot as 1 / k^0.2 and 1 / k."""
    cart_base: float = -0.3
    cart_gain: float = 0.5
    bought: float = 0.45
    """Chance that what lies in the cart is bought."""
    click_seconds: float = 8.0
    cart_seconds: float = 60.0
    buy_minutes: float = 30.0
    delay_sigma: float = 1.0
    """Medians of the delays, lognormal with this sigma: after the list, after the click, after the cart."""

    # what they do without us
    surfaces: SurfaceTraffic = SurfaceTraffic()
    organic_views: float = 1.0
    """Mean number of items looked at in a visit, beside lists; geometric."""
    order_share: float = 0.5
    """Share of sessions that end with an order of their own."""
    basket_median: float = 4.9
    basket_sigma: float = 1.1
    basket_max: int = 80
    organic_heat: float = 1.0
    """Temperature of what people take by themselves: weight = exposure · exp(utility / heat)."""

    # coming back
    leave: float = 0.02
    """Chance to stay away after a visit at satisfaction 0; falls by half with each tenth of clicks per list."""
    away_weeks: float = 6.0
    churn: float = 0.2
    """Of those who leave, who never return."""

    # planted
    starved_provider: float = 0.3
    """Factor on the organic exposure of the last provider's items, which are as good as the others'."""
    minority_share_of_shelf: float = 0.4
    """Factor on the number of items close to the minority's taste."""

    hours: tuple[float, ...] = field(default=HOURS_OF_WEEK, repr=False)
    """Visits by hour of the week from Monday 0:00 UTC, of mean 1."""


CALIBRATED: Final = WorldSpec()
"""The world that policies are measured in."""

SPECS: Final[Mapping[str, WorldSpec]] = {
    "calibrated": CALIBRATED,
    "cascade": replace(CALIBRATED, attention="cascade"),
    "trust": replace(CALIBRATED, attention="trust"),
    "tiny": replace(CALIBRATED, people=120, items=150, categories=10, departments=3, weeks=8, sessions_per_week=3.0),
    "million": replace(CALIBRATED, people=1_000_000, items=5_000),
}
"""By name: what ``--scenario`` understands."""
