"""The one thread that writes: group commit over the partitions of a host.

What arrives while a sync runs waits and goes with the next. The partitions of one round are prepared in turn, and each
one's sync runs while the next is prepared, so several partitions cost little more time than one.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from actors.histogram import Histogram
from actors.partition import Outcome, Partition, Work
from actors.recovery import OwnedPartition
from events.errors import EverfoldError, Unavailable
from events.ids import PartitionId
from events.record import Draft

T = TypeVar("T")


@dataclass(frozen=True)
class WriterSettings:
    """``round_drafts``: what one partition takes in one round; bounds how long a round, hence everybody's wait, may
    last. ``queue_drafts``: beyond this many waiting, callers are told to come back (about half a second of work).
    ``idle_s``: the longest time between two signs of life."""

    round_drafts: int = 2_000
    queue_drafts: int = 16_000
    idle_s: float = 0.5


@dataclass
class Job:
    """Drafts of one call for one partition."""

    number: PartitionId
    drafts: Sequence[Draft]
    deadline: float
    """Instant of CLOCK_MONOTONIC after which nobody waits any more: then nothing is begun."""
    done: Future[list[Outcome]] = field(default_factory=Future)


@dataclass(frozen=True)
class _Batch:
    number: PartitionId
    jobs: Sequence[Job]
    work: Work
    written: Future[None] | None


class Writer:
    """Runs `partitions` on its own thread, from `start` to `stop`. Everything that changes them goes through here."""

    def __init__(
        self,
        partitions: Mapping[PartitionId, OwnedPartition],
        settings: WriterSettings,
        committed: Callable[[Mapping[PartitionId, int]], None],
    ) -> None:
        """``committed`` is told, on the writer's thread, the end of each partition that moved."""
        self._partitions = partitions
        self._settings = settings
        self._committed = committed
        self._moved = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._waiting = 0
        self._stopping = False
        self._pool = ThreadPoolExecutor(max(1, len(partitions)), thread_name_prefix="sync")
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self.append_time = Histogram()
        """From a job's round beginning to its outcome known."""
        self.sync_time = Histogram()
        self.quarantined: Counter[str] = Counter()
        self.events = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish what was accepted, then end the thread."""
        with self._moved:
            self._stopping = True
            self._moved.notify()
        self._thread.join()
        self._pool.shutdown()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue a call's jobs. Raises `Unavailable` when too much is waiting or the writer stops; then none is."""
        size = sum(len(job.drafts) for job in jobs)
        with self._moved:
            if self._stopping:
                raise Unavailable("this host is stopping: send again, another takes over")
            if self._waiting and self._waiting + size > self._settings.queue_drafts:
                raise Unavailable(f"{self._waiting} events are waiting to be written: send again in a second")
            self._waiting += size
            self._jobs.extend(jobs)
            self._moved.notify()

    def call(self, action: Callable[[], T]) -> Future[T]:
        """Run ``action`` on the writer's thread between two rounds."""
        done: Future[T] = Future()
        with self._moved:
            if self._stopping:
                raise Unavailable("this host is stopping: send again, another takes over")
            self._calls.append(lambda: _fulfil(done, action))
            self._moved.notify()
        return done

    @property
    def waiting(self) -> int:
        """Drafts queued."""
        return self._waiting

    def _run(self) -> None:
        while True:
            with self._moved:
                if not self._jobs and not self._calls and not self._stopping:
                    self._moved.wait(self._settings.idle_s)
                calls, self._calls = self._calls, deque()
                jobs = self._take()
                ended = self._stopping and not jobs and not calls
            self._beat()
            if ended:
                return
            for action in calls:
                action()
            if jobs:
                self._round(jobs)

    def _beat(self) -> None:
        for owned in self._partitions.values():
            owned.heartbeat.touch("writer")

    def _take(self) -> dict[PartitionId, list[Job]]:
        """The next round: jobs in order of arrival, up to a bound per partition. The rest stays in order."""
        taken: dict[PartitionId, list[Job]] = {}
        sizes: Counter[PartitionId] = Counter()
        left: deque[Job] = deque()
        full: set[PartitionId] = set()
        for job in self._jobs:
            size = sizes[job.number]
            if job.number in full or (size and size + len(job.drafts) > self._settings.round_drafts):
                full.add(job.number)
                left.append(job)
                continue
            sizes[job.number] += len(job.drafts)
            taken.setdefault(job.number, []).append(job)
        self._jobs = left
        self._waiting -= sum(sizes.values())
        return taken

    def _round(self, taken: Mapping[PartitionId, Sequence[Job]]) -> None:
        started = time.perf_counter()
        last = list(taken)[-1]
        begun = [self._begin(number, jobs, alone=number == last) for number, jobs in taken.items()]
        for batch in begun:
            if batch is not None:
                self._end(batch, started)

    def _begin(self, number: PartitionId, jobs: Sequence[Job], alone: bool) -> _Batch | None:
        """Prepare what is still waited for, and start its append: beside the next partition's, unless it is the last
        one to begin."""
        jobs = [job for job in jobs if _wanted(job)]
        if not jobs:
            return None
        partition = self._partitions[number].partition
        try:
            work = partition.prepare([draft for job in jobs for draft in job.drafts])
        except Exception as error:
            _fail(jobs, error, partition)
            return None
        return _Batch(number, jobs, work, None if alone else self._pool.submit(partition.write, work))

    def _end(self, batch: _Batch, started: float) -> None:
        """Wait for the append, commit, tell the host, then the callers: who is told may rely on the host knowing."""
        owned = self._partitions[batch.number]
        try:
            if batch.written is None:
                owned.partition.write(batch.work)
            else:
                batch.written.result()
            outcomes = owned.partition.finish(batch.work)
        except Exception as error:
            _fail(batch.jobs, error, owned.partition)
            return
        self._measure(batch.work, owned.log.last_sync_s, time.perf_counter() - started)
        if batch.work.records:
            self._committed({batch.number: batch.work.next_lsn})
        at = 0
        for job in batch.jobs:
            job.done.set_result(outcomes[at : at + len(job.drafts)])
            at += len(job.drafts)

    def _measure(self, work: Work, sync_s: float, append_s: float) -> None:
        self.events += len(work.records)
        self.append_time.add(append_s)
        if work.records:
            self.sync_time.add(sync_s)
        self.quarantined.update(refused.reason for refused in work.refused)


def _wanted(job: Job) -> bool:
    """Whether somebody still waits for the job; from here on it cannot be given up."""
    if not job.done.set_running_or_notify_cancel():
        return False
    if time.monotonic() > job.deadline:
        job.done.set_exception(Unavailable("the write waited too long to begin: send again with the same ids"))
        return False
    return True


def _fail(jobs: Sequence[Job], error: Exception, partition: Partition) -> None:
    """Tell the callers. What was not expected has stopped the partition; they hear that."""
    told = error if isinstance(error, EverfoldError) else partition.stopped or error
    for job in jobs:
        job.done.set_exception(told)


def _fulfil(done: Future[T], action: Callable[[], T]) -> None:
    if not done.set_running_or_notify_cancel():
        return
    try:
        done.set_result(action())
    except Exception as error:
        done.set_exception(error)
