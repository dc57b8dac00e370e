"""The slate: which candidate gets which slot, and with what probability.

Slots are filled one after another, each drawn from the candidates that are left: those taken above, and those whose
visible label (`item_group`) already stands in the list, are not. For slot s and candidate c

    gain_s(c)  = gain(c) - λ · redundancy(c | slots above)
    soft_s(c)  = exp(gain_s(c) / τ) / Σ over what is left          (τ = 0: 1 for the best, 0 for the others)
    p_s(c)     = (1 - f) · soft_s(c) + f / number left             f = the floor on an exploration slot, else 0

`Slate.propensities` are these p, each given the slots above it; their product is the probability of the whole slate
(Plackett-Luce with gains that change on the way). Nothing may reorder the list afterwards: that would make them lies.

The draw is a race: with E ~ Exp(1) from 64 hashed bits of (seed, slot, item), the greatest soft/E wins, which is the
Gumbel-max trick without two of its three logarithms (Yellott 1977). The noise belongs to the item's *id*: another
candidate coming or going, or a rebuilt numbering, moves nobody else's. Maximal marginal relevance (Carbonell,
Goldstein, SIGIR 1998) is part of the gain and not a pass after it, so its effect is in the propensities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from training.recommender import Scores
from training.surface import Surface

Hashes: TypeAlias = npt.NDArray[np.uint64]
Floats: TypeAlias = npt.NDArray[np.float64]
Kinds: TypeAlias = npt.NDArray[np.int32]

POINTS: Final = (0.5, 0.5, 0.25)
"""Redundancy of sharing leaf category, parent category, brand with something above; a leaf of one's own category shares
the parent too, so it counts 1. Sums of sums over everything above are left out: the third snack is no more redundant
than the second, as in maximal marginal relevance."""

NO_FORCED: Final[Mapping[int, int]] = {}


@dataclass(frozen=True, slots=True)
class Sampling:
    """How slots are drawn; from the surface, and again from a decision record."""

    tau: float = 0.0
    """Temperature in units of the standardised gain; 0 draws nothing."""
    floor: float = 0.0
    """Share of an exploration slot that is drawn uniformly."""
    exploration_slots: tuple[int, ...] = ()
    """Slots with a floor, counted from 1."""
    diversity: float = 0.0
    """λ."""

    @property
    def draws(self) -> bool:
        """Whether chance has any part in the slate."""
        return self.tau > 0 or (self.floor > 0 and bool(self.exploration_slots))

    def floor_at(self, slot: int) -> float:
        """The floor of a slot counted from 0."""
        return self.floor if slot + 1 in self.exploration_slots and slot < DRAWN_MAX else 0.0


STILL: Final = Sampling()
"""No chance and no diversity: the best gets the slot."""


def sampling_of(surface: Surface) -> Sampling:
    return Sampling(surface.tau, surface.floor, surface.exploration_slots, surface.diversity)


@dataclass(frozen=True, slots=True)
class Shortlist:
    """The candidates slots are filled from, in ascending order of item index, so that ties go to the lower column."""

    gains: Scores
    """Standardised within the request; float32, as logged."""
    kinds: Kinds
    """Shape (4, candidates): numbers of label, leaf category, parent category, brand; negative where there is none,
    which equals nothing."""
    hashes: Hashes
    """XXH3-64 of the item ids: the items' names in the noise."""

    def __len__(self) -> int:
        return len(self.gains)


@dataclass(frozen=True, slots=True)
class Slate:
    """``columns`` are positions in the shortlist, slot by slot."""

    columns: tuple[int, ...]
    propensities: tuple[float, ...]
    """Of each slot's item given the slots above it; 1 for a forced one, which was no choice."""
    gains: tuple[float, ...] = ()
    """What each slot was decided by: the gain less the redundancy there."""
    explored: tuple[int, ...] = ()
    """Slots (from 0) whose item the floor put there, and not its gain."""
    forced: tuple[int, ...] = ()
    """Slots (from 0) whose item was forced."""


DRAWN_MAX: Final = 48
"""Slots that chance has a part in; those further down go to the best of what is left. Nobody learns from slot 60, and
500 candidates ordered by chance would cost 10 ms."""

