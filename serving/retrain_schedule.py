"""When the service retrains by itself: first when there is a history, then on drift, when a shadow period is over,
after somebody was erased, and on schedule. The driver asks now and then; `everfold retrain` runs as a process of its
own, at low priority.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from actors.ledger import ERASED, IMPORTS, META, Import
from actors.reader import PartitionFiles
from actors.store import Store
from events.errors import EverfoldError
from events.ids import Key
from events.types import DriftDetected
from serving.retrain_state import RetrainState, standing_in
from serving.settings import RetrainSettings
from training.registry import DRIFT_KEY, MODELS_KEY, Registry

Reason: TypeAlias = Literal["first", "shadow", "drift", "erasure", "schedule"]

LOOK_MS: Final = 15_000
"""Between two looks: each opens the partitions' files, a few milliseconds."""
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
DRIFTS: Final = 1
log: Final = logging.getLogger("everfold.retrain")


@dataclass(frozen=True, slots=True)
class Known:
    """What the decision is made from. Times in ms."""

    last: int | None
    """When retraining was last started, whatever came of it; None: never."""
    imported: bool = False
    """Whether a history was imported whole."""
    importing: bool = False
    """Whether one has begun and not ended."""
    records: int = 0
    """In all logs."""
    drifted_at: int = 0
    """The newest detection."""
    erased_at: int = 0
    """When somebody was erased last: tables fitted before hold what that person had, without a name."""
    shadow_until: int = 0
    """When the first shadow period ends; 0: no challenger is in one."""
    judged: int = 0
    """When a judging alone was last started."""


def wanted(known: Known, now: int, rules: RetrainSettings) -> Reason | None:
    """Why to retrain now, or None.

    >>> wanted(Known(None, imported=True), 0, RetrainSettings()), wanted(Known(None), 0, RetrainSettings())
    ('first', None)
    """
    if not rules.enabled or known.importing:
        return None
    if known.last is None:
        return "first" if known.imported or known.records >= rules.records_min else None
    waited = now - known.last
    if 0 < known.shadow_until <= now and min(waited, now - known.judged) >= HOUR_MS:
        return "shadow"
    if known.drifted_at > known.last and waited >= rules.cooldown_hours * HOUR_MS:
        return "drift"
    if known.erased_at > known.last and waited >= rules.cooldown_hours * HOUR_MS:
        return "erasure"
    return "schedule" if waited >= rules.every_days * DAY_MS else None


def known_of(data: Path) -> Known:
    """Read from the data folder. Raises `EverfoldError` while its partitions were not opened yet."""
    store = Store.open(data)
    imports: list[Import] = []
    records = erased = 0
    for number in store.numbers():
        with _opened(store, number) as files:
            erased = max(erased, int.from_bytes(files.state.get(META, ERASED) or b"", "little") // 1000)
            imports += [msgspec.msgpack.decode(row, type=Import) for _, row in files.state.scan(IMPORTS)]
            first, end = files.log.bounds()
            records += end - first
    with _opened(store, store.partition(DRIFT_KEY)) as files:
        told = files.history.events(Key(DRIFT_KEY), DRIFTS)
    with _opened(store, store.partition(MODELS_KEY)) as files:
        now = standing_in(files)
    drifts = [one.record.event_time for one in told if isinstance(one.payload.event, DriftDetected)]
    last = RetrainState(data).last()
    return Known(
        last=None if last is None else last.at,
        imported=any(one.completed for one in imports),
        importing=any(not one.completed for one in imports),
        records=records,
        drifted_at=max(drifts, default=0),
        erased_at=erased,
        shadow_until=min((each.shadow_until for each in Registry(data).waiting(now)), default=0),
        judged=0 if last is None else last.judged,
    )


class Child(Protocol):
    """A process that was started."""

    def poll(self) -> int | None: ...


class RetrainSchedule:
    """Asked by the driver's loop; starts one retraining at a time."""

    def __init__(self, data: Path, rules: RetrainSettings, start: Callable[[Reason], Child]) -> None:
        self._data = data
        self._rules = rules
        self._start = start
        self._child: Child | None = None
        self._looked = 0

    def check(self, now: int) -> Reason | None:
        """Start what is due at ``now`` (ms), and say why. Never raises: serving does not depend on retraining."""
        if self._child is not None:
            code = self._child.poll()
            if code is None:
                return None
            self._child = None
            log.info("retraining ended with exit code %d", code)
        if not self._rules.enabled or now - self._looked < LOOK_MS:
            return None
        self._looked = now
        try:
            reason = wanted(known_of(self._data), now, self._rules)
            if reason is not None:
                log.info("retraining starts: %s", reason)
                self._child = self._start(reason)
        except (EverfoldError, OSError, msgspec.MsgspecError) as error:
            log.warning("retraining was not looked at: %s", error)
            return None
        return reason


def start_retrain(command: list[str], log_file: Path, reason: Reason) -> subprocess.Popen[bytes]:
    """``command`` with why, its words to ``log_file``. It carries the run's stamp, so it ends with the service."""
    with log_file.open("ab") as out:
        return subprocess.Popen([*command, "--by", reason], stdin=subprocess.DEVNULL, stdout=out, stderr=out)


@contextmanager
def _opened(store: Store, number: int) -> Iterator[PartitionFiles]:
    partition = store.numbers()[number]
    files = PartitionFiles(store.folder(partition), partition, store)
    try:
        yield files
    finally:
        files.close()
