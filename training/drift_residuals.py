"""Is a model still right? Its errors by hour of the week, watched by ADWIN.

Each shown item gives, with p the predicted probability and y in {0, 1} what became of it,

    prediction   y - p                   too many or too few, against the model's own word
    rate         y                       more or less than there used to be
    log_loss     -(y - p) · logit(p)     log-loss above the entropy of p: confident and wrong. Mean 0 for a calibrated p

Nights differ from evenings and Sundays from Mondays, and a model that does not know the hour errs by the hour. So what
ADWIN sees is each of them minus what its hour of the week used to bring (`Baseline`); raw rates would raise an alarm
every evening. Bifet and Gavaldà: Learning from time-changing data with adaptive windowing, SIAM SDM 2007; the
implementation is River's, whose state is saved and restored exactly.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias, cast

import msgspec
import numpy as np
import numpy.typing as npt
from river.drift import ADWIN

Residual: TypeAlias = Literal["prediction", "rate", "log_loss"]
RESIDUALS: Final[tuple[Residual, ...]] = ("prediction", "rate", "log_loss")

HOUR_MS: Final = 3_600_000
DAY_HOURS: Final = 24
WEEK_HOURS: Final = 168
_MONDAY: Final = 72
"""1 January 1970 was a Thursday: hours since the epoch plus this, modulo 168, is 0 on Mondays at 0:00 UTC."""

BATCH: Final = 10
"""Rows summed before ADWIN sees them, about one list: a tenth of the cost, and rows of one list, which are alike, count
as one draw. Sums, not means: ADWIN's bound is then the same as row by row."""

WEEKLY_KEPT: Final = 0.5**0.25
"""What a week's end leaves of the baseline's sums: a half-life of four weeks."""

CELL_ROWS: Final = 2_000.0
"""Rows an hour of the week needs to speak half for itself beyond day plus hour. At a rate of 5 % its mean is then known
to .005, a tenth of the rate."""

RECENT_BATCHES: Final = 512
"""Batches kept one by one, to say since when and by how much."""

LEAST_BATCHES: Final = 16
"""Fewest batches a change is measured on: fewer differ by a fifth of a rate of 5 % by chance alone."""

P_MIN: Final = 1e-3
"""Predictions are kept this far from 0 and 1, so that one surprise cannot move a mean by itself: |logit| <= 6.9."""

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Watch:
    """When to believe it."""

    delta: float = 0.0005
    """ADWIN's bound on the probability of a false cut, per test. River's own is .002."""
    check_every: int = 8
    """Batches between two tests."""
    least_change: float = 0.2
    """Smallest change worth a word, as a share of the rate (for log-loss, of its entropy). With rows enough ADWIN finds
    also what is left of the hours in a baseline of few weeks, a tenth of the rate; nobody retrains for that."""
    warm_up_hours: int = WEEK_HOURS
    """No alarm before the baseline has seen a week. Where predictions know the hour, a day or 0 will do."""


DEFAULT_WATCH: Final = Watch()


@dataclass(frozen=True, slots=True)
class Cut:
    """ADWIN cut its window in two: means per row of what its hour of the week does not explain."""

    residual: Residual
    before: float
    after: float
    rows_before: int
    rows_after: int


class Baseline:
    """What an hour of the week used to bring: hour of day + day of week - overall, plus as much of the hour's own mean
    as its rows vouch for (`CELL_ROWS`). The current hour never stands in its own way: it is added when it is over.

    ``hour`` counts since the epoch, UTC; where clocks are put forward, two hours of a year's 8,760 are off by one.
    """

    def __init__(self, sums: Floats | None = None, rows: Floats | None = None, week: int = 0) -> None:
        """``sums`` has shape (residuals, hours of the week), ``rows`` (hours of the week,)."""
        self.sums = np.zeros((len(RESIDUALS), WEEK_HOURS)) if sums is None else sums
        self.rows = np.zeros(WEEK_HOURS) if rows is None else rows
        self.week = week

    def add(self, hour: int, sums: Floats, rows: int) -> None:
        """An hour that is over."""
        week, cell = divmod(hour + _MONDAY, WEEK_HOURS)
        if week > self.week:
            kept = WEEKLY_KEPT ** min(week - self.week, 1000)
            self.sums *= kept
            self.rows *= kept
            self.week = week
        self.sums[:, cell] += sums
        self.rows[cell] += rows

    def expected(self, hour: int) -> Floats:
        """Mean per row of each residual in this hour; 0 while nothing is known."""
        total = float(self.rows.sum())
        if not total:
            return np.zeros(len(RESIDUALS))
        cell = (hour + _MONDAY) % WEEK_HOURS
        day = cell // DAY_HOURS
        overall = self.sums.sum(axis=1) / total
        of_day, of_hour = slice(day * DAY_HOURS, (day + 1) * DAY_HOURS), slice(cell % DAY_HOURS, None, DAY_HOURS)
        additive: Floats = self._mean(of_day, overall, CELL_ROWS) + self._mean(of_hour, overall, CELL_ROWS) - overall
        return self._mean(slice(cell, cell + 1), additive, CELL_ROWS)

    @property
    def rate(self) -> float:
        """Overall share of rows with the outcome; 0 while nothing is known."""
        total = float(self.rows.sum())
        return float(self.sums[RESIDUALS.index("rate")].sum()) / total if total else 0.0

    def _mean(self, cells: slice, prior: Floats, weight: float) -> Floats:
        mean: Floats = (self.sums[:, cells].sum(axis=1) + weight * prior) / (self.rows[cells].sum() + weight)
        return mean


