"""What was learned of the blend: the weights a replica scores with. Published by the learner as one row, read by every
replica between two requests, multiplied in numpy.

    logit_o(c) = intercept_o + Σ over recommenders r, features f of weights_o[r, f] · x[r, f, c]
               + Σ over context features e of context_o[e] · x[e, c]
    P_o(c)     = 1 / (1 + exp(-logit_o(c)))
    relevance  = Σ over outcomes o of value_o · P_o(c)

x are `training.blend.FEATURES` of each recommender, and `CONTEXT`. The same numbers go into River's ``learn_one``, so
a replica's prediction is River's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

Outcome: TypeAlias = Literal["click", "cart", "purchase"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("click", "cart", "purchase")
"""What may become of a shown item, in the order of `training.surface.Values`."""

CONTEXT: Final = ("position", "hedge", "fatigue")
"""Features of a shown item besides the recommenders' own: ``position`` = 1 / log2(1 + slot), slots from 1, held at
1 (slot 1) when scoring; ``hedge`` = Σ over recommenders of hedge weight · log_z, the weights being the mean of the
surface's and those of the segments somebody is in (`SurfaceWeights.trusted`); ``fatigue`` = log1p of the decayed
impressions without an act since."""

Matrix: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SurfaceWeights:
    """The blend of one surface. Rows are `OUTCOMES`."""

    intercept: Matrix
    """Shape (outcomes,)."""
    recommenders: Matrix
    """Shape (outcomes, len(Learned.names) · len(FEATURES)), recommender by recommender."""
    context: Matrix
    """Shape (outcomes, len(CONTEXT))."""
    hedge: Matrix
    """Shape (len(Learned.names),): fixed-share Hedge's weights, not negative, summing to 1."""
    hedges: Mapping[str, Matrix] = field(default_factory=dict)
    """Segment → the same, learned from what its people did alone."""

    def trusted(self, segments: Sequence[str]) -> Matrix:
        """Whom to believe for somebody in ``segments``: the mean of `hedge` and of what those segments taught."""
        own = [self.hedges[segment] for segment in segments if segment in self.hedges]
        mean: Matrix = np.mean([self.hedge, *own], axis=0) if own else self.hedge
        return mean


@dataclass(frozen=True, slots=True)
class Learned:
    """Weights of every surface at one moment, and the model they belong to."""

    version: str
    """Names the weights: equal versions, equal weights."""
    model: str
    """Id of the model artefact (`training.model`) these weights were learned with; empty: none was promoted yet."""
    names: tuple[str, ...]
    """Recommenders, in the order of the columns."""
    surfaces: Mapping[str, SurfaceWeights]
    """A surface that is not here is scored with its fixed weights."""


class LearnedSource(Protocol):
    """Where a request gets the weights from."""

    def snapshot(self) -> Learned | None:
        """The latest weights; None while nothing was published. Costs one look-up while nothing changed."""
        ...


TABLE: Final = "learned"
"""The table of the learner's state that holds the published row."""
KEY: Final = b"learned"


class _PackedSurface(msgspec.Struct, frozen=True, omit_defaults=True):
    """`SurfaceWeights` as little-endian float64; ``outcomes`` is the number of rows."""

    outcomes: int
    intercept: bytes
    recommenders: bytes
    context: bytes
    hedge: bytes
    hedges: dict[str, bytes] = {}


class _Packed(msgspec.Struct, frozen=True):
    version: str
    model: str
    names: tuple[str, ...]
    surfaces: dict[str, _PackedSurface]


_ENCODER: Final = msgspec.msgpack.Encoder(order="sorted")
_DECODER: Final = msgspec.msgpack.Decoder(_Packed)


def pack(learned: Learned) -> bytes:
    """``learned`` as msgpack, weights exact to the bit; equal weights, equal bytes."""
    surfaces = {
        name: _PackedSurface(
            len(weights.intercept),
            _bytes(weights.intercept),
            _bytes(weights.recommenders),
            _bytes(weights.context),
            _bytes(weights.hedge),
            {segment: _bytes(hedge) for segment, hedge in weights.hedges.items()},
        )
        for name, weights in learned.surfaces.items()
    }
    return _ENCODER.encode(_Packed(learned.version, learned.model, learned.names, surfaces))


def unpack(data: bytes) -> Learned:
    """What `pack` was given; the arrays are read-only. Raises `msgspec.ValidationError` for other bytes."""
    packed = _DECODER.decode(data)
    surfaces = {
        name: SurfaceWeights(
            np.frombuffer(weights.intercept, "<f8"),
            np.frombuffer(weights.recommenders, "<f8").reshape(weights.outcomes, -1),
            np.frombuffer(weights.context, "<f8").reshape(weights.outcomes, -1),
            np.frombuffer(weights.hedge, "<f8"),
            {segment: np.frombuffer(hedge, "<f8") for segment, hedge in weights.hedges.items()},
        )
        for name, weights in packed.surfaces.items()
    }
    return Learned(packed.version, packed.model, packed.names, surfaces)


def _bytes(array: Matrix) -> bytes:
    return np.ascontiguousarray(array, "<f8").tobytes()
