"""What retraining starts from: which model serves, and when it was last started, and why. The latter is one file in the
folder of models, written before anything else is done, so that one that fails at once is not started again at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from actors.reader import PartitionFiles
from events.types import ModelPromoted
from training.model import FOLDER
from training.registry import MODELS_KEY, Standing, standing

FILE: Final = "last.json"
SHADOW: Final = "shadow"
"""The reason to judge what waits, and to fit nothing."""
PROMOTIONS_MAX: Final = 10_000


class Last(msgspec.Struct, frozen=True):
    """The latest start."""

    at: int
    """ms."""
    by: str
    judged: int = 0
    """When challengers whose shadow period was over were last judged alone, ms: that is no retraining, and neither the
    schedule nor drift waits because of it."""


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
        last = self.last()
        told = Last(at, by, 0 if last is None else last.judged)
        if by == SHADOW and last is not None:
            told = msgspec.structs.replace(last, judged=at)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_name(f".{FILE}.{os.getpid()}")
        fresh.write_bytes(msgspec.json.encode(told))
        fresh.rename(self._path)


def standing_in(files: PartitionFiles) -> Standing:
    """Which model serves, read from the partition that holds `MODELS_KEY`."""
    told = files.history.events(MODELS_KEY, PROMOTIONS_MAX)
    return standing(event for one in reversed(told) if isinstance(event := one.payload.event, ModelPromoted))


_LAST: Final = msgspec.json.Decoder(Last)
