"""Followers of the partitions' logs, each in a process of its own: of items, of segments, of what is written back, of
what is learned, and the shipper of decisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final, Protocol

from actors.follower import Fact, Folded, Follower, Projection, Source
from actors.history import History
from actors.items import ItemProjection
from actors.outbox import OUTBOX, Append, Outbox, Settled
from actors.profile import decode
from actors.recorded import RecordedFollower, plans
from actors.segment_follower import Followed, Pace, SegmentFollower
from actors.segment_rows import mask_of
from actors.segment_tables import ROWS, number_at, number_key
from actors.segments import Segments
from actors.state import Change, MemoryState, StateReader, StateStore
from actors.working_set import PROFILES
from events.disk import join
from events.epoch import take
from events.errors import Corrupt, EverfoldError, KeyMissing, Unavailable
from events.ids import PartitionId
from events.memory_disk import Crashed
from events.payload import encode, type_of
from events.record import Draft
from events.segment_log import SegmentLog, SegmentLogReader, SegmentSettings
from events.types import Meta, Tracked
from events.unseal import Unsealer
from events.vault import SLOTS, VaultReader
from serving.decisions import Decisions, Shipper
from serving.learning import DecidedLists
from serving.sealing import Sealer, Vaults
from simulate.faults import Process, ProcessDisk
from simulate.invariants import APPLIED, Broken, Invariant, ensure
from simulate.machine import SECRETS, Shared
from simulate.owner import OwnerStation, folder
from simulate.scheduler import MILLISECOND, SECOND
from simulate.site import PARTITIONS, SURFACES, Site, partition
from training.attribution import Windows
from training.learner.projection import LearnerProjection, Teaching
from training.learner.settings import LearnerSettings

ROUND_US: Final = (100 * MILLISECOND, 8 * SECOND)
SLOW_US: Final = (100 * MILLISECOND, 16 * SECOND)
"""Of those whose rounds cost most: larger batches, and fewer."""
LIMIT: Final = 24
"""Records of one round: few, so that a follower is behind now and then."""
DECISIONS: Final = "decisions"
IMPORT: Final = "import"
"""The producer of imported facts."""
DECIDED: Final = SegmentSettings(segment_bytes=100_000, floor_bytes=0, merge_bytes=10_000, spare=False)
PACE: Final = Pace(records=LIMIT, due=8, slice=8, backlog=32, send=8, sample=16)
LEARNING: Final = LearnerSettings(windows=Windows(click=30 * SECOND, cart=60 * SECOND, purchase=120 * SECOND))
"""Windows that close within a run."""


class Audited:
    """A projection that keeps, in the same commit, how often each record was applied."""

    def __init__(self, store: StateReader, projection: Projection) -> None:
        self._store = store
        self._projection = projection

    def apply(self, facts: Sequence[Fact]) -> Folded:
        folded = self._projection.apply(facts)
        keys = [bytes([fact.partition]) + fact.record.lsn.to_bytes(8, "big") for fact in facts]
        counts = [int(held or b"0") + 1 for held in self._store.get_many(APPLIED, keys)]
        changes: list[Change] = [(APPLIED, key, b"%d" % count) for key, count in zip(keys, counts, strict=True)]
        return Folded(changes + folded.changes, folded.drafts)

    def tidy(self) -> list[Change]:
        return self._projection.tidy()


class Echo:
    """Writes back one fact, about somebody of its own, for everything imported into the partition it reads. Nobody
    erases those people, so a state that was lost makes the same facts again and numbers them as before."""

    def __init__(self, store: StateReader) -> None:
        self._store = store

    def apply(self, facts: Sequence[Fact]) -> Folded:
        return Folded([], [_echo(fact) for fact in facts if fact.record.producer == IMPORT])

    def tidy(self) -> list[Change]:
        return []


def _echo(fact: Fact) -> Draft:
    who = f"echo{fact.record.lsn % 3}"
    event = Tracked("Import heard", {"lsn": fact.record.lsn})
    identity = blake2b(b"echo" + fact.record.event_id, digest_size=16).digest()
    return Draft(f"u:{who}", identity, fact.record.event_time, *type_of(event), encode(Meta(user_id=who), event))


class Task(Protocol):
    """What a follower's process does over and over."""

    def round(self) -> None: ...

    def behind(self) -> int:
        """How much waits."""
        ...


