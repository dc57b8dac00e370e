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

STEPS_MAX: Final = 64
"""Of Newton: 5 or 6 are made; where they end sooner the bound is still sound."""
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
    to one side, by Newton's steps. Otherwise |d/dΔ| is largest at Δ = 0: no crossing comes before |value| / that bound;
    asked again there, the bound moves on, and the steps shrink as the crossing comes near.
    """
    return _crossing(difference.now, difference)


def against(quantity: Quantity, level: float) -> tuple[float, int]:
    """How far ``quantity`` lies above ``level``, and `first_crossing` of the difference: without making it where it
    stands still, as most do.

    >>> against(decaying(8.0, 1000), 1.0)
    (7.0, 3000)
    """
    above, decays = quantity.constant - level, quantity.decays
    if decays:
        total = sum([value for value, _ in decays])
        apart, now = quantity.constant + total - level, above + total
        if (apart > 0) != (now > 0) or (apart < 0) != (now < 0):  # as close as rounding allows
            return apart, 1
    elif not (quantity.slope or quantity.fall or quantity.rise):
        return above, quantity.until
    else:
        apart = now = above
    difference = Quantity(above, quantity.slope, decays, quantity.until, quantity.fall, quantity.rise)
    return apart, _crossing(now, difference)


def _crossing(value: float, difference: Quantity) -> int:
    """`first_crossing` of what is ``value`` now."""
    decays = difference.decays
    if difference.fall or difference.rise:
        free = _outrun(value, difference)
    elif len(decays) == 1 and decays[0][0] and not difference.slope:
        free = _root_of_one(value, difference.constant, *decays[0])
    else:
        moving = tuple([each for each in decays if each[0]])
        free = _first_root(value, difference.constant, difference.slope, moving)
    bound = inf if free == inf else max(1.0, ceil(free))
    return min(difference.until, NEVER if bound >= NEVER else int(bound))


def _outrun(value: float, difference: Quantity) -> float:
    """Before then no speed it can have takes ``value`` to 0."""
    if value == 0.0:
        return 1.0
    side = 1.0 if value > 0 else -1.0
    decaying = 0.0
    if difference.decays:
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
    one_sided = not slope and all((a > 0) == (value > 0) for a, _ in decays)
    if not slope and all((a > 0) != (value > 0) for a, _ in decays):
        return inf  # what pulls it back only weakens
    if one_sided and (constant == 0.0 or (constant > 0) == (value > 0)):
        return inf  # it sinks towards a constant of its own sign
    if one_sided and len(decays) == 1:
        return _root_of_one(value, constant, *decays[0])
    if one_sided:
        return _met(constant, decays)
    steepest = abs(slope) + _LN2 * sum(abs(a) / life for a, life in decays)
    return abs(value) / steepest


def _root_of_one(value: float, constant: float, amount: float, life: int) -> float:
    """`_first_root` of one half-life and a constant, in closed form; ``value`` is their sum, ``amount`` not 0."""
    if value == 0.0:
        return 1.0
    if (amount > 0) != (value > 0) or constant == 0.0 or (constant > 0) == (value > 0):
        return inf
    return life * log2(-amount / constant)


def _met(constant: float, decays: Sequence[tuple[float, int]]) -> float:
    """Where constant + Σ a · 2^(-Δ/H) is 0, the aᵢ having one sign and the constant the other.

    Towards 0 from that side the sum is convex, so Newton's steps from before the root never pass it. The first is made
    where the sum would be 0 if all of it had the shortest half-life.
    """
    delta = min([life for _, life in decays]) * log2(-sum([a for a, _ in decays]) / constant)
    for _ in range(STEPS_MAX):
        parts = [(a * exp2(-delta / life), life) for a, life in decays]
        value = constant + sum([a for a, _ in parts])
        if (value > 0) == (constant > 0):
            return delta  # rounding took it over
        step = value / (_LN2 * sum([a / life for a, life in parts]))
        delta += step
        if step < 0.25:
            break
    return delta
