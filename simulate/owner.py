"""The owner of a partition: the engine's `Partition` behind an inbox, its phases steps of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from actors.partition import Outcome, Partition, Ports, Work
from actors.refold import OFFSET, Refold
from actors.state import Change, MemoryState
from events.errors import EverfoldError, NotOwner, PartitionStopped, SyncFailed, Unavailable
from events.ids import Key, PartitionId
from events.memory_disk import Crashed
from events.quarantine import Quarantine
from events.record import Draft
from events.segment_log import SegmentLog
from events.vault import Vault, open_slots
from simulate.faults import Fault, Process, ProcessState
from simulate.invariants import Broken, Invariant
from simulate.machine import SECRETS
from simulate.scheduler import MILLISECOND, SECOND
from simulate.site import OWNED, SEGMENTS, Site

JOINED: Final = 3
"""Requests that are taken together at most, as a host joins what came while it was busy."""
WAITING_MAX: Final = 12
STEP_US: Final = (100, 5 * MILLISECOND)
STALE_SHARE: Final = 0.3
"""Of the requests, those that still go to an owner who was replaced."""
COPY_US: Final = (30 * SECOND, 120 * SECOND)

Reply = Callable[[Sequence[Outcome] | None], None]
"""None: refused for now, come back with the same ids."""


@dataclass(frozen=True)
class Request:
    """Drafts to append, or a key to erase."""

    drafts: tuple[Draft, ...]
    reply: Reply
    erase: Key | None = None


def folder(number: int) -> str:
    return f"p{number}"


class Ownership:
    """One process's time as the owner."""

    def __init__(self, site: Site, number: int, process: Process) -> None:
        self.number = number
        self.process = process
        self.waiting: deque[Request] = deque()
        self.taken: list[Request] = []
        self.busy = False
        self._site = site
        self._open()

    def _open(self) -> None:
        """As `actors.recovery` does it: epoch, log, vault, then a state that is trusted or built anew, caught up."""
        site, number, process = self._site, self.number, self.process
        engine, random = site.engine, site.random(process.name).randbytes
        process.step("opening")
        disk = site.disk(process)
        self.epoch = engine.take(disk, folder(number))
        site.checks.took(number, self.epoch)
        self.log: SegmentLog = engine.log(disk, folder(number), self.epoch, SEGMENTS)
        process.step("log open")
        vault = Vault(open_slots(disk, folder(number)), SECRETS.vault_wrap, random=random)
        quarantine = Quarantine.open(disk, folder(number), self.epoch, SECRETS.quarantine, floor_bytes=0, random=random)
        self.kept, fresh = self._begun()
        state = ProcessState(self.kept, process, self._committed)
        Refold(state, self.log, vault, OWNED.dedupe, erase=vault.erase).run()
        if fresh and site.stations[process.name].process is process:  # or it was replaced while it opened
            site.machine.put(folder(number), self.kept)
        ports = Ports(disk, self.log, state, vault, quarantine, site.machine, random)
        self.partition: Partition = engine.partition(
            PartitionId(number), SECRETS.key_hash, ports, OWNED, process.step, engine.folding
        )
        process.step("replayed")
        site.checks.opened(number, self.kept)
        process.point = "idle"

    def _begun(self) -> tuple[MemoryState, bool]:
        """The state to go on from, and whether it takes the place of another when it is caught up."""
        site, name = self._site, folder(self.number)
        trusted = site.machine.state(name)
        station = site.stations[self.process.name]
        if trusted is not None and isinstance(station, OwnerStation) and not station.moved:
            return trusted, False
        copy = site.machine.restored(name)
        if copy is not None and copy.offsets().get(OFFSET, 0) <= self.log.bounds()[1]:
            site.struck(Fault.OLD_STATE, self.process.where)
            return copy, True
        return MemoryState(), True

    def _committed(self, changes: Sequence[Change], offsets: Mapping[str, int]) -> None:
        if self._site.machine.state(folder(self.number)) is self.kept:
            self._site.checks.owned(self.number, changes, offsets)

    def take(self, request: Request) -> None:
        """A request has come."""
        if self.partition.stopped is not None or len(self.waiting) >= WAITING_MAX:
            request.reply(None)
            return
        self.waiting.append(request)
        if not self.busy:
            self._go_on()

    def at_once(self, drafts: Sequence[Draft]) -> Sequence[Outcome]:
        """Append for a follower that waits. Raises what the partition raises, `Unavailable` while it is busy."""
        if self.busy or self.process.resumes > self._site.scheduler.now:
            raise Unavailable("busy")
        try:
            outcomes = self.partition.append(drafts)
        finally:
            self._look_after()
        self.process.point = "idle"
        return outcomes

    def _go_on(self) -> None:
        self.busy = True
        self._site.act(self.process, "prepares", *STEP_US, self._prepare)

    def _prepare(self) -> None:
        first = self.waiting.popleft()
        self.taken = [first]
        if first.erase is not None:
            self._tried(lambda: self._erase(first.erase))
            return
        while self.waiting and self.waiting[0].erase is None and len(self.taken) < JOINED:
            self.taken.append(self.waiting.popleft())
        self.process.step("preparing")
        self._tried(self._prepared)

    def _prepared(self) -> None:
        work = self.partition.prepare([draft for request in self.taken for draft in request.drafts])
        self.process.step("prepared")
        self._site.act(self.process, "writes", *STEP_US, lambda: self._tried(lambda: self._write(work)))

    def _write(self, work: Work) -> None:
        self.process.step("writing")
        self.partition.write(work)
        self.process.step("written")
        self._site.act(self.process, "finishes", *STEP_US, lambda: self._tried(lambda: self._finish(work)))

    def _finish(self, work: Work) -> None:
        self._answer(self.partition.finish(work))

    def _erase(self, key: Key | None) -> None:
        self.process.step("erasing")
        assert key is not None
        lsn = self.partition.erase(key)
        self._answer([Outcome("ok", lsn)])

    def _answer(self, outcomes: Sequence[Outcome]) -> None:
        at = 0
        for request in self.taken:
            count = 1 if request.erase is not None else len(request.drafts)
            request.reply(outcomes[at : at + count])
            at += count
        self._done()

    def _tried(self, phase: Callable[[], None]) -> None:
        try:
            phase()
        except EverfoldError as error:
            self._site.scheduler.trace.add(f"  {type(error).__name__}")
            for request in self.taken:
                request.reply(None)
            self._done()
        self._look_after()

    def _done(self) -> None:
        self.taken = []
        self.busy = False
        self.process.point = "idle"
        if self.waiting:
            self._go_on()

    def _look_after(self) -> None:
        """A process that may not write any more gives way to another; why it stopped must be one of the two reasons
        a healthy one can have. One that was replaced may stumble over whatever its successor did: it writes nothing."""
        stopped = self.partition.stopped
        if stopped is None or not self.process.alive:
            return
        current = self._site.stations[self.process.name].process is self.process
        if current and not isinstance(stopped, SyncFailed | NotOwner):
            raise Broken(Invariant.RUNS, f"partition {self.number} stopped: {stopped!r}")
        for request in self.waiting:
            request.reply(None)
        self._site.ended(self.process)


