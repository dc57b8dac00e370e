"""What the log says of another *model* under the rules there are: the off-policy part of the gate's evidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors.item_reader import MemoryItems
from actors.item_view import ItemView
from actors.store import Store
from events.clock import ManualClock
from events.ids import Micros, Millis
from serving.decision_period import Period, open_period
from serving.recommend import Answerer
from serving.replica import rules_of
from serving.settings import Settings
from serving.weights import Pair
from serving.what_if import Asking, Judged, what_if
from training.gate import OffPolicy
from training.model import Binder, Model


@dataclass(frozen=True)
class ModelTrial:
    """``model`` must have been fitted, and its initial weights with it, on nothing appended after ``period.since``: a
    model that has seen what became of the lists it is judged by earns what nobody would."""

    data: Path
    settings: Settings
    model: Model
    surface: str
    period: Period
    now: Micros
    seed: int = 0


def model_evidence(trial: ModelTrial) -> OffPolicy | None:
    """For `training.gate.judge`: the model's value per list less what was earned, and what that stands on. None where
    the log cannot answer: "no off-policy evidence". Raises as `open_period` does."""
    return evidence_of(try_model(trial))


def try_model(trial: ModelTrial) -> Judged:
    """The whole evaluation, refusals and all."""
    settings = trial.settings
    rules = rules_of(Store.open(trial.data), settings)
    answerer = Answerer(MemoryItems(), None, ManualClock(trial.now), rules, _Fixed(trial.model))
    asking = Asking(
        {trial.surface: rules.surfaces[trial.surface]},
        answerer.ranked,
        trial.seed,
        windows=settings.learning.learner().windows,
    )
    with open_period(trial.data) as reading:
        (judged,) = what_if(reading, trial.period, trial.now, asking)
    return judged


def evidence_of(judged: Judged) -> OffPolicy | None:
    """The headline as the gate takes it; None where it was refused."""
    found = judged.evaluation
    if found.headline is None or found.baseline is None:
        return None
    return OffPolicy(found.headline.gain, found.baseline.value, found.effective)


class _Fixed:
    """`serving.weights.PairSource` of one model, with the weights it would start from."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._binder = Binder()

    def snapshot(self, items: ItemView, now: Millis) -> Pair:
        return Pair(self._model.initial, self._binder.bind(self._model, items))
