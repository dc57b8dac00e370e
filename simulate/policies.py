"""Who fills the lists: the service with and without learning, each recommender alone, popularity, chance, the oracle.

A policy is asked for each visit's list, told what came of it and what people did besides, all in one process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import numpy as np

from actors.popularity import HALF_LIFE_MS
from actors.signals import SIGNALS
from simulate.chance import key_of, uniforms
from simulate.in_process import Mode, Service
from simulate.truth import Truth
from simulate.world import Act, Organic, Outcome, Visit, World
from simulate.world_spec import WEEK_MS
from training.inventory import FITTED
from training.surface import SURFACES, Surface, Values

FITS_EVERY_MS: Final = 4 * WEEK_MS
"""How often a service that retrains fits its models."""
FOR_CLICKS: Final[Mapping[str, Surface]] = {
    name: surface.model_copy(update={"values": Values(click=1.0, cart=0.0, purchase=0.0)})
    for name, surface in SURFACES.items()
}
"""The shipped surfaces, but that clicks alone are worth something: regret is counted in clicks, and a policy is to be
judged by what it was asked for."""
NOT_ALONE: Final = frozenset({"exploration", "rating", "segment_popularity"})
"""Recommenders that nobody would serve alone, or that have nothing to say here: without ratings, without segments."""


class Policy(Protocol):
    """Fills lists."""

    def slate(self, visit: Visit, n: int) -> tuple[str, tuple[str, ...]]:
        """A list's id and its items, best first; at most ``n``."""
        ...

    def told(self, visit: Visit, outcome: Outcome, list_id: str) -> None: ...

    def organic(self, visit: Visit, done: Organic) -> None: ...


class Oracle:
    """The best list there is: knows the truth."""

    def __init__(self, world: World) -> None:
        self._truth = Truth(world)

    def slate(self, visit: Visit, n: int) -> tuple[str, tuple[str, ...]]:
        return "", self._truth.oracle(visit, n)[0]

    def told(self, visit: Visit, outcome: Outcome, list_id: str) -> None:
        pass

    def organic(self, visit: Visit, done: Organic) -> None:
        pass


class Knowing:
    """Knows everything there is to know, but of whims only those about items a person has touched: what the best of
    learners could reach without trying things out."""

    def __init__(self, world: World) -> None:
        self._truth = Truth(world)
        self._numbers = world.shelf.numbers
        self._touched: dict[int, set[int]] = {}

    def slate(self, visit: Visit, n: int) -> tuple[str, tuple[str, ...]]:
        return "", self._truth.known(visit, n, self._touched.get(visit.person, ()))

    def told(self, visit: Visit, outcome: Outcome, list_id: str) -> None:
        self._touch(visit, outcome.acts)

    def organic(self, visit: Visit, done: Organic) -> None:
        self._touch(visit, (*done.views, *done.order))

    def _touch(self, visit: Visit, acts: Sequence[Act]) -> None:
        self._touched.setdefault(visit.person, set()).update(self._numbers[act.item] for act in acts)


class Chance:
    """Any items that are on the shelf."""

    def __init__(self, world: World) -> None:
        self._shelf = world.shelf
        self._key = key_of(world.seed, "chance")

    def slate(self, visit: Visit, n: int) -> tuple[str, tuple[str, ...]]:
        luck = uniforms(self._key ^ visit.key, self._shelf.words)
        luck[~self._shelf.alive(visit.at)] = 2.0
        return "", tuple(self._shelf.ids[item] for item in np.argsort(luck, kind="stable")[:n].tolist())

    def told(self, visit: Visit, outcome: Outcome, list_id: str) -> None:
        pass

    def organic(self, visit: Visit, done: Organic) -> None:
        pass


