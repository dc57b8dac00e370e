"""Forward decay, base 2: sums that forget, and that depend neither on the order of arrival nor on when they are read.

With half-life H, landmark L and terms (value v, time t), a sum is stored as ``S = Σ v·2^((t-L)/H)`` and read at ``now``
as ``S·2^(-(now-L)/H)``, which equals ordinary exponential decay ``Σ v·2^(-(now-t)/H)`` (Cormode, Shkapenyuk,
Srivastava, Xu: "Forward decay: a practical time decay model for streaming systems", ICDE 2009). A term depends on its
own time alone, so late facts need no watermark, partial sums add, and nothing is written when nothing happens.

A double ends at 2^1023, so ``L = 512·H·k`` with an integer k that follows the newest time seen. Moving L multiplies
by a power of two, which is exact, and the fraction of the exponent, ``(t mod H)/H``, does not involve L: so *when* a
landmark moves cannot change a bit of what is read. What has sunk below 2^-960 in units of the current landmark (more
than 960 half-lives of neglect) is dropped before it could become subnormal and lose bits.

Times are integer milliseconds since the Unix epoch; any int64 is safe. ``|v| <= 1e6``, hence ``|S|`` stays below 2^600
for 2^60 terms: no overflow, no NaN.

>>> table = DecayTable("day").add(0, ("tea",), 4.0)
>>> table.value("tea", 2 * HALF_LIVES_MS["day"])
1.0
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from math import ldexp
from typing import Final, Literal, TypeAlias

import msgspec

HalfLife: TypeAlias = Literal["hour", "day", "month", "quarter"]

HALF_LIVES_MS: Final[Mapping[str, int]] = {
    "hour": 3_600_000,
    "day": 86_400_000,
    "month": 30 * 86_400_000,
    "quarter": 90 * 86_400_000,
}
"""What a visit, a day's mood, a season's taste and a habit last. Ninety days is the best half-life of repeat purchase
counts on grocery baskets."""

VALUE_MAX: Final = 1e6
"""Largest |v| of one term; larger ones are cut to it."""

KEYS_MAX: Final = 256
"""Most keys of one table. Beyond it the weakest give way."""

_KEYS_KEPT: Final = 7 / 8
"""Share of the bound that survives when it is passed, so that not every further key has to look for the weakest."""

_SPAN_BITS: Final = 9
"""A landmark stands every 2^9 = 512 half-lives: half of a double's range above one, half below."""

_FORGOTTEN: Final = 2.0**-960
_SPANS_REMEMBERED: Final = 3
"""2^600 moved by three spans lies below `_FORGOTTEN`, whatever it was."""
_LIFT_MAX: Final = 400
"""Reading before the facts happened raises a sum by at most 2^400, so that it stays finite."""


def landmark(k: int, half_life: str) -> int:
    """The time of landmark ``k``, in milliseconds: 512·H·k."""
    return (HALF_LIVES_MS[half_life] * k) << _SPAN_BITS


def bounded(value: float, most: float = VALUE_MAX) -> float:
    """``value`` cut to [-most, most]; NaN counts as nothing.

    >>> bounded(float("inf")), bounded(float("nan")), bounded(-2.5)
    (1000000.0, 0.0, -2.5)
    """
    if -most <= value <= most:
        return value
    if value != value:
        return 0.0
    return most if value > 0 else -most


def add(k: int, stored: float, at: int, value: float, half_life: str) -> tuple[int, float]:
    """One sum after one more term: its landmark and what is stored."""
    halvings, rest = divmod(at, HALF_LIVES_MS[half_life])
    span = halvings >> _SPAN_BITS
    if span > k:
        k, stored = span, moved(stored, k - span)
    term = ldexp(bounded(value) * 2.0 ** (rest / HALF_LIVES_MS[half_life]), halvings - (k << _SPAN_BITS))
    return k, stored if -_FORGOTTEN < term < _FORGOTTEN else stored + term


def read(k: int, stored: float, now: int, half_life: str) -> float:
    """What a stored sum is worth at ``now``."""
    factor, exponent = _reading(k, now, half_life)
    return ldexp(stored * factor, exponent)


