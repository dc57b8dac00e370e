"""Latencies as counts in buckets whose width grows with the value, per stretch of time: any quantile of any stretch
afterwards, in memory that depends on neither rate nor duration, and histograms of several processes simply add up.

The layout is that of HdrHistogram (Gil Tene, hdrhistogram.org): values below 2^8 µs each have a bucket, and every
further power of two is cut into 2^7 buckets, so a value is known to 1/128 of itself. Of its own and not the package's,
because here a whole run is one matrix (stretch by bucket), sent between processes and added up as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

BITS: Final = 8
HALF: Final = 1 << (BITS - 1)
MOST_US: Final = (1 << 27) - 1
"""Longer ones count as this, 134 s: nobody waits that long, and a load run gives up far earlier."""
STRETCHES_MAX: Final = 600
"""A run of ten minutes is cut into seconds, a longer one into longer stretches."""


def bucket(us: int) -> int:
    """The bucket of a value in microseconds; those beyond the range go to its ends.

    >>> bucket(-3), bucket(0), bucket(255), bucket(256), bucket(257), bucket(10**12) == BUCKETS - 1
    (0, 0, 255, 256, 256, True)
    """
    us = min(max(us, 0), MOST_US)
    shift = max(us.bit_length() - BITS, 0)
    return shift * HALF + (us >> shift)


BUCKETS: Final = bucket(MOST_US) + 1


def _uppers() -> NDArray[np.float64]:
    """The largest value of each bucket, in seconds."""
    at = np.arange(BUCKETS, dtype=np.int64)
    shift = np.maximum(at // HALF - 1, 0)
    uppers: NDArray[np.float64] = ((at - shift * HALF + 1 << shift) - 1).astype(np.float64) / 1e6
    return uppers


UPPERS: Final = _uppers()


@dataclass
class Latencies:
    """``counts``: uint32, stretch by bucket; ``stretch_s``: how long a stretch is."""

    stretch_s: float
    counts: NDArray[np.uint32] = field(repr=False)

    @classmethod
    def over(cls, seconds: float) -> Latencies:
        """For a run of so many seconds; what is later still belongs to the last stretch."""
        stretch = stretch_of(seconds)
        return cls(stretch, np.zeros((stretches_of(seconds), BUCKETS), np.uint32))

    def add(self, at_s: float, seconds: float) -> None:
        """One latency of something due ``at_s`` after the start."""
        stretch = min(max(int(at_s / self.stretch_s), 0), len(self.counts) - 1)
        self.counts[stretch, bucket(int(seconds * 1e6))] += 1

    def merge(self, other: Latencies) -> None:
        """Take in another process's. Both must be `over` the same time."""
        assert self.counts.shape == other.counts.shape, "histograms of one run only"
        self.counts += other.counts

    @property
    def number(self) -> int:
        return int(self.counts.sum())

    def quantiles(self, shares: Sequence[float], since_s: float = 0.0) -> list[float]:
        """Latencies in seconds that these shares of the requests due from ``since_s`` on did not exceed (nearest rank,
        at most 1/128 too large); NaN where there were none."""
        return _quantiles(self.counts[int(since_s / self.stretch_s) :].sum(axis=0), shares)

    def over_time(self, share: float, width: int = 1) -> list[float]:
        """The quantile of every ``width`` stretches."""
        starts = range(0, len(self.counts), width)
        return [_quantiles(self.counts[at : at + width].sum(axis=0), (share,))[0] for at in starts]


def stretch_of(seconds: float) -> float:
    """How long one stretch of a run is.

    >>> stretch_of(5), stretch_of(600), stretch_of(6000)
    (1.0, 1.0, 10.0)
    """
    return max(1.0, seconds / STRETCHES_MAX)


def stretches_of(seconds: float) -> int:
    """How many stretches a run has, the last one perhaps cut short."""
    return max(1, int(np.ceil(seconds / stretch_of(seconds) - 1e-9)))


def _quantiles(counts: NDArray[np.integer], shares: Sequence[float]) -> list[float]:
    total = np.cumsum(counts, dtype=np.int64)
    if not total[-1]:
        return [float("nan")] * len(shares)
    ranks = [min(max(int(np.ceil(share * total[-1])), 1), int(total[-1])) for share in shares]
    return [float(UPPERS[np.searchsorted(total, rank)]) for rank in ranks]
