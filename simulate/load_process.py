"""A load run in several processes, each with its share of the people and of the rate; one more keeps them together.

    parent                       process k of n
    start                  ──►   build the world; the first also takes the catalogue to the target
    wait for all ready     ◄──   ready, or why not
    go at this moment      ──►   send
    progress line          ◄──   how it goes, every second
    stop (Ctrl-C)          ──►   end early
    add up                 ◄──   what was seen

Whatever happens to one of them, the others' results are kept, and the run ends: each process dies with its parent, and
the parent waits for none longer than the plan takes.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final, TypeAlias

import numpy as np
import orjson
import uvloop

from events.errors import EverfoldError
from serving.processes import die_with
from simulate import payloads
from simulate.business import Business
from simulate.clients import Lines, Reply, Target
from simulate.freshness import Freshness, Prober
from simulate.load import Load, Plan, Tally, meaning_of
from simulate.scenario import Scenario
from simulate.visitors import Asking, Habits, Sending, Visitors
from simulate.world import World

READY_S: Final = 120.0
"""Building a world of a million people takes seconds; taking a catalogue of thousands to a busy service too."""
ITEMS_PER_POST: Final = 500
POST_S: Final = 20.0
POST_TRIES: Final = 3
RESTOCK_S: Final = 1.0
"""How often items that came and went in the world are told to the target."""
SPARE_S: Final = 10.0
"""What ending may take beyond the plan, the last requests' timeout and their retries."""


class NotTaken(EverfoldError):
    """The target did not take the catalogue."""

    code = "not_taken"


@dataclass(frozen=True)
class Job:
    """One process's part. ``run``: names the run in message ids. ``judged``: see `simulate.visitors.Habits`.
    ``anyway``: also into a store that holds items of somebody else's."""

    plan: Plan
    scenario: Scenario
    target: Target
    run: str
    number: int
    judged: int = 4
    probe: bool = True
    anyway: bool = False

    def habits(self) -> Habits:
        scenario = self.scenario
        return Habits(scenario.lists, scenario.tells, scenario.besides, scenario.dirt, self.judged)


@dataclass(frozen=True, slots=True)
class Progress:
    """How one process goes. ``p99_s``: of answered lists of the latest seconds."""

    number: int
    seconds: float
    good: int
    bad: int
    p99_s: float


@dataclass
class Seen:
    """What one process brings back, and after `merge` what all did."""

    tally: Tally
    business: Business
    freshness: Freshness | None = None
    backlog: int = 0
    """Messages that were not sent when the time was up."""
    lost: int = 0
    unread: int = 0
    world_weeks: float = 0.0
    cpu_s: float = 0.0
    memory: int = 0
    """Peak of the process, bytes."""

    def merge(self, other: Seen) -> None:
        self.tally.merge(other.tally)
        self.business.merge(other.business)
        self.freshness = self.freshness or other.freshness
        self.backlog += other.backlog
        self.lost += other.lost
        self.unread += other.unread
        self.world_weeks = max(self.world_weeks, other.world_weeks)
        self.cpu_s += other.cpu_s
        self.memory += other.memory


@dataclass(frozen=True)
class Ready:
    """A process may start; ``fault``: why not."""

    fault: str = ""


Told: TypeAlias = "Ready | Progress | Seen"


@dataclass
class Outcome:
    """A whole run. ``faults``: what went wrong with it, in words; ``seen`` of None: it never began."""

    seen: Seen | None = None
    faults: list[str] = field(default_factory=list)


