"""The item follower of a store on this machine, opened from its data folder."""

from __future__ import annotations

import os
import shutil

from actors.follower import Follower, Source
from actors.item_reader import FOLDER
from actors.items import ItemProjection
from actors.lmdb_state import LmdbState, trusted
from actors.reader import PartitionFiles
from actors.store import Store
from events.unseal import Unsealer


class ItemFollower(Follower):
    """A `Follower` that owns what it reads from and writes to."""

    def __init__(self, store: Store) -> None:
        """A state that a machine crash made doubtful is made again from the logs.

        Raises `NotFound` while a partition was never opened by its owner.
        """
        self._files = [PartitionFiles(store.folder(number), number, store) for number in store.numbers()]
        folder = store.path / FOLDER
        if folder.exists() and not trusted(folder):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._state = LmdbState(folder)
        generation = int.from_bytes(os.urandom(8), "little")
        super().__init__(
            "items",
            [Source(int(each.number), each.log, Unsealer(each.log, each.vault)) for each in self._files],
            self._state,
            lambda state: ItemProjection(state, generation),
        )

    def close(self) -> None:
        """Leave the state clean and let go of the files."""
        self._state.close()
        for files in self._files:
            files.close()
