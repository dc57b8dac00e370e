"""Webhooks: every transition POSTed to an address of yours, in order per person, until it was taken.

One follower of the logs per webhook. What was read and not delivered yet stands in its state as a place in the log (no
names, no facts: who is erased meanwhile is not told about), committed together with how far the logs were read; a row
goes when the other side took it. So after any kill what was under way is sent again and nothing else, always under the
same `Everfold-Delivery`: drop what you have seen, and every transition has its effect exactly once. A webhook that is
behind by a day goes on where it was: the log is the queue.

Of one person the next is sent only once the one before is settled. Several persons are told at once. While the other
side fails altogether it is tried again after 1, 2, 4, ... 60 s with one transition at a time; one that is refused, or
that fails `COUNTED_MAX` times while others get through, is given up, counted and logged, so that it stops nobody.

Headers and signature are those of `serving.alerts`.
"""

from __future__ import annotations

import http.client
import os
import shutil
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from actors.lmdb_state import LmdbState, trusted
from actors.state import Change, StateStore
from actors.store import Store
from events.clock import Clock
from events.secrets import sync_folder
from serving.alerts import Alert, passing, post
from serving.follower_host import FollowerStatus
from serving.logs import Log
from serving.metrics import series
from serving.settings import WebhookSettings
from serving.transitions import Position, Transition, Transitions, named

FOLDER: Final = "followers/webhooks"
WAITING: Final = "waiting"
"""(partition, LSN) → `Waiting`."""
LANES: Final = 8
"""Persons told at once."""
WAITING_MAX: Final = 10_000
"""Read and not delivered; more stays in the log."""
COUNTED_MAX: Final = 12
"""With the pauses below, 20 minutes."""
PAUSE_S: Final = 1.0
"""After a first failure; it doubles."""
PAUSE_S_MAX: Final = 300.0
REST_S_MAX: Final = 60.0
READ_MAX: Final = 2_048
WAIT_S: Final = 0.05
NOTE_S: Final = 5.0
"""Between two durable notes of how far everything is delivered."""

_PLACE: Final = struct.Struct(">IQ")


class Waiting(msgspec.Struct, frozen=True, array_like=True):
    """One transition on its way."""

    subject: bytes
    counted: int = 0
    """Times it failed while others got through."""


class Place(NamedTuple):
    partition: int
    lsn: int

    def key(self) -> bytes:
        return _PLACE.pack(*self)


class Result(NamedTuple):
    """What became of one attempt."""

    status: int
    """0: no answer."""
    retry_after_s: float
    why: str


@dataclass
class _Person:
    """The transitions of one person that wait, oldest first, and when the first may be tried."""

    waiting: OrderedDict[Place, Waiting]
    due: float = 0.0
    successes_seen: int = -1
    """`Webhook.sent` at the last attempt; -1: none was made."""


Post = Callable[[str, bytes], Result]
"""(delivery id, body) → what became of it. Called from several threads at once."""


