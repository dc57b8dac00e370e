"""What no log knows: what people would like, the best list there is, what another list costs. For judges, never for a
service. Asked *before* the world answers the visit, since answering changes people."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from simulate.attention import expected_clicks, looked_at
from simulate.chance import Floats
from simulate.world import Visit, World


class Truth:
    """Looks into a world and changes nothing of it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def utilities(self, visit: Visit) -> Floats:
        """Log-odds of liking by item number."""
        return self._world.utilities(visit).copy()

    def likes(self, visit: Visit, slate: Sequence[str]) -> Floats:
        """Chance to like each of these, were it looked at; 0 for items of another world."""
        numbers = np.array([self._world.shelf.numbers.get(item, -1) for item in slate], np.int64)
        return np.where(numbers >= 0, self._world.likes(visit)[numbers], 0.0)

    def value(self, visit: Visit, slate: Sequence[str]) -> float:
        """Expected clicks of this list."""
        return expected_clicks(self._world.spec, self.likes(visit, slate))

    def oracle(self, visit: Visit, slots: int, hidden: Sequence[str] = ()) -> tuple[tuple[str, ...], float]:
        """The best list and its value: the items liked most, best first (optimal for each way of looking: an exchange
        of two neighbours never gains; a test tries all lists of a small shelf)."""
        likes = self._world.likes(visit)
        for item in hidden:
            likes[self._world.shelf.numbers[item]] = 0.0
        best = np.argpartition(likes, len(likes) - slots)[len(likes) - slots :]
        best = best[np.lexsort((best, -likes[best]))]
        return tuple(self._world.shelf.ids[item] for item in best.tolist()), expected_clicks(
            self._world.spec, likes[best]
        )

    def known(self, visit: Visit, slots: int, touched: Collection[int]) -> tuple[str, ...]:
        """The list of a judge who knows everything but people's whims about items they never touched (by number)."""
        whims = self._world.whims(visit)
        whims[list(touched)] = 0.0
        level = self._world.utilities(visit) - whims
        best = np.argpartition(level, len(level) - slots)[len(level) - slots :]
        best = best[np.lexsort((best, -level[best]))]
        return tuple(self._world.shelf.ids[item] for item in best.tolist())

    def regret(self, visit: Visit, slate: Sequence[str]) -> float:
        """Expected clicks that this list misses of the best one of as many slots."""
        return self.oracle(visit, len(slate))[1] - self.value(visit, slate)

    def looks(self, slots: int) -> Floats:
        """Attention given to slot 1..slots by a list of that length, where it does not depend on what stands above."""
        return looked_at(self._world.spec, slots)

    def segment(self, visit: Visit) -> int:
        return int(self._world.people.segment[visit.person])

    def provider(self, item: str) -> int:
        return int(self._world.shelf.provider[self._world.shelf.numbers[item]])

    def visits_before(self, visit: Visit) -> int:
        """In how many sessions this person came before: what a cold-start curve goes by."""
        return sum(self._world.mood(visit.person).sessions) - 1

    def item_age_ms(self, item: str, at: int) -> int:
        """Since when the item is on the shelf; those of the beginning are older than anything."""
        return at - int(self._world.shelf.born[self._world.shelf.numbers[item]])
