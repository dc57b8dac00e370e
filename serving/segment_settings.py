"""The segments that ``everfold.toml`` defines become facts when the service starts.

What the file says holds: a name it defines is made so, a name it defined before and no longer does is dropped. Others
are left alone, whoever defined them. Sent twice (a start that was interrupted) it is one fact: the message id says what
follows which version.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from typing import Final

import msgspec

from actors.outbox import Append
from actors.reader import PartitionFiles
from actors.segment_definition import SEGMENTS_KEY, understood
from actors.store import Store
from events.clock import Clock, millis
from events.errors import BadRequest, BadSettings
from events.types import SegmentDefined, SegmentDropped
from serving.follower_host import FollowerStatus
from serving.segment_chronicle import FACTS_MAX, Chronicle, Fact, draft_of, same, told_chronicle
from serving.segment_door import BY_SETTINGS
from serving.settings import SegmentEntry

IDLE_S: Final = 3600.0
"""Between two looks once all is said: the file is read at a start only."""


def owed(entries: Sequence[SegmentEntry], known: Chronicle) -> list[Fact]:
    """The facts that make the definitions what ``entries`` say, in an order in which each makes sense.

    Raises `BadSettings` where they make none beside what others defined.
    """
    held = {name: definition.told for name, definition in known.now.by_name.items()}
    listed = {entry.name for entry in entries if entry.enabled}
    refused = {entry.name for entry in entries if not entry.enabled} & set(held)
    left = {name for name, told in held.items() if told.by == BY_SETTINGS} - listed
    gone = sorted(refused | left)
    wanted = [entry.told(known.latest(entry.name) + 1) for entry in entries if entry.enabled]
    changed = [told for told in wanted if not _stands(told, held.get(told.name))]
    return [*(SegmentDropped(name, BY_SETTINGS) for name in gone), *_ordered(changed, known, gone)]


def _stands(told: SegmentDefined, held: SegmentDefined | None) -> bool:
    return held is not None and held.by == BY_SETTINGS and same(told, held)


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
        self, store: Store, entries: Sequence[SegmentEntry], clock: Clock, append: Append, secret: bytes
    ) -> None:
        """Raises `NotFound` while the partition was never opened by its owner."""
        number = store.partition(SEGMENTS_KEY)
        self._files = PartitionFiles(store.folder(number), number, store)
        self._entries = entries
        self._clock = clock
        self._append = append
        self._secret = secret
        self._woken = threading.Event()
        self.said = 0
        """Facts appended since this start."""
        self._done = False

    def step(self) -> bool:
        """Whether something was done. Raises what reading and appending raise: then it is tried again."""
        if self._done:
            return False
        known = told_chronicle(self._files.history.events(SEGMENTS_KEY, FACTS_MAX))
        at = millis(self._clock.now())
        facts = owed(self._entries, known)
        drafts = [draft_of(fact, _message_id(fact, known), at, self._secret) for fact in facts]
        if drafts:
            self._append(int(self._files.number), drafts)
        self.said, self._done = len(drafts), True
        return True

    def wait(self) -> None:
        self._woken.wait(IDLE_S)
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def status(self) -> FollowerStatus:
        return FollowerStatus(self.name, lag=0 if self._done else len(self._entries))

    def close(self) -> None:
        self._files.close()


def _message_id(fact: Fact, known: Chronicle) -> str:
    """Of the same fact after the same version always the same."""
    told = msgspec.msgpack.encode((fact, known.latest(fact.name)))
    return "settings#" + hashlib.blake2b(told, digest_size=16).hexdigest()
