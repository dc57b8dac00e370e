"""Drift: is the world still the one the models were fitted on?

    Monitor.observe   every learned row → detections              (residuals by ADWIN, distributions by PSI and KS)

One detector alone is a hint. A detection takes two that agree within `Policy.agree_ms`, or one and a PSI that acts, and
one of them must be a residual: a catalogue that grows moves features without making any prediction wrong. Then the
same model and segment rest for `Policy.rest_ms`. Detections are values: the learner writes them as facts and raises
metric and alert; when they start retraining is for `serving.retrain_schedule`.

Nothing here reads a clock; time is that of the rows. The state is plain bytes, part by part (`Monitor.changed`), so
that a monitor that was killed goes on as the one that was not.

Delay and false alarms, measured on generated traffic by ``benchmarks/drift.py``, stand in ``docs/evaluation.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import msgspec

from events.errors import Corrupt
from training.drift_residuals import DEFAULT_WATCH, HOUR_MS, RESIDUALS, Cut, ResidualStream, Watch, logit
from training.drift_windows import KS_P, PSI_ACT, PSI_WARN, Shift, Windows

Detector: TypeAlias = Literal["prediction", "rate", "log_loss", "ks", "psi"]

DISTRIBUTION: Final[tuple[Detector, ...]] = ("ks", "psi")

EVERYBODY: Final = ""
"""The segment everybody is in."""

STREAMS_MAX: Final = 1024
"""Models times segments that are watched, first come, first served: 20 kB each. Further ones are counted, not
watched."""

_Key: TypeAlias = tuple[str, str]
"""(model, segment)."""

DAY_MS: Final = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Observed:
    """One row as it was learned."""

    model: str
    """Which prediction, such as ``home/click``."""
    segments: tuple[str, ...]
    """Those the person was in; `EVERYBODY` goes without saying."""
    at_ms: int
    """When the item was shown, ms since the epoch, UTC."""
    prediction: float
    """Probability of the outcome, before the row was learned."""
    outcome: float
    """1 or 0."""
    features: tuple[float, ...] | None = None
    """What the prediction was made of, as many for every row of a model; None: distributions are not watched."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What one detector found, with its evidence."""

    model: str
    segment: str
    detector: Detector
    at_ms: int
    """Log time: that of the row with which it was found."""
    before: float
    after: float
    """Means: of what the hour does not explain (residuals), or of the column (distributions)."""
    rows_before: int
    rows_after: int
    statistic: float
    """PSI, or the p-value of KS; 0 for ADWIN, which has none."""
    column: str = ""
    """``score`` or ``feature N``; empty for residuals."""
    acts: bool = True
    """Whether it counts towards a detection. A PSI that only warns does not."""


@dataclass(frozen=True, slots=True)
class Detection:
    """Detectors agree."""

    model: str
    segment: str
    detectors: tuple[Detector, ...]
    """Sorted."""
    at_ms: int
    signals: tuple[Signal, ...]
    """The newest of each detector, oldest first: the evidence."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When detectors count as agreeing."""

    agree_ms: int = 3 * DAY_MS
    """Two residuals of one change are found hours apart where traffic is thin."""
    rest_ms: int = DAY_MS
    """After a detection the same model and segment say nothing for so long."""
    watch: Watch = DEFAULT_WATCH


class _PackedPolicy(msgspec.Struct, frozen=True):
    """The policy's own memory."""

    hints: tuple[Signal, ...]
    resting: tuple[tuple[str, str, int], ...]