class OwnerStation:
    """Where a partition's owners run, one after another; those that were replaced alive may still be at work."""

    def __init__(self, site: Site, number: int) -> None:
        self.name = f"owner{number}"
        self.number = number
        self.owner: Ownership | None = None
        self.stale: list[Ownership] = []
        self.moved = False
        """The next owner is another node, where the committed state is not."""
        self._site = site
        self._random = site.random(self.name)
        self.process = Process(self.name, "owner", site.struck)
        self.process.alive = False

    def begin(self) -> None:
        self.process = self._site.started(self.name, "owner")
        self._site.act(self.process, "opens", *STEP_US, self._open)

    def close(self) -> None:
        self.owner = None
        self.stale = [each for each in self.stale if each.process.alive]

    def deliver(self, request: Request) -> None:
        """A request arrives, perhaps where the owner was before."""
        self.stale = [each for each in self.stale if each.process.alive]
        owner = self.owner
        if self.stale and self._random.random() < STALE_SHARE:
            owner = self.stale[-1]
        if owner is None or not owner.process.alive:
            request.reply(None)
        else:
            owner.take(request)

    def append(self, drafts: Sequence[Draft]) -> Sequence[Outcome]:
        """For a follower that waits. Raises `EverfoldError`."""
        owner = self.owner
        if owner is None or not owner.process.alive:
            raise Unavailable("nobody owns it")
        return owner.at_once(drafts)

    def take_over(self, owner: Process) -> None:
        """Another process takes the partition while ``owner`` lives and knows nothing of it."""
        if owner is not self.process:
            return  # it was replaced before
        if self.owner is not None and self.owner.process.alive:
            self.stale.append(self.owner)
        self.owner = None
        self.process = fresh = self._site.started(self.name, "owner")
        self.moved = True
        try:
            self._open()
        except Crashed:
            self._site.ended(fresh)

    def copy(self) -> None:
        """Every now and then: a checkpoint, of what is durable."""
        owner = self.owner
        if owner is not None and owner.process.alive and not owner.busy:
            self._site.act(owner.process, "checkpoints", *STEP_US, lambda: self._copy(owner))
        self._site.scheduler.soon(*COPY_US, f"{self.name} is due a checkpoint", self.copy)

    def _copy(self, owner: Ownership) -> None:
        if owner.busy or owner is not self.owner or self._site.machine.state(folder(self.number)) is not owner.kept:
            return
        owner.process.step("copying")
        try:
            owner.log.append([])
        except EverfoldError:
            self._site.ended(owner.process)
            return
        self._site.machine.checkpoint(folder(self.number))
        owner.process.step("copying")
        owner.process.point = "idle"

    def _open(self) -> None:
        process = self.process
        try:
            owner = Ownership(self._site, self.number, process)
        except PartitionStopped as error:
            raise Broken(Invariant.RUNS, f"partition {self.number} cannot be opened: {error}") from error
        except EverfoldError as error:
            self._site.scheduler.trace.add(f"  {type(error).__name__}")
            self._site.ended(process)
            return
        if self.process is process:
            self.owner, self.moved = owner, False
        else:
            self.stale.append(owner)