class _PackedWindow(msgspec.Struct, frozen=True):
    total: float
    batches: int
    recent: bytes
    adwin: bytes


class _Helper(Protocol):
    """River's window in Rust. Its state is a string of bytes, exact."""

    def __getstate__(self) -> bytes: ...

    def __setstate__(self, state: bytes) -> None: ...


class _Adwin(Protocol):
    """`river.drift.ADWIN`, with types."""

    _helper: _Helper

    @property
    def drift_detected(self) -> bool: ...

    def update(self, x: float) -> None: ...


_ADWIN: Final = cast(Callable[..., _Adwin], ADWIN)


class _Window:
    """One ADWIN, and what it has seen since it began, for the evidence. ADWIN says that its window holds a change, not
    where: it drops old buckets only until the rest could be of one piece, which leaves most of them standing."""

    __slots__ = ("adwin", "batches", "recent", "total")

    def __init__(self, watch: Watch) -> None:
        self.adwin = _ADWIN(delta=watch.delta, clock=watch.check_every)
        self.total, self.batches = 0.0, 0
        self.recent: deque[float] = deque(maxlen=RECENT_BATCHES)

    def add(self, value: float) -> bool:
        """One batch; whether the window now holds a change. Then it is for the caller to begin another."""
        self.total += value
        self.batches += 1
        self.recent.append(value)
        self.adwin.update(value)
        return self.adwin.drift_detected

    def pack(self) -> _PackedWindow:
        recent = np.array(self.recent, "<f8").tobytes()
        return _PackedWindow(self.total, self.batches, recent, self.adwin._helper.__getstate__())

    def unpack(self, packed: _PackedWindow) -> None:
        self.total, self.batches = packed.total, packed.batches
        self.recent.extend(np.frombuffer(packed.recent, "<f8").tolist())
        self.adwin._helper.__setstate__(packed.adwin)

    def cut(self, residual: Residual) -> Cut:
        """The last 16, 32, 64, ... batches against those before: where they differ most, for their number."""
        latest = np.cumsum(np.array(self.recent)[::-1])
        sizes = LEAST_BATCHES * 2 ** np.arange(len(latest).bit_length())
        sizes = sizes[(sizes <= len(latest)) & (sizes < self.batches)]
        if not len(sizes):
            mean = self.total / self.batches / BATCH
            return Cut(residual, mean, mean, 0, self.batches * BATCH)
        after = latest[sizes - 1] / sizes
        before = (self.total - latest[sizes - 1]) / (self.batches - sizes)
        best = int(np.argmax(np.abs(after - before) * np.sqrt(sizes * (1.0 - sizes / self.batches))))
        size = int(sizes[best])
        rows = self.batches * BATCH
        return Cut(residual, float(before[best]) / BATCH, float(after[best]) / BATCH, rows - size * BATCH, size * BATCH)


class _Packed(msgspec.Struct, frozen=True):
    sums: bytes
    rows: bytes
    week: int
    hour: int
    first_hour: int
    hour_sums: tuple[float, ...]
    hour_rows: int
    batch: tuple[float, ...]
    batch_rows: int
    windows: tuple[_PackedWindow, ...]