_TAKEN: Final = -1e9
"""Added to the logit of what is taken: far below every other, and its exponential is 0."""
_LEAST: Final = -600.0
"""Logits are cut here below the best one, so that no weight of what is left is 0: e^-650 is still a number."""

_Chooser: TypeAlias = "Callable[[int, Floats, Floats], int]"
"""(slot, soft weights, 1 where left else 0) → column, -1 to stop. What is left is only told on exploration slots."""


def fill(
    shortlist: Shortlist, sampling: Sampling, seed: int, slots: int, forced: Mapping[int, int] = NO_FORCED
) -> Slate:
    """The slate of at most ``slots`` items, no two of one label.

    Args:
        seed: 64 bits; the same seed over the same shortlist gives the same slate.
        forced: slot (from 0) → column that stands there whatever the gains say. A forced slot has propensity 1 and
            must not enter an estimate.
    """
    slots = min(slots, len(shortlist))
    if not sampling.draws:
        if not sampling.diversity and not forced:
            return _still(shortlist, slots)
        return _walk(shortlist, sampling, slots, forced, _best)
    keys = _slot_keys(seed, min(slots, DRAWN_MAX))
    speed = _speeds(keys, shortlist.hashes)
    explored = _coins(keys, sampling)

    def choose(slot: int, soft: Floats, left: Floats) -> int:
        if slot >= len(explored):
            return _best(slot, soft, left)
        race = (left if explored[slot] else soft) * speed[slot]
        winner = int(race.argmax())
        return winner if race[winner] > 0 else -1

    return _walk(shortlist, sampling, slots, forced, choose, explored)


def propensities(
    shortlist: Shortlist, sampling: Sampling, columns: Sequence[int], forced: Mapping[int, int] = NO_FORCED
) -> tuple[float, ...]:
    """Of each slot of *any* slate, the probability of its item given the slots above it, under these gains and rules:
    the target policy's part of an off-policy estimate. 0 where an item could not stand there (taken, or its label was).
    For the slate that `fill` drew these are its logged propensities, exactly.

    >>> one = Shortlist(np.zeros(2, np.float32), np.full((4, 2), -1, np.int32), np.arange(2, dtype=np.uint64))
    >>> propensities(one, Sampling(tau=1.0), (1, 0))
    (0.5, 1.0)
    """
    return _walk(shortlist, sampling, len(columns), forced, lambda slot, soft, left: columns[slot]).propensities


def _still(shortlist: Shortlist, slots: int) -> Slate:
    """The best of each label in the total order: highest gain, then lowest item index."""
    columns: list[int] = []
    taken: set[int] = set()
    gains = shortlist.gains
    order = (-gains).argsort(kind="stable")
    for column, label in zip(order.tolist(), shortlist.kinds[0][order].tolist(), strict=True):
        if len(columns) == slots:
            break
        if label not in taken:
            columns.append(column)
            if label >= 0:
                taken.add(label)
    return Slate(tuple(columns), (1.0,) * len(columns), tuple(gains[columns].tolist()))


def _best(slot: int, soft: Floats, left: Floats) -> int:
    best = int(soft.argmax())
    return best if soft[best] > 0 else -1


