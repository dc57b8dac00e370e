"""The figures of the README: what each is, its floor and its goal, and how a run is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One line of the table. ``better``: whether more or less is."""

    name: str
    says: str
    floor: float
    goal: float | None
    better: Literal["more", "less"] = "less"

    def met(self, value: float, bound: float) -> bool:
        return value >= bound if self.better == "more" else value <= bound


FIGURES = (
    Figure("recommend_share_of_noop", "/v1/recommend, 16 connections, share of a no-op handler", 0.25, 0.5, "more"),
    Figure("recommend_p50_ms", "its latency at one connection, p50, ms", 2, 1),
    Figure("recommend_p99_ms", "its latency at one connection, p99, ms", 10, 5),
    Figure("ingest_events_per_s", "ingest, batches of 100, durable and folded, events/s", 12_000, 25_000, "more"),
    Figure("ack_p50_ms", "one event per request at 50/s, ack p50, ms", 4, 2),
    Figure("ack_p99_ms", "one event per request at 50/s, ack p99, ms", 20, 10),
    Figure("fresh_known_p99_ms", "event sent → changed answer, known user, p99, ms", 25, 15),
    Figure("fresh_new_user_p99_ms", "event sent → changed answer, brand-new user, p99, ms", 1000, 200),
    Figure("fresh_new_item_p99_ms", "item sent → shown, brand-new item, p99, ms", 1000, 200),
    Figure("refold_events_per_s", "refold of the log, profiles ≥ 2 kB, events/s on one core", 40_000, 150_000, "more"),
    Figure(
        "learner_items_per_s",
        "learner: shown items joined and learned, one core, items/s",
        5_000,
        None,
        "more",
    ),
    Figure("learner_publish_p99_s", "window closed → weight published, p99, s", 2, None),
    Figure("retrain_s", "retraining on the whole journey, two cores, s", 120, None),
    Figure("swap_failed_or_mixed", "failed or mixed-version answers during swaps", 0, None),
    Figure("million_host_private_mb", "1,000,000 profiles: private memory of the host, MB", 1000, None),
    Figure("million_state_bytes_per_profile", "1,000,000 profiles: state on disk, bytes each", 2000, None),
    Figure("million_first_write_after_host_kill_s", "first write after kill -9 of the host, s", 5, 3),
    Figure("million_first_write_after_kill_of_everything_s", "first write after kill -9 of everything, s", 25, 15),
    Figure("cluster_refit_wall_s", "clusters of 1,000,000 profiles fitted again, two cores, s", 60, None),
    Figure(
        "segment_changes_per_cpu_s",
        "profile changes evaluated against 50 segments, one core, changes/s",
        15_000,
        40_000,
        "more",
    ),
    Figure("segment_memory_mb", "memory of membership, 1,000,000 profiles in 50 segments, MB", 200, 100),
    Figure("segment_backfill_s", "a new segment filled from 1,000,000 profiles, s", 60, 15),
    Figure("segment_timed_late_p99_ms", "timed transitions with 100,000 pending, late, p99, ms", 1000, 100),
    Figure("segment_visible_p99_ms", "event acknowledged → segment in the profile, 2,000 events/s, p99, ms", 100, 20),
    Figure("rest_memory_mb", "all processes at rest, MB (sum of PSS)", 2500, 1500),
    Figure("start_s", "a later start, s until ready", 15, None),
    Figure("stop_s", "SIGTERM until gone, s", 5, None),
)


def table(values: dict[str, float], machine: str) -> Table:
    """What was measured beside what is asked; then everything else that was."""
    shown = Table(title=f"Everfold on {machine}")
    for column in ("what", "measured", "at least", "goal", ""):
        shown.add_column(column, justify="left" if column == "what" else "right")
    for figure in FIGURES:
        value = values.get(figure.name)
        if value is None:
            continue
        goal = "" if figure.goal is None else f"{figure.goal:,g}"
        verdict = "missed" if not figure.met(value, figure.floor) else "ok"
        if figure.goal is not None and figure.met(value, figure.goal):
            verdict = "goal"
        shown.add_row(figure.says, _short(value), f"{figure.floor:,g}", goal, verdict)
    shown.add_section()
    for name in sorted(set(values) - {figure.name for figure in FIGURES}):
        shown.add_row(name, _short(values[name]), "", "", "")
    return shown


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"