class ResidualStream:
    """The residuals of one model in one segment, row by row, in the order they were learned."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._baseline = Baseline()
        self._hour = self._first_hour = -1
        self._expected = (0.0,) * len(RESIDUALS)
        self._hour_sums, self._hour_rows = np.zeros(len(RESIDUALS)), 0
        self._miss = self._outcome = self._excess = 0.0
        self._batch_rows = 0
        self._windows = [_Window(watch) for _ in RESIDUALS]

    def add(self, hour: int, miss: float, outcome: float, excess: float) -> bool:
        """One row; True when a batch is full and `cuts` wants to be asked. ``hour`` since the epoch."""
        if hour > self._hour:
            self._turn(hour)
        self._miss += miss
        self._outcome += outcome
        self._excess += excess
        self._batch_rows += 1
        return self._batch_rows >= BATCH

    def cuts(self) -> list[Cut]:
        """Close the batch; what ADWIN found with it."""
        sums = (self._miss, self._outcome, self._excess)
        self._miss = self._outcome = self._excess = 0.0
        self._batch_rows = 0
        self._hour_sums += sums
        self._hour_rows += BATCH
        if self._hour - self._first_hour < self._watch.warm_up_hours:
            return []
        found = []
        for number, name in enumerate(RESIDUALS):
            value = sums[number] - BATCH * self._expected[number]
            if self._windows[number].add(value):
                found.append(self._windows[number].cut(name))
                self._windows[number] = _Window(self._watch)
        return [cut for cut in found if self._matters(cut)]

    def pack(self) -> bytes:
        """Everything, exactly: `unpack` goes on as if nothing had happened."""
        return msgspec.msgpack.encode(
            _Packed(
                self._baseline.sums.astype("<f8").tobytes(),
                self._baseline.rows.astype("<f8").tobytes(),
                self._baseline.week,
                self._hour,
                self._first_hour,
                tuple(self._hour_sums.tolist()),
                self._hour_rows,
                (self._miss, self._outcome, self._excess),
                self._batch_rows,
                tuple(window.pack() for window in self._windows),
            )
        )

    @classmethod
    def unpack(cls, data: bytes, watch: Watch) -> ResidualStream:
        """What `pack` was given. Raises `msgspec.MsgspecError` for other bytes."""
        packed = msgspec.msgpack.decode(data, type=_Packed)
        stream = cls(watch)
        sums = np.frombuffer(packed.sums, "<f8").astype(np.float64).reshape(len(RESIDUALS), WEEK_HOURS)
        stream._baseline = Baseline(sums, np.frombuffer(packed.rows, "<f8").astype(np.float64), packed.week)
        stream._hour, stream._first_hour = packed.hour, packed.first_hour
        stream._expected = tuple(stream._baseline.expected(packed.hour).tolist())
        stream._hour_sums, stream._hour_rows = np.array(packed.hour_sums), packed.hour_rows
        stream._miss, stream._outcome, stream._excess = packed.batch
        stream._batch_rows = packed.batch_rows
        for window, state in zip(stream._windows, packed.windows, strict=True):
            window.unpack(state)
        return stream

    def _matters(self, cut: Cut) -> bool:
        """A change either way of a rate, and a rise of log-loss, if large enough; better than expected is no alarm."""
        rate = self._baseline.rate
        if cut.residual == "log_loss":
            return cut.after - cut.before >= self._watch.least_change * entropy(rate)
        return abs(cut.after - cut.before) >= self._watch.least_change * rate

    def _turn(self, hour: int) -> None:
        """Another hour begins. A batch begun in the one before ends in this one."""
        if self._first_hour < 0:
            self._first_hour = hour
        elif self._hour_rows:
            self._baseline.add(self._hour, self._hour_sums, self._hour_rows)
        self._hour = hour
        self._hour_sums, self._hour_rows = np.zeros(len(RESIDUALS)), 0
        self._expected = tuple(self._baseline.expected(hour).tolist())


def logit(prediction: float) -> float:
    """log(p / (1 - p)), p kept `P_MIN` from 0 and 1.

    >>> logit(0.5), round(logit(0.0), 2)
    (0.0, -6.91)
    """
    p = min(max(prediction, P_MIN), 1.0 - P_MIN)
    return math.log(p / (1.0 - p))


def entropy(p: float) -> float:
    """-p·log p - (1 - p)·log(1 - p), nats.

    >>> entropy(0.0), round(entropy(0.5), 4)
    (0.0, 0.6931)
    """
    return sum(q * math.log(1.0 / q) for q in (p, 1.0 - p) if q > 0)
