"""Scores: what a profile's behaviour says about the person, as numbers a rule or a page can read at any moment.

Every score lies in [0, 1] and is 0 for somebody who never did anything. Between facts it moves with time alone, and each
is a `Quantity` that says how: in closed form where it has one, otherwise with the most it can fall per ms, so that
`actors.quantity.first_crossing` stays a sound bound. The formulas and weights are this project's own: they say what is
counted, not what is true of people; learned propensities stand in the blend. Building blocks:

- ``sat(x, k) = x / (x + k)``: 0 for nothing, 1/2 at ``k``, towards 1 for much;
- ``r(signal)``: how often it was done, decayed with a half-life of a month (``d``: a day);
- ``quiet``: time since the latest step (a list that was only shown is none).

| score | formula |
|---|---|
| ``engagement`` | 0.30 sat(r of all but impressions, 10) + 0.25 · 2^(-quiet / 7 d) + 0.15 sat(mean dwell, 60 s) + 0.10 mean scroll + 0.10 mean share watched + 0.10 sat(r(click) + r(cart) + r(purchase), 3) |
| ``loyalty`` | 0.6 sat(r(purchase) - r(refund), 1) + 0.4 sat(purchases - refunds ever, 4) |
| ``price_sensitivity`` | n / (n + 2) · mean of: min(1, 2 · discounts / list price) weighing 0.4, share of orders with a coupon 0.3, 1 - mean price rank 0.3 (left out while no order has one), n the number of orders |
| ``churn_risk`` | 1 - 2^(-quiet / (2 · rhythm)), rhythm the mean time between active spells, as if two more of 14 days had been seen |
| ``purchase_intent`` | sat(Σ weight · d(signal), 4), not below 0: cart 4, wish 2, click 1, search 1, view 0.5, watch 0.5, uncart -4, unwish -2, purchase -6 |

Recency, frequency and monetary value (Hughes: Strategic Database Marketing, 1994) are given raw; `quintile` ranks one
among the population's cuts.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log
from typing import Final, TypeAlias

from actors.decay import HALF_LIVES_MS
from actors.engagement import PASSIVE, SLOT_MS, half_hours, last, runs
from actors.profile import Behaviour, Engagement
from actors.quantity import Quantity, first_crossing, growing, steady
from actors.sessions import POLICY, SessionPolicy, count, last_done, latest

Cuts: TypeAlias = Mapping[str, tuple[float, ...]]
"""``recency``, ``frequency``, ``monetary`` → the four values that part the population into fifths, ascending."""

NO_CUTS: Final[Cuts] = {}

SCORES: Final = ("engagement", "loyalty", "price_sensitivity", "churn_risk", "purchase_intent")
RFM: Final = ("recency", "frequency", "monetary")

DAY_MS: Final = 86_400_000
RECENT_MS: Final = 7 * DAY_MS
"""A week: shops and media alike are visited in weekly rounds."""
RHYTHM_MS: Final = 14 * DAY_MS
"""The rhythm of somebody not known yet."""
RHYTHM_PRIOR: Final = 2
"""How many pauses that counts for."""

INTENT: Final[Mapping[str, float]] = {
    "cart": 4.0,
    "wish": 2.0,
    "click": 1.0,
    "search": 1.0,
    "view": 0.5,
    "watch": 0.5,
    "uncart": -4.0,
    "unwish": -2.0,
    "purchase": -6.0,
}
"""A purchase takes the intent along that led to it: a cart and two views, with some to spare."""

_LN2: Final = log(2.0)
_NOTHING: Final = steady(0.0)


def number(
    profile: Behaviour, field: str, now: int, cuts: Cuts = NO_CUTS, policy: SessionPolicy = POLICY
) -> Quantity | None:
    """A field of `actors.segment_rules` ``NUMBERS`` or ``DURATIONS`` (ms), or of `RFM`, at ``now`` (ms); None when
    nothing is known of it.

    Raises `KeyError` for any other name.
    """
    simple = _PLAIN.get(field)
    if simple is not None:
        return simple(profile, now)
    if field.endswith("_quintile"):
        return _quintile_of(profile, field.removesuffix("_quintile"), now, cuts)
    return _OF_SESSIONS[field](profile, policy)


def quintile(value: Quantity, cuts: tuple[float, ...], low_is_best: bool = False) -> Quantity:
    """In which fifth of the population, 1 (worst) to 5 (best): one more for every cut that is passed.

    >>> quintile(steady(7.0), (1.0, 5.0, 9.0, 20.0)).now
    3.0
    """
    above = sum([value.now > cut for cut in cuts])
    until = min([first_crossing(value - steady(cut)) for cut in cuts], default=value.until)
    return steady(float(len(cuts) + 1 - above if low_is_best else above + 1), min(until, value.until))


def engagement(profile: Behaviour, now: int) -> Quantity:
    """How much attention somebody gives: see the module."""
    held = profile.engagement
    table = held.rates.get("month")
    often = acted = 0.0
    if table is not None:
        known = table.sums.get
        often = table.worth(sum([stored for signal, stored in table.sums.items() if signal not in PASSIVE]), now)
        acted = table.worth(known("click", 0.0) + known("cart", 0.0) + known("purchase", 0.0), now)
    (many, many_fall), (acts, acts_fall) = _saturation(often, 10.0, "month"), _saturation(acted, 3.0, "month")
    fresh, attention = _freshness(profile, now), 0.15 * _dwell(held) + 0.10 * _scroll(held) + 0.10 * _watched(held)
    return Quantity(
        0.30 * many + 0.25 * fresh.constant + attention + 0.10 * acts,
        decays=tuple([(0.25 * value, life) for value, life in fresh.decays]),
        until=fresh.until,
        fall=0.30 * many_fall + 0.10 * acts_fall,
    )


def loyalty(profile: Behaviour, now: int) -> Quantity:
    """How surely somebody buys here; a purchase raises it at once: see the module."""
    held = profile.engagement
    table = held.rates.get("month")
    sums = table.sums if table is not None else {}
    lately = 0.0
    if table is not None and ("purchase" in sums or "refund" in sums):
        lately = table.value("purchase", now) - table.value("refund", now)
    orders = max(_orders(held), 0)
    share, fall = _saturation(lately, 1.0, "month")
    return Quantity(0.6 * share + 0.4 * orders / (orders + 4), fall=0.6 * fall)


def price_sensitivity(profile: Behaviour, now: int) -> Quantity:
    """How much prices decide, by what was bought; does not move with time: see the module."""
    spending, orders = profile.spending, profile.engagement.counts.get("purchase", 0)
    if not orders:
        return _NOTHING
    saved = min(1.0, 2.0 * spending.saved / spending.gross) if spending.gross > 0 else 0.0
    total, weight = 0.4 * saved + 0.3 * min(1.0, spending.coupons / orders), 0.7
    if spending.ranked:
        total, weight = total + 0.3 * (1.0 - spending.ranks / (1000 * spending.ranked)), 1.0
    return steady(orders / (orders + 2) * total / weight)


def churn_risk(profile: Behaviour, now: int) -> Quantity:
    """How unusual the silence is for this person: see the module."""
    done = last_done(profile)
    if done is None:
        return _NOTHING
    if done > now:
        return steady(0.0, until=done - now)
    half_life = 2 * rhythm(profile)
    return Quantity(1.0, decays=((-(2.0 ** (-(now - done) / half_life)), half_life),))


def purchase_intent(profile: Behaviour, now: int) -> Quantity:
    """Whether somebody is about to buy: see the module."""
    table = profile.engagement.rates.get("day")
    if table is None:
        return _NOTHING
    known = table.sums.get
    wanted = sum([weight * known(signal, 0.0) for signal, weight in INTENT.items()])
    return saturated(table.worth(wanted, now), 4.0, "day")


def rhythm(profile: Behaviour) -> int:
    """Mean time between the beginnings of active spells (runs of half hours), in ms, shrunk towards `RHYTHM_MS`."""
    slots = half_hours(profile.engagement)
    pauses = runs(slots) - 1
    span = (slots[-1] - slots[0]) * SLOT_MS if pauses > 0 else 0
    return (span + RHYTHM_PRIOR * RHYTHM_MS) // (max(pauses, 0) + RHYTHM_PRIOR)


def saturated(value: float, half: float, half_life: str) -> Quantity:
    """``sat(x, half)`` of a decaying ``x``, 0 for a negative one.

    With s = sat(x), ds/dt = -s (1 - s) ln 2 / half-life; s only falls and s (1 - s) is largest at s = 1/2.
    """
    share, fall = _saturation(value, half, half_life)
    return Quantity(share, fall=fall) if share else _NOTHING


def _saturation(value: float, half: float, half_life: str) -> tuple[float, float]:
    """``sat(x, half)``, and the most it falls per ms."""
    if value <= 0.0:
        return 0.0, 0.0
    share = value / (value + half)
    steepest = share * (1.0 - share) if share < 0.5 else 0.25
    return share, steepest * _LN2 / HALF_LIVES_MS[half_life]


def _freshness(profile: Behaviour, now: int) -> Quantity:
    done = last_done(profile)
    if done is None:
        return _NOTHING
    if done > now:
        return steady(1.0, until=done - now)
    return Quantity(0.0, decays=((2.0 ** (-(now - done) / RECENT_MS), RECENT_MS),))


def _orders(held: Engagement) -> int:
    return held.counts.get("purchase", 0) - held.counts.get("refund", 0)


def _dwell(held: Engagement) -> float:
    looked = sum([held.counts.get(signal, 0) for signal in ("visit", "view", "watch")])
    mean = held.dwell_ms / max(looked, 1)
    return mean / (mean + 60_000.0)


def _scroll(held: Engagement) -> float:
    visits = held.counts.get("visit", 0)
    return held.scroll_permille / (1000 * visits) if visits else 0.0


def _watched(held: Engagement) -> float:
    watches = held.counts.get("watch", 0)
    return held.watched_permille / (1000 * watches) if watches else 0.0


def _recency(profile: Behaviour, now: int) -> Quantity | None:
    """Time since the last purchase."""
    bought = last(profile.engagement, "purchase")
    return None if bought is None else growing(float(now - bought))


def _frequency(profile: Behaviour, now: int) -> Quantity | None:
    """Purchases minus refunds."""
    return steady(float(_orders(profile.engagement))) if "purchase" in profile.engagement.counts else None


def _monetary(profile: Behaviour, now: int) -> Quantity | None:
    """What was paid, in the store's currency."""
    return _spent(profile, now) if "purchase" in profile.engagement.counts else None


