"""What the learner knows of the blend: a model per surface and outcome, Hedge per surface, and how good each has been.

Held in memory, stored row by row; a row is written when it changed. Published as `training.learned.Learned`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final, TypeAlias

import msgspec
import numpy as np

from actors.state import Change, StateReader
from training.blend import BELOW_MEAN, FEATURES
from training.hedge import Hedge, charged
from training.learned import CONTEXT, OUTCOMES, Learned, Matrix, Outcome, SurfaceWeights, pack
from training.learner.outcome_model import OutcomeModel, Vector
from training.learner.progress import Progress
from training.learner.settings import LearnerSettings
from training.learner.shown import WIDTH, Columns, ShownList, sparse

MODELS: Final = "models"
"""surface ‖ 0 ‖ outcome → the model's row."""
PROGRESS: Final = "progress"
HEDGES: Final = "hedges"
"""surface, or surface `WITHIN` segment → weights and inverse temperatures."""
WITHIN: Final = "\x00"
SEGMENTS_MAX: Final = 64
"""Segments with a Hedge of their own, per surface: the first that somebody acted in. 120 bytes each are published. Each
starts from the surface's as it is then."""
SHAPE: Final = "shape"
SHAPE_KEY: Final = b"names"

SCALE: Final = 1.0
"""Log-odds that a fixed blend's score of 1 is worth at the start; only what is learned next depends on it, the order
does not."""
NEAR_FIXED: Final = {"z": 0.5, "abstained": -0.7}
"""The fixed blend bends at a recommender's mean and puts what it is silent about below; no weights of `FEATURES` do
exactly that. These come closest (of a grid, generated requests of 200 candidates and eight recommenders: Kendall's tau
.975, 11.3 of the first 12 the same). As long as nothing was learned on a surface its fixed weights serve, exactly."""
BASE_LOGIT: Final[Mapping[Outcome, float]] = {"click": -3.0, "cart": -4.5, "purchase": -5.5}
"""Where the intercept starts: a click in 20, a cart in 90, a purchase in 250 shown items."""

Place: TypeAlias = tuple[str, Outcome]


@dataclass(frozen=True, slots=True)
class LearnedRow:
    """One row as it was learned: what drift is watched in."""

    surface: str
    outcome: Outcome
    predicted: float
    """P before learning it."""
    happened: bool
    features: tuple[float, ...]
    """What tells lists apart, the same for all sets of recommenders: `CONTEXT` without the position, and how many
    recommenders spoke for the item."""


class _HedgeRow(msgspec.Struct, frozen=True, array_like=True):
    weights: bytes
    inverse: bytes


