"""The segment follower of a store on this machine, opened from its data folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from actors.lmdb_state import LmdbState, trusted
from actors.reader import PartitionFiles
from actors.segment_follower import Followed, SegmentFollower
from actors.segment_tables import FOLDER, offset_name
from actors.store import Store
from events.unseal import Unsealer


class OpenedSegments(SegmentFollower):
    """A `SegmentFollower` that owns what it reads from and writes to."""

    def __init__(self, store: Store) -> None:
        """A state that a machine crash made doubtful, or that has not followed the logs since they were trimmed, is
        begun anew: who is in what stands in the profiles.

        Raises `NotFound` while a partition was never opened by its owner.
        """
        self._files = [PartitionFiles(store.folder(number), number, store) for number in store.numbers()]
        folder = store.path / FOLDER
        if folder.exists() and not (trusted(folder) and _reaches(folder, self._files)):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._state = LmdbState(folder)
        super().__init__(
            [_followed(files) for files in self._files],
            self._state,
            store.secrets.key_hash,
            store.partition,
            os.urandom(8).hex(),
        )

    def close(self) -> None:
        """Leave the state clean and let go of the files."""
        self._state.close()
        for files in self._files:
            files.close()


def _reaches(folder: Path, partitions: list[PartitionFiles]) -> bool:
    """Whether the logs still hold everything that the state in ``folder`` did not follow yet."""
    state = LmdbState(folder)
    try:
        offsets = state.offsets()
        return all(
            offsets.get(offset_name(int(files.number)), files.log.bounds()[0]) >= files.log.bounds()[0]
            for files in partitions
        )
    finally:
        state.close()


def _followed(files: PartitionFiles) -> Followed:
    opener = Unsealer(files.log, files.vault)
    return Followed(int(files.number), files.log, opener, files.vault, files.state, files.history.walk)
