"""Checkpoints of a state: compact, synced copies, two kept. What a machine crash is answered with, before replay."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from actors.lmdb_state import LmdbState, copy_data
from events.secrets import sync_folder

KEPT = 2
"""So that a crash while one is written, or one found unreadable, leaves another."""


class Checkpoints:
    """The numbered folders below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, state: LmdbState) -> Path:
        """Copy the last commit and drop what is older than the newest two. Commits may go on meanwhile."""
        self._folder.mkdir(exist_ok=True)
        held = self._held()
        fresh = self._folder / "new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        state.copy(fresh)
        sync_folder(fresh)
        taken = self._folder / f"{held[-1] + 1 if held else 1:08d}"
        fresh.rename(taken)
        sync_folder(self._folder)
        for number in held[: 1 - KEPT]:
            shutil.rmtree(self._folder / f"{number:08d}", ignore_errors=True)
        return taken

    def newest(self) -> Path | None:
        """The latest whole checkpoint; None when there is none."""
        held = self._held()
        return self._folder / f"{held[-1]:08d}" if held else None

    def restore(self, to: Path, beat: Callable[[], None]) -> bool:
        """Copy the newest checkpoint into the folder ``to``; False, and nothing done, when there is none."""
        newest = self.newest()
        if newest is None:
            return False
        to.mkdir()
        copy_data(newest, to, beat)
        return True

    def _held(self) -> list[int]:
        if not self._folder.exists():
            return []
        return sorted(int(entry.name) for entry in self._folder.iterdir() if entry.name.isdigit())