class Blends:
    """Of all surfaces. Not shared between threads."""

    def __init__(
        self,
        store: StateReader,
        names: Sequence[str],
        fixed: Mapping[str, Mapping[str, float]],
        settings: LearnerSettings,
    ) -> None:
        """``names``: the recommenders, in the order of the published columns; ``fixed``: each surface's fixed weights,
        what its models start from. What is stored of other recommenders is dropped, new ones start as fixed."""
        self.columns = Columns(names)
        self._store = store
        self._fixed = fixed
        self._settings = settings
        self._models: dict[Place, OutcomeModel] = {}
        self._progress: dict[Place, Progress] = {}
        self._hedges: dict[str, Hedge] = {}
        self._changed_models: set[Place] = set()
        self._changed_hedges: set[str] = set()
        self._load()

    @property
    def progress(self) -> Mapping[Place, Progress]:
        return self._progress

    def learn(self, shown: ShownList, outcome: Outcome, slots: Sequence[int], acted: Sequence[int]) -> list[LearnedRow]:
        """One list whose window for ``outcome`` closed: the slots seen, and those it came of."""
        place = shown.surface, outcome
        dense = self.columns.of(shown)[list(slots)]
        rows = sparse(dense)
        labels = [slot in acted for slot in slots]
        model = self._model(place)
        progress = self._progress.setdefault(place, Progress())
        logits = model.logits(rows)
        for logit, label in zip(logits, labels, strict=True):
            progress.add(logit, label)
        model.learn(rows, labels, self._weights(shown, slots), self._settings.loss)
        self._changed_models.add(place)
        told = np.column_stack((shown.context[list(slots), 1:], self.columns.spoke(dense))).tolist()
        return [
            LearnedRow(shown.surface, outcome, chance(logit), label, tuple(seen))
            for logit, label, seen in zip(logits, labels, told, strict=True)
        ]

    def acted(self, shown: ShownList, seen: Sequence[int], slot: int) -> None:
        """Somebody acted on ``slot`` of a list of which ``seen`` were seen: Hedge learns at once."""
        here, there = self.columns.places(shown.names)
        features = np.zeros((len(shown.items), len(self.columns.names) * WIDTH))
        features[:, here] = shown.features[:, there]
        cube = features.reshape(len(shown.items), -1, WIDTH)[list(seen)]
        z, ranks = cube[:, :, FEATURES.index("z")], cube[:, :, FEATURES.index("reciprocal_rank")]
        start = self.hedge(shown.surface)
        for place in (shown.surface, *self._segments(shown)):
            before = self._hedges.get(place, start)
            after = charged(before, z, ranks > 0, list(seen).index(slot))
            if after is not before:
                self._hedges[place] = after
                self._changed_hedges.add(place)

    def _segments(self, shown: ShownList) -> list[str]:
        """Keys of the Hedges of the segments of a list's person."""
        prefix = f"{shown.surface}{WITHIN}"
        known = {place for place in self._hedges if place.startswith(prefix)}
        wanted = [prefix + segment for segment in shown.segments]
        room = SEGMENTS_MAX - len(known)
        fresh = [place for place in wanted if place not in known][: max(room, 0)]
        return [place for place in wanted if place in known or place in fresh]

    def restart(self, initial: Learned | None) -> None:
        """Start again from ``initial``; None: from the fixed weights. What was learned with the model before goes."""
        surfaces = {surface for surface, _ in self._models} | (set(initial.surfaces) if initial is not None else set())
        for surface in sorted(surfaces):
            given = initial.surfaces.get(surface) if initial is not None else None
            for kind, outcome in enumerate(OUTCOMES):
                weights = self._start(surface, outcome)
                if given is not None and initial is not None:
                    weights = _aligned(given, kind, initial.names, self.columns, weights)
                self._models[surface, outcome] = OutcomeModel(weights, self._settings.rate)
                self._changed_models.add((surface, outcome))
            self._hedges[surface] = self._hedge_of(given, initial) if given is not None else self._even()
            self._changed_hedges.add(surface)
        for place in [place for place in self._hedges if WITHIN in place]:
            del self._hedges[place]
            self._changed_hedges.add(place)

    def learned(self, model: str) -> Learned:
        """What replicas score with: every surface of which anything was learned."""
        hedged = {place for place in self._hedges if WITHIN not in place}
        surfaces = sorted({surface for surface, _ in self._models} | hedged)
        found = Learned("", model, self.columns.names, {surface: self._surface(surface) for surface in surfaces})
        return replace(found, version=blake2b(pack(found), digest_size=6).hexdigest())

    def hedge(self, surface: str) -> Hedge:
        """Of a surface."""
        return self._hedges.get(surface) or self._even()

    def river(self, surface: str, outcome: Outcome) -> OutcomeModel:
        return self._model((surface, outcome))

    def changes(self) -> list[Change]:
        """Rows that changed since the last call."""
        out: list[Change] = []
        for surface, outcome in sorted(self._changed_models):
            key = _key((surface, outcome))
            out.append((MODELS, key, self._models[surface, outcome].row()))
            if (surface, outcome) in self._progress:
                out.append((PROGRESS, key, self._progress[surface, outcome].row()))
        for place in sorted(self._changed_hedges):
            hedge = self._hedges.get(place)
            out.append((HEDGES, place.encode(), None if hedge is None else _hedge_row(hedge)))
        if out:
            out.append((SHAPE, SHAPE_KEY, msgspec.msgpack.encode(self.columns.names)))
        self._changed_models.clear()
        self._changed_hedges.clear()
        return out

    def _weights(self, shown: ShownList, slots: Sequence[int]) -> list[float]:
        """The rows of one list sum to 1."""
        clip = self._settings.clip
        if not clip:
            return [1.0 / len(slots)] * len(slots)
        raw = [min(1.0 / max(shown.propensities[slot], 1e-12), clip) for slot in slots]
        total = sum(raw)
        return [one / total for one in raw]

    def _model(self, place: Place) -> OutcomeModel:
        model = self._models.get(place)
        if model is None:
            model = self._models[place] = OutcomeModel(self._start(*place), self._settings.rate)
        return model

    def _start(self, surface: str, outcome: Outcome) -> Vector:
        """Log-odds = base + SCALE · Σ_r w_r · (log_z + b · (z / 2 - 0.7 · abstained)), w the surface's fixed weights
        scaled to sum to 1 and b = `BELOW_MEAN`. See `NEAR_FIXED`."""
        weights = np.zeros(self.columns.count)
        fixed = self._fixed.get(surface, {})
        total = sum(fixed.values()) or 1.0
        for number, name in enumerate(self.columns.names):
            share = SCALE * fixed.get(name, 0.0) / total
            weights[number * WIDTH + FEATURES.index("log_z")] = share
            for feature, part in NEAR_FIXED.items():
                weights[number * WIDTH + FEATURES.index(feature)] = share * BELOW_MEAN * part
        weights[self.columns.bias] = BASE_LOGIT[outcome]
        return weights

    def _surface(self, surface: str) -> SurfaceWeights:
        table = np.array(
            [
                model.weights() if (model := self._models.get((surface, outcome))) else self._start(surface, outcome)
                for outcome in OUTCOMES
            ]
        )
        split = self.columns.bias - len(CONTEXT)
        bias = self.columns.bias
        prefix = f"{surface}{WITHIN}"
        within = {
            place.removeprefix(prefix): self._hedges[place].weights
            for place in sorted(self._hedges)
            if place.startswith(prefix)
        }
        return SurfaceWeights(
            table[:, bias], table[:, :split], table[:, split:bias], self.hedge(surface).weights, within
        )

    def _even(self) -> Hedge:
        return Hedge.start(len(self.columns.names))

    def _hedge_of(self, given: SurfaceWeights, initial: Learned | None) -> Hedge:
        even = self._even()
        if initial is None:
            return even
        shares = dict(zip(initial.names, given.hedge.tolist(), strict=True))
        weights = np.array([shares.get(name, 1.0 / len(even.weights)) for name in self.columns.names])
        return Hedge(weights / weights.sum(), even.inverse)

    def _load(self) -> None:
        stored = self._store.get(SHAPE, SHAPE_KEY)
        names = msgspec.msgpack.decode(stored, type=tuple[str, ...]) if stored is not None else self.columns.names
        for key, row in self._store.scan(MODELS):
            place = _place(key)
            model = OutcomeModel.of(row, self._settings.rate)
            if names != self.columns.names:
                model = self._reshaped(place, model, names)
            self._models[place] = model
        for key, row in self._store.scan(PROGRESS):
            self._progress[_place(key)] = Progress(row)
        for key, row in self._store.scan(HEDGES):
            packed = msgspec.msgpack.decode(row, type=_HedgeRow)
            hedge = Hedge(np.frombuffer(packed.weights, "<f8"), np.frombuffer(packed.inverse, "<f8"))
            self._hedges[key.decode()] = hedge if names == self.columns.names else self._even()

    def _reshaped(self, place: Place, model: OutcomeModel, names: tuple[str, ...]) -> OutcomeModel:
        """The model after the set of recommenders changed: those that stayed keep their weights, new ones start as
        fixed; the optimiser starts again."""
        was = Columns(names)
        weights, old = self._start(*place), model.weights()
        here, there = self.columns.places(names)
        weights[here] = old[there]
        weights[len(self.columns.names) * WIDTH :] = old[len(was.names) * WIDTH :]
        return OutcomeModel(weights, self._settings.rate)