def _spent(profile: Behaviour, now: int) -> Quantity:
    return steady(profile.spending.paid / 1000)


def _quintile_of(profile: Behaviour, of: str, now: int, cuts: Cuts) -> Quantity | None:
    value, parts = _PLAIN[of](profile, now), cuts.get(of)
    return None if value is None or parts is None else quintile(value, parts, low_is_best=of == "recency")


def _age(profile: Behaviour, now: int) -> Quantity | None:
    return None if profile.first_at is None else growing(float(now - profile.first_at))


def _idle(profile: Behaviour, now: int) -> Quantity | None:
    return None if profile.last_at is None else growing(float(now - profile.last_at))


_PLAIN: Final[Mapping[str, Callable[[Behaviour, int], Quantity | None]]] = {
    "engagement": engagement,
    "loyalty": loyalty,
    "price_sensitivity": price_sensitivity,
    "churn_risk": churn_risk,
    "purchase_intent": purchase_intent,
    "recency": _recency,
    "frequency": _frequency,
    "monetary": _monetary,
    "spent": _spent,
    "scroll": lambda profile, now: steady(_scroll(profile.engagement)),
    "watched": lambda profile, now: steady(_watched(profile.engagement)),
    "dwell": lambda profile, now: steady(float(profile.engagement.dwell_ms)),
    "age": _age,
    "idle": _idle,
}


def _sessions(profile: Behaviour, policy: SessionPolicy) -> Quantity:
    return steady(float(count(profile, policy)))


def _depth(profile: Behaviour, policy: SessionPolicy) -> Quantity | None:
    session = latest(profile, policy)
    return None if session is None else steady(float(session.depth))


def _duration(profile: Behaviour, policy: SessionPolicy) -> Quantity | None:
    session = latest(profile, policy)
    return None if session is None else steady(float(session.duration))


_OF_SESSIONS: Final[Mapping[str, Callable[[Behaviour, SessionPolicy], Quantity | None]]] = {
    "sessions": _sessions,
    "session.depth": _depth,
    "session.duration": _duration,
}
