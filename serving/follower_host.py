"""All followers of a store in one process: of items and of segments, the shipper of decisions, and the learner.

Plain; `serving.on_ray` makes an actor of it. Each follower has a thread of its own. One that fails is opened anew after
a while, and until then `status` says why; the others go on. The folder's lock and heartbeat are those of a partition
host, so that whoever keeps hosts alive keeps this alive in the same way.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from actors.heartbeat import Heartbeat
from actors.locking import FolderLock
from actors.outbox import Append
from actors.segment_tables import FOLLOWER
from actors.store import Store
from actors.wire import Placed, pack_drafts, unpack_placed
from events.clock import Clock, SystemClock
from events.errors import EverfoldError, Held, Unavailable
from events.record import Draft
from serving.logs import JsonLog
from serving.metrics import series
from serving.settings import Settings, WebhookSettings

if TYPE_CHECKING:
    from actors.item_follower import ItemFollower
    from actors.segment_opened import OpenedSegments
    from serving.alerts import Alerts
    from serving.decisions import Shipper
    from serving.learning import Learner

FOLDER: Final = "followers"
NICENESS: Final = 10
"""Where cores are short, those somebody waits for go first (a tenth of the weight is left to followers). A follower
that falls behind takes larger batches, which cost less per fact, and always catches up."""
SHIP_S: Final = 0.5
"""Between two looks at the spools: a decision is found in its spool meanwhile."""
TRIM_S: Final = 3600.0
LEARN_S: Final = 0.1
"""Between two rounds of the learner while it keeps up: ten plans a second at most."""
APPEND_S: Final = 10.0
"""How long a follower waits for the facts it writes back; longer than a host's own deadline."""
SEGMENTS_S: Final = 0.01
"""Between two looks at the logs while nothing happens: how late a timed transition may be, half of it on average."""
SEND_AGAIN_S: Final = 0.2
"""Until what could not be appended is sent again."""
ALERTS_S: Final = 0.5
"""What alerts get to be sent when the process ends."""
AGAIN_S: Final = (0.1, 5.0)
"""After a first failure (the host has not made its files yet), and at most after further ones, each waiting twice as
long: a disk that was full for a moment."""


class FollowerStatus(msgspec.Struct, frozen=True):
    """Figures of one follower. ``lag`` in records (of the shipper: bytes in spools), ``age_us`` of the oldest fact not
    read yet; ``fault`` says why it stands still, empty while it runs; ``deferred``: rows made from what was read are
    still being made anew."""

    name: str
    lag: int = 0
    age_us: int = 0
    fault: str = ""
    deferred: bool = False
    numbers: dict[str, float] = {}
    """Further figures, by the name of their series."""


class Task(Protocol):
    """What a thread of the host does."""

    name: str

    def step(self) -> bool:
        """Do some of what there is; whether there may be more."""
        ...

    def wait(self) -> None:
        """Until there may be something to do, at most a fraction of a second."""
        ...

    def wake(self) -> None: ...

    def status(self) -> FollowerStatus: ...

    def close(self) -> None: ...


class Following:
    """A follower of the partitions' logs as a task."""

    def __init__(self, follower: ItemFollower, clock: Clock) -> None:
        self.name = follower.name
        self._follower = follower
        self._clock = clock
        self._woken = threading.Event()
        self._deferred = True

    def step(self) -> bool:
        self._deferred = True  # before the offsets move, so that nobody sees neither lag nor work
        self._deferred = self._follower.step()
        return self._deferred

    def wait(self) -> None:
        self._woken.wait(0.02)
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def status(self) -> FollowerStatus:
        deferred = self._deferred  # looked at last, it could be over while the lag was not yet
        lag, age_us = self._follower.lag(), self._follower.age_us(self._clock.now())
        return FollowerStatus(self.name, lag, age_us, deferred=deferred or self._deferred)

    def close(self) -> None:
        self._follower.close()


class Shipping:
    """The decision shipper as a task."""

    name = "decisions"

    def __init__(self, shipper: Shipper, clock: Clock) -> None:
        self._shipper = shipper
        self._clock = clock
        self._woken = threading.Event()
        self._trim_at = time.monotonic()
        self._backlog = 0

    def step(self) -> bool:
        self._shipper.ship()
        self._backlog = self._shipper.backlog()
        if time.monotonic() >= self._trim_at:
            self._shipper.trim(self._clock.now())
            self._trim_at = time.monotonic() + TRIM_S
        return False

    def wait(self) -> None:
        self._woken.wait(SHIP_S)
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def status(self) -> FollowerStatus:
        return FollowerStatus(self.name, self._backlog)

    def close(self) -> None:
        self._shipper.close()


