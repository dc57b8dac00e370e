"""Python's cycle collector, told that folding makes no cycles.

Profiles are immutable trees, but their many dictionaries are looked at by every full collection: with 64 MB of them
activated that is a tenth of all time spent. Reference counts free them as before. For processes that fold: hosts,
followers, `everfold verify`.
"""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 50_000
"""Allocations between collections of the young, against Python's 700: a few hundred facts."""
RARE: Final = 100
"""Collections of one generation per collection of the next, against Python's 10."""


def collect_seldom() -> None:
    """Keep what is there now out of every later collection, and make collections rare."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, RARE, RARE)
