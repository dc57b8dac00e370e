"""The learner of a store on this machine: decision records as the lists it learns from, opened from the data folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from actors.follower import Source
from actors.lmdb_state import LmdbState, trusted
from actors.outbox import Outbox
from actors.reader import PartitionFiles
from actors.recorded import RecordedFollower
from actors.state import StateReader
from actors.store import Store
from events.disk import LocalDisk
from events.errors import BadId, Corrupt, EverfoldError, NotFound, Unavailable
from events.ids import PartitionId
from events.record import Record
from events.segment_log import SegmentLogReader
from events.types import Impression, Meta, Payload
from events.unseal import Unsealer
from events.vault import SLOTS, VaultReader
from serving import decisions as decision_log
from serving.decision import NOBODY, PERSONAL, Decision
from serving.decisions import Decisions, entry_of, open_decisions
from serving.metrics import series
from serving.sealing import Sealer, Vaults
from serving.settings import Settings
from serving.weights import FOLDER
from training.drift import Detection
from training.inventory import INVENTORY
from training.learned import CONTEXT, OUTCOMES, Learned
from training.learner.projection import LearnerProjection, Teaching
from training.learner.shown import WIDTH, ShownList
from training.model import FOLDER as MODELS
from training.model import load

NAME: Final = "learner"
"""Its producer's name too: facts it writes back are numbered under it."""


class DecidedLists:
    """`training.learner.shown.ShownSource` over decision records. One without features, or of nothing, is none."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions

    def shown(self, list_id: str) -> ShownList | None:
        try:
            decision = self._decisions.lookup(list_id)
        except (BadId, NotFound, Corrupt):
            return None
        logged = len(decision.features) == 4 * len(decision.slate) * len(decision.recommenders) * WIDTH
        return shown_list(decision) if logged and decision.slate else None


def shown_list(decision: Decision) -> ShownList:
    """What the learner wants to know of a decision."""
    slots = len(decision.slate)
    features = np.frombuffer(decision.features, "<f4").reshape(slots, -1)
    context = np.zeros((slots, len(CONTEXT)))
    if decision.context_features:
        context[:] = np.frombuffer(decision.context_features, "<f4").reshape(slots, -1)
    else:  # format 1 logged the recommenders' features only
        context[:, CONTEXT.index("position")] = 1.0 / np.log2(2.0 + np.arange(slots))
    return ShownList(
        surface=decision.rules.surface,
        at=decision.read_at,
        personal=decision.consent in PERSONAL,
        test=decision.test,
        items=tuple(one.item for one in decision.slate),
        propensities=tuple(one.propensity for one in decision.slate),
        names=decision.recommenders,
        features=features.astype(np.float64),
        context=context,
        forced=frozenset(slot for slot, one in enumerate(decision.slate) if one.forced),
        segments=decision.segments,
    )


class AnswersAsImpressions:
    """Opens records of the decision log: an answer on a surface with ``impression = assumed`` is an impression of all
    its items, any other is nothing."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions
        self.skipped = 0

    def payload(self, record: Record) -> Payload | None:
        entry = entry_of(record)
        try:
            decision = self._decisions.open(entry)
        except (NotFound, Corrupt):
            self.skipped += 1
            return None
        if decision.rules.impression != "assumed" or not decision.slate:
            return None
        items = tuple(one.item for one in decision.slate)
        return Payload(Meta(test=decision.test), Impression(items, entry.place.text, "answered"))


