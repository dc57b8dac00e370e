"""The deterministic runtime: all of the engine that keeps and answers, in one thread, under a seed.

Two partitions with their owners, the item follower, a follower that writes back, the learner, the shipper of decisions
and two replicas run as simulated processes over one simulated machine (`simulate.machine`), for people who send and ask
(`simulate.people`). Faults strike all the while (`simulate.faults`); after every step the invariants are judged
(`simulate.invariants`). When the steps are done the faults stop, everything comes to rest, and what must have arrived
by then is looked for. A run is a function of its seed: the same seed, the same bytes.

Each seed leaves some kinds of faults out and has the others at rates of its own: runs with few kinds of faults go
deeper than runs with all of them (Groce, Zhang, Eide, Chen, Regehr: Swarm testing, ISSTA 2012).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from simulate.coverage import Coverage
from simulate.faults import SELDOM, STEPPED, Armed, Fault, Place, Process, no_room, refused
from simulate.following import (
    SLOW_US,
    FollowerStation,
    echo,
    ensure_members_told,
    ensure_relearned,
    item_follower,
    learner,
    segment_follower,
    shipper,
)
from simulate.invariants import Broken, Checks, Invariant
from simulate.machine import Machine
from simulate.owner import OwnerStation
from simulate.people import PEOPLE, REPLICAS, Analyst, Importer, Person, PrivacyOffice, Shopkeeper, Somebody
from simulate.replica import ReplicaStation
from simulate.scheduler import SECOND, Scheduler, Trace
from simulate.site import DEDUPE, PARTITIONS, Engine, Site, Station

STEPS: Final = 2_000
"""Of a run, before it comes to rest."""
FAULTS_MIN: Final = 5
REST_STEPS_MAX: Final = 6_000
FAULT_US: Final = (SECOND // 2, 9 * SECOND)
"""Between two faults."""
STOPPED_US: Final = (2 * SECOND, 60 * SECOND)
FULL_US: Final = (SECOND, 40 * SECOND)
SKEW_US: Final = 90 * SECOND
MESSAGE_CHANCE: Final = 0.04
"""Most of each fault that befalls a message."""
SPOOL_MEMORY: Final = Path("/dev/shm")

_MESSAGES: Final = (Fault.MESSAGE_LOST, Fault.MESSAGE_DELAYED, Fault.MESSAGE_DUPLICATED)
_CHOSEN: Final = (
    Fault.KILLED,
    Fault.KILLED_BEFORE_COMMIT,
    Fault.KILLED_AFTER_COMMIT,
    Fault.STOPPED,
    Fault.STALE_OWNER,
    Fault.POWER_LOST,
    Fault.SYNC_FAILED,
    Fault.DISK_FULL,
    Fault.STATE_FULL,
    Fault.SPOOL_REFUSED,
    Fault.CLOCK_JUMPED,
)
_PLACES: Final[Mapping[Fault, tuple[Place, int]]] = {
    Fault.KILLED_BEFORE_COMMIT: ("before commit", 3),
    Fault.KILLED_AFTER_COMMIT: ("after commit", 3),
    Fault.SYNC_FAILED: ("sync", 4),
    Fault.STATE_FULL: ("state", 3),
    Fault.SPOOL_REFUSED: ("spool", 2),
}
"""Where a fault strikes that does so at one kind of place, and how many of those it may let pass."""
BEGINNINGS: Final = frozenset({"opening", "log open", "replayed", "begun"})
"""Points that a process passes once, when it begins."""
AGAIN: Final = 0.15
"""Chance of a process to be killed at one of the points it passes when it begins after a power loss."""
_LEFT_OUT: Final = 0.25
"""Chance of a kind of fault, of a follower, and of erasures, to be left out of a run."""


@dataclass(frozen=True)
class Ran:
    """A run that is over. ``broken`` is what did not hold, empty when everything did."""

    seed: int
    steps: int
    coverage: Coverage
    facts: int
    """Acknowledged."""
    answers: int
    explored: int
    digest: str
    """Of every step, and of every byte on disk at the end."""
    trace: list[str]
    broken: str = ""
    invariant: Invariant | None = None

    @property
    def faults(self) -> int:
        return self.coverage.faults


class Run:
    """One seed. ``kept``: lines of the trace to keep, None for all."""

    def __init__(self, seed: int, spools: Path, engine: Engine | None = None, kept: int | None = 40) -> None:
        self.trace = Trace(kept)
        self.scheduler = Scheduler(seed, self.trace)
        self.machine = Machine(seed, self.scheduler, spools)
        self.checks = Checks(self.machine, PARTITIONS, DEDUPE)
        self.coverage = Coverage()
        self.site = Site(seed, self.machine, self.scheduler, self.checks, self.coverage, engine or Engine())
        self.scheduler.struck = self.site.struck
        self._random = Random(f"{seed} faults")
        self._resting = False
        self._fill()
        self._choose()

    def go(self, steps: int = STEPS) -> None:
        """Run. Raises `Broken`."""
        for name in self.site.stations:
            self.site.stations[name].begin()
        for person in self.people:
            self.scheduler.soon(0, SECOND, "begins", person.live)
        for number in range(PARTITIONS):
            station = self.site.stations[f"owner{number}"]
            assert isinstance(station, OwnerStation)
            self.scheduler.soon(20 * SECOND, 60 * SECOND, "copies", station.copy)
        self.scheduler.soon(*FAULT_US, "fault", self._fault)
        while self.scheduler.steps < steps or self.coverage.faults < FAULTS_MIN:
            self._step()
        self._rest()
        self.checks.finished()
        ensure_relearned(self.site)
        ensure_members_told(self.site)
        for path, data in self.machine.disk.files():
            self.trace.update(path.encode() + data)

    def _step(self) -> None:
        try:
            self.scheduler.step()
        except Broken:
            raise
        except Exception as error:  # whatever it is: nothing may stop a process but an announced fault
            raise Broken(Invariant.RUNS, repr(error)) from error
        self.checks.after_step()

    def _fill(self) -> None:
        site = self.site
        owners = [OwnerStation(site, number) for number in range(PARTITIONS)]
        followers = [
            FollowerStation(site, "items", "follower", lambda process: item_follower(site, process), SLOW_US),
            FollowerStation(site, "echo", "follower", lambda process: echo(site, process)),
            FollowerStation(site, "decisions", "shipper", lambda process: shipper(site, process)),
        ]
        if self._random.random() >= _LEFT_OUT / 2:
            segments = FollowerStation(site, "segments", "segments", lambda process: segment_follower(site, process))
            followers.append(segments)
        if self._random.random() >= _LEFT_OUT:
            followers.append(
                FollowerStation(site, "learner", "learner", lambda process: learner(site, process), SLOW_US)
            )
        replicas = [ReplicaStation(site, number) for number in range(REPLICAS)]
        stations: list[Station] = [*owners, *followers, *replicas]
        for station in stations:
            site.stations[station.name] = station
        self.people: list[Somebody] = [
            *(Person(site, name) for name in PEOPLE),
            Shopkeeper(site),
            Importer(site),
            Analyst(site),
        ]
        if self._random.random() >= _LEFT_OUT:
            self.people.append(PrivacyOffice(site))

    # Faults

    def _choose(self) -> None:
        """Which kinds of faults this seed has, and how often."""
        random = self._random
        self._kinds = [fault for fault in _CHOSEN if random.random() >= _LEFT_OUT] or [Fault.KILLED]
        self._weights = [
            random.uniform(0.3, 1.0) * (0.4 if fault is Fault.POWER_LOST else 1.0) for fault in self._kinds
        ]
        for fault in _MESSAGES:
            if random.random() >= _LEFT_OUT:
                self.scheduler.chances[fault] = random.uniform(0.0, MESSAGE_CHANCE)

    def _fault(self) -> None:
        """Do or arm one fault."""
        if self._resting:
            return
        self.scheduler.soon(*FAULT_US, "fault", self._fault)
        (fault,) = self._random.choices(self._kinds, self._weights)
        match fault:
            case Fault.CLOCK_JUMPED:
                self.machine.skew_us = self._random.randint(-SKEW_US, SKEW_US)
                self.site.struck(fault, "machine")
            case Fault.DISK_FULL:
                self._fill_disk()
            case _:
                self._arm(fault)

    def _fill_disk(self) -> None:
        disk = self.machine.disk
        held = sum(len(data) for _, data in disk.files())
        disk.capacity = held + self._random.randint(0, 2_000)
        self.site.struck(Fault.DISK_FULL, "disk")

        def empty() -> None:
            disk.capacity = None

        self.scheduler.soon(*FULL_US, "disk is emptied", empty)

    def _arm(self, fault: Fault) -> None:
        """Have a process meet the fault at one of the next places where it can."""
        random = self._random
        stations = [station for station in self.site.stations.values() if _concerns(fault, station)]
        # One of a kind, with many points.
        (station,) = random.choices(stations, [4 if station.name == "segments" else 1 for station in stations])
        waiting, role = station.process.armed, station.process.role
        if waiting is not None and waiting.point in SELDOM and random.random() < 0.8:
            return
        place, most = _PLACES.get(fault, ("step", 6))
        point = ""
        if place == "step":
            if role in ("owner", "shipper") and random.random() < 0.4:
                place, most = "moment", 40
            elif random.random() < 0.6:
                points = STEPPED[role]
                (point,) = random.choices(points, [SELDOM.get(point, 1) for point in points])
                most = 1
        # Two processes that take a partition at one moment are kept apart by whoever assigns partitions.
        spared = "opening" if fault is Fault.STALE_OWNER else ""
        armed = Armed(fault, place, random.randrange(most), self._strike(fault, station), point, spared)
        if (point in BEGINNINGS and random.random() < 0.7) or not station.process.alive:
            self.site.awaiting[station.name] = armed
        else:
            station.process.armed = armed

    def _strike(self, fault: Fault, station: Station) -> Callable[[Process], None]:
        match fault:
            case Fault.STALE_OWNER:
                assert isinstance(station, OwnerStation)
                return lambda process: station.take_over(process)
            case Fault.POWER_LOST:
                return self._lose_power
            case Fault.STOPPED:
                return self._stop
            case Fault.SYNC_FAILED:
                return lambda process: self.machine.disk.fail_sync_after(0)
            case Fault.STATE_FULL:
                return no_room
            case Fault.SPOOL_REFUSED:
                return refused
            case _:
                return Process.die

    def _lose_power(self, process: Process) -> None:
        for station in self.site.stations.values():
            points = [point for point in STEPPED[station.process.role] if point in BEGINNINGS]
            if points and self._random.random() < AGAIN * len(points):  # what begins afterwards may not get far
                armed = Armed(Fault.KILLED, "step", 0, Process.die, self._random.choice(points))
                self.site.awaiting[station.name] = armed
        self.site.lose_power(process)
        process.die()

    def _stop(self, process: Process) -> None:
        process.resumes = self.scheduler.now + self._random.randint(*STOPPED_US)

    # The end

    def _rest(self) -> None:
        """No more faults, nobody begins anything: everything comes to rest."""
        self._resting = True
        self.scheduler.chances.clear()
        self.machine.disk.capacity = None
        for person in self.people:
            person.stopped = True
        limit = self.scheduler.steps + REST_STEPS_MAX
        while not self._at_rest():
            for station in self.site.stations.values():
                station.process.armed = None
            for _ in range(20):
                self._step()
            if self.scheduler.steps > limit:
                raise Broken(Invariant.RUNS, f"no rest after {REST_STEPS_MAX} steps: {self._restless()}")

    def _at_rest(self) -> bool:
        return not self._restless()

    def _restless(self) -> list[str]:
        found = [f"{station.name} is down" for station in self.site.stations.values() if not station.process.alive]
        found += [type(person).__name__ for person in self.people if person.waiting]
        for station in self.site.stations.values():
            if isinstance(station, OwnerStation) and (station.owner is None or station.owner.busy):
                found.append(f"{station.name} is at work")
            elif isinstance(station, FollowerStation):
                found += station.behind()
        return found


def _concerns(fault: Fault, station: object) -> bool:
    """Whether this kind of fault can befall the process of a station."""
    match fault:
        case Fault.STALE_OWNER:
            return isinstance(station, OwnerStation)
        case Fault.SPOOL_REFUSED:
            return isinstance(station, ReplicaStation)
        case Fault.SYNC_FAILED:
            return isinstance(station, OwnerStation) or getattr(station, "name", "") == "decisions"
        case Fault.KILLED_BEFORE_COMMIT | Fault.KILLED_AFTER_COMMIT | Fault.STATE_FULL:
            return not isinstance(station, ReplicaStation)
        case _:
            return True


def run(seed: int, engine: Engine | None = None, kept: int | None = 40, steps: int = STEPS) -> Ran:
    """One seed from beginning to end."""
    memory = SPOOL_MEMORY if SPOOL_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="everfold-spools-", dir=memory) as folder:
        one = Run(seed, Path(folder), engine, kept)
        broken: Broken | None = None
        try:
            one.go(steps)
        except Broken as error:
            broken = error
        finally:
            for station in one.site.stations.values():
                station.close()
    return Ran(
        seed,
        one.scheduler.steps,
        one.coverage,
        one.checks.acknowledged_facts,
        one.checks.answers,
        one.checks.explored,
        one.trace.hex(),
        one.trace.lines,
        "" if broken is None else str(broken),
        None if broken is None else broken.invariant,
    )
