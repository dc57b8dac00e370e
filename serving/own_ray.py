"""Ray for a command: started when it is needed, at low priority, with a bar that says what is being done."""

from __future__ import annotations

import os
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from training.retraining import Cluster

NICENESS: Final = 10
"""It waits for whoever answers: our own Ray's processes inherit it."""


class OwnRay:
    """Ray is imported when it is needed, which takes a second, and started by ``with``."""

    def __init__(self, address: str, cpus: int | None) -> None:
        self._address = address
        self._cpus = cpus

    def __enter__(self) -> Cluster:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if not self._address:
            os.nice(max(0, NICENESS - os.nice(0)))
        from training.on_ray import RayCluster

        self._cluster = RayCluster(self._address, self._cpus)
        return self._cluster.__enter__()

    def __exit__(self, *why: object) -> None:
        self._cluster.__exit__(None, None, None)


class TaskBar:
    """What is being done, on the terminal; without one, a line per task that ended."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("starting Ray", total=None)

    def __enter__(self) -> TaskBar:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def tell(self, name: str, done: int, count: int) -> None:
        if self._console.is_terminal:
            self._progress.update(self._task, description=name, completed=done, total=count)
        else:
            self._console.print(f"{done}/{count} {name}")
