"""``everfold export decisions``: shown items with features, propensities and outcomes, as a Parquet file for notebooks.

One row per slot of a logged answer. The file holds what people did, if under random ids: whoever has it is answerable
for it, and an erasure in the store does not reach it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from events.clock import Clock
from events.errors import BadRequest
from serving.decision import Decision, Shown
from serving.decision_period import Period, open_period, since_of
from serving.decision_rows import JoinedList, what_became
from training.attribution import DEFAULT_WINDOWS, Row, Windows
from training.blend import FEATURES
from training.learned import OUTCOMES

LISTS_PER_GROUP: Final = 2_000
"""Answers per row group, about 24,000 rows and 10 MB in memory."""

Cells: TypeAlias = dict[str, object]

_MOMENT: Final = pa.timestamp("us", tz="UTC")
SCHEMA: Final = pa.schema(
    [
        pa.field("recommendation_id", pa.string()),
        pa.field("answered_at", _MOMENT),
        pa.field("subject", pa.string()),
        pa.field("surface", pa.string()),
        pa.field("policy", pa.string()),
        pa.field("model_version", pa.string()),
        pa.field("learned_version", pa.string()),
        pa.field("artefact", pa.string()),
        pa.field("items_version", pa.string()),
        pa.field("profile_version", pa.int64()),
        pa.field("test", pa.bool_()),
        pa.field("slot", pa.int16()),
        pa.field("item_id", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("gain", pa.float32()),
        pa.field("propensity", pa.float64()),
        pa.field("forced", pa.bool_()),
        pa.field("explored", pa.bool_()),
        pa.field("sources", pa.list_(pa.string())),
        pa.field("recommenders", pa.list_(pa.string())),
        pa.field("features", pa.list_(pa.float32())),
        pa.field("impression", pa.bool_()),
        pa.field("seen_at", _MOMENT),
        *(pa.field(outcome, pa.bool_()) for outcome in OUTCOMES),
        *(pa.field(f"{outcome}_at", _MOMENT) for outcome in OUTCOMES),
        pa.field("closed", pa.bool_()),
    ],
    metadata={
        "everfold.features": ",".join(FEATURES),
        "everfold.about": "features: those of each recommender in turn; closed: every attribution window had ended",
    },
)
"""The columns. ``subject`` is a random id, the same for one person; an answer to somebody nothing was known of has one
of its own."""


@dataclass(frozen=True)
class Exporting:
    """What is exported, and where to."""

    data: Path
    since: str
    out: Path


@dataclass(frozen=True)
class Exported:
    """What an export came to. ``unwilling`` and ``erased`` decisions are not in it."""

    lists: int
    rows: int
    seen: int
    outcomes: int
    unwilling: int
    erased: int


def export_decisions(what: Exporting, clock: Clock, windows: Windows = DEFAULT_WINDOWS) -> Exported:
    """Write the file, whole or not at all. Raises `BadRequest`, `NotFound` for a folder without a store."""
    now = clock.now()
    period = Period(since_of(what.since, now), now)
    folder = what.out.parent
    if not folder.is_dir():
        raise BadRequest(f"`--out {what.out}`: there is no folder {folder}, make it first")
    if what.out.is_dir():
        raise BadRequest(f"`--out {what.out}` is a folder: name a file in it")
    fresh = what.out.with_name(f".{what.out.name}.{os.getpid()}")
    try:
        with open_period(what.data) as reading:
            lists, rows, seen, outcomes = _write(fresh, what_became(reading, period, now, windows))
        fresh.rename(what.out)
        return Exported(lists, rows, seen, outcomes, reading.unwilling, reading.erased)
    finally:
        fresh.unlink(missing_ok=True)


def print_exported(what: Exporting, done: Exported, out: Console) -> None:
    out.print(
        f"{done.rows:,} shown items of {done.lists:,} answers since {what.since} are in {what.out}: {done.seen:,} were "
        f"seen, with {done.outcomes:,} outcomes.",
        soft_wrap=True,
    )
    out.print(
        f"Left out: {done.unwilling:,} answers without consent, {done.erased:,} of erased people. The file is personal "
        "data under random ids: keep it as such.",
        soft_wrap=True,
    )


def _write(path: Path, lists: Iterator[JoinedList]) -> tuple[int, int, int, int]:
    """(lists, rows, rows seen, outcomes)."""
    counts = [0, 0, 0, 0]
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        while group := list(islice(lists, LISTS_PER_GROUP)):
            table = rows_of(group)
            writer.write_table(table)
            seen = [row for one in group for row in one.rows if row is not None]
            counts[0] += len(group)
            counts[1] += table.num_rows
            counts[2] += len(seen)
            counts[3] += sum(len(row.outcome_at) for row in seen)
    return counts[0], counts[1], counts[2], counts[3]


def rows_of(lists: Iterable[JoinedList]) -> pa.Table:
    """One row per slot, in order."""
    return pa.Table.from_pylist([cells for joined in lists for cells in _slots(joined)], SCHEMA)


def _slots(joined: JoinedList) -> Iterator[Cells]:
    answered, decision = joined.answered, joined.answered.decision
    shared: Cells = {
        "recommendation_id": answered.place.text,
        "answered_at": answered.at,
        "subject": answered.subject.hex(),
        "surface": decision.rules.surface,
        "policy": decision.versions.policy,
        "model_version": decision.versions.model,
        "learned_version": decision.versions.learned,
        "artefact": decision.versions.artefact,
        "items_version": decision.versions.items,
        "profile_version": decision.versions.profile,
        "test": decision.test,
        "recommenders": decision.recommenders,
        "closed": joined.closed,
    }
    gains = np.frombuffer(decision.gains, "<f4")
    features = _features(decision)
    for slot, (shown, row) in enumerate(zip(decision.slate, joined.rows, strict=True)):
        own = {"slot": slot + 1, "gain": gains[slot] if slot < len(gains) else None, "features": features[slot]}
        yield {**shared, **own, **_shown(shown), **_became(row)}


def _features(decision: Decision) -> list[list[float]]:
    count = len(decision.slate)
    table: list[list[float]] = np.frombuffer(decision.features, "<f4").reshape(count, -1).tolist() if count else []
    return table


def _shown(shown: Shown) -> Cells:
    return {
        "item_id": shown.item,
        "score": shown.score,
        "propensity": shown.propensity,
        "forced": shown.forced,
        "explored": shown.explored,
        "sources": shown.sources,
    }


def _became(row: Row | None) -> Cells:
    at = row.outcome_at if row is not None else {}
    return {
        "impression": row is not None,
        "seen_at": row.at if row is not None else None,
        **{outcome: outcome in at for outcome in OUTCOMES},
        **{f"{outcome}_at": at.get(outcome) for outcome in OUTCOMES},
    }
