"""River's `reco.BiasedMF` over arrays: bounded, saved exactly, and unchanged by asking.

``BiasedMF.predict_one`` adds an entry to four dictionaries for every user or item it has not seen, so predicting would
change the model and its memory would have no bound. Here its biases and latent vectors are rows of arrays by slot,
which River's own ``learn_one`` updates, and predictions are read from the arrays. Latent vectors start from a hash of
the id instead of a random stream: so they do not depend on who came first, and nothing random has to be saved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import xxhash
from river import optim, reco, stats

from training.rating_slots import grown

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Variant:
    """Hyper-parameters of one `reco.BiasedMF`."""

    factors: int
    bias_rate: float
    latent_rate: float
    spread: float = 0.1
    """Standard deviation of latent vectors at the start."""
    seed: int = 0


class _BiasedMF(Protocol):
    """`reco.BiasedMF` with arrays where it has dictionaries: it only ever indexes them."""

    global_mean: stats.Mean
    u_biases: Floats
    i_biases: Floats
    u_latents: Floats
    i_latents: Floats

    def learn_one(self, user: int, item: int, y: float) -> None: ...


class Factors:
    """One `reco.BiasedMF`: stars ≈ mean + b(u) + b(i) + v(u)·v(i), by stochastic gradient descent on the squared
    error."""

    def __init__(self, variant: Variant, people_max: int, items_max: int) -> None:
        self._variant, self._people_max, self._items_max = variant, people_max, items_max
        river = reco.BiasedMF(
            n_factors=variant.factors,
            bias_optimizer=optim.SGD(variant.bias_rate),
            latent_optimizer=optim.SGD(variant.latent_rate),
        )
        self.model = cast(_BiasedMF, river)
        self.model.u_biases, self.model.u_latents = np.zeros(0), np.zeros((0, variant.factors))
        self.model.i_biases, self.model.i_latents = np.zeros(0), np.zeros((0, variant.factors))

    def admit_person(self, person: int, name: str) -> None:
        """Slot ``person`` is somebody new."""
        model = self.model
        model.u_biases = grown(model.u_biases, person + 1, self._people_max)
        model.u_latents = grown(model.u_latents, person + 1, self._people_max)
        model.u_biases[person] = 0.0
        model.u_latents[person] = self._start("u:" + name)

    def admit_item(self, item: int, name: str) -> None:
        """Slot ``item`` is something new."""
        model = self.model
        model.i_biases = grown(model.i_biases, item + 1, self._items_max)
        model.i_latents = grown(model.i_latents, item + 1, self._items_max)
        model.i_biases[item] = 0.0
        model.i_latents[item] = self._start("i:" + name)

    def estimate(self, person: int, items: Ints) -> Floats:
        """Stars per item; what slot -1 stands for counts as average."""
        model = self.model
        out = np.full(len(items), float(model.global_mean.get()))
        known = items >= 0
        if person >= 0:
            out += model.u_biases[person]
        if known.any():
            at = items[known]
            out[known] += model.i_biases[at]
            if person >= 0:
                out[known] += model.i_latents[at] @ model.u_latents[person]
        return out

    def learn(self, person: int, item: int, stars: float) -> None:
        """River's ``learn_one`` on two slots that have been admitted."""
        self.model.learn_one(person, item, stars)

    def _start(self, name: str) -> Floats:
        seed = xxhash.xxh3_64_intdigest(name.encode(), self._variant.seed)
        return np.random.Generator(np.random.PCG64(seed)).normal(0.0, self._variant.spread, self._variant.factors)
