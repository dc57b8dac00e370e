"""How an import looks in a terminal: a bar, events per second, time to go."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} events/s" if task.speed else "– events/s", style="progress.data.speed")


class ImportBar:
    """A `serving.importing.Progress` to be used as a context manager. Events of an earlier run fill the bar from the
    start and do not count into the rate."""

    def __init__(self, title: str, console: Console) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._title = title
        self._task: TaskID | None = None
        self._rejected = 0

    def __enter__(self) -> ImportBar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, total: int | None, done: int) -> None:
        self._task = self._bar.add_task(self._title, total=total, completed=done, note="")

    def advance(self, events: int, rejected: int) -> None:
        assert self._task is not None, "begin() comes first"
        self._rejected += rejected
        note = f"{self._rejected} in quarantine" if self._rejected else ""
        self._bar.update(self._task, advance=events, note=note)
