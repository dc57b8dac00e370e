"""The follower of content alerts of a store on this machine, opened from its data folder."""

from __future__ import annotations

import os
import shutil

from actors.content_alerts import FOLDER, STRONG, ContentAlerts, Watched
from actors.lmdb_state import LmdbState, trusted
from actors.reader import PartitionFiles
from actors.store import Store
from events.unseal import Unsealer


class OpenedContentAlerts(ContentAlerts):
    """A `ContentAlerts` that owns what it reads from and writes to."""

    def __init__(self, store: Store, strong: float = STRONG) -> None:
        """A state that a machine crash made doubtful is begun anew: what is in the log by then is known, so what came
        in between is told to nobody.

        Raises `NotFound` while a partition was never opened by its owner.
        """
        self._files = [PartitionFiles(store.folder(number), number, store) for number in store.numbers()]
        folder = store.path / FOLDER
        if folder.exists() and not trusted(folder):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._kept = LmdbState(folder)
        super().__init__(
            [_watched(files) for files in self._files],
            self._kept,
            store.secrets.key_hash,
            store.partition,
            os.urandom(8).hex(),
            strong,
        )

    def close(self) -> None:
        """Leave the state clean and let go of the files."""
        self._kept.close()
        for files in self._files:
            files.close()


def _watched(files: PartitionFiles) -> Watched:
    return Watched(int(files.number), files.log, Unsealer(files.log, files.vault), files.state)
