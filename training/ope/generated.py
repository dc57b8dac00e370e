"""Logs of a small world whose truth can be counted out, to check estimators and their intervals against.

Eight kinds of visit, six items, lists of three: 120 lists per kind, so that what any policy earns is a sum over all of
them. People look from the top down and are harder to please by more of the same (a cascade: what an item earns depends
on the items above). Each person clicks more or less than others, so that their slates are alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Final

import numpy as np

from training.ope.slates import Bools, Floats, Items, LoggedSlates, TargetSlates

KINDS: Final = 8
ITEMS: Final = 6
FEATURES: Final = 3
SPREAD: Final = 0.6
"""A person's own factor on every click is drawn from 1 ± this."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Slots from (1 - floor) · softmax(gain / tau) + floor · uniform over the items left."""

    gain: Floats
    """(kinds, items)."""
    tau: float
    floor: float

    def chances(self, kind: Items, taken: Bools) -> Floats:
        """(n, items): of each item for the next slot."""
        logits = np.where(taken, -np.inf, self.gain[kind] / self.tau)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        softmax = weights / weights.sum(axis=1, keepdims=True)
        mixed: Floats = (1 - self.floor) * softmax + self.floor * ~taken / (~taken).sum(axis=1, keepdims=True)
        return mixed


@dataclass(frozen=True, slots=True)
class World:
    """What is liked, and the two policies."""

    liking: Floats
    """(kinds, items): chance of a click on the item in the first slot."""
    logging: Policy
    target: Policy
    slots: int

    @classmethod
    def of(cls, seed: int, slots: int = 3, apart: float = 1.0) -> World:
        """``apart``: how far the policies differ; 0 for not at all."""
        rng = np.random.default_rng(seed)
        liking = rng.uniform(0.05, 0.6, (KINDS, ITEMS))
        gain = rng.normal(0.0, 0.7, (KINDS, ITEMS))
        better = gain + apart * (liking - liking.mean()) * 3.0
        return cls(liking, Policy(gain, 1.0, 0.1), Policy(better, 1.0, 0.05), slots)

    def truth(self, policy: Policy, above: Policy | None = None) -> float:
        """Expected reward of a slate, counted out. With ``above``, each slot is the policy's choice below items that
        ``above`` chose: what independent weights estimate."""
        kinds = np.arange(KINDS)
        total = 0.0
        for slate in permutations(range(ITEMS), self.slots):
            taken, weight, seen = np.zeros((KINDS, ITEMS), np.bool_), np.ones(KINDS), np.zeros(KINDS)
            for slot, item in enumerate(slate):
                chance = weight * policy.chances(kinds, taken)[:, item]
                total += float((chance * self._click(kinds, item, slot, seen)).sum()) / self._lists_below(slot)
                weight = weight * (above or policy).chances(kinds, taken)[:, item]
                seen = seen + self.liking[:, item]
                taken[:, item] = True
        return total / KINDS

    def log(self, people: int, seed: int) -> tuple[LoggedSlates, TargetSlates]:
        """1 to 8 slates of each person under the logging policy."""
        rng = np.random.default_rng(seed)
        subject = np.repeat(np.arange(people), rng.integers(1, 9, people))
        count = len(subject)
        own = 1.0 + rng.uniform(-SPREAD, SPREAD, people)[subject]
        kind = rng.integers(0, KINDS, count)
        described = self._features(rng)
        shape = (count, self.slots)
        item, click = np.zeros(shape, np.int64), np.zeros(shape)
        logged, target = np.zeros(shape), np.zeros(shape)
        shown, expected = np.zeros((*shape, FEATURES)), np.zeros((*shape, FEATURES))
        taken, seen, rows = np.zeros((count, ITEMS), np.bool_), np.zeros(count), np.arange(count)
        for slot in range(self.slots):
            chances, theirs = self.logging.chances(kind, taken), self.target.chances(kind, taken)
            drawn = (chances.cumsum(axis=1) < rng.random(count)[:, None]).sum(axis=1).clip(max=ITEMS - 1)
            item[:, slot], logged[:, slot], target[:, slot] = drawn, chances[rows, drawn], theirs[rows, drawn]
            click[:, slot] = rng.random(count) < own * self._click(kind, drawn, slot, seen)
            shown[:, slot] = described[kind, drawn]
            expected[:, slot] = np.einsum("na,naf->nf", theirs, described[kind])
            seen += self.liking[kind, drawn]
            taken[rows, drawn] = True
        nothing = np.zeros(count, np.bool_)
        outcome = np.stack((click, np.zeros(shape), np.zeros(shape)), axis=2)
        slates = LoggedSlates(
            subject, item, logged, outcome, np.zeros(shape, np.bool_), shown, nothing, np.ones(count, np.bool_)
        )
        return slates, TargetSlates(target, expected, np.zeros(shape))

    def _features(self, rng: np.random.Generator) -> Floats:
        """(kinds, items, features): what is known of an item, of which liking is only a part."""
        noise = rng.normal(0.0, 0.15, (KINDS, ITEMS))
        return np.stack((self.liking + noise, np.sin(9.0 * self.liking), self.logging.gain), axis=2)

    def _click(self, kind: Items, item: Items | int, slot: int, seen: Floats) -> Floats:
        """Chance of a click: less further down, and less the more of what they like stood above."""
        chance: Floats = self.liking[kind, item] / (1.0 + 0.3 * slot) / (1.0 + seen)
        return chance

    def _lists_below(self, slot: int) -> int:
        """Lists that share their first ``slot`` + 1 items: `truth` meets each such beginning that often."""
        lists = 1
        for left in range(slot + 1, self.slots):
            lists *= ITEMS - left
        return lists