class Learner(RecordedFollower):
    """A `RecordedFollower` that owns what it reads from and writes to."""

    def __init__(self, store: Store, settings: Settings) -> None:
        """A state that a machine crash made doubtful is learned again from the logs.

        Raises `NotFound` while a partition was never opened by its owner, and `Unavailable` while decisions that were
        shipped cannot be found: a list looked for then would seem never to have been answered.
        """
        self._answers: SegmentLogReader | None = None
        self._files = [PartitionFiles(store.folder(number), number, store) for number in store.numbers()]
        self._vaults = Vaults(lambda number: _vault(store, PartitionId(number)))
        decisions = open_decisions(store.path, Sealer(store.secrets.decisions, self._vaults))
        if not decisions.whole():
            self._close_files()
            raise Unavailable("decisions cannot be found yet: their index is being made")
        surfaces = settings.all_surfaces()
        teaching = Teaching(
            names=tuple(INVENTORY),
            fixed={name: surface.weights for name, surface in surfaces.items()},
            shown=DecidedLists(decisions),
            initial=lambda model: _initial(store.path, model),
            settings=settings.learning.learner(),
        )
        sources = [Source(int(each.number), each.log, Unsealer(each.log, each.vault)) for each in self._files]
        if any(surface.impression == "assumed" for surface in surfaces.values()):
            self._answers = SegmentLogReader(store.path / decision_log.FOLDER)
            sources.append(Source(NOBODY, self._answers, AnswersAsImpressions(decisions)))

        def opened(state: StateReader) -> LearnerProjection:
            return LearnerProjection(state, teaching)

        folder = store.path / FOLDER
        if folder.exists() and not trusted(folder):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._state = LmdbState(folder)
        self._outbox_rows = Outbox(NAME, self._state, store.partition)
        super().__init__(NAME, sources, self._state, opened, self._outbox_rows)

    def detections(self) -> list[Detection]:
        """Drift found since this was last asked; the facts are on their way to the log already."""
        projection = self.opened
        return projection.detections() if isinstance(projection, LearnerProjection) else []

    def numbers(self) -> dict[str, float]:
        """What it learned and left out, and how good its predictions were, as metrics."""
        projection = self.opened
        found = {"everfold_outbox_backlog": float(self._outbox_rows.backlog())}
        return found | learner_numbers(projection) if isinstance(projection, LearnerProjection) else found

    def close(self) -> None:
        """Leave the state clean and let go of the files."""
        self._state.close()
        self._close_files()

    def _close_files(self) -> None:
        for files in self._files:
            files.close()
        if self._answers is not None:
            self._answers.close()
        self._vaults.close()


LEFT_OUT: Final = {
    "excluded_bot": "bot",
    "excluded_test": "test",
    "excluded_consent": "consent",
    "impressions_unnamed": "unnamed",
    "impressions_unknown": "unknown_list",
    "rows_late": "late",
    "rows_capped": "row_cap",
    "acts_capped": "act_cap",
    "acts_not_held": "act_early",
    "rows_crowded_out": "crowded_out",
    "rows_forgotten": "forgotten",
    "rows_lost": "lost",
    "rows_paused": "paused",
    "ratings_unusable": "no_rating",
    "seen_elsewhere": "not_in_the_list",
}
"""Count → the reason it is published under."""


def learner_numbers(learner: LearnerProjection) -> dict[str, float]:
    counts: Mapping[str, int] = dict(learner.counts)
    found: dict[str, float] = {
        "everfold_learner_lists_pending": learner.pending,
        "everfold_learner_publications_total": counts.get("publications", 0),
        "everfold_learner_ratings_total": counts.get("ratings", 0),
        "everfold_drift_detections_total": counts.get("drift_detections", 0),
    }
    for name, reason in LEFT_OUT.items():
        found[series("everfold_learner_left_out_total", reason=reason)] = counts.get(name, 0)
    for outcome in OUTCOMES:
        found[series("everfold_learner_rows_total", outcome=outcome)] = counts.get(f"learned_{outcome}", 0)
        found[series("everfold_learner_positives_total", outcome=outcome)] = counts.get(f"positive_{outcome}", 0)
        for how in ("list", "subject", "late"):
            joined = counts.get(f"joined_{outcome}_{how}", 0)
            found[series("everfold_learner_acts_total", outcome=outcome, joined=how)] = joined
        unjoined = counts.get(f"unjoined_{outcome}", 0)
        found[series("everfold_learner_acts_total", outcome=outcome, joined="none")] = unjoined
    for (surface, outcome), progress in list(learner.blends.progress.items()):
        quality = progress.quality()
        for name, value in (
            ("everfold_learner_log_loss", quality.log_loss),
            ("everfold_learner_auc", quality.auc),
            ("everfold_learner_calibration", quality.calibration),
            ("everfold_learner_calibration_error", quality.calibration_error),
        ):
            if np.isfinite(value):
                found[series(name, surface=surface, outcome=outcome)] = value
    return found


def _initial(data: Path, model: str) -> Learned | None:
    try:
        return load(data / MODELS, model).initial
    except (EverfoldError, OSError):
        return None


def _vault(store: Store, number: PartitionId) -> VaultReader:
    return VaultReader(LocalDisk(store.folder(number)).open(SLOTS, "read"), store.secrets.vault_wrap)
