"""Logged slates: what estimators are computed from. One row per answer, one column per slot, first slot first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from events.errors import BadRequest

Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Subjects: TypeAlias = npt.NDArray[np.int64]
Items: TypeAlias = npt.NDArray[np.int64]

NO_ITEM = -1
"""Stands where a list was shorter than the longest one."""


@dataclass(frozen=True, slots=True)
class LoggedSlates:
    """n slates of at most k slots. Arrays of shape (n,) or (n, k, ...)."""

    subject: Subjects
    """(n,): number of the person. People, not slates, are what intervals and folds are drawn over."""
    item: Items
    """(n, k): number of the item shown, `NO_ITEM` for none."""
    propensity: Floats
    """(n, k): probability of the item in its slot given the items above it, in (0, 1], as logged."""
    outcome: Floats
    """(n, k, outcomes): what became of the item (`training.learned.OUTCOMES`), 0 or 1."""
    forced: Bools
    """(n, k): the slot was not drawn but set; its item enters no estimate."""
    features: Floats
    """(n, k, f): what the reward model predicts from. Columns mean the same in every row."""
    test: Bools
    """(n,): test traffic."""
    logged: Bools
    """(n,): whether the decision was kept. An answer given while nothing could be logged has no propensities."""

    def __len__(self) -> int:
        return len(self.subject)

    @property
    def slots(self) -> int:
        return int(self.item.shape[1])

    @property
    def free(self) -> Bools:
        """(n, k): slots whose item was drawn; the only ones whose rewards count."""
        drawn: Bools = (self.item != NO_ITEM) & ~self.forced
        return drawn

    def rows(self, which: Bools) -> LoggedSlates:
        """Some of the slates, in order."""
        return LoggedSlates(
            self.subject[which],
            self.item[which],
            self.propensity[which],
            self.outcome[which],
            self.forced[which],
            self.features[which],
            self.test[which],
            self.logged[which],
        )

    def check(self) -> None:
        """Raises `BadRequest` for a drawn slot whose propensity is no probability: such a log cannot have come from
        the policy it claims."""
        wrong = self.free & ~((self.propensity > 0) & (self.propensity <= 1 + 1e-9)) & self.logged[:, None]
        if wrong.any():
            row, slot = np.argwhere(wrong)[0].tolist()
            raise BadRequest(
                f"slate {row}, slot {slot + 1}: propensity {self.propensity[row, slot]} of a shown item is not in "
                "(0, 1]: leave out slates that were not drawn"
            )


@dataclass(frozen=True, slots=True)
class TargetSlates:
    """What the policy to be judged would have done in the place of the logged one. Same rows and slots as the log."""

    propensity: Floats
    """(n, k): its probability of the *logged* item in its slot, given the logged items above it; 0 where it would
    never show it."""
    features: Floats
    """(n, k, f): the features it expects of the slot, Σ over items a of its probability of a · features(a), given the
    logged items above. A reward model that is linear in the features needs no more of the other items."""
    unsupported: Floats
    """(n, k): its probability, given the logged items above, of items the logging policy could not have shown."""

    def rows(self, which: Bools) -> TargetSlates:
        """Some of the slates, in order."""
        return TargetSlates(self.propensity[which], self.features[which], self.unsupported[which])


def rewards(slates: LoggedSlates, values: tuple[float, ...]) -> Floats:
    """(n, k): Σ over outcomes of value · outcome of each drawn slot; 0 for others."""
    worth: Floats = slates.outcome @ np.asarray(values, np.float64)
    return np.where(slates.free, worth, 0.0)