def _hedge_row(hedge: Hedge) -> bytes:
    row = _HedgeRow(hedge.weights.astype("<f8").tobytes(), hedge.inverse.astype("<f8").tobytes())
    return msgspec.msgpack.encode(row)


def chance(logit: float) -> float:
    """1 / (1 + exp(-logit)), for any logit.

    >>> chance(0.0), chance(-1e4)
    (0.5, 0.0)
    """
    return 1.0 / (1.0 + math.exp(-logit)) if logit > -700.0 else 0.0


def _aligned(given: SurfaceWeights, kind: int, names: tuple[str, ...], columns: Columns, start: Vector) -> Vector:
    """Published weights in the learner's own columns; recommenders they do not know start as ``start``."""
    weights = start.copy()
    here, there = columns.places(names)
    table: Matrix = given.recommenders
    weights[here] = table[kind, there]
    weights[columns.bias - len(CONTEXT) : columns.bias] = given.context[kind]
    weights[columns.bias] = given.intercept[kind]
    return weights


def _key(place: Place) -> bytes:
    return f"{place[0]}\x00{place[1]}".encode()


def _place(key: bytes) -> Place:
    surface, _, outcome = key.decode().rpartition("\x00")
    return surface, OUTCOMES[OUTCOMES.index(outcome)]