class FollowerStation:
    """Where a follower runs. ``opened`` makes its task; what it raises of `Unavailable` and its kin ends the process,
    and another is started."""

    def __init__(
        self,
        site: Site,
        name: str,
        role: str,
        opened: Callable[[Process], Task],
        round_us: tuple[int, int] = ROUND_US,
    ) -> None:
        self.name = name
        self.process = Process(name, role, site.struck)
        self.process.alive = False
        self.task: Task | None = None
        self._role = role
        self._site = site
        self._opened = opened
        self._round_us = round_us

    def begin(self) -> None:
        self.process = self._site.started(self.name, self._role)
        self.process.point = "opening"
        self._site.act(self.process, "opens", *ROUND_US, self._open)

    def close(self) -> None:
        self.task = None

    def behind(self) -> list[str]:
        """What still waits here, in words."""
        waits = self.task.behind() if self.task is not None else 1
        return [f"{waits} wait at {self.name}"] if waits else []

    def _open(self) -> None:
        process = self.process
        process.step("opening")
        if not all(self._site.machine.state(folder(number)) for number in range(PARTITIONS)):
            self._site.ended(process)  # its owners were never there, or build their states anew
            return
        self._tried(self._begun)

    def _begun(self) -> None:
        self.task = self._opened(self.process)
        self.process.point = "idle"
        self._go_on()

    def _go_on(self) -> None:
        self._site.act(self.process, "follows", *self._round_us, lambda: self._tried(self._round))

    def _round(self) -> None:
        assert self.task is not None
        self.task.round()
        self.process.point = "idle"
        self._go_on()

    def _tried(self, action: Callable[[], None]) -> None:
        try:
            action()
        except (Corrupt, KeyMissing) as error:
            raise Broken(Invariant.RUNS, f"{self.name} stopped: {error}") from error
        except EverfoldError as error:
            self._site.scheduler.trace.add(f"  {type(error).__name__}")
            self._site.ended(self.process)


class Following:
    """A `Follower` and, where it writes back, its sender."""

    def __init__(self, site: Site, process: Process, follower: Follower, outbox: Outbox | None = None) -> None:
        self._site = site
        self._process = process
        self._follower = follower
        self._outbox = outbox

    def round(self) -> None:
        self._process.step("following")
        self._follower.step(LIMIT)
        if self._outbox is not None:
            send(self._site, self._process, self._outbox.send)

    def behind(self) -> int:
        return self._follower.lag() + (self._outbox.backlog() if self._outbox is not None else 0)


class Segmenting:
    """The segment follower's process."""

    def __init__(self, site: Site, process: Process, follower: SegmentFollower, store: StateReader) -> None:
        self._store = store
        self._site = site
        self._process = process
        self._follower = follower

    def round(self) -> None:
        self._process.step("following")
        self._follower.step(self._site.machine.now())
        send(self._site, self._process, self._follower.send)

    def behind(self) -> int:
        return self._follower.lag() + sum(1 for _ in self._store.scan(OUTBOX))


class Learning:
    """The learner's process."""

    def __init__(self, site: Site, process: Process, learner: RecordedFollower) -> None:
        self._site = site
        self._process = process
        self._learner = learner

    def round(self) -> None:
        self._process.step("following")
        self._learner.step(self._site.machine.now(), LIMIT)
        send(self._site, self._process, self._learner.send)

    def behind(self) -> int:
        return self._learner.lag()


class Shipping:
    """The shipper's process."""

    def __init__(self, process: Process, shipper: Shipper) -> None:
        self._process = process
        self._shipper = shipper

    def round(self) -> None:
        self._process.step("shipping")
        self._shipper.ship()

    def behind(self) -> int:
        return self._shipper.backlog()


def send(site: Site, process: Process, sender: Callable[[Append], int]) -> None:
    """Send what waits in an outbox; the reply of a partition may be lost."""

    def append(target: int, drafts: Sequence[Draft]) -> Sequence[Settled]:
        process.step("sending")
        station = site.stations[f"owner{target}"]
        assert isinstance(station, OwnerStation)
        owner = station.process
        try:
            outcomes = station.append(drafts)
        except Crashed:
            process.ensure_alive()
            site.ended(owner)
            raise Unavailable("the owner died") from None
        for draft, outcome in zip(drafts, outcomes, strict=True):
            site.checks.acknowledged(target, draft, outcome.status, outcome.lsn)
        process.step("delivered")
        if site.scheduler.loses(f"reply to {process.name}"):
            raise Unavailable("the reply was lost")
        return outcomes

    try:
        if sender(append):
            process.step("settled")
    except Unavailable:
        site.scheduler.trace.add("  nothing was settled")


def item_follower(site: Site, process: Process) -> Following:
    generation = site.random(process.name).getrandbits(64)
    follower = site.engine.follower(
        "items",
        sources(site, process, range(PARTITIONS)),
        site.state(process, "items"),
        lambda state: Audited(state, ItemProjection(state, generation)),
    )
    return Following(site, process, follower)


def echo(site: Site, process: Process) -> Following:
    store = site.state(process, "echo")
    outbox = site.engine.outbox("echo", store, partition)
    follower = site.engine.follower(
        "echo", sources(site, process, [0]), store, lambda state: Audited(state, Echo(state)), outbox
    )
    return Following(site, process, follower, outbox)