class Monitor:
    """Watches all models and segments of one learner. One thread."""

    def __init__(self, policy: Policy = Policy()) -> None:
        self._policy = policy
        self._streams: dict[_Key, ResidualStream] = {}
        self._windows: dict[str, Windows] = {}
        self._hints: dict[tuple[str, str, Detector], Signal] = {}
        self._resting: dict[_Key, int] = {}
        self._of: dict[tuple[str, tuple[str, ...]], tuple[tuple[_Key, ResidualStream], ...]] = {}
        """Which streams a row goes to: a cache."""
        self._touched: set[_Key] = set()
        self._touched_windows: set[str] = set()
        self.unwatched = 0
        """Times a stream beyond `STREAMS_MAX` was asked for. For metrics, not saved."""
        self.warnings: dict[tuple[str, str], float] = {}
        """(model, column) → PSI of its latest block, where that warns. For metrics, not saved."""

    def observe(self, row: Observed) -> list[Detection]:
        """One row. Rows come in the order they were learned; their times may go back a little.

        About 2 us for everybody and 0.7 us more per segment on the build machine (AMD EPYC), features included.
        """
        hour = row.at_ms // HOUR_MS
        miss = row.outcome - row.prediction
        excess = -miss * logit(row.prediction)
        signals: list[Signal] = []
        for key, stream in self._streams_of(row.model, row.segments):
            self._touched.add(key)
            if stream.add(hour, miss, row.outcome, excess):
                signals += [_residual(row, key[1], cut) for cut in stream.cuts()]
        if row.features is not None:
            signals += self._distributions(row, hour, row.features)
        return self._agreed(signals) if signals else []

    def rebase(self, model: str) -> None:
        """``model`` was fitted anew: its distributions from now on are the reference, its old hints are spent."""
        if model in self._windows:
            self._windows[model].rebase()
            self._touched_windows.add(model)
        for key in [key for key in self._hints if key[0] == model]:
            del self._hints[key]

    def changed(self) -> dict[str, bytes]:
        """The parts of the state that changed since this was asked last, to be stored under their names."""
        parts = {_name("residuals", *key): self._streams[key].pack() for key in sorted(self._touched)}
        for model in sorted(self._touched_windows):
            windows = self._windows[model]
            parts[_name("windows", model)] = windows.pack()
            if windows.reference_changed:
                parts[_name("reference", model)] = windows.pack_reference()
        self._touched.clear()
        self._touched_windows.clear()
        hints = tuple(self._hints.values())
        resting = tuple((*key, until) for key, until in self._resting.items())
        parts["policy"] = msgspec.msgpack.encode(_PackedPolicy(hints, resting))
        return parts

    @classmethod
    def restored(cls, parts: Mapping[str, bytes], policy: Policy = Policy()) -> Monitor:
        """The monitor whose `changed` these were, the newest of each name. Raises `Corrupt` for other bytes."""
        monitor = cls(policy)
        try:
            for name in sorted(parts):
                if name != "policy":
                    monitor._restore(name, parts)
            if "policy" in parts:
                packed = msgspec.msgpack.decode(parts["policy"], type=_PackedPolicy)
                monitor._hints = {(s.model, s.segment, s.detector): s for s in packed.hints}
                monitor._resting = {(model, segment): until for model, segment, until in packed.resting}
        except (msgspec.MsgspecError, ValueError) as error:
            raise Corrupt(f"drift state: not what was written ({error}): delete it, it is learned anew") from error
        return monitor

    def _restore(self, name: str, parts: Mapping[str, bytes]) -> None:
        kind, model, segment = msgspec.json.decode(name, type=tuple[str, str, str])
        if kind == "residuals":
            self._streams[model, segment] = ResidualStream.unpack(parts[name], self._policy.watch)
        elif kind == "windows":
            self._windows[model] = Windows.unpack(parts[name], parts.get(_name("reference", model)))

    def _streams_of(self, model: str, segments: tuple[str, ...]) -> tuple[tuple[_Key, ResidualStream], ...]:
        found = self._of.get((model, segments))
        if found is None:
            keys = [(model, segment) for segment in dict.fromkeys((EVERYBODY, *segments))]
            found = tuple((key, stream) for key in keys if (stream := self._stream(key)) is not None)
            if len(self._of) >= 4 * STREAMS_MAX:
                self._of.clear()
            self._of[model, segments] = found
        return found

    def _stream(self, key: _Key) -> ResidualStream | None:
        stream = self._streams.get(key)
        if stream is None and len(self._streams) < STREAMS_MAX:
            stream = self._streams[key] = ResidualStream(self._policy.watch)
        if stream is None:
            self.unwatched += 1
        return stream

    def _distributions(self, row: Observed, hour: int, features: tuple[float, ...]) -> list[Signal]:
        windows = self._windows.get(row.model)
        if windows is None:
            windows = self._windows[row.model] = Windows()
        self._touched_windows.add(row.model)
        found = []
        for shift in windows.add(hour, row.prediction, features):
            column = f"feature {shift.column}" if shift.column else "score"
            self.warnings.pop((row.model, column), None)
            if shift.psi >= PSI_WARN:
                self.warnings[row.model, column] = shift.psi
                found.append(_distribution(row, "psi", column, shift, shift.psi, shift.psi >= PSI_ACT))
            if shift.ks_p < KS_P:
                found.append(_distribution(row, "ks", column, shift, shift.ks_p, True))
        return found

    def _agreed(self, signals: Iterable[Signal]) -> list[Detection]:
        detections = []
        for signal in signals:
            if not signal.acts or self._rests(signal):
                continue
            self._hints[signal.model, signal.segment, signal.detector] = signal
            everywhere = signal.detector in DISTRIBUTION
            segments = self._hinted(signal.model) if everywhere else [signal.segment]
            for segment in segments:
                detection = self._detection(signal.model, segment, signal.at_ms)
                if detection is not None:
                    detections.append(detection)
        return detections

    def _rests(self, signal: Signal) -> bool:
        """A hint during the rest is a late echo of what was just told."""
        until = self._resting.get((signal.model, signal.segment), signal.at_ms)
        return signal.detector not in DISTRIBUTION and signal.at_ms < until

    def _hinted(self, model: str) -> list[str]:
        """Segments of ``model`` with a residual's hint."""
        return sorted({s.segment for s in self._hints.values() if s.model == model and s.detector not in DISTRIBUTION})

    def _detection(self, model: str, segment: str, at_ms: int) -> Detection | None:
        since = at_ms - self._policy.agree_ms
        own = [self._hints.get((model, segment, detector)) for detector in RESIDUALS]
        shared = [self._hints.get((model, EVERYBODY, detector)) for detector in DISTRIBUTION]
        residuals = [signal for signal in own if signal is not None and signal.at_ms >= since]
        agreeing = residuals + [signal for signal in shared if signal is not None and signal.at_ms >= since]
        if not residuals or len(agreeing) < 2:
            return None
        for signal in residuals:
            del self._hints[model, segment, signal.detector]
        self._resting[model, segment] = at_ms + self._policy.rest_ms
        evidence = tuple(sorted(agreeing, key=lambda signal: (signal.at_ms, signal.detector)))
        return Detection(model, segment, tuple(sorted(signal.detector for signal in agreeing)), at_ms, evidence)


def _residual(row: Observed, segment: str, cut: Cut) -> Signal:
    return Signal(
        row.model, segment, cut.residual, row.at_ms, cut.before, cut.after, cut.rows_before, cut.rows_after, 0.0
    )


def _distribution(row: Observed, detector: Detector, column: str, shift: Shift, statistic: float, acts: bool) -> Signal:
    return Signal(
        row.model,
        EVERYBODY,
        detector,
        row.at_ms,
        shift.before,
        shift.after,
        shift.rows_before,
        shift.rows_after,
        statistic,
        column,
        acts,
    )


def _name(*parts: str) -> str:
    """A part's name: JSON, because segments and surfaces may be called anything."""
    return msgspec.json.encode((*parts, "") if len(parts) == 2 else parts).decode()
