"""Which models there are, what the gate said of each, and which one serves.

    DIR/models/<id>/             the artefact                          (`training.model`)
    DIR/models/verdicts/<id>     what the gate said, and when
    s:models                     the key of the facts `ModelPromoted`: which model serves is what they add up to

So promotion is one durable append: before it the old model serves, after it the new one, and there is no in between.
A model without a verdict was never judged and cannot be promoted; a rejected one never can.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from events.errors import Conflict, Corrupt, NotFound
from events.ids import system_key
from events.secrets import sync_folder
from events.types import ModelPromoted
from training.gate import Verdict
from training.model import FOLDER, identities, load

MODELS_KEY: Final = system_key("models")
"""Owns every `ModelPromoted`."""
DRIFT_KEY: Final = system_key("drift")
"""Owns every `DriftDetected`."""
VERDICTS: Final = "verdicts"
STALE_S: Final = 86_400.0
"""What is being written is finished in seconds."""
_UNFINISHED: Final = re.compile(r"\.(?:(?:new|bad)-[0-9a-f]{32}-|[0-9a-f]{32}\.|last\.json\.)([0-9]+)")
"""Names of what is being written, by process number: artefacts, verdicts, the note of the latest start."""
KEPT: Final = 5
"""Artefacts kept besides those in use: some tens of megabytes each."""

State: TypeAlias = Literal[
    "champion", "predecessor", "shadow", "accepted", "rejected", "unjudged", "retired", "unreadable"
]


class Judged(msgspec.Struct, frozen=True):
    """The verdict on one artefact."""

    model: str
    verdict: Verdict
    at: int
    """When it was judged, ms."""
    champion: str = ""
    """Whom it was judged against; empty: fixed weights alone."""
    window: tuple[int, int] = (0, 0)
    """Event times it was judged over, ms."""
    shadow_until: int = 0
    """With the decision ``shadow``: when it is to be judged again, ms."""
    latency_us: dict[str, float] = {}
    """CPU time of an answer at the 99th percentile, of ``champion`` and ``challenger``. Not in the artefact, whose id
    must not depend on how fast the machine was."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the facts add up to."""

    champion: str = ""
    """Empty: none was promoted, or all were rolled back."""
    predecessor: str = ""
    """What a rollback leads to."""
    served: tuple[str, ...] = ()
    """Every model that ever served, in order of its first promotion."""


def standing(facts: Iterable[ModelPromoted]) -> Standing:
    """Fold the facts, oldest first. A rollback takes the latest promotion back; rolling back twice goes back twice, and
    not forth.

    >>> standing([ModelPromoted("m1"), ModelPromoted("m2"), ModelPromoted("m1", rollback=True)]).predecessor
    ''
    """
    line: list[str] = [""]
    served: dict[str, None] = {}
    for fact in facts:
        if fact.rollback:
            while len(line) > 1 and line[-1] != fact.model:
                line.pop()
        if line[-1] != fact.model:
            line.append(fact.model)
        if fact.model:
            served[fact.model] = None
    return Standing(line[-1], line[-2] if len(line) > 1 else "", tuple(served))


class Registry:
    """The models of one data folder. Any process may read; the one that retrains writes."""

    def __init__(self, data: Path) -> None:
        self.folder = data / FOLDER

    def ids(self) -> list[str]:
        """Every artefact, sorted."""
        return identities(self.folder)

    def judged(self, model: str) -> Judged | None:
        """What the gate said; None for a model it never saw. Raises `Corrupt`."""
        path = self.folder / VERDICTS / model
        try:
            return _JUDGED.decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, UnicodeDecodeError, OSError) as error:
            raise Corrupt(f"model {model}: {VERDICTS}/{model} is not a verdict ({_why(error)}): retrain") from None

    def readable(self, model: str) -> Judged | None:
        """As `judged`, and None where the verdict is damaged: one of them must not hide the others."""
        try:
            return self.judged(model)
        except Corrupt:
            return None

    def waiting(self, now: Standing) -> list[Judged]:
        """Challengers in a shadow period, the one judged last first. One that ever served is none: whoever rolled it
        back meant it."""
        found = [judged for model in self.ids() if (judged := self.readable(model)) is not None]
        open_ = [each for each in found if each.verdict.decision == "shadow" and each.shadow_until > 0]
        return sorted((each for each in open_ if each.model not in now.served), key=lambda one: (-one.at, one.model))

    def keep(self, judged: Judged) -> None:
        """Note a verdict, whole or not at all."""
        folder = self.folder / VERDICTS
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f".{judged.model}.{os.getpid()}"
        with fresh.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(judged), indent=1))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(folder / judged.model)
        sync_folder(folder)

    def check(self, model: str) -> Judged:
        """The verdict on a model that may serve; its files are checked byte by byte.

        Raises `NotFound`, `Corrupt` naming the damaged file, `Conflict` for one that was rejected or never judged.
        """
        if model not in self.ids():
            raise NotFound(f"there is no model {model[:64]!r}: `everfold models` lists those there are")
        judged = self.judged(model)
        if judged is None:
            raise Conflict(f"model {model} was never judged: run `everfold retrain`, which judges what it makes")
        if judged.verdict.decision == "reject":
            raise Conflict(f"model {model} was rejected ({'; '.join(judged.verdict.reasons)}): retrain")
        load(self.folder, model)
        return judged

    def state(self, model: str, now: Standing) -> State:
        """Where a model stands."""
        if model == now.champion:
            return "champion"
        if model == now.predecessor:
            return "predecessor"
        try:
            judged = self.judged(model)
        except Corrupt:
            return "unreadable"
        if judged is None:
            return "unjudged"
        if judged.verdict.decision == "reject":
            return "rejected"
        if model in now.served:
            return "retired"
        return "shadow" if judged.verdict.decision == "shadow" else "accepted"

    def collect(self, now: Standing, using: Collection[str] = (), kept: int = KEPT) -> list[str]:
        """Remove the oldest artefacts and their verdicts until ``kept`` are left, and say which. Champion, predecessor
        and ``using`` stay and do not count. A replica that still maps a removed file keeps reading it.
        """
        needed = {now.champion, now.predecessor, *using}
        spare = sorted((self._made(model), model) for model in self.ids() if model not in needed)
        removed = [model for _, model in spare[: max(0, len(spare) - kept)]]
        for model in removed:
            (self.folder / model).rename(self.folder / f".gone-{model}")  # at once, so that nobody finds half of it
            (self.folder / VERDICTS / model).unlink(missing_ok=True)
        for gone in self.folder.glob(".gone-*"):  # of an earlier, interrupted run too
            shutil.rmtree(gone, ignore_errors=True)
        return removed

    def sweep(self, now_s: float, alive: Callable[[int], bool]) -> int:
        """Remove what a run that was killed left half-written, and say how much: what a process made that is not
        ``alive``, or that is older than `STALE_S` at ``now_s`` (its number may be another's by now)."""
        removed = 0
        for place in (self.folder, self.folder / VERDICTS):
            for entry in place.glob(".*") if place.exists() else ():
                found = _UNFINISHED.fullmatch(entry.name)
                if found is None:
                    continue
                with suppress(OSError):  # whoever made it may just have finished
                    if alive(int(found[1])) and now_s - entry.stat().st_mtime < STALE_S:
                        continue
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
                    removed += 1
        return removed

    def _made(self, model: str) -> int:
        return (self.folder / model).stat().st_mtime_ns


def _why(error: Exception) -> str:
    """Without the path an `OSError` would name: this goes to clients."""
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)


_JUDGED: Final = msgspec.json.Decoder(Judged)
