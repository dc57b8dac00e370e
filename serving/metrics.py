"""Numbers about the service, summed over all its processes whichever of them is asked.

Each replica keeps its numbers in a small memory-mapped file under ``DIR/run/metrics``; adding to one is a store into
that memory (no lock, no call). The replica that is asked for ``/metrics`` reads everybody's files and adds them up. The
numbers of a process that died stay in the sum (counters never fall); its gauges are left out. Hosts and followers
report through the backend (`serving.host_numbers`).

File: 4,096 little-endian float64 values, the first being how many are in use, then the names, one a line, each already
in the form Prometheus reads (``name{label="value"}``).
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from ctypes import Array, c_double
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from actors.histogram import BOUNDS_S

CELLS = 4096
NAMES_AT = CELLS * 8
SIZE = NAMES_AT + (512 << 10)

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Labels: TypeAlias = Mapping[str, str]


@dataclass(frozen=True)
class Metric:
    """``merge`` says how gauges of several processes become one number."""

    kind: Kind
    doc: str
    merge: Literal["sum", "max", "min"] = "sum"


METRICS: Mapping[str, Metric] = {
    "everfold_http_requests_total": Metric("counter", "Requests answered, by route and status"),
    "everfold_http_seconds": Metric("histogram", "Time to answer, by route"),
    "everfold_events_total": Metric("counter", "Events by what became of them: ok, duplicate, quarantined"),
    "everfold_quarantined_total": Metric("counter", "Events set aside, by reason"),
    "everfold_partition_stopped": Metric("gauge", "1 for a partition that takes no writes", "max"),
    "everfold_writes_refused_total": Metric("counter", "Write requests answered 503, by error code"),
    "everfold_answers_total": Metric("counter", "Recommendations answered, by surface"),
    "everfold_answers_unlogged_total": Metric("counter", "Recommendations whose decision could not be logged"),
    "everfold_recommender_failures_total": Metric("counter", "Recommenders dropped from an answer, by name and reason"),
    "everfold_prediction_cache_total": Metric("counter", "Answers about nobody: ranking found (hit) or made (miss)"),
    "everfold_model_swaps_total": Metric("counter", "Times a replica took over another model"),
    "everfold_models_refused_total": Metric("counter", "Models a replica could not load; the one before stays"),
    "everfold_learned_unreadable_total": Metric(
        "counter", "Published weights that could not be read; the ones before stay"
    ),
    "everfold_state_age_seconds": Metric("gauge", "Age of the state answers were made from, newest answer", "max"),
    "everfold_replicas": Metric("gauge", "Serving processes that are alive"),
    "everfold_host_up": Metric("gauge", "1 while the partition host answers", "min"),
    "everfold_host_restarts_total": Metric("counter", "Times a partition was opened anew, by partition"),
    "everfold_append_seconds": Metric("histogram", "Append of one group of records, durable"),
    "everfold_fsync_seconds": Metric("histogram", "fdatasync of the log"),
    "everfold_durable_lsn": Metric("gauge", "End of the durable log, by partition", "max"),
    "everfold_applied_lsn": Metric("gauge", "End of what the committed state holds, by partition", "max"),
    "everfold_durable_minus_applied": Metric("gauge", "Records durable but not yet in the state, by partition", "max"),
    "everfold_dedupe_hits_total": Metric("counter", "Events dropped as already known"),
    "everfold_follower_up": Metric("gauge", "1 while a follower runs", "min"),
    "everfold_follower_lag_records": Metric("gauge", "Records a follower has not read yet", "max"),
    "everfold_follower_deferred": Metric("gauge", "1 while a follower makes rows anew from what it has read", "max"),
    "everfold_follower_age_seconds": Metric("gauge", "Age of the oldest record a follower has not read", "max"),
    "everfold_webhook_deliveries_total": Metric("counter", "Transitions a webhook took (sent) or never did (given_up)"),
    "everfold_learner_rows_total": Metric("counter", "Shown items learned from, by outcome"),
    "everfold_learner_positives_total": Metric("counter", "Of these, those the outcome came of"),
    "everfold_learner_ratings_total": Metric("counter", "Ratings the online rating model learned"),
    "everfold_learner_acts_total": Metric("counter", "Acts by outcome and by what joined them to a shown item"),
    "everfold_learner_left_out_total": Metric("counter", "What the learner did not learn from, by reason"),
    "everfold_learner_lists_pending": Metric("gauge", "Lists whose windows are open"),
    "everfold_learner_publications_total": Metric("counter", "Times learned weights were published"),
    "everfold_learner_log_loss": Metric("gauge", "Progressive log-loss, by surface and outcome", "max"),
    "everfold_learner_auc": Metric("gauge", "Progressive AUC, by surface and outcome", "max"),
    "everfold_learner_calibration": Metric("gauge", "Predicted over happened, by surface and outcome", "max"),
    "everfold_learner_calibration_error": Metric("gauge", "Mean distance of predicted from happened, in bins", "max"),
    "everfold_drift_detections_total": Metric("counter", "Times the world was found to have changed"),
    "everfold_alerts_total": Metric("counter", "Alerts by what became of them: sent, failed, dropped"),
    "everfold_segments": Metric("gauge", "Segments defined"),
    "everfold_segment_members": Metric("gauge", "Memberships, of all segments"),
    "everfold_segment_transitions_total": Metric("counter", "Times somebody entered or left a segment that still is"),
    "everfold_segment_transitions_waiting": Metric("gauge", "Transitions not in the log yet"),
    "everfold_segment_timers_pending": Metric("gauge", "Profiles that time alone can move"),
    "everfold_segment_backfill_waiting": Metric("gauge", "Profiles not looked at yet with new definitions"),
    "everfold_segment_unnamed_total": Metric("counter", "Transitions of profiles that no fact can name"),
    "everfold_content_alerts_total": Metric("counter", "Times somebody was told of new items"),
    "everfold_content_alerts_waiting": Metric("gauge", "Content alerts not in the log yet"),
    "everfold_content_news_waiting": Metric("gauge", "New items that nobody was told of yet"),
    "everfold_outbox_backlog": Metric("gauge", "Facts a follower has not got into the log yet"),
    "everfold_spool_backlog_bytes": Metric("gauge", "Decision records not yet shipped"),
    "everfold_lmdb_oldest_reader_commits": Metric("gauge", "Commits since the oldest LMDB read began", "max"),
    "everfold_lmdb_map_used_bytes": Metric("gauge", "Bytes in use of the state's memory map"),
    "everfold_disk_free_bytes": Metric("gauge", "Free bytes where the log lies", "min"),
}
"""Every metric there is. A name not in here cannot be used."""


def series(name: str, **labels: str) -> str:
    """The name of one series as Prometheus reads it.

    >>> series("everfold_events_total", outcome='o"k')
    'everfold_events_total{outcome="o\\\\"k"}'
    """
    pairs = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
    return f"{name}{{{pairs}}}" if pairs else name


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


Cells: TypeAlias = "Array[c_double]"


class Counter:
    """A number that grows."""

    __slots__ = ("_at", "_cells")

    def __init__(self, cells: Cells, at: int) -> None:
        self._cells = cells
        self._at = at

    def add(self, by: float = 1.0) -> None:
        self._cells[self._at] += by

    def set(self, value: float) -> None:
        self._cells[self._at] = value

    @property
    def value(self) -> float:
        return self._cells[self._at]


class Histogram:
    """Counts of observations per bucket of `BOUNDS_S`, and their sum."""

    __slots__ = ("_at", "_cells")

    def __init__(self, cells: Cells, at: int) -> None:
        self._cells = cells
        self._at = at

    def observe(self, seconds: float) -> None:
        cells, at = self._cells, self._at
        cells[at] += seconds
        cells[at + 1 + bisect_left(BOUNDS_S, seconds)] += 1.0


HISTOGRAM_CELLS = len(BOUNDS_S) + 2


class Numbers:
    """One process's numbers. ``path`` None keeps them in this process only."""

    def __init__(self, path: Path | None = None) -> None:
        self._map = _mapped(path) if path else mmap.mmap(-1, SIZE)
        self._cells: Cells = (c_double * CELLS).from_buffer(self._map)
        self._cells[0] = 1.0
        self._names_end = NAMES_AT
        self._known: dict[str, int] = {}

    def counter(self, name: str, **labels: str) -> Counter:
        return Counter(self._cells, self._cell(name, ("counter",), labels))

    def gauge(self, name: str, **labels: str) -> Counter:
        return Counter(self._cells, self._cell(name, ("gauge",), labels))

    def histogram(self, name: str, **labels: str) -> Histogram:
        return Histogram(self._cells, self._cell(name, ("histogram",), labels, HISTOGRAM_CELLS))

    def _cell(self, name: str, kinds: tuple[Kind, ...], labels: Labels, count: int = 1) -> int:
        assert METRICS[name].kind in kinds, f"{name} is a {METRICS[name].kind}"
        known = series(name, **labels)
        at = self._known.get(known)
        if at is None:
            at = int(self._cells[0])
            line = (known + "\n").encode() + b"\n" * (count - 1)
            assert at + count <= CELLS, "more series than a process may have: label values must be a small closed set"
            assert self._names_end + len(line) <= SIZE
            self._map[self._names_end : self._names_end + len(line)] = line
            self._names_end += len(line)
            self._cells[0] = float(at + count)
            self._known[known] = at
        return at

    def read(self) -> dict[str, list[float]]:
        return _read(self._map[:])


