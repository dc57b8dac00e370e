"""Importance weights, and what they say about themselves.

With ρ_j = π_e(a_j | x, a_<j) / π_b(a_j | x, a_<j), the ratio of the judged to the logging policy in slot j:

    independent  w_j = ρ_j                 a slot's reward depends on its own item; the items above stay as logged
    cascade      w_j = ρ_1 · … · ρ_j       it may depend on the items above, as for a person who looks from the top down
    slate        w_j = ρ_1 · … · ρ_k       it may depend on everything

Independent weights have the least variance and judge "this slot chosen anew below what was shown"; cascade weights are
unbiased for the whole list under the cascade model (McInerney et al., Counterfactual evaluation of slate
recommendations with sequential reward interactions, KDD 2020); whole-slate weights need nothing but logging, and grow
exponentially with the list. A forced or missing slot has ρ = 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from training.ope.slates import Bools, Floats, LoggedSlates, Subjects, TargetSlates

Structure: TypeAlias = Literal["independent", "cascade", "slate"]
STRUCTURES: Final[tuple[Structure, ...]] = ("cascade", "independent", "slate")
"""The headline first."""


def ratios(slates: LoggedSlates, target: TargetSlates) -> Floats:
    """ρ, shape (n, k)."""
    free = slates.free
    return np.where(free, target.propensity / np.where(free, slates.propensity, 1.0), 1.0)


def weigh(ratio: Floats, structure: Structure) -> Floats:
    """w, shape (n, k).

    >>> weigh(np.array([[2.0, 0.5, 3.0]]), "cascade").tolist()
    [[2.0, 1.0, 3.0]]
    """
    match structure:
        case "independent":
            return ratio
        case "cascade":
            prefix: Floats = np.cumprod(ratio, axis=1, dtype=np.float64)
            return prefix
        case "slate":
            return np.repeat(np.prod(ratio, axis=1, keepdims=True, dtype=np.float64), ratio.shape[1], axis=1)


def effective_size(weight: Floats) -> float:
    """Kish's effective sample size, (Σ w)² / Σ w²: how many equally weighted slates tell as much. 0 for no weight.

    >>> effective_size(np.array([1.0, 1.0, 0.0, 0.0]))
    2.0
    """
    squares = float(weight @ weight)
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


@dataclass(frozen=True, slots=True)
class MeanWeight:
    """The mean importance weight. Its expectation is 1 where propensities are right and everything the judged policy
    may show could have been logged."""

    value: float
    standard_error: float
    """Clustered by person."""

    @property
    def is_one(self) -> bool:
        """Within 3 standard errors (and what rounding to float32 leaves)."""
        return abs(self.value - 1.0) <= 3.0 * self.standard_error + 1e-6


def mean_weight(weight: Floats, counted: Bools, subject: Subjects) -> MeanWeight:
    """Of all slots that count. One number for the whole list, so that checking twelve slots does not refuse every
    thirtieth sound log."""
    sums = clustered(np.where(counted, weight, 0.0).sum(axis=1)[:, None], subject)[:, 0]
    counts = clustered(counted.sum(axis=1, dtype=np.float64)[:, None], subject)[:, 0]
    total = float(counts.sum())
    if total == 0:
        return MeanWeight(float("nan"), float("nan"))
    value = float(sums.sum()) / total
    return MeanWeight(value, float(np.sqrt(((sums - value * counts) ** 2).sum())) / total)


def clustered(columns: Floats, subject: Subjects) -> Floats:
    """Sums over each person's slates: (n, m) → (people, m), people in order of their number."""
    _, person = np.unique(subject, return_inverse=True)
    people = int(person.max()) + 1 if len(person) else 0
    return np.stack([np.bincount(person, column, people) for column in columns.T], axis=1)