def posting(settings: WebhookSettings, clock: Clock) -> Post:
    """The real one."""
    target, secret = urlsplit(settings.url), settings.secret.get_secret_value()

    def attempt(delivery: str, body: bytes) -> Result:
        try:
            at_s = clock.now() // 1_000_000
            status, retry_after_s = post(target, secret, settings.timeout_s, at_s, delivery, body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Result(0, 0.0, type(error).__name__)
        return Result(status, retry_after_s, f"status {status}")

    return attempt


class Webhook:
    """One webhook over its state. One thread (posts excepted, which have their own)."""

    def __init__(
        self,
        name: str,
        settings: WebhookSettings,
        logs: Transitions,
        state: StateStore,
        post_: Post,
        log: Log,
        begin: Position | None = None,
        steps: Callable[[str], None] = lambda step: None,
    ) -> None:
        """A new state begins at ``begin``; None: with what comes from now on. ``steps`` is called with the name of
        every step passed, for tests that crash there."""
        self.name = name
        self._settings = settings
        self._logs = logs
        self._state = state
        self._post = post_
        self._log = log
        self._step = steps
        self._persons: OrderedDict[bytes, _Person] = OrderedDict()
        self._flying: dict[bytes, tuple[Place, Future[Result]]] = {}
        self._rest_until = 0.0
        self._failing = 0
        """Failures in a row of the other side."""
        self.sent = 0
        self.given_up = 0
        self.waiting = 0
        self._lanes = ThreadPoolExecutor(LANES, thread_name_prefix=f"webhook {name}")
        self._position = self._begin(begin)
        for key, row in state.scan(WAITING):
            self._take(Place(*_PLACE.unpack(key)), msgspec.msgpack.decode(row, type=Waiting))

    def step(self, now: float) -> bool:
        """Settle what came back, read on, send what may be sent; ``now`` in seconds. Whether anything was done."""
        settled = self._settle(now)
        read = self._read()
        begun = self._send(now)
        return settled or read or begun

    def low(self) -> dict[int, int]:
        """The position before everything that is not delivered."""
        low = dict(self._position)
        for person in self._persons.values():
            for place in person.waiting:
                low[place.partition] = min(low[place.partition], place.lsn)
        return low

    @property
    def flying(self) -> int:
        """Attempts under way, those not settled yet included."""
        return len(self._flying)

    def landed(self) -> bool:
        """Whether some attempt came back and is not settled yet."""
        return any(future.done() for _, future in self._flying.values())

    def lag(self) -> int:
        """Records not read, and transitions not delivered."""
        end = self._logs.end()
        return sum(max(0, end[number] - lsn) for number, lsn in self._position.items()) + self.waiting

    def close(self) -> None:
        """What is under way is sent again at the next start, under the same ids."""
        self._lanes.shutdown(wait=False, cancel_futures=True)

    def _begin(self, begin: Position | None) -> dict[int, int]:
        end, offsets = self._logs.end(), self._state.offsets()
        if not offsets:
            offsets = {f"p{number}": lsn for number, lsn in (begin if begin is not None else end).items()}
            self._state.commit([], offsets)
        return {number: min(offsets.get(f"p{number}", 0), lsn) for number, lsn in end.items()}

    def _read(self) -> bool:
        if self.waiting >= WAITING_MAX:
            return False
        found, after = self._logs.read(self._position, READ_MAX)
        if after == self._position:
            return False
        wanted = [told for told in found if self._wants(told)]
        rows = [(Place(told.partition, told.lsn), Waiting(told.subject)) for told in wanted]
        changes: list[Change] = [(WAITING, place.key(), msgspec.msgpack.encode(row)) for place, row in rows]
        self._step("read")
        self._state.commit(changes, {f"p{number}": lsn for number, lsn in after.items()})
        self._step("noted")
        self._position = after
        for place, row in rows:
            self._take(place, row)
        return True

    def _wants(self, told: Transition) -> bool:
        settings = self._settings
        within = not settings.segments or not told.segment or told.segment in settings.segments
        return told.event in settings.events and within

    def _take(self, place: Place, row: Waiting) -> None:
        person = self._persons.get(row.subject)
        if person is None:
            person = self._persons[row.subject] = _Person(OrderedDict())
        person.waiting[place] = row
        self.waiting += 1

    def _send(self, now: float) -> bool:
        """Who waits longest goes first; while the other side fails, one alone tries it."""
        if now < self._rest_until:
            return False
        free = (1 if self._failing else LANES) - len(self._flying)
        able = (one for one, person in self._persons.items() if one not in self._flying and person.due <= now)
        chosen = list(islice(able, max(0, free)))
        for subject in chosen:
            place = next(iter(self._persons[subject].waiting))
            told = self._logs.one(*place)
            if told is None:  # erased, or trimmed away: there is nothing to tell
                self._settled(subject, place)
            else:
                self._flying[subject] = place, self._lanes.submit(self._post, told.id, body_of(told))
                self._step("posting")
        return bool(chosen)

    def _settle(self, now: float) -> bool:
        done = [(subject, place, future) for subject, (place, future) in self._flying.items() if future.done()]
        for subject, place, future in done:
            result = future.result()
            del self._flying[subject]
            self._step("answered")
            if 200 <= result.status < 300:
                self.sent += 1
                self._failing = 0
                self._settled(subject, place)
            elif result.status and not passing(result.status):
                self._give_up(subject, place, result)
            else:
                self._failed(subject, place, result, now)
        return bool(done)

    def _settled(self, subject: bytes, place: Place) -> None:
        self._state.commit([(WAITING, place.key(), None)])
        self._step("settled")
        person = self._persons.pop(subject)
        del person.waiting[place]
        self.waiting -= 1
        if person.waiting:
            person.due, person.successes_seen = 0.0, -1
            self._persons[subject] = person  # behind those who waited meanwhile

    def _failed(self, subject: bytes, place: Place, result: Result, now: float) -> None:
        """It counts against this transition only if another got through since it was tried before: else it is the other
        side that fails, and nothing is lost by waiting."""
        person = self._persons[subject]
        row = person.waiting[place]
        if person.successes_seen not in (-1, self.sent):
            row = person.waiting[place] = Waiting(subject, row.counted + 1)
            self._state.commit([(WAITING, place.key(), msgspec.msgpack.encode(row))])
        person.successes_seen = self.sent
        if row.counted >= COUNTED_MAX:
            self._give_up(subject, place, result)
            return
        person.due = now + max(min(PAUSE_S * 2**row.counted, PAUSE_S_MAX), result.retry_after_s)
        self._persons.move_to_end(subject)
        self._failing += 1
        rest_s = min(PAUSE_S * 2 ** min(self._failing - LANES, 6), REST_S_MAX) if self._failing >= LANES else 0.0
        self._rest_until = max(self._rest_until, now + max(rest_s, result.retry_after_s))

    def _give_up(self, subject: bytes, place: Place, result: Result) -> None:
        self.given_up += 1
        self._log.write("webhook_given_up", webhook=self.name, why=result.why)
        self._settled(subject, place)


def body_of(told: Transition) -> bytes:
    """``{"id", "event", "at_ms", "data"}``: of transitions ``{"user_id", "segment", "evidence"}``, of content alerts
    ``{"user_id", "items", "interest", "strength"}``."""
    return Alert(told.id, told.event, told.at_ms, {**named(told.key), **told.details}).body()


class WebhookTask:
    """A webhook as a task of `serving.follower_host.FollowerHost`.

    Its state is not synced, and unlike others it cannot be made again from the logs: they do not say what was taken. So
    every few seconds the position before all that is not delivered is noted durably; after a power cut everything from
    there on is sent again.
    """

    def __init__(self, store: Store, name: str, settings: WebhookSettings, clock: Clock, log: Log) -> None:
        """Raises `NotFound` while a partition was never opened by its owner."""
        self.name = f"webhook {name}"
        self._clock = clock
        self._woken = threading.Event()
        folder = store.path / FOLDER / name
        self._note = store.path / FOLDER / f"{name}.position"
        if folder.exists() and not trusted(folder):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        begin = _noted(self._note)
        self._logs = Transitions(store)
        self._state = LmdbState(folder)
        attempt = self._told(posting(settings, clock))
        self._webhook = Webhook(name, settings, self._logs, self._state, attempt, log, begin)
        self._low: dict[int, int] = {}
        self._note_at = 0.0
        self._keep()

    def _told(self, attempt: Post) -> Post:
        def post_and_tell(delivery: str, body: bytes) -> Result:
            try:
                return attempt(delivery, body)
            finally:
                self._woken.set()

        return post_and_tell

    def step(self) -> bool:
        done = self._webhook.step(self._clock.now() / 1e6)
        if time.monotonic() >= self._note_at:
            self._keep()
        return done

    def _keep(self) -> None:
        low = self._webhook.low()
        if low != self._low:
            _write_note(self._note, low)
            self._low = low
        self._note_at = time.monotonic() + NOTE_S

    def wait(self) -> None:
        if not self._webhook.landed():
            self._woken.wait(WAIT_S)
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def status(self) -> FollowerStatus:
        hook = self._webhook
        told = {"sent": hook.sent, "given_up": hook.given_up}
        counts = {series("everfold_webhook_deliveries_total", webhook=hook.name, outcome=o): n for o, n in told.items()}
        return FollowerStatus(self.name, hook.lag(), numbers={name: float(count) for name, count in counts.items()})

    def close(self) -> None:
        self._webhook.close()
        with suppress(OSError):
            self._keep()
        self._state.close()
        self._logs.close()


def _noted(path: Path) -> dict[int, int] | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[int, int])
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _write_note(path: Path, position: Position) -> None:
    fresh = path.with_suffix(".new")
    with open(fresh, "wb") as file:
        file.write(msgspec.json.encode(dict(position)))
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    sync_folder(path.parent)
