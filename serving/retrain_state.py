"""When retraining was last started, and why: one file in the folder of models, written before anything else is done, so
that one that fails at once is not started again at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from training.model import FOLDER

FILE: Final = "last.json"


class Last(msgspec.Struct, frozen=True):
    """The latest start."""

    at: int
    """ms."""
    by: str


class RetrainState:
    """Of one data folder."""

    def __init__(self, data: Path) -> None:
        self._path = data / FOLDER / FILE

    def last(self) -> Last | None:
        """None where retraining was never started, or the file cannot be read."""
        try:
            return _LAST.decode(self._path.read_bytes())
        except (OSError, msgspec.MsgspecError):
            return None

    def started(self, at: int, by: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_name(f".{FILE}.{os.getpid()}")
        fresh.write_bytes(msgspec.json.encode(Last(at, by)))
        fresh.rename(self._path)


_LAST: Final = msgspec.json.Decoder(Last)
