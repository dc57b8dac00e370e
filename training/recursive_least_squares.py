"""Recursive least squares with directional forgetting: a linear blend that is optimal after every row.

Without forgetting it minimises Σ over rows of (y - w·x)² + λ·|w|² exactly, with no learning rate: the posterior mean of
River's ``linear_model.BayesianLinearRegression``. That one inverts a matrix per row as soon as it forgets, and what it
forgets is everything, so that a direction nothing is seen of would open without bound. Here a row makes room only in
its own direction (Kulhavý and Kárný, Tracking of slowly varying parameters by directional forgetting, IFAC 1984):

    r = xᵀP x,  w += P x · (y - w·x) / (1 + r),  P -= P x xᵀP · (f·r - (1 - f)) / (r·f·(1 + r))

P⁻¹ in that direction becomes f times what it was with the row added.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]


class RecursiveLeastSquares:
    """``weights`` start at 0; ``covariance``, shape (features, features), is theirs in units of the noise."""

    def __init__(self, features: int, ridge: float, forget: float) -> None:
        """``ridge`` λ > 0; ``forget`` f in (0, 1]: about 1 / (1 - f) rows are remembered, 1 is all of them."""
        self.ridge, self.forget = ridge, forget
        self.weights: Floats = np.zeros(features)
        self.covariance: Floats = np.eye(features) / ridge

    def learn_one(self, x: Floats, y: float) -> None:
        """One row. O(features²)."""
        towards = self.covariance @ x
        spread = float(x @ towards)
        if spread <= 0.0:
            return
        # Never more open than at the start: where rows say next to nothing, nothing is forgotten.
        forget = self.forget if spread * self.ridge < float(x @ x) else 1.0
        shrink = (forget * spread - (1.0 - forget)) / (spread * forget * (1.0 + spread))
        self.weights = self.weights + towards * ((y - float(x @ self.weights)) / (1.0 + spread))
        self.covariance = self.covariance - np.outer(towards * shrink, towards)
