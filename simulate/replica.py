"""A replica: the engine's answer path over what other processes committed, its decisions spooled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from actors.refold import OFFSET
from actors.working_set import PROFILES
from events.errors import EverfoldError, Unavailable
from events.ids import key_hash
from serving.answer import Answer, RecommendRequest
from serving.answered import Answered
from serving.asked import denied_by_request
from serving.journal import Journal
from serving.recommend import Answerer
from serving.weights import PublishedWeights, Weights
from simulate.faults import Process
from simulate.following import decisions, sealer
from simulate.invariants import Told
from simulate.machine import SECRETS, Shared
from simulate.owner import STEP_US, folder
from simulate.site import RULES, Site, partition
from training.model import Model

ROLL_BYTES: Final = 16_000
"""Small, so that a run rolls and ships many."""

Reply = Callable[[Answer | None], None]


class ReplicaStation:
    """Where a replica runs."""

    def __init__(self, site: Site, number: int) -> None:
        self.name = f"replica{number}"
        self.process = Process(self.name, "replica", site.struck)
        self.process.alive = False
        self._site = site
        self._journal: Journal | None = None
        self._answerer: Answerer | None = None

    def begin(self) -> None:
        self.process = process = self._site.started(self.name, "replica")
        site, machine = self._site, self._site.machine
        disk, random = site.disk(process), site.random(self.name).randbytes
        decided = decisions(site, process)
        spool = site.engine.spool(machine.spools, random, ROLL_BYTES, process)
        answered = Answered(machine.spools, decided)
        self._journal = Journal(spool, sealer(site, disk, process), answered, decided, SECRETS.decisions, partition)
        weights = Weights(PublishedWeights(Shared(machine, "learner")), _no_model)
        items = site.engine.items(Shared(machine, "items"))
        self._answerer = site.engine.answerer(items, self._journal, machine, RULES, weights)

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
        self._journal = self._answerer = None

    def ask(self, request: RecommendRequest, reply: Reply) -> None:
        """A question arrives."""
        if self._answerer is None or not self.process.alive:
            reply(None)
        else:
            self._site.act(self.process, "answers", *STEP_US, lambda: self._answer(request, reply))

    def _answer(self, request: RecommendRequest, reply: Reply) -> None:
        assert self._answerer is not None
        self.process.step("answering")
        try:
            told = self._told(self._answerer, request)
        except EverfoldError as error:
            self._site.scheduler.trace.add(f"  {type(error).__name__}")
            reply(None)
        else:
            self._site.checks.answered(told)
            reply(told.answer)
        self.process.point = "idle"

    def _told(self, answerer: Answerer, request: RecommendRequest) -> Told:
        machine = self._site.machine
        key = answerer.reads(request)
        named, applied, profile = request.key(), 0, None
        if named is not None:
            state = machine.state(folder(partition(named)))
            if state is None:
                raise Unavailable("the partition builds its state anew")
            applied = state.offsets().get(OFFSET, 0)
            row = state.get(PROFILES, key_hash(SECRETS.key_hash, key)) if key is not None else None
            profile = None if row is None else self._site.engine.profile(row)
        items = machine.state("items")
        if items is None:
            raise Unavailable("the item follower builds its state anew")
        answer = answerer.recommend(request, profile)
        return Told(request, answer, applied, items.offsets(), denied_by_request(request))


def _no_model(identity: str) -> Model:
    raise Unavailable(f"there is no model {identity}")