def _mapped(path: Path) -> mmap.mmap:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.ftruncate(handle, SIZE)
        return mmap.mmap(handle, SIZE)
    finally:
        os.close(handle)


def _read(raw: bytes) -> dict[str, list[float]]:
    if len(raw) < SIZE:
        return {}
    cells = np.frombuffer(raw, "<f8", CELLS)
    used = int(cells[0])
    names = raw[NAMES_AT:].split(b"\n", used - 1)[: used - 1]
    found: dict[str, list[float]] = {}
    for at, name in enumerate(names, 1):
        if name:
            known = name.decode()
            kind = METRICS[known.partition("{")[0]].kind
            found[known] = cells[at : at + (HISTOGRAM_CELLS if kind == "histogram" else 1)].tolist()
    return found


def file_of(folder: Path, pid: int) -> Path:
    """The file of a process: its pid and start time, so that a reused pid is not taken for it."""
    return folder / f"{pid}.{_started(pid)}.numbers"


def _started(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return "gone"


def alive(folder: Path) -> int:
    """How many of the processes that publish in ``folder`` live."""
    return sum(_is_alive(path) for path in folder.glob("*.numbers"))


def _is_alive(path: Path) -> bool:
    pid, _, started = path.stem.partition(".")
    return pid.isdecimal() and _started(int(pid)) == started


class Merged:
    """Numbers of many processes as one."""

    def __init__(self) -> None:
        self._totals: dict[str, list[float]] = {}
        self.replicas = 0

    @classmethod
    def of(cls, folder: Path) -> Merged:
        merged = cls()
        for path in sorted(folder.glob("*.numbers")):
            lives = _is_alive(path)
            merged.replicas += lives
            merged.add(_read(path.read_bytes()), lives=lives)
        return merged

    def add(self, numbers: Mapping[str, list[float]], *, lives: bool = True) -> None:
        for name, values in numbers.items():
            metric = METRICS[name.partition("{")[0]]
            if metric.kind == "gauge" and not lives:
                continue
            known = self._totals.get(name)
            self._totals[name] = list(values) if known is None else _merge(metric, known, values)

    def text(self) -> str:
        """Everything in Prometheus' text format, in name order; histograms with p50 and p99 beside them."""
        by_metric: dict[str, list[str]] = defaultdict(list)
        for name in self._totals:
            by_metric[name.partition("{")[0]].append(name)
        lines: list[str] = []
        for metric in sorted(by_metric):
            lines += self._lines(metric, sorted(by_metric[metric]))
        return "".join(f"{line}\n" for line in lines)

    def _lines(self, metric: str, names: list[str]) -> Iterator[str]:
        about = METRICS[metric]
        yield f"# HELP {metric} {about.doc}"
        yield f"# TYPE {metric} {about.kind}"
        if about.kind != "histogram":
            for name in names:
                yield f"{name} {_number(self._totals[name][0])}"
            return
        for name in names:
            yield from _histogram_lines(metric, _labels(name), self._totals[name])
        yield f"# HELP {metric}_quantile {about.doc}, estimated from the buckets"
        yield f"# TYPE {metric}_quantile gauge"
        for name in names:
            for share in (0.5, 0.99):
                value = quantile(self._totals[name][1:], share)
                yield f"{_with(metric + '_quantile', _labels(name), 'quantile', str(share))} {_number(value)}"


def _merge(metric: Metric, left: list[float], right: list[float]) -> list[float]:
    if metric.kind != "gauge" or metric.merge == "sum":
        return [a + b for a, b in zip(left, right, strict=True)]
    pick = max if metric.merge == "max" else min
    return [pick(a, b) for a, b in zip(left, right, strict=True)]


def _labels(name: str) -> str:
    return name.partition("{")[2].removesuffix("}")


def _with(metric: str, labels: str, name: str, value: str) -> str:
    return f'{metric}{{{labels}{"," if labels else ""}{name}="{value}"}}'


def _histogram_lines(metric: str, labels: str, cells: list[float]) -> Iterator[str]:
    total = 0.0
    for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), cells[1:], strict=True):
        total += count
        yield f"{_with(metric + '_bucket', labels, 'le', bound)} {_number(total)}"
    suffix = f"{{{labels}}}" if labels else ""
    yield f"{metric}_sum{suffix} {_number(cells[0])}"
    yield f"{metric}_count{suffix} {_number(total)}"


def quantile(counts: list[float], share: float) -> float:
    """The value below which ``share`` of the observations lie, linear within its bucket; 0 without observations, the
    last bound for what lies above it.

    >>> quantile([10.0] + [0.0] * 22, 0.5) == BOUNDS_S[0] / 2
    True
    """
    wanted = share * sum(counts)
    below = 0.0
    for at, count in enumerate(counts):
        if count and below + count >= wanted:
            if at == len(BOUNDS_S):
                return BOUNDS_S[-1]
            low = BOUNDS_S[at - 1] if at else 0.0
            return low + (BOUNDS_S[at] - low) * (wanted - below) / count
        below += count
    return 0.0


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