class Learning:
    """The learner as a task. Unlike the others it is not woken by every write: what it learns may be a tenth of a
    second old, and rounds of some size cost less. It gives log time its ticks, sends what it writes back, and raises
    an alert for drift (one that dies with the process is not sent; the fact in the log is there all the same)."""

    def __init__(self, learner: Learner, clock: Clock, append: Append | None, alerts: Alerts | None = None) -> None:
        self.name = learner.name
        self._learner = learner
        self._clock = clock
        self._append = append
        self._alerts = alerts
        self._stopping = threading.Event()

    def step(self) -> bool:
        more = self._learner.step(self._clock.now())
        if self._append is not None:
            with suppress(EverfoldError, TimeoutError):  # the host is away: what waits is sent another time
                self._learner.send(self._append)
        detections = self._learner.detections()
        if detections and self._alerts is not None:
            from serving.alerts import drift_alert

            for detection in detections:
                self._alerts.raise_(drift_alert(detection))
        return more

    def wait(self) -> None:
        self._stopping.wait(LEARN_S)
        self._stopping.clear()

    def wake(self) -> None:
        self._stopping.set()

    def _alerted(self) -> dict[str, float]:
        alerts = self._alerts
        told = {"sent": alerts.sent, "failed": alerts.failed, "dropped": alerts.dropped} if alerts is not None else {}
        return {series("everfold_alerts_total", outcome=outcome): count for outcome, count in told.items()}

    def status(self) -> FollowerStatus:
        lag, age_us = self._learner.lag(), self._learner.age_us(self._clock.now())
        return FollowerStatus(self.name, lag, age_us, numbers={**self._learner.numbers(), **self._alerted()})

    def close(self) -> None:
        self._learner.close()


class Segmenting:
    """The segment follower as a task: evaluates, and sends the transitions it found."""

    def __init__(self, segments: OpenedSegments, clock: Clock, append: Append) -> None:
        self.name = FOLLOWER
        self._segments = segments
        self._clock = clock
        self._append = append
        self._woken = threading.Event()
        self._again = 0.0
        self._deferred = True

    def step(self) -> bool:
        self._deferred = True
        more = self._segments.step(self._clock.now())
        if time.monotonic() >= self._again:
            try:
                more = bool(self._segments.send(self._append)) or more
            except (EverfoldError, TimeoutError):  # the host is away: what waits is sent another time
                self._again = time.monotonic() + SEND_AGAIN_S
        self._deferred = more
        return more

    def wait(self) -> None:
        self._woken.wait(SEGMENTS_S)
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def status(self) -> FollowerStatus:
        lag, age_us = self._segments.lag(), self._segments.age_us(self._clock.now())
        return FollowerStatus(self.name, lag, age_us, deferred=self._deferred, numbers=self._segments.numbers())

    def close(self) -> None:
        self._segments.close()


@dataclass
class _Seat:
    """One task with its thread; the task is None while it could not be opened."""

    name: str
    open: Callable[[], Task]
    task: Task | None = None
    fault: str = "opening"


class FollowerHost:
    """Runs from construction to `close`. ``append`` writes facts of followers into the partitions, from any thread;
    None: they wait. Raises `Held` where another process runs the followers of this store."""

    def __init__(self, data: Path, clock: Clock, settings: Settings, append: Append | None = None) -> None:
        store, floor_bytes = Store.open(data), settings.store.free_bytes_min
        folder = data / FOLDER
        folder.mkdir(exist_ok=True)
        self._lock = FolderLock(folder)
        self._heartbeat = Heartbeat(folder)
        self._stopping = threading.Event()
        self._alerts = _alerts(settings, clock) if settings.alerts.webhook else None
        self._seats = [
            _Seat("items", lambda: _items(store, clock)),
            _Seat("decisions", lambda: _decisions(data, clock, floor_bytes)),
        ]
        self._seats.append(_Seat("learner", lambda: _learner(store, clock, settings, append, self._alerts)))
        if append is not None:
            self._seats.append(_Seat(FOLLOWER, lambda: _segments(store, clock, append)))
            self._seats.append(_Seat("segment settings", lambda: _segment_settings(store, clock, settings, append)))
        if append is not None and settings.content_alerts.enabled:
            self._seats.append(_Seat("content-alerts", lambda: _content_alerts(store, clock, settings, append)))
        for name, hook in settings.webhooks.items():
            self._seats.append(_Seat(f"webhook {name}", partial(_webhook, store, name, hook, clock)))
        self._threads = [
            threading.Thread(target=self._run, args=(seat,), name=seat.name, daemon=True) for seat in self._seats
        ]
        self._threads.append(threading.Thread(target=self._beat, name="beat", daemon=True))
        for thread in self._threads:
            thread.start()

    async def status(self) -> bytes:
        """Packed list of `FollowerStatus`."""
        return msgspec.msgpack.encode([_status(seat) for seat in self._seats])

    async def wake(self) -> None:
        """There is something new in the logs."""
        for seat in self._seats:
            if seat.task is not None:
                seat.task.wake()

    async def close(self) -> None:
        """Commit what is begun, and let go of the files."""
        self._stopping.set()
        await self.wake()
        for thread in self._threads:
            thread.join(timeout=2.0)
        if self._alerts is not None:
            self._alerts.close(ALERTS_S)
        self._lock.release()

    def _run(self, seat: _Seat) -> None:
        again, longest = AGAIN_S
        while not self._stopping.is_set():
            try:
                seat.task = seat.task or seat.open()
                more = seat.task.step()
                seat.fault, again = "", AGAIN_S[0]
                if not more:
                    seat.task.wait()
            except Exception as error:  # whatever stops one follower must not stop the others
                seat.fault = f"{type(error).__name__}: {error}"
                self._drop(seat)
                self._stopping.wait(again)
                again = min(2 * again, longest)
        self._drop(seat)

    def _drop(self, seat: _Seat) -> None:
        task, seat.task = seat.task, None
        if task is not None:
            with suppress(Exception):  # it is being given up because of an error already
                task.close()

    def _beat(self) -> None:
        while not self._stopping.wait(0.5):
            self._heartbeat.touch_all()


