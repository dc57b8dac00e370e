"""What all simulated processes share: the machine, the queue, the checks, the engine's parts they are built from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final, Protocol

from actors.dedupe import DedupeSettings
from actors.fold import fold
from actors.follower import Follower
from actors.item_reader import StoredItems
from actors.item_view import ItemSource
from actors.outbox import Outbox
from actors.partition import Partition, PartitionSettings
from actors.profile import Glance, decode
from actors.refold import Fold
from actors.state import MemoryState, StateReader
from events.epoch import take
from events.ids import Key, partition_of
from events.log import LogReader
from events.memory_disk import Crashed
from events.segment_log import SegmentLog, SegmentLogReader, SegmentSettings
from serving.recommend import Answerer, AnswerRules
from serving.spool import Spool
from simulate.coverage import Coverage
from simulate.faults import Armed, Fault, Process, ProcessDisk, ProcessState, SimulatedSpool
from simulate.invariants import Checks
from simulate.machine import SECRETS, Machine
from simulate.scheduler import SECOND, Scheduler
from training.surface import Surface

PARTITIONS: Final = 2
DEDUPE: Final = DedupeSettings(ids_max=3_200, bucket_ids=64)
"""Small buckets, so that a run begins several."""
OWNED: Final = PartitionSettings(cache_bytes=40_000, free_floor_bytes=0, dedupe=DEDUPE)
"""A cache of about ten people: the others are passivated and activated again."""
SEGMENTS: Final = SegmentSettings(segment_bytes=16_000, floor_bytes=0, merge_bytes=4_000, spare=False)
"""Small segments, so that a run rolls many."""
RESTART_US: Final = (SECOND // 5, 8 * SECOND)

_WEIGHTS: Final = {"repeat_purchase": 0.4, "covisitation": 0.3, "popularity": 0.2, "exploration": 0.1}
SURFACES: Final[Mapping[str, Surface]] = {
    surface.name: surface
    for surface in (
        Surface(name="home", weights=_WEIGHTS, tau=0.3, floor=0.3, exploration_slots=(2,), diversity=0.1, fatigue=0.9),
        Surface(name="discover", weights=_WEIGHTS, tau=0.5, repeats="hide"),
        Surface(name="cart", weights={"covisitation": 0.7, "popularity": 0.3}),
    )
}
RULES: Final = AnswerRules(surfaces=SURFACES, noise_secret=SECRETS.noise)


@dataclass(frozen=True)
class Engine:
    """The engine's parts that processes are built from. A test puts a faulty one in the place of one of them and sees
    that an invariant trips."""

    take: Callable[..., int] = take
    log: Callable[..., SegmentLog] = SegmentLog
    partition: Callable[..., Partition] = Partition
    folding: Fold = fold
    reader: Callable[..., LogReader] = SegmentLogReader
    follower: Callable[..., Follower] = Follower
    outbox: Callable[..., Outbox] = Outbox
    spool: Callable[..., Spool] = SimulatedSpool
    items: Callable[[StateReader], ItemSource] = StoredItems
    profile: Callable[[bytes], Glance] = decode
    answerer: Callable[..., Answerer] = Answerer


def partition(key: Key) -> int:
    """Which partition owns a key."""
    return int(partition_of(key, PARTITIONS))


class Station(Protocol):
    """A place where one process at a time runs."""

    name: str
    process: Process

    def begin(self) -> None:
        """Start a process."""
        ...

    def close(self) -> None:
        """The process has ended: let go of what it held outside the simulated ports."""
        ...


@dataclass
class Site:
    """See the module."""

    seed: int
    machine: Machine
    scheduler: Scheduler
    checks: Checks
    coverage: Coverage
    engine: Engine
    stations: dict[str, Station] = field(default_factory=dict)
    awaiting: dict[str, Armed] = field(default_factory=dict)
    """Station → the fault that its next process begins with."""

    def started(self, name: str, role: str) -> Process:
        """A new process at the station of this name."""
        process = Process(name, role, self.struck)
        process.armed = self.awaiting.pop(name, None)
        return process

    def struck(self, fault: Fault, where: str) -> None:
        """A fault struck."""
        self.coverage.note(fault, where)
        self.scheduler.trace.add(f"  {fault} at {where}")

    def random(self, name: str) -> Random:
        """Chance for one purpose, the same in every run of the seed."""
        return Random(f"{self.seed} {name} {self.scheduler.steps}")

    def act(self, process: Process, name: str, least_us: int, most_us: int, action: Callable[[], None]) -> None:
        """Have a process do something as a step of its own, unless it has ended by then; later, if it is stopped."""
        scheduler = self.scheduler

        def step() -> None:
            if not process.alive:
                return
            if process.resumes > scheduler.now:
                scheduler.after(process.resumes - scheduler.now, f"{process.name} {name}", step)
                return
            try:
                action()
            except Crashed:
                self.ended(process)

        scheduler.soon(least_us, most_us, f"{process.name} {name}", step)

    def ended(self, process: Process) -> None:
        """A process is gone; another is started in its place, unless one was already."""
        process.alive = False
        station = self.stations.get(process.name)
        if process.armed is not None and process.armed.point == "begun":
            self.awaiting[process.name] = process.armed  # it had to wait before it could begin; the next one will
        if station is not None and station.process is process:
            station.close()
            self.begin_later(station)

    def begin_later(self, station: Station) -> None:
        process = station.process

        def begin() -> None:
            if station.process is process:
                station.begin()

        self.scheduler.soon(*RESTART_US, f"{station.name} starts", begin)

    def lose_power(self, by: Process | None = None) -> None:
        """The machine goes down and comes up. ``by``: the process in whose call that happened."""
        losses = self.machine.disk.losses.copy()
        stations = list(self.stations.values())
        where = [(station.process, station.process.where) for station in stations if station.process.alive]
        for station in stations:
            station.process.alive = False
            if station.process is not by:  # whose calls have to unwind first: `ended` closes it
                station.close()
        self.checks.power_fails()
        cut = self.machine.lose_power()
        for process, point in where:
            if process is not by:
                self.struck(Fault.POWER_LOST, point)
        lost = self.machine.disk.losses - losses
        for fault, count in (
            (Fault.WRITE_LOST, lost["lost"]),
            (Fault.WRITE_TORN, lost["torn"]),
            (Fault.NAME_LOST, lost["name lost"]),
        ):
            if count:
                self.struck(fault, "disk")
        for _ in range(cut):
            self.struck(Fault.SPOOL_LOST, "spool")
        for station in stations:
            self.begin_later(station)

    def disk(self, process: Process) -> ProcessDisk:
        return ProcessDisk(self.machine.disk, process, self.checks.wrote)

    def state(self, process: Process, name: str, kept: MemoryState | None = None) -> ProcessState:
        """The state of this name as its process has it; begun where there is none that is trusted."""
        if kept is None:
            kept = self.machine.state(name)
        if kept is None:
            kept = MemoryState()
            self.machine.put(name, kept)
            self.checks.begun(name)
        return ProcessState(kept, process, lambda changes, offsets: self.checks.committed(name, changes, offsets))
