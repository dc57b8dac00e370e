"""A latency histogram that can be added up over hosts: counts per bucket, their sum, and quantiles read off them."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

BOUNDS_S: Final = (
    *(0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.007_5),
    *(0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)
"""Upper bounds, seconds: dense around what is promised (1 to 20 ms)."""


class Histogram:
    """Durations by bucket; the last bucket has no bound.

    >>> h = Histogram(); h.add(0.0015); h.add(0.004); h.quantile(0.5), h.quantile(0.99), h.total
    (0.002, 0.005, 2)
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    @property
    def total(self) -> int:
        return sum(self.counts)

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def quantile(self, share: float) -> float:
        """Upper bound of the bucket in which the quantile lies, seconds; 0.0 when empty, infinite beyond the bounds."""
        wanted, seen = share * self.total, 0
        if not self.total:
            return 0.0
        for bound, count in zip(BOUNDS_S, self.counts, strict=False):
            seen += count
            if seen >= wanted:
                return bound
        return float("inf")

    def as_dict(self) -> dict[str, object]:
        """``counts`` per bucket of `BOUNDS_S` and one beyond, ``sum_s``, ``p50_s``, ``p99_s``."""
        return {
            "counts": list(self.counts),
            "sum_s": self.sum_s,
            "p50_s": self.quantile(0.5),
            "p99_s": self.quantile(0.99),
        }