def _walk(
    shortlist: Shortlist,
    sampling: Sampling,
    slots: int,
    forced: Mapping[int, int],
    choose: _Chooser,
    explored: Sequence[bool] = (),
) -> Slate:
    """Fill slot by slot with what ``choose`` names, and say how probable that was."""
    size, tau = len(shortlist), sampling.tau
    unit = tau if tau > 0 else 1.0
    gains = shortlist.gains.astype(np.float64)
    logits = np.maximum((gains - gains.max(initial=-1e9)) / unit, _LEAST) if tau > 0 else gains
    compared = shortlist.kinds if sampling.diversity else shortlist.kinds[:1]
    kinds = np.where(compared < 0, -1 - np.arange(size, dtype=np.int32), compared)
    price = [_TAKEN, *(-sampling.diversity * points / unit for points in POINTS)][: len(kinds)]
    paid: list[set[int]] = [set() for _ in price]
    penalty = np.zeros(size)
    for column in forced.values():
        penalty[kinds[0] == kinds[0, column]] = _TAKEN
    weights, same = np.empty((slots, size)), np.empty(kinds.shape)
    columns: list[int] = []
    lost: list[float] = []
    uniform: list[float] = []
    for slot in range(slots):
        soft = np.add(logits, penalty, weights[slot])
        if tau > 0 and slot < DRAWN_MAX:
            np.exp(soft, soft)
        else:
            _one_hot(soft)
        left = (penalty > 0.5 * _TAKEN) / 1.0 if sampling.floor_at(slot) else soft
        column = forced[slot] if slot in forced else choose(slot, soft, left)
        if column < 0:
            break
        columns.append(column)
        lost.append(0.0 if slot in forced else float(penalty[column]) * unit)
        uniform.append(float(left[column]) / (float(left.sum()) or 1.0) if sampling.floor_at(slot) else 0.0)
        mine = kinds[:, column].tolist()
        due = [0.0 if value in seen else cost for value, seen, cost in zip(mine, paid, price, strict=True)]
        for value, seen in zip(mine, paid, strict=True):
            seen.add(value)
        np.equal(kinds, kinds[:, column : column + 1], same)
        penalty += np.dot(due, same)
    count = len(columns)
    total = weights[:count].sum(axis=1)
    soft_share = (weights[np.arange(count), columns] / np.where(total > 0, total, 1.0)).tolist()
    shares = zip(soft_share, uniform, strict=True)
    return Slate(
        tuple(columns),
        tuple([_mixture(sampling, slot, s, u, forced) for slot, (s, u) in enumerate(shares)]),
        tuple((gains[columns] + lost).astype(np.float32).tolist()),
        tuple([slot for slot, explores in enumerate(explored[:count]) if explores and slot not in forced]),
        tuple([slot for slot in forced if slot < count]),
    )


def _mixture(sampling: Sampling, slot: int, soft: float, uniform: float, forced: Mapping[int, int]) -> float:
    if slot in forced:
        return 1.0
    floor = sampling.floor_at(slot)
    return soft if not floor else (1.0 - floor) * soft + floor * uniform


def _one_hot(scores: Floats) -> None:
    """1 for the best, ties to the lower column; all 0 where nothing is left."""
    if len(scores):
        best = int(scores.argmax())
        some = bool(scores[best] > 0.5 * _TAKEN)
        scores.fill(0.0)
        scores[best] = some


_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_COIN: Final = np.uint64(0xD1B54A32D192ED03)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)
_HALF_ULP: Final = 2.0**-54


def _mixed(bits: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), in place."""
    bits ^= bits >> np.uint64(30)
    bits *= _FIRST
    bits ^= bits >> np.uint64(27)
    bits *= _SECOND
    bits ^= bits >> np.uint64(31)
    return bits


def _slot_keys(seed: int, slots: int) -> Hashes:
    """One well-mixed number per slot."""
    return _mixed(np.uint64(seed & 0xFFFF_FFFF_FFFF_FFFF) + np.arange(1, slots + 1, dtype=np.uint64) * _GOLDEN)


def _uniform(bits: Hashes) -> Floats:
    """In (0, 1), 53 bits."""
    uniform: Floats = (bits >> np.uint64(11)) * 2.0**-53 + _HALF_ULP
    return uniform


def _coins(keys: Hashes, sampling: Sampling) -> tuple[bool, ...]:
    """Per slot, whether the floor decides it."""
    if not sampling.floor:
        return (False,) * len(keys)
    coins = _uniform(_mixed(keys ^ _COIN)).tolist()
    return tuple([coin < sampling.floor_at(slot) for slot, coin in enumerate(coins)])


def _speeds(keys: Hashes, hashes: Hashes) -> Floats:
    """1 / E with E ~ Exp(1), shape (slots, candidates)."""
    uniform = _uniform(_mixed(hashes[None, :] ^ keys[:, None]))
    np.log(uniform, uniform)
    return np.divide(-1.0, uniform, out=uniform)