def moved(stored: float, spans: int) -> float:
    """A stored sum seen from a landmark ``-spans`` further on; what falls below 2^-960 is forgotten."""
    scaled = ldexp(stored, spans << _SPAN_BITS)
    return 0.0 if -_FORGOTTEN < scaled < _FORGOTTEN else scaled


@lru_cache(maxsize=64)
def _reading(k: int, now: int, half_life: str) -> tuple[float, int]:
    """Kept, because many tables are read at one moment, and nearly all of them have the same landmark."""
    halvings, rest = divmod(now, HALF_LIVES_MS[half_life])
    return 2.0 ** (-rest / HALF_LIVES_MS[half_life]), min((k << _SPAN_BITS) - halvings, _LIFT_MAX)


class DecayTable(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Decayed sums by key under one half-life and one landmark. Immutable; `add` shares nothing it changes."""

    half_life: str
    k: int = 0
    """Number of the landmark; never falls. 0 until times of 512 half-lives after 1970 are seen."""
    sums: dict[str, float] = {}
    """Stored, not decayed: comparable among themselves, so ratios and ranks need no clock."""

    def add(self, at: int, keys: Iterable[str], value: float, bound: int = KEYS_MAX) -> DecayTable:
        """After a term of ``value`` at time ``at`` for each of ``keys`` (a key named twice gets it twice).

        Beyond ``bound`` keys the weakest by |S| give way, ties by key. Up to there the result does not depend on the
        order of calls, but for the rounding of float addition.
        """
        half_life_ms = HALF_LIVES_MS[self.half_life]
        halvings, rest = divmod(at, half_life_ms)
        k, span = self.k, halvings >> _SPAN_BITS
        if span > k:
            k = span
        if not -VALUE_MAX <= value <= VALUE_MAX:
            value = bounded(value)
        term = ldexp(value * 2.0 ** (rest / half_life_ms), halvings - (k << _SPAN_BITS))
        if -_FORGOTTEN < term < _FORGOTTEN:
            return self
        sums = self.sums.copy() if k == self.k else self._from(k)
        get = sums.get
        for key in keys:
            sums[key] = get(key, 0.0) + term
        return DecayTable(self.half_life, k, _strongest(sums, bound) if len(sums) > bound else sums)

    def value(self, key: str, now: int) -> float:
        """The decayed sum of ``key`` at ``now``; 0.0 for one never seen."""
        return read(self.k, self.sums.get(key, 0.0), now, self.half_life)

    def worth(self, stored: float, now: int) -> float:
        """What a sum (or a weighted sum) of this table's stored sums comes to at ``now``."""
        return read(self.k, stored, now, self.half_life)

    def values(self, now: int) -> dict[str, float]:
        """Every decayed sum at ``now``."""
        factor, exponent = _reading(self.k, now, self.half_life)
        return {key: ldexp(stored * factor, exponent) for key, stored in self.sums.items()}

    def merge(self, other: DecayTable, bound: int = KEYS_MAX) -> DecayTable:
        """Both tables' terms together, as if they had been folded into one."""
        assert self.half_life == other.half_life, f"{self.half_life} and {other.half_life} sums do not add"
        k = max(self.k, other.k)
        sums = self._from(k)
        for key, stored in other._from(k).items():
            sums[key] = sums.get(key, 0.0) + stored
        return DecayTable(self.half_life, k, _strongest(sums, bound) if len(sums) > bound else sums)

    def only(self, keys: Collection[str]) -> DecayTable:
        """Without every key that is not among ``keys``."""
        return DecayTable(self.half_life, self.k, {key: s for key, s in self.sums.items() if key in keys})

    def _from(self, k: int) -> dict[str, float]:
        """A copy of the sums as stored relative to landmark ``k`` >= `k`."""
        spans = k - self.k
        if not spans:
            return self.sums.copy()
        if spans >= _SPANS_REMEMBERED:
            return {}
        scaled = ((key, moved(stored, -spans)) for key, stored in self.sums.items())
        return {key: stored for key, stored in scaled if stored}


def _strongest(sums: dict[str, float], bound: int) -> dict[str, float]:
    ranked = sorted(sums.items(), key=lambda entry: (-abs(entry[1]), entry[0]))
    return dict(ranked[: max(1, int(bound * _KEYS_KEPT))])
