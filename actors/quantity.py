"""A number that moves with time, and when it can first cross a level.

    value(Δ) = constant + slope · Δ + Σ aᵢ · 2^(-Δ/Hᵢ)      for 0 <= Δ < until, Δ in ms from the moment of reading

Everything a profile says about time has this form: decayed sums (one aᵢ per half-life), "time since" (slope 1), counts
in a window (constant until the oldest one leaves it). So a rule over a profile needs no polling: the moment its truth
can change is computed and scheduled. Where a value has another form (a score), ``fall`` and ``rise`` say how fast it
can move at most besides, at any later moment before ``until``: a crossing comes no sooner than these speeds allow.

>>> tired = decaying(8.0, 1000)
>>> first_crossing(tired - steady(1.0))
3000
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, exp2, inf, log, log2
from typing import Final

import msgspec

NEVER: Final = 1 << 62
"""Later than any moment, as a distance in ms."""

_LN2: Final = log(2.0)


class Quantity(msgspec.Struct, frozen=True, gc=False):
    """See the module. ``until`` > 0: from there on the form is another one and has to be read anew."""

    constant: float
    slope: float = 0.0
    """Per ms."""
    decays: tuple[tuple[float, int], ...] = ()
    """(value now, half-life in ms)."""
    until: int = NEVER
    fall: float = 0.0
    """Most it can sink per ms, besides what the form says; >= 0."""
    rise: float = 0.0

    @property
    def now(self) -> float:
        """The value at the moment of reading."""
        return self.constant + sum([value for value, _ in self.decays]) if self.decays else self.constant

    @property
    def still(self) -> bool:
        """Whether it stays as it is until ``until``."""
        return not (self.slope or self.decays or self.fall or self.rise)

    def at(self, delta: float) -> float:
        """The value ``delta`` ms later, before ``until``; of one that falls or rises besides, only the form's part."""
        return self.constant + self.slope * delta + sum([value * exp2(-delta / life) for value, life in self.decays])

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(
            self.constant + other.constant,
            self.slope + other.slope,
            self.decays + other.decays,
            min(self.until, other.until),
            self.fall + other.fall,
            self.rise + other.rise,
        )

    def __sub__(self, other: Quantity) -> Quantity:
        return self + other.times(-1.0)

    def times(self, factor: float) -> Quantity:
        return Quantity(
            self.constant * factor,
            self.slope * factor,
            tuple([(value * factor, life) for value, life in self.decays]),
            self.until,
            factor * self.fall if factor >= 0.0 else -factor * self.rise,
            factor * self.rise if factor >= 0.0 else -factor * self.fall,
        )


def steady(value: float, until: int = NEVER) -> Quantity:
    return Quantity(value, until=until)


def decaying(value: float, half_life_ms: int) -> Quantity:
    return Quantity(0.0, decays=((value, half_life_ms),) if value else ())


def growing(value: float) -> Quantity:
    """A time since: one more for every ms."""
    return Quantity(value, 1.0)


def first_crossing(difference: Quantity) -> int:
    """A sound lower bound, in whole ms and at least 1, for when the sign of ``difference`` (negative, zero, positive)
    can change; `NEVER` when it cannot.

    Exact to the ms for a straight line, for one half-life against a constant, in closed form, and for sums that fall
    to one side, by bisection. Otherwise |d/dΔ| is largest at Δ = 0, so no crossing comes before |value| / that bound;
    asked again there, the bound moves on, and the steps shrink as the crossing comes near.
    """
    value, decays = difference.now, difference.decays
    if decays:
        decays = tuple([each for each in decays if each[0]])
    if difference.fall or difference.rise:
        free = _outrun(value, difference)
    else:
        free = _first_root(value, difference.constant, difference.slope, decays)
    bound = inf if free == inf else max(1.0, ceil(free))
    return min(difference.until, NEVER if bound >= NEVER else int(bound))


def _outrun(value: float, difference: Quantity) -> float:
    """Before then no speed it can have takes ``value`` to 0."""
    if value == 0.0:
        return 1.0
    side = 1.0 if value > 0 else -1.0
    decaying = sum([max(side * a, 0.0) / life for a, life in difference.decays])
    speed = (difference.fall if value > 0 else difference.rise) + max(-side * difference.slope, 0.0) + _LN2 * decaying
    return abs(value) / speed if speed else inf


def _first_root(value: float, constant: float, slope: float, decays: Sequence[tuple[float, int]]) -> float:
    """First Δ > 0 where the sign may differ from now; `inf` for none."""
    if not decays:
        if not slope:
            return inf
        return -value / slope if value and (value > 0) != (slope > 0) else (inf if value else 1.0)
    if value == 0.0:
        return 1.0
    if len(decays) == 1:
        one_sided = not slope and (decays[0][0] > 0) == (value > 0)
        against = not slope and not one_sided
    else:
        one_sided = not slope and all((a > 0) == (value > 0) for a, _ in decays)
        against = not slope and all((a > 0) != (value > 0) for a, _ in decays)
    if against:
        return inf  # what pulls it back only weakens
    if one_sided and (constant == 0.0 or (constant > 0) == (value > 0)):
        return inf  # it sinks towards a constant of its own sign
    if one_sided and len(decays) == 1:
        amount, life = decays[0]
        return life * log2(-amount / constant)
    if one_sided:
        return _bisected(constant, decays)
    steepest = abs(slope) + _LN2 * sum(abs(a) / life for a, life in decays)
    return abs(value) / steepest


def _bisected(constant: float, decays: Sequence[tuple[float, int]]) -> float:
    """Where constant + Σ a · 2^(-Δ/H) is 0, the aᵢ having one sign and the constant the other."""
    sign = 1.0 if decays[0][0] > 0 else -1.0

    def above(delta: float) -> bool:
        return sign * (constant + sum([a * exp2(-delta / life) for a, life in decays])) > 0

    high = float(min(life for _, life in decays))
    while above(high):
        high *= 2.0
    low = 0.0
    while high - low > 0.25:
        middle = (low + high) / 2
        low, high = (middle, high) if above(middle) else (low, middle)
        if middle in (low, high) and high - low <= 4 * abs(high) * 2.0**-52:
            break
    return low
