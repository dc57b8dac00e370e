"""What changes in a world, and when: scripts with labelled moments, so that a detection has a truth to be late against.

A script is a tuple of changes. Each says what it does to tastes, to what is wanted, or to who comes; moments are weeks
since the world's start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from simulate.chance import Floats
from simulate.shelf import Ints
from simulate.shopper import turned
from simulate.world_spec import HOUR_MS, WEEK_MS

Kind: TypeAlias = Literal[
    "taste_swap", "gradual_rotation", "new_trend", "covariate_only", "popularity_shock", "flash_crowd"
]


@dataclass(frozen=True, slots=True)
class Change:
    """One labelled change, from week ``at`` (to week ``until``, where it ends)."""

    kind: Kind
    at: float
    until: float = 1e9
    segment: int = 0
    """Whose tastes swap or turn, or who comes more often."""
    category: int = 0
    """What becomes a trend."""
    item: int = 0
    """What is talked of."""
    size: float = 1.0
    """taste_swap: share of people of the segment; gradual_rotation: radians per week; new_trend and popularity_shock:
    log-odds; covariate_only and flash_crowd: factor on visits."""

    def starts(self, start_ms: int) -> int:
        return start_ms + round(self.at * WEEK_MS)

    def ends(self, start_ms: int) -> int:
        return start_ms + round(min(self.until, 1e6) * WEEK_MS)


Script: TypeAlias = tuple[Change, ...]


def scripts(at: float) -> Mapping[str, Script]:
    """The scripts by name, each changing at week ``at``; ``none`` is the control."""
    return {
        "none": (),
        "taste_swap": (Change("taste_swap", at, segment=2),),
        "gradual_rotation": (Change("gradual_rotation", at, at + 8, segment=0, size=0.15),),
        "new_trend": (Change("new_trend", at, category=3, size=2.0),),
        "covariate_only": (Change("covariate_only", at, segment=1, size=3.0),),
        "popularity_shock": (Change("popularity_shock", at, at + 0.3, item=7, size=4.0),),
        "flash_crowd": (Change("flash_crowd", at, at + 3 / 168, size=8.0),),
    }


SCRIPTS: Final = tuple(scripts(0.0))
"""Their names."""
TASTES_CHANGE: Final = frozenset({"taste_swap", "gradual_rotation"})


class Drift:
    """A script as a world asks it."""

    def __init__(self, script: Script, start_ms: int) -> None:
        self.script = script
        self._start = start_ms
        self._tastes = tuple(change for change in script if change.kind in TASTES_CHANGE)
        self._wants = tuple(change for change in script if change.kind in ("new_trend", "popularity_shock"))
        self._comes = tuple(change for change in script if change.kind in ("covariate_only", "flash_crowd"))

    def taste(self, taste: Floats, segment: int, luck: float, at: int) -> Floats:
        """The taste of one person as it is now; ``luck`` in (0, 1) is the person's own."""
        for change in self._tastes:
            if change.segment != segment or at < change.starts(self._start):
                continue
            if change.kind == "taste_swap":
                taste = -taste[::-1] if luck < change.size else taste
            else:
                weeks = (min(at, change.ends(self._start)) - change.starts(self._start)) / WEEK_MS
                taste = turned(taste, change.size * weeks)
        return taste

    def swapped(self, segment: int, luck: float, at: int) -> bool:
        """Whether this person wants other things than at first: whims go with tastes."""
        return any(
            change.kind == "taste_swap"
            and change.segment == segment
            and at >= change.starts(self._start)
            and luck < change.size
            for change in self._tastes
        )

    def wanted(self, at: int, category: Ints) -> Floats | None:
        """What is added to log-odds, by item; None: nothing."""
        added: Floats | None = None
        for change in self._wants:
            if not change.starts(self._start) <= at < change.ends(self._start):
                continue
            added = np.zeros(len(category)) if added is None else added
            if change.kind == "new_trend":
                added[category == change.category] += change.size
            else:
                added[change.item] += change.size
        return added

    def traffic(self, hour: int, segment: np.ndarray[tuple[int], np.dtype[np.int8]]) -> Floats | float:
        """Factor on visits of the hour that begins ``hour`` hours after the start: one, or one by person."""
        factor: Floats | float = 1.0
        at = self._start + hour * HOUR_MS
        for change in self._comes:
            if change.starts(self._start) - HOUR_MS < at < change.ends(self._start):
                if change.kind == "flash_crowd":
                    factor = factor * change.size
                else:
                    factor = factor * np.where(segment == change.segment, change.size, 1.0)
        return factor
