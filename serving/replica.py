"""What a serving process is made of, besides its way to the host: keys, settings, items, answers, numbers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from actors.item_reader import LocalItems
from actors.store import Store
from events.clock import Clock
from events.disk import LocalDisk
from events.ids import PartitionId
from events.vault import SLOTS, VaultReader
from serving.answered import Answered
from serving.app import Deps
from serving.backend import Backend
from serving.decisions import SPOOL_FOLDER, Decisions, open_decisions
from serving.journal import Journal
from serving.keys import Keys
from serving.logs import Log
from serving.metrics import Numbers, alive, file_of
from serving.recommend import Answerer, AnswerRules
from serving.sealing import Sealer, Vaults
from serving.segment_people import Aside
from serving.segment_stream import Tail
from serving.settings import Settings
from serving.spool import Spool
from serving.transitions import Transitions
from serving.weights import Weights, open_weights
from training.registry import Registry

NUMBERS = Path("run") / "metrics"
"""Where all processes of a service publish their numbers, inside the data folder."""


@dataclass(frozen=True)
class Replica:
    """One serving process over a data folder that lies on this machine."""

    store: Store
    settings: Settings
    keys: Keys
    clock: Clock
    items: LocalItems
    journal: Journal
    decisions: Decisions
    weights: Weights
    numbers: Numbers
    vaults: Vaults
    tail: Tail
    people: Aside
    figures: Aside

    @classmethod
    def open(cls, store: Store, settings: Settings, clock: Clock) -> Replica:
        """Open everything lazily: a replica starts before hosts and followers have made their files."""
        vaults = open_vaults(store)
        journal, decisions = open_journal(store, vaults)
        numbers = Numbers(file_of(store.path / NUMBERS, os.getpid()))
        return cls(
            store=store,
            settings=settings,
            keys=Keys.open(store.path, create=True),
            clock=clock,
            items=LocalItems(store.path),
            journal=journal,
            decisions=decisions,
            weights=open_weights(store.path, numbers),
            numbers=numbers,
            vaults=vaults,
            tail=Tail(lambda: Transitions(store)),
            people=Aside(store),
            figures=Aside(store),
        )

    def missing(self) -> str:
        """How many replicas are missing, in words; empty when none is."""
        up, wanted = alive(self.store.path / NUMBERS), self.settings.server.replicas
        return "" if up >= wanted else f"{up} of {wanted} replicas are up"

    def deps(self, backend: Backend, log: Log, *, demo: bool) -> Deps:
        """What `serving.app.build_app` stands on."""
        rules = rules_of(self.store, self.settings)
        return Deps(
            settings=self.settings,
            keys=self.keys,
            event_id_secret=self.store.secrets.event_id,
            models=Registry(self.store.path),
            backend=backend,
            items=self.items,
            answerer=Answerer(self.items, self.journal, self.clock, rules, self.weights, self.numbers),
            decisions=self.decisions,
            tail=self.tail,
            people=self.people,
            figures=self.figures,
            clock=self.clock,
            log=log,
            numbers=self.numbers,
            numbers_folder=self.store.path / NUMBERS,
            demo=demo,
        )

    def close(self) -> None:
        self.journal.close()
        self.items.close()
        self.weights.close()
        self.vaults.close()
        self.tail.close()
        self.people.close()
        self.figures.close()


def rules_of(store: Store, settings: Settings) -> AnswerRules:
    """What stays the same from answer to answer under these settings."""
    return AnswerRules(
        default_consent=settings.consent.default,
        surfaces=settings.all_surfaces(),
        n_max=settings.recommend.n_max,
        candidates_logged=settings.recommend.candidates_logged,
        noise_secret=store.secrets.noise,
    )


def open_vaults(store: Store) -> Vaults:
    """The vaults of all partitions, opened as they are needed."""
    return Vaults(lambda number: _vault(store, PartitionId(number)))


def open_journal(store: Store, vaults: Vaults) -> tuple[Journal, Decisions]:
    """Where this process writes its decisions, and where everybody's are found."""
    spools = store.path / SPOOL_FOLDER
    sealer = Sealer(store.secrets.decisions, vaults)
    decisions = open_decisions(store.path, sealer)
    answered = Answered(spools, decisions)
    return Journal(Spool(spools), sealer, answered, decisions, store.secrets.decisions, store.partition), decisions


def _vault(store: Store, number: PartitionId) -> VaultReader:
    return VaultReader(LocalDisk(store.folder(number)).open(SLOTS, "read"), store.secrets.vault_wrap)