class Followed:
    """A `FollowerHost` inside an actor process; waits while a stopped predecessor still holds the folder. ``connect``
    makes its way into the partitions, on the process's event loop."""

    def __init__(self, data: str, connect: Callable[[], Append] | None = None) -> None:
        os.nice(NICENESS)
        self._data = Path(data)
        self._settings = Settings.load(self._data, os.environ)
        self._append = connect() if connect is not None else None
        self._host: FollowerHost | None = None
        self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        while self._host is None:
            try:
                self._host = FollowerHost(self._data, SystemClock(), self._settings, self._append)
            except Held:
                await asyncio.sleep(0.1)

    async def status(self) -> bytes:
        if self._host is None:
            raise Unavailable("the followers are starting")
        return await self._host.status()

    async def close(self) -> None:
        self._opening.cancel()
        if self._host is not None:
            await self._host.close()


def _items(store: Store, clock: Clock) -> Task:
    from actors.item_follower import ItemFollower  # numeric libraries, for the followers' process only

    return Following(ItemFollower(store), clock)


def _decisions(data: Path, clock: Clock, floor_bytes: int) -> Task:
    from serving.decisions import open_shipper

    return Shipping(open_shipper(data, floor_bytes), clock)


def _alerts(settings: Settings, clock: Clock) -> Alerts:
    from serving.alerts import Alerts

    return Alerts(settings.alerts, clock, JsonLog(clock))


def _learner(store: Store, clock: Clock, settings: Settings, append: Append | None, alerts: Alerts | None) -> Task:
    from serving.learning import Learner

    return Learning(Learner(store, settings), clock, append, alerts)


def _segments(store: Store, clock: Clock, append: Append) -> Task:
    from actors.segment_opened import OpenedSegments

    return Segmenting(OpenedSegments(store), clock, append)


def _content_alerts(store: Store, clock: Clock, settings: Settings, append: Append) -> Task:
    from actors.content_alerts_opened import OpenedContentAlerts
    from serving.content_alerting import ContentAlerting

    return ContentAlerting(OpenedContentAlerts(store, settings.content_alerts.strength), clock, append)


def _segment_settings(store: Store, clock: Clock, settings: Settings, append: Append) -> Task:
    from actors.segment_shipped import SHIPPED
    from serving.segment_settings import SegmentSettingsTask

    shipped = SHIPPED if settings.segments_shipped else ()
    return SegmentSettingsTask(store, settings.segments, shipped, clock, append)


def _webhook(store: Store, name: str, settings: WebhookSettings, clock: Clock) -> Task:
    from serving.webhooks import WebhookTask

    return WebhookTask(store, name, settings, clock, JsonLog(clock))


def appending(host: Appendable, loop: asyncio.AbstractEventLoop) -> Append:
    """How a follower's thread writes facts through ``host``, whose calls belong to ``loop``. Drafts find their
    partition by their key. Raises what the host raises, and `TimeoutError`."""

    def append(target: int, drafts: Sequence[Draft]) -> Sequence[Placed]:
        waiting = asyncio.run_coroutine_threadsafe(host.append(pack_drafts(drafts)), loop)
        return unpack_placed(waiting.result(APPEND_S))

    return append


class Appendable(Protocol):
    """`actors.host.PartitionHost`, or several behind one address."""

    async def append(self, packed: bytes) -> bytes: ...


def _status(seat: _Seat) -> FollowerStatus:
    task = seat.task
    if task is None or seat.fault:
        return FollowerStatus(seat.name, fault=seat.fault)
    try:
        return task.status()
    except Exception as error:  # its thread has just given it up
        return FollowerStatus(seat.name, fault=f"{type(error).__name__}: {error}")


def unpack_status(packed: bytes) -> list[FollowerStatus]:
    return _STATUS.decode(packed)


_STATUS: Final = msgspec.msgpack.Decoder(list[FollowerStatus])
