"""What the learner may be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from training.attribution import HOUR_US, Windows

Loss: TypeAlias = Literal["pointwise", "listwise"]
"""``pointwise``: logistic loss of every row. ``listwise``: softmax over the list for what orders it, logistic loss for
the intercept alone."""


@dataclass(frozen=True, slots=True)
class LearnerSettings:
    """Why the defaults are what they are, with what was measured: docs/learning.md."""

    windows: Windows = field(default_factory=Windows)
    loss: Loss = "listwise"
    clip: float = 0.0
    """Rows weigh min(1 / propensity, clip), scaled so that a list still weighs 1. 0: the propensity does not count,
    position is a feature instead."""
    rate: float = 0.1
    """AdaGrad's step."""
    rows_per_hour: int = 600
    """Most shown items one person can teach per hour of log time: fifty lists of twelve."""
    positives_per_hour: int = 60
    """Most acts one person can teach per hour of log time. Rows acted on beyond it are left out whole: learning them as
    not acted on would be a lie."""
    late_us: int = 24 * HOUR_US
    """An impression later than this after its answer is not learned from."""
    lists_max: int = 500_000
    """Lists waiting for their windows, about 500 bytes each; beyond, the one shown first gives way, unlearned."""
    publish_us: int = 1_000_000
    """Least log time between two publications."""
    learns: bool = True
    """False: promotions are followed, and who refuses or is erased; nothing is learned from what people do."""
