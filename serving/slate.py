"""The slate: which candidate gets which slot, and with what probability.

Slots are filled one after another, each drawn from the candidates that are left: those taken above, and those whose
visible label (`item_group`) already stands in the list, are not. For slot s and candidate c

    gain_s(c)  = gain(c) - λ · redundancy(c | slots above)
    soft_s(c)  = exp(gain_s(c) / τ) / Σ over what is left          (τ = 0: 1 for the best, 0 for the others)
    p_s(c)     = (1 - f) · soft_s(c) + f / number left             f = the floor on an exploration slot, else 0

`Slate.propensities` are these p, each given the slots above it; their product is the probability of the whole slate
(Plackett-Luce with gains that change on the way). Nothing may reorder the list afterwards: that would make them lies.

The draw is the Gumbel-max trick (Yellott 1977): the greatest gain/τ + G wins, G = -log(-log U) with U from 64 hashed
bits of (seed, slot, item). The noise belongs to the item's *id*: another
candidate coming or going, or a rebuilt numbering, moves nobody else's. Maximal marginal relevance (Carbonell,
Goldstein, SIGIR 1998) is part of the gain and not a pass after it, so its effect is in the propensities.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
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

_Pick: TypeAlias = "Callable[[int, Floats], int]"
"""(slot, logits as they stand) → column, -1 to stop."""


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
    head = max(DRAWN_MAX, *(slot + 1 for slot in forced)) if forced else DRAWN_MAX
    if not sampling.draws:
        if not sampling.diversity and not forced:
            return _still(shortlist, slots)
        return _slate(_walk(shortlist, sampling, slots, forced, _best, head), shortlist, sampling, forced)
    drawn = min(slots, DRAWN_MAX)
    noise = _gumbel(_slot_keys(seed, drawn), shortlist.hashes)
    floors = sampling.exploration_slots if sampling.floor else ()
    explored = [slot - 1 for slot in floors if slot <= drawn and _coin(seed, slot - 1) < sampling.floor]
    tau, race = sampling.tau, np.empty(len(shortlist))

    def pick(slot: int, logits: Floats) -> int:
        if slot in explored:
            np.copyto(race, _TAKEN)
            np.copyto(race, noise[slot], where=logits > 0.5 * _TAKEN)
        elif tau > 0 and slot < drawn:
            np.add(logits, noise[slot], race)
        else:
            return _best(slot, logits)
        winner = int(race.argmax())
        return winner if race[winner] > 0.5 * _TAKEN else -1

    walked = _walk(shortlist, sampling, slots, forced, pick, head)
    return _slate(walked, shortlist, sampling, forced, explored)


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
    walked = _walk(shortlist, sampling, len(columns), forced, lambda slot, logits: columns[slot])
    return _slate(walked, shortlist, sampling, forced).propensities


def chances(
    shortlist: Shortlist,
    sampling: Sampling,
    columns: Sequence[int],
    forced: Mapping[int, int] = NO_FORCED,
    guests: int = 0,
) -> Floats:
    """Of every candidate in each slot of *any* slate, its probability given the slots above it: shape (slots,
    candidates). `propensities` are those of the slate's own items.

    Args:
        guests: how many of the last columns are no candidates: they may stand in the slate, shown by somebody else,
            and keep others of their label away, but have no chance themselves.
    """
    walked = _walk(shortlist, sampling, len(columns), forced, lambda slot, logits: columns[slot])
    own = slice(0, len(shortlist) - guests)
    soft = _soft(walked.logits, sampling, own)
    rows = np.zeros((len(columns), len(shortlist)))
    rows[:, own] = soft / np.maximum(soft.sum(axis=1, keepdims=True), _TINY)
    for slot in range(len(columns)):
        floor = sampling.floor_at(slot)
        if floor:
            left = walked.logits[slot, own] > 0.5 * _TAKEN
            rows[slot, own] = (1.0 - floor) * rows[slot, own] + floor * left / max(int(left.sum()), 1)
    for slot, column in forced.items():
        rows[slot, column] = 1.0
    return rows


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


def _best(slot: int, logits: Floats) -> int:
    best = int(logits.argmax())
    return best if logits[best] > 0.5 * _TAKEN else -1


@dataclass(frozen=True, slots=True)
class _Walked:
    """A slate and what it was filled from."""

    columns: list[int]
    logits: Floats
    """Shape (slots, candidates): as they stood when each slot was filled, redundancy and what was taken off."""
    start: Floats
    """Before the first slot."""
    rest: Sequence[float] = ()
    """Logits of what stands in slots further down than ``logits`` go, where the best of what is left stands."""

    def chosen(self) -> Floats:
        """By slot, the logit of its item as it stood there."""
        shown = len(self.logits)
        here = self.logits[np.arange(shown), self.columns[:shown]] if shown else np.empty(0)
        return np.concatenate((here, self.rest)) if self.rest else here


def _walk(
    shortlist: Shortlist,
    sampling: Sampling,
    slots: int,
    forced: Mapping[int, int],
    pick: _Pick,
    head: int = sys.maxsize,
) -> _Walked:
    """Fill slot by slot with whatever ``pick`` names; those from ``head`` on with the best of what is left, none of
    them forced."""
    size, tau = len(shortlist), sampling.tau
    unit = tau if tau > 0 else 1.0
    start = shortlist.gains.astype(np.float64)
    if tau > 0:
        start -= start.max(initial=_TAKEN)
        start /= tau
        np.maximum(start, _LEAST, out=start)
    compared = shortlist.kinds if sampling.diversity else shortlist.kinds[:1]
    kinds = np.where(compared < 0, -1 - np.arange(size, dtype=np.int32), compared)
    step = sampling.diversity / unit if sampling.diversity else 1.0
    taken = -_TAKEN / step
    price = (taken, *POINTS)[: len(kinds)]
    lost = np.zeros(size)  # points, whose sums are exact: equal losses in another order must stay ties
    paid: list[set[int]] = [set() for _ in kinds]
    for column in forced.values():
        lost[kinds[0] == kinds[0, column]] += taken
    # what follows is done for every slot: results go into arrays made once, and numbers are arrays already
    rows, same, more, falls = np.empty((min(slots, head), size)), np.empty(kinds.shape), np.empty(size), np.array(-step)
    columns: list[int] = []
    for slot, logits in enumerate(rows):
        np.multiply(lost, falls, logits)
        np.add(logits, start, logits)
        column = forced[slot] if slot in forced else pick(slot, logits)
        if column < 0:
            break
        columns.append(column)
        if len(columns) == slots:
            break  # nothing is drawn after it
        due = list(price)
        for kind, name in enumerate(kinds[:, column].tolist()):
            if name in paid[kind]:
                due[kind] = 0.0
            else:
                paid[kind].add(name)
        np.equal(kinds, kinds[:, column : column + 1], same)
        np.add(lost, np.array(due).dot(same, more), lost)
    if len(columns) < head or slots <= head:
        return _Walked(columns, rows[: len(columns)], start)
    rest, logits_there = _best_of_the_rest(start, lost, kinds, step, paid, slots - head)
    return _Walked(columns + rest, rows, start, logits_there)


def _best_of_the_rest(
    start: Floats, lost: Floats, kinds: Kinds, step: float, paid: Sequence[set[int]], slots: int
) -> tuple[list[int], list[float]]:
    """The columns that go on being the best of what is left, and their logits there. Logits only fall, so one that is
    still on top after it was brought up to date is the best: a pass over all candidates per slot took 2.5 of the 4.3 ms
    of 500 ordered candidates."""
    logits = (lost * -step + start).tolist()
    points, first, label = lost.tolist(), start.tolist(), kinds[0].tolist()
    alike = kinds[1:] if len(kinds) > 1 else np.broadcast_to(-1 - np.arange(len(lost)), (len(POINTS), len(lost)))
    leaf, parent, brand = alike.tolist()
    heap = [(-logit, column) for column, logit in enumerate(logits) if logit > 0.5 * _TAKEN]
    heapify(heap)
    columns: list[int] = []
    found: list[float] = []
    labels, *told = paid  # what `lost` already holds
    late: list[dict[int, float]] = [{} for _ in POINTS]  # what it does not: name -> points
    by_leaf, by_parent, by_brand = (known.get for known in late)
    while heap and len(columns) < slots:
        was, column = heap[0]
        if label[column] in labels:
            heappop(heap)
            continue
        more = by_leaf(leaf[column], 0.0) + by_parent(parent[column], 0.0) + by_brand(brand[column], 0.0)
        logit = (points[column] + more) * -step + first[column]
        if -logit > was:
            heapreplace(heap, (-logit, column))
            continue
        heappop(heap)
        columns.append(column)
        found.append(logit)
        labels.add(label[column])
        for known, before, worth, name in zip(late, told, POINTS, alike[:, column].tolist(), strict=False):
            if name not in before:
                known[name] = worth
    return columns, found


def _soft(logits: Floats, sampling: Sampling, own: slice = slice(None)) -> Floats:
    """Weights of the softmax, slot by slot; 1 for the best and 0 for the others where nothing is drawn."""
    drawn = min(len(logits), DRAWN_MAX) if sampling.tau > 0 else 0
    weights = logits[:, own].copy()
    np.exp(weights[:drawn], weights[:drawn])
    for row in weights[drawn:]:
        if len(row):
            best = int(row.argmax())
            some = bool(row[best] > 0.5 * _TAKEN)
            row.fill(0.0)
            row[best] = some
    return weights


_TINY: Final = 1e-300


def _slate(
    walked: _Walked,
    shortlist: Shortlist,
    sampling: Sampling,
    forced: Mapping[int, int],
    explored: Sequence[int] = (),
) -> Slate:
    """The slate with its propensities."""
    columns, count, head = walked.columns, len(walked.columns), len(walked.logits)
    if not count:
        return Slate((), ())
    soft = _soft(walked.logits, sampling)
    own = soft[np.arange(head), columns[:head]]
    shares = [*(own / np.maximum(soft.sum(axis=1), _TINY)).tolist(), *[1.0] * (count - head)]
    for slot in range(head) if sampling.floor else ():
        floor = sampling.floor_at(slot)
        if floor:
            left = walked.logits[slot] > 0.5 * _TAKEN
            uniform = float(left[columns[slot]]) / max(int(left.sum()), 1)
            shares[slot] = (1.0 - floor) * shares[slot] + floor * uniform
    lost = walked.chosen() - walked.start[columns]
    lost *= sampling.tau if sampling.tau > 0 else 1.0
    for slot in forced:
        if slot < count:
            shares[slot], lost[slot] = 1.0, 0.0
    return Slate(
        tuple(columns),
        tuple(shares),
        tuple((shortlist.gains[columns] + lost).astype(np.float32).tolist()),
        tuple([slot for slot in explored if slot < count and slot not in forced]),
        tuple([slot for slot in forced if slot < count]),
    )


_ALL: Final = 0xFFFF_FFFF_FFFF_FFFF
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_COIN: Final = np.uint64(0xD1B54A32D192ED03)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)
_HALF_ULP: Final = 2.0**-54
_STEPS: Final = np.arange(1, DRAWN_MAX + 1, dtype=np.uint64) * _GOLDEN


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
    return _mixed(np.array([seed & _ALL], np.uint64) + _STEPS[:slots])


def _uniform(bits: Hashes) -> Floats:
    """In (0, 1), 53 bits."""
    uniform = (bits >> np.uint64(11)).astype(np.float64)
    uniform *= 2.0**-53
    uniform += _HALF_ULP
    return uniform


def _coin(seed: int, slot: int) -> float:
    """One uniform number per slot, for whether the floor decides it."""
    bits = ((seed + (slot + 1) * int(_GOLDEN)) ^ int(_COIN)) & _ALL
    bits = ((bits ^ bits >> 30) * int(_FIRST)) & _ALL
    bits = ((bits ^ bits >> 27) * int(_SECOND)) & _ALL
    return ((bits ^ bits >> 31) >> 11) * 2.0**-53


def _gumbel(keys: Hashes, hashes: Hashes) -> Floats:
    """Standard Gumbel noise, shape (slots, candidates)."""
    noise = _uniform(_mixed(hashes[None, :] ^ keys[:, None]))
    np.log(noise, noise)
    np.negative(noise, noise)
    np.log(noise, noise)
    return np.negative(noise, noise)