def run(jobs: Sequence[Job], tell: Callable[[Sequence[Progress]], None]) -> Outcome:
    """Run all jobs to their end. ``tell`` hears of the progress of all, about every second. The first Ctrl-C ends the
    run early, a second one at once."""
    context = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    processes: list[BaseProcess] = []
    try:
        for job in jobs:
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(target=work, args=(job, theirs, os.getpid()), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        return _Together(jobs[0].plan, pipes, tell).result()
    finally:
        for process in processes:
            process.join(1.0)
            if process.is_alive():
                process.kill()
                process.join()
        for pipe in pipes:
            pipe.close()


class _Together:
    """The parent's side."""

    def __init__(self, plan: Plan, pipes: Sequence[Connection], tell: Callable[[Sequence[Progress]], None]) -> None:
        self._plan = plan
        self._pipes = list(pipes)
        self._tell = tell
        self._progress: dict[int, Progress] = {}
        self._outcome = Outcome()
        self._ready = 0
        self._interrupted = False

    def result(self) -> Outcome:
        open_pipes, plan = list(self._pipes), self._plan
        deadline = time.monotonic() + READY_S
        while open_pipes:
            try:
                left = deadline - time.monotonic()
                if left <= 0:
                    self._outcome.faults.append(f"{len(open_pipes)} of the load's own processes did not end: left out")
                    break
                for pipe in wait(open_pipes, min(left, 1.0)):
                    assert isinstance(pipe, Connection)
                    if self._ended(pipe):
                        open_pipes.remove(pipe)
                if self._ready == len(self._pipes):
                    self._ready = -1
                    self._go(open_pipes)
                    deadline = time.monotonic() + plan.duration_s + plan.timeout_s + SPARE_S
            except KeyboardInterrupt:
                if self._interrupted:
                    raise
                self._interrupted = True
                self._say(open_pipes, "stop")
        return self._outcome

    def _ended(self, pipe: Connection) -> bool:
        """Take what a process says; whether it was its last."""
        try:
            told: Told = pipe.recv()
        except (EOFError, OSError):
            self._outcome.faults.append("one of the load's own processes ended early: its part is missing")
            self._ready += 1
            return True
        if isinstance(told, Ready):
            self._ready += 1
            if told.fault:
                self._outcome.faults.append(told.fault)
            return bool(told.fault)
        if isinstance(told, Progress):
            self._progress[told.number] = told
            self._tell(tuple(self._progress.values()))
            return False
        if self._outcome.seen is None:
            self._outcome.seen = told
        else:
            self._outcome.seen.merge(told)
        return True

    def _go(self, pipes: Sequence[Connection]) -> None:
        """All start at the same moment, or none: a target that did not take the catalogue is not worth a load."""
        self._say(pipes, "stop" if self._outcome.faults else str(time.monotonic() + 0.1))

    def _say(self, pipes: Sequence[Connection], word: str) -> None:
        for pipe in pipes:
            with suppress(OSError):
                pipe.send(word)


def work(job: Job, pipe: Connection, parent: int) -> None:
    """The life of one load process."""
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which tells us to stop
    uvloop.run(_Process(job, pipe).run())


class _Process:
    """One process's side."""

    def __init__(self, job: Job, pipe: Connection) -> None:
        self._job = job
        self._pipe = pipe

    async def run(self) -> None:
        job = self._job
        world = job.scenario.world(job.plan, job.number)
        try:
            if job.number == 0:
                await take_catalogue(job.target, world, anyway=job.anyway)
            self._pipe.send(Ready())
        except EverfoldError as error:
            self._pipe.send(Ready(str(error)))
            return
        gc.collect()
        gc.freeze()  # the world stays: looking through it again would only make requests late
        said = await asyncio.get_running_loop().run_in_executor(None, self._pipe.recv)
        if said == "stop":
            return
        self._pipe.send(await self._load(world, float(said)))

    async def _load(self, world: World, at: float) -> Seen:
        job, loop, cpu = self._job, asyncio.get_running_loop(), time.process_time()
        visitors = Visitors(job.target, world, job.plan.duration_s, job.run, job.habits())
        chance = np.random.Generator(np.random.PCG64([job.plan.seed, job.number]))
        load = Load(job.target, visitors, job.plan, job.scenario.mix(), chance)
        start = loop.time() + at - time.monotonic()
        threading.Thread(target=self._listen, args=(loop, load), daemon=True).start()
        beside = [loop.create_task(self._report(load, start))]
        prober = None
        if job.number == 0:
            beside.append(loop.create_task(restock(job.target, visitors, world)))
            if job.probe:
                prober = Prober(job.target, world.shelf.ids[0], job.run, job.plan.duration_s)
                beside.append(loop.create_task(prober.run(start)))
        tally = await load.run(start)
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        return Seen(
            tally,
            visitors.business,
            prober.found if prober else None,
            backlog=visitors.waiting,
            lost=visitors.lost,
            unread=visitors.unread,
            world_weeks=(visitors.now - world.spec.start_ms) / 604_800_000,
            cpu_s=time.process_time() - cpu,
            memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        )

    def _listen(self, loop: asyncio.AbstractEventLoop, load: Load[Asking, Sending]) -> None:
        """Wait for the parent to say stop, or to be gone."""
        with suppress(OSError, EOFError):
            self._pipe.recv()
        with suppress(RuntimeError):  # the loop is over
            loop.call_soon_threadsafe(load.stop, "interrupted")

    async def _report(self, load: Load[Asking, Sending], start: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            seconds = loop.time() - start
            recent = load.tally.latency["recommend"].quantiles((0.99,), max(0.0, seconds - 5.0))[0]
            good, bad = int(load.tally.good.sum()), int(load.tally.bad.sum())
            with suppress(OSError):
                self._pipe.send(Progress(self._job.number, seconds, good, bad, recent))


async def take_catalogue(target: Target, world: World, anyway: bool = False) -> None:
    """Upsert everything that is on the world's shelf at its start. Raises `NotTaken` after a few tries, and for a store
    that holds other things unless ``anyway``."""
    entries = payloads.entries(world.shelf, world.spec.start_ms)
    lines = Lines(target, 1, 4)
    try:
        if not anyway:
            await _is_ours(lines, target, world)
        for first in range(0, len(entries), ITEMS_PER_POST):
            await _taken(lines, target, entries[first : first + ITEMS_PER_POST])
    finally:
        await lines.close()


async def _is_ours(lines: Lines, target: Target, world: World) -> None:
    """A look at the first page of the catalogue; what does not answer is left to the upsert. Raises `NotTaken`."""
    reply = await lines.ask(target.get("/v1/items", limit="100"), POST_S)
    try:
        told = orjson.loads(reply.body)["items"] if reply.ok else []
        foreign = [str(item["item_id"]) for item in told if item["item_id"] not in world.shelf.numbers]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return
    if foreign:
        raise NotTaken(
            f"{target.url} holds items that are none of the world's, such as {foreign[0][:64]!r}. Load fills a store "
            "with invented items and people: use one of its own, or --anyway"
        )


async def restock(target: Target, visitors: Visitors, world: World) -> None:
    """Tell the target what comes onto the world's shelf and goes off it, until cancelled. A target that does not take
    it is told again with the next."""
    lines, since = Lines(target, 1, 4), world.spec.start_ms
    try:
        while True:
            await asyncio.sleep(RESTOCK_S)
            now = visitors.now
            came, went = world.shelf.changed(since, now)
            entries = [payloads.entry(world.shelf, number) for number in came.tolist()]
            entries += [{"item_id": world.shelf.ids[number], "hidden": True} for number in went.tolist()]
            with suppress(NotTaken):
                for first in range(0, len(entries), ITEMS_PER_POST):
                    await _taken(lines, target, entries[first : first + ITEMS_PER_POST])
                since = now
    finally:
        await lines.close()


async def _taken(lines: Lines, target: Target, entries: Sequence[payloads.Message]) -> None:
    reply = Reply(0)
    for _ in range(POST_TRIES):
        reply = await lines.ask(target.post("/v1/items", orjson.dumps({"items": list(entries)})), POST_S)
        if reply.ok:
            return
        if reply.status in (401, 403):
            raise NotTaken("the target refuses the API key: name its data folder with --data")
        if reply.fault == "timeout":
            break
        await asyncio.sleep(0.5)
    said = reply.body[:200].decode(errors="replace")
    raise NotTaken(f"{target.url} did not take the catalogue: {meaning_of(reply.outcome)} {said}".rstrip())


def jobs(job: Job) -> list[Job]:
    """One for each process of its plan."""
    return [replace(job, number=number) for number in range(job.plan.processes)]
