"""Which faults struck where, counted over seeds: faults that never happen prove nothing."""

from __future__ import annotations

from collections import Counter
from typing import Final

from simulate.faults import POINTS, Fault

LEAST: Final = 10
"""How often every kind and every crash point must have been met by `SEEDS` seeds."""
SEEDS: Final = 200

DEADLY: Final = frozenset(
    {Fault.KILLED, Fault.KILLED_BEFORE_COMMIT, Fault.KILLED_AFTER_COMMIT, Fault.POWER_LOST, Fault.STALE_OWNER}
)
"""Faults that end a process, or its right to go on, where it is."""
CRASH_POINTS: Final = tuple(f"{role}: {point}" for role, points in POINTS.items() for point in points)


class Coverage:
    """Fault kinds by the points where they struck."""

    def __init__(self) -> None:
        self.struck: Counter[tuple[Fault, str]] = Counter()

    def note(self, fault: Fault, where: str) -> None:
        self.struck[fault, where] += 1

    def add(self, other: Coverage) -> None:
        self.struck.update(other.struck)

    @property
    def faults(self) -> int:
        return self.struck.total()

    def kinds(self) -> Counter[Fault]:
        """How often each kind struck."""
        found = Counter(dict.fromkeys(Fault, 0))
        for (fault, _), count in self.struck.items():
            found[fault] += count
        return found

    def crashes(self) -> Counter[str]:
        """How often a process ended at each point."""
        found = Counter(dict.fromkeys(CRASH_POINTS, 0))
        for (fault, where), count in self.struck.items():
            if fault in DEADLY:
                found[where] += count
        return found

    def lacking(self, least: int = LEAST) -> list[str]:
        """Kinds and crash points met fewer than ``least`` times."""
        met = [(str(fault), count) for fault, count in self.kinds().items()] + [*self.crashes().items()]
        return [f"{name} ({count})" for name, count in met if count < least]

    def table(self) -> str:
        """Crash points by deadly kinds, then how often every kind struck."""
        kinds = [fault for fault in Fault if fault in DEADLY]
        wide = max(len(point) for point in CRASH_POINTS)
        lines = [" ".join(["crash point".ljust(wide), *[str(kind).rjust(len(kind)) for kind in kinds], "  all"])]
        total = self.crashes()
        for point in sorted(total, key=list(total).index):
            counts = [str(self.struck[kind, point]).rjust(len(kind)) for kind in kinds]
            lines.append(" ".join([point.ljust(wide), *counts, str(total[point]).rjust(5)]))
        lines.append("")
        lines += [f"{fault.ljust(wide)} {count:>6}" for fault, count in self.kinds().items()]
        return "\n".join(lines)