def segment_follower(site: Site, process: Process) -> Segmenting:
    disk = site.disk(process)
    followed: list[Followed] = []
    for source in sources(site, process, range(PARTITIONS)):
        state, slots = Shared(site.machine, folder(source.partition)), vault(disk, source.partition)
        history = History(PartitionId(source.partition), SECRETS.key_hash, state, source.log, slots)
        followed.append(Followed(source.partition, source.log, source.opener, slots, state, history.walk))
    store = site.state(process, "segments")
    follower = SegmentFollower(
        followed,
        store,
        SECRETS.key_hash,
        partition,
        site.random("segments").randbytes(4).hex(),
        process.step,
        PACE,
    )
    return Segmenting(site, process, follower, store)


def learner(site: Site, process: Process) -> Learning:
    return Learning(site, process, taught(site, process, site.state(process, "learner")))


def taught(site: Site, process: Process, store: StateStore) -> RecordedFollower:
    """The learner over a state. Raises `Unavailable` while decisions cannot be found."""
    decided = decisions(site, process)
    if not decided.whole():
        raise Unavailable("decisions cannot be found yet")
    teaching = Teaching(
        names=tuple(SURFACES["home"].weights),
        fixed={name: surface.weights for name, surface in SURFACES.items()},
        shown=DecidedLists(decided),
        initial=lambda model: None,
        settings=LEARNING,
    )
    return RecordedFollower(
        "learner",
        sources(site, process, range(PARTITIONS)),
        store,
        lambda state: LearnerProjection(state, teaching),
        site.engine.outbox("learner", store, partition),
        process.step,
    )


def ensure_relearned(site: Site) -> None:
    """What was learned is what its plans give, done again over the same logs. Not where somebody was erased: what they
    taught stays, and cannot be taught again. Raises `Broken`."""
    held = site.machine.state("learner")
    if held is None or site.checks.parted:
        return
    process = Process("judge", "learner", site.struck)
    again = MemoryState()
    follower = taught(site, process, again)
    for plan in plans(held):
        follower.replan(plan)
    for table in held.tables():
        if table != OUTBOX:
            same = dict(held.scan(table)) == dict(again.scan(table))
            ensure(same, Invariant.REPLAY, f"the learner's {table} differ from those its plans give again")


def ensure_members_told(site: Site) -> None:
    """Who is in a segment was told so, and nobody else: the facts of all rounds have landed, each once. Of people who
    never decided about consent: a profile takes nothing dated before its consent, and clocks here jump. Raises
    `Broken`."""
    store = site.machine.state("segments")
    if store is None:
        return
    segments = Segments(store, SECRETS.key_hash, PARTITIONS)
    for number in range(PARTITIONS):
        for _, blob in Shared(site.machine, folder(number)).scan(PROFILES):
            profile = decode(blob)
            if profile.consent:
                continue
            row = store.get(ROWS, number_key(number_at(profile.subject, number, PARTITIONS)))
            mask = 0 if row is None else mask_of(row)
            held = sorted(state.told.name for slot, state in segments.states.items() if mask >> slot & 1)
            told = sorted(name for name, membership in profile.segments.items() if membership.entered)
            ensure(told == held, Invariant.OUTBOX, f"{profile.user_id} is in {held}, and was told {told}")


def shipper(site: Site, process: Process) -> Shipping:
    disk = site.disk(process)
    log = SegmentLog(disk, DECISIONS, take(disk, DECISIONS), DECIDED)
    return Shipping(process, Shipper(site.machine.spools, log, site.state(process, DECISIONS)))


def sources(site: Site, process: Process, numbers: Sequence[int]) -> list[Source]:
    """The partitions' logs as a process reads them."""
    disk = site.disk(process)
    logs = [(number, site.engine.reader(folder(number), disk)) for number in numbers]
    return [Source(number, log, Unsealer(log, vault(disk, number))) for number, log in logs]


def vault(disk: ProcessDisk, number: int) -> VaultReader:
    return VaultReader(disk.open(join(folder(number), SLOTS), "read"), SECRETS.vault_wrap)


def sealer(site: Site, disk: ProcessDisk, process: Process) -> Sealer:
    random = site.random(f"{process.name} sealer").randbytes
    return Sealer(SECRETS.decisions, Vaults(lambda number: vault(disk, number)), random)


def decisions(site: Site, process: Process) -> Decisions:
    """Decisions as a process finds them."""
    disk = site.disk(process)
    log = SegmentLogReader(DECISIONS, disk)
    return Decisions(site.machine.spools, log, Shared(site.machine, DECISIONS), sealer(site, disk, process))
