"""The segments that ``everfold.toml`` defines, and those the service brings, become facts when it starts.

What the file says holds: a name it defines is made so, a name it defined before and no longer does is dropped. One that
the service brings (`actors.segment_shipped`) is defined unless somebody changed or dropped it by hand. Others are left
alone, whoever defined them. Sent twice (a start that was interrupted) it is one fact: the message id says what
follows which version.

Nothing is said while history is imported (see `actors.import_watch`), nor are segments brought to a store that knows
nobody: an import into it stays the beginning of its log.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from actors.import_watch import ImportWatch
from actors.outbox import Append
from actors.reader import PartitionFiles
from actors.segment_definition import SEGMENTS_KEY, understood
from actors.segment_shipped import BY
from actors.store import Store
from actors.working_set import PROFILES
from events.clock import Clock, millis
from events.errors import BadRequest, BadSettings
from events.types import SegmentDefined, SegmentDropped
from serving.follower_host import FollowerStatus
from serving.segment_chronicle import FACTS_MAX, Chronicle, Fact, draft_of, same, told_chronicle
from serving.segment_door import BY_SETTINGS
from serving.settings import SegmentEntry

IDLE_S: Final = 3600.0
"""Between two looks once all is said: the file is read at a start only."""
LOOK_S: Final = 0.5
"""Between two looks whether an import is over, or somebody came."""


def owed(entries: Sequence[SegmentEntry], known: Chronicle, shipped: Sequence[SegmentDefined] = ()) -> list[Fact]:
    """The facts that make the definitions what ``entries`` say, and bring the ``shipped`` ones, in an order in which
    each makes sense.

    Raises `BadSettings` where they make none beside what others defined.
    """
    held = {name: definition.told for name, definition in known.now.by_name.items()}
    brought = {told.name: told for told in shipped if told.name not in {entry.name for entry in entries}}
    listed = {entry.name for entry in entries if entry.enabled}
    refused = {entry.name for entry in entries if not entry.enabled} & set(held)
    left = {name for name, told in held.items() if told.by == BY_SETTINGS} - listed - set(brought)
    unshipped = {name for name, told in held.items() if told.by == BY} - listed - set(brought)
    gone = sorted(refused | left | unshipped)
    wanted = [entry.told(0) for entry in entries if entry.enabled]
    wanted += [told for told in brought.values() if _left_to_us(told.name, known)]
    changed = [replace(told, version=known.latest(told.name) + 1) for told in wanted if not _stands(told, held)]
    return [*(SegmentDropped(name, BY_SETTINGS) for name in gone), *_ordered(changed, known, gone)]


def _left_to_us(name: str, known: Chronicle) -> bool:
    """Whether nobody else had the last word about a shipped segment."""
    said = known.versions(name)
    return not said or said[-1].fact.by in (BY, BY_SETTINGS)


def _stands(told: SegmentDefined, held: Mapping[str, SegmentDefined]) -> bool:
    other = held.get(told.name)
    return other is not None and other.by == told.by and same(told, other)


def _ordered(changed: Sequence[SegmentDefined], known: Chronicle, gone: Sequence[str]) -> list[SegmentDefined]:
    """Each where it closes no circle with those before it and with what stood so far."""
    now = known.now
    for name in gone:
        now = now.dropped(name)
    out: list[SegmentDefined] = []
    waiting = list(changed)
    while waiting:
        later: list[SegmentDefined] = []
        for told in waiting:
            try:
                now = now.defined(understood(told))
            except BadRequest as wrong:
                later.append(told)
                why = wrong
            else:
                out.append(told)
        if len(later) == len(waiting):
            raise BadSettings(f"setting `segments`: {why}")
        waiting = later
    return out


class SegmentSettingsTask:
    """A task of `serving.follower_host.FollowerHost`: says what is owed, once."""

    name = "segment settings"

    def __init__(
        self,
        store: Store,
        entries: Sequence[SegmentEntry],
        shipped: Sequence[SegmentDefined],
        clock: Clock,
        append: Append,
    ) -> None:
        """Raises `NotFound` while the partition was never opened by its owner."""
        self._partitions = [PartitionFiles(store.folder(number), number, store) for number in store.numbers()]
        self._files = self._partitions[store.partition(SEGMENTS_KEY)]
        self._imports = ImportWatch([files.state for files in self._partitions])
        self._entries = entries
        self._shipped = shipped
        self._clock = clock
        self._append = append
        self._secret = store.secrets.event_id
        self._woken = threading.Event()
        self.said = 0
        """Facts appended since this start."""
        self._done = False
        self._peopled = False
        """At the look before: the fact that an import began may be a moment later than its first profile."""

    def step(self) -> bool:
        """Whether something was done. Raises what reading and appending raise: then it is tried again."""
        if self._done or self._imports.busy(self._clock.now()):
            return False
        known = told_chronicle(self._files.history.events(SEGMENTS_KEY, FACTS_MAX))
        bringing = self._peopled or any(one.fact.by == BY for one in known.said)
        at = millis(self._clock.now())
        facts = owed(self._entries, known, self._shipped if bringing else ())
        drafts = [draft_of(fact, _message_id(fact, known), at, self._secret) for fact in facts]
        if drafts:
            self._append(int(self._files.number), drafts)
        self.said += len(drafts)
        self._done = bringing or not self._shipped
        self._peopled = any(next(files.state.scan(PROFILES), None) is not None for files in self._partitions)
        return bool(drafts)

    def wait(self) -> None:
        self._woken.wait(IDLE_S if self._done else LOOK_S)
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def status(self) -> FollowerStatus:
        return FollowerStatus(self.name, lag=0 if self._done or not self._entries else len(self._entries))

    def close(self) -> None:
        for files in self._partitions:
            files.close()


def _message_id(fact: Fact, known: Chronicle) -> str:
    """Of the same fact after the same version always the same."""
    told = msgspec.msgpack.encode((fact, known.latest(fact.name)))
    return "settings#" + hashlib.blake2b(told, digest_size=16).hexdigest()
