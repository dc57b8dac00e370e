"""A whole answer path over a small shop: real spool, real sealing, memory for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from small_shop import NOW, small_shop

from actors.item_reader import MemoryItems
from actors.profile import Profile
from actors.state import MemoryState
from events.clock import ManualClock
from events.ids import Key, KeyHash, Micros
from events.memory_disk import MemoryDisk
from events.memory_log import MemoryLog
from events.vault import Vault
from serving.answer import Answer, RankRequest, RecommendRequest
from serving.answered import Answered
from serving.decision import Decision
from serving.decisions import Decisions, Shipper
from serving.journal import Journal
from serving.metrics import Numbers
from serving.recommend import Answerer, AnswerRules
from serving.sealing import Sealer, Vaults
from serving.spool import Spool
from serving.weights import PairSource
from training.surface import SURFACES, Surface

SECRET = bytes(range(32))


def still(surface: Surface) -> Surface:
    """The surface without chance, so that a test can say what comes first."""
    return surface.model_copy(
        update={"tau": 0.0, "floor": 0.0, "exploration_slots": (), "diversity": 0.0, "fatigue": 1.0}
    )


STILL: Mapping[str, Surface] = {name: still(surface) for name, surface in SURFACES.items()}


class Desk:
    """One store with one replica at first; `replica` adds another. ``profiles`` is what a reader would find, and
    ``read`` counts who was asked for."""

    def __init__(
        self,
        folder: Path,
        items: MemoryItems | None = None,
        rules: AnswerRules | None = None,
        weights: PairSource | None = None,
        numbers: Numbers | None = None,
    ) -> None:
        self.folder = folder
        self.weights, self.numbers = weights, numbers
        self.items = items or small_shop()
        self.rules = rules or AnswerRules(surfaces=STILL)
        self.clock = ManualClock(Micros(NOW * 1000))
        self.vault = Vault(MemoryDisk().open("slots"), SECRET)
        self.log, self.index = MemoryLog(), MemoryState()
        self.sealer = Sealer(SECRET, Vaults(lambda _: self.vault))
        self.decisions = Decisions(folder, self.log, self.index, self.sealer)
        self.shipper = Shipper(folder, self.log, self.index)
        self.profiles: dict[Key, Profile] = {}
        self.read: list[Key] = []
        self.journals: list[Journal] = []
        self.answerer = self.replica()

    def replica(self) -> Answerer:
        answered = Answered(self.folder, self.decisions)
        self.journals.append(Journal(Spool(self.folder), self.sealer, answered, self.decisions, SECRET, lambda key: 0))
        return Answerer(self.items, self.journals[-1], self.clock, self.rules, self.weights, self.numbers)

    def subject(self, key: str) -> bytes:
        return self.vault.create(Key(key), KeyHash(key.encode().ljust(16)))

    def ask(self, request: RecommendRequest, answerer: Answerer | None = None) -> Answer:
        """What the route does."""
        answerer = answerer or self.answerer
        key = answerer.reads(request)
        profile = None
        if key is not None:
            self.read.append(key)
            profile = self.profiles.get(key)
        return answerer.recommend(request, profile)

    def home(self, user_id: str = "42", **fields: object) -> Answer:
        return self.ask(RecommendRequest(user_id=user_id, **fields))  # type: ignore[arg-type]

    def rank(self, *candidates: str, **fields: object) -> Answer:
        return self.ask(RankRequest(user_id="42", candidates=candidates, **fields))  # type: ignore[arg-type]

    def decision(self, answer: Answer) -> Decision:
        assert answer.recommendation_id is not None
        return self.decisions.lookup(answer.recommendation_id)

    def close(self) -> None:
        for journal in self.journals:
            journal.close()


def shown(answer: Answer) -> list[str]:
    return [item.item_id for item in answer.items]


def surfaces(*own: Surface) -> Mapping[str, Surface]:
    return {**STILL, **{surface.name: surface for surface in own}}