class Popularity:
    """What was taken most, everybody alike: the signals' weights, decayed by half in the service's own time
    (`actors.popularity`). Knows what is on the shelf, and does not show what the page is about."""

    def __init__(self, world: World) -> None:
        self._shelf = world.shelf
        self._start = world.spec.start_ms
        self._counts = np.zeros(len(world.shelf.ids))

    def slate(self, visit: Visit, n: int) -> tuple[str, tuple[str, ...]]:
        level = np.where(self._shelf.alive(visit.at), self._counts, -1.0)
        level[[self._shelf.numbers[item] for item in visit.items]] = -1.0
        best = np.argpartition(-level, n)[:n]
        best = best[np.lexsort((best, -level[best]))]
        return "", tuple(self._shelf.ids[item] for item in best.tolist())

    def told(self, visit: Visit, outcome: Outcome, list_id: str) -> None:
        for act in outcome.acts:
            self._count(act.item, visit.at + act.delay, SIGNALS[act.deed].weight)

    def organic(self, visit: Visit, done: Organic) -> None:
        for act in (*done.views, *done.order):
            self._count(act.item, visit.at + act.delay, SIGNALS[act.deed].weight)

    def _count(self, item: str, at: int, weight: float) -> None:
        self._counts[self._shelf.numbers[item]] += weight * 2.0 ** ((at - self._start) / HALF_LIFE_MS)


class Served:
    """The service, in process. Lists that it leaves short are filled up with what is popular."""

    def __init__(self, world: World, mode: Mode) -> None:
        self.service = Service(world.shelf, world.spec.start_ms, world.seed, mode)
        self._popular = Popularity(world)

    def slate(self, visit: Visit, n: int) -> tuple[str, tuple[str, ...]]:
        list_id, items = self.service.ask(visit, n)
        if len(items) < n:
            more = [item for item in self._popular.slate(visit, 2 * n)[1] if item not in items]
            items = (*items, *more[: n - len(items)])
        return list_id, items

    def told(self, visit: Visit, outcome: Outcome, list_id: str) -> None:
        self.service.told(visit, outcome, list_id)
        self._popular.told(visit, outcome, list_id)

    def organic(self, visit: Visit, done: Organic) -> None:
        self.service.organic(visit, done)
        self._popular.organic(visit, done)


def alone(name: str) -> Mapping[str, Surface]:
    """Every surface with this recommender and nothing else: no chance, no diversity, no fatigue."""
    still = {"tau": 0.0, "floor": 0.0, "exploration_slots": (), "diversity": 0.0, "fatigue": 1.0}
    return {key: one.model_copy(update={**still, "weights": {name: 1.0}}) for key, one in SURFACES.items()}


def policy(name: str, world: World) -> Policy:
    """The policy of this name (`names`)."""
    if name == "oracle":
        return Oracle(world)
    if name == "all but unseen whims":
        return Knowing(world)
    if name == "chance":
        return Chance(world)
    if name == "popularity":
        return Popularity(world)
    if name == "ensemble":
        return Served(world, Mode(FOR_CLICKS, fits_every_ms=FITS_EVERY_MS))
    if name == "ensemble, learning off":
        return Served(world, Mode(FOR_CLICKS, learns=False, fits_every_ms=FITS_EVERY_MS))
    if name == "ensemble, no retraining":
        return Served(world, Mode(FOR_CLICKS))
    if name == "ensemble, segments known":
        return Served(world, Mode(FOR_CLICKS, fits_every_ms=FITS_EVERY_MS, segments=_told(Truth(world))))
    if name == "ensemble, shipped values":
        return Served(world, Mode(fits_every_ms=FITS_EVERY_MS))
    fits = FITS_EVERY_MS if name in FITTED else 0
    return Served(world, Mode(surfaces=alone(name), learns=False, fits_every_ms=fits))


WHOLE: Final = (
    "oracle",
    "all but unseen whims",
    "chance",
    "popularity",
    "ensemble",
    "ensemble, learning off",
    "ensemble, no retraining",
    "ensemble, shipped values",
    "ensemble, segments known",
)
"""Policies that are no recommender alone. ``popularity`` is both."""


def names(recommenders: Sequence[str]) -> list[str]:
    """Every policy, given the names of the recommenders."""
    return [*WHOLE] + [one for one in recommenders if one not in NOT_ALONE and one not in WHOLE]


def _told(truth: Truth) -> Callable[[Visit], str]:
    """People's true segment, as if they had said it when they signed up; where drift is watched by segment."""
    return lambda visit: f"s{truth.segment(visit)}"
