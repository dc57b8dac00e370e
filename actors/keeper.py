"""Keeping owners of folders alive: whoever falls silent is killed, so that a successor can take the folder.

A process that ended is none of the keeper's business: its lock is gone, and Ray starts another. But one that is
stopped, or hangs in the kernel, keeps its lock, and a cluster may believe in it for a minute. So silence is judged by
the heartbeat beside the lock, and ended by SIGKILL through a pidfd of the pid in the lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from actors.heartbeat import Pulse
from actors.locking import end_holder, holder
from events.errors import Held

SILENT_S: Final = 5.0
"""Five missed beats. A sync that takes this long is as bad as none: callers have given up by then."""
MISSING_S: Final = 60.0
"""Longest a folder may be without an owner before whoever should own it is started again: a start that hangs."""
_END_S: Final = 1.0


@dataclass
class Watched:
    """An owner and its folders. ``again`` has it started again, whether its process lives or not."""

    name: str
    folders: Sequence[Path]
    again: Callable[[], None]
    silent_s: float = SILENT_S
    missing_since: float | None = None
    pulses: list[Pulse] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pulses = [Pulse(folder) for folder in self.folders]


class Keeper:
    """Looks after owners. One `check` a second is meant; it takes microseconds when all is well."""

    def __init__(self, watched: Sequence[Watched]) -> None:
        self._watched = watched

    def check(self, now: float) -> list[str]:
        """Look at every owner once; ``now`` on any monotonic clock, in seconds. Returns what was done, for the log."""
        return [said for each in self._watched if (said := _look(each, now))]


def _look(each: Watched, now: float) -> str:
    held = [holder(folder) for folder in each.folders]
    if None in held:
        if each.missing_since is None:
            each.missing_since = now
        if now - each.missing_since < MISSING_S:
            return ""
        each.missing_since = now
        each.again()
        return f"{each.name}: nobody took {each.folders[held.index(None)]} for {MISSING_S:.0f} s, started again"
    each.missing_since = None
    silence = max(pulse.silence_s() for pulse in each.pulses)
    if silence < each.silent_s:
        return ""
    each.again()
    for folder in each.folders:
        try:
            end_holder(folder, _END_S)
        except Held as error:
            return str(error)
    return f"{each.name}: process {held[0]} was silent for {silence:.1f} s and has been killed"
