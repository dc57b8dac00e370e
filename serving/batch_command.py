"""``everfold batch``: lists for everybody as a Ray job, into one Parquet file."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from actors.store import Store
from events.clock import Clock
from events.errors import BadRequest
from serving.batch import SCHEMA, SLICES, Lists, lists_of
from serving.settings import Settings
from training.retraining import Cluster, Job
from training.surface import surface_named

AHEAD: Final = 4
"""Slices under way or waiting to be written per CPU: what bounds memory."""
NICENESS: Final = 10


@dataclass(frozen=True)
class Batch:
    """The command line's wishes."""

    data: Path
    out: Path
    surface: str = "home"
    n: int = 12
    log: bool = False
    address: str = ""
    cpus: int | None = None


def run_batch(what: Batch, environ: Mapping[str, str], clock: Clock, console: Console) -> None:
    """Raises `BadRequest` for an unknown surface or a file that cannot be written, `NotFound` without a store, and what
    answers raise."""
    settings = Settings.load(what.data, environ)
    surface_named(settings.all_surfaces(), what.surface)
    _check_writable(what.out)
    wanted = Lists(what.data, settings, what.surface, what.n, what.log, clock.now())
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.nice(max(0, NICENESS - os.nice(0)))
    from training.on_ray import RayCluster  # Ray takes a second to import

    began = time.monotonic()
    with RayCluster(what.address, what.cpus) as cluster:
        count = write_lists(wanted, what.out, cluster, AHEAD * (what.cpus or os.cpu_count() or 1))
    seconds = time.monotonic() - began
    console.print(f"{count:,} lists are in {what.out} ({seconds:.0f} s)")


def write_lists(wanted: Lists, out: Path, cluster: Cluster, ahead: int) -> int:
    """Write a row group per slice, in the order of partitions and slices; how many lists there are. At most ``ahead``
    slices are held at once. ``out`` is there whole or not at all."""
    slices = [(number, part) for number in Store.open(wanted.data).numbers() for part in range(SLICES)]
    fresh = out.with_name(f".{out.name}.{os.getpid()}")
    count = 0
    try:
        with pq.ParquetWriter(fresh, SCHEMA) as writer:
            jobs: list[Job[pa.Table]] = []
            waiting = iter(slices)
            for _ in range(len(slices)):
                while len(jobs) < ahead and (following := next(waiting, None)) is not None:
                    jobs.append(cluster.start("lists", lists_of, wanted, *following, here=True))
                table = cluster.result(jobs.pop(0))
                if len(table):
                    writer.write_table(table)
                    count += len(table)
        fresh.rename(out)
    finally:
        fresh.unlink(missing_ok=True)
    return count


def _check_writable(out: Path) -> None:
    if out.is_dir() or not out.parent.is_dir():
        raise BadRequest(f"{out} cannot be written: name a file in a folder that exists")
