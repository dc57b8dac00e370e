"""Transitions of profiles between segments, and content alerts, read from the partitions' logs: what the stream and
webhooks tell.

A *position* says how far each partition was read. Whoever keeps one goes on exactly where they were, whatever was
restarted meanwhile; the log is the only queue, so nobody who is slow or away makes anybody else wait or remember.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

from actors.reader import PartitionFiles
from actors.store import Store
from actors.working_set import PROFILES
from events.errors import BadRequest, NotFound
from events.ids import Key, Micros, PartitionId, anonymous_key, key_hash
from events.payload import decode
from events.record import Record
from events.types import ContentAlerted, Event, Json, Meta, SegmentChanged
from events.unseal import Unsealer
from events.vault import Owner
from serving.moments import moment_text
from serving.token import Token

TYPES: Final = frozenset({"segment_changed", "content_alerted"})
EVENTS: Final = ("segment_entered", "segment_exited", "content_alert")
READ_MAX: Final = 4_096
"""Records looked at per read."""

Position: TypeAlias = Mapping[int, int]
"""Partition → the next LSN to read."""


class Transition(msgspec.Struct, frozen=True):
    """Somebody entered or left a segment, or was told of new items."""

    partition: int
    lsn: int
    id: str
    """Of the fact, 32 hex digits: the same wherever and however often it is told."""
    appended: int
    """us."""
    at_ms: int
    """When it happened."""
    subject: bytes
    key: str
    """Whose profile it is, ``u:…`` or ``a:…``; empty where the profile no longer says."""
    event: str
    """``segment_entered``, ``segment_exited`` or ``content_alert``."""
    segment: str
    """Empty for a content alert."""
    details: dict[str, Json]
    """What is told besides whose it is and when."""

    def shown(self) -> dict[str, object]:
        """As it is told to others."""
        return {
            "id": self.id,
            "event": self.event,
            **named(self.key),
            "at": moment_text(Micros(self.at_ms * 1000)),
            **self.details,
        }


def named(key: str) -> dict[str, object]:
    return {"user_id" if key[:1] != "a" else "anonymous_id": key[2:]}


class _Ids(msgspec.Struct):
    """The ids in a stored profile."""

    user_id: str = ""
    anonymous: dict[str, int] = {}


_IDS: Final = msgspec.msgpack.Decoder(_Ids)


@dataclass(frozen=True)
class _Partition:
    files: PartitionFiles
    opener: Unsealer

    @property
    def number(self) -> int:
        return int(self.files.number)


class Transitions:
    """Reads the logs of a store. One thread at a time."""

    def __init__(self, store: Store) -> None:
        """Raises `NotFound` while a partition was never opened by its owner."""
        self._secret = store.secrets.key_hash
        self._partitions = {int(number): _opened(store, number) for number in store.numbers()}

    def end(self) -> dict[int, int]:
        """The position after everything that is durable."""
        return {number: each.files.log.bounds()[1] for number, each in self._partitions.items()}

    def begin(self) -> dict[int, int]:
        """The position before everything the log still holds."""
        return {number: each.files.log.bounds()[0] for number, each in self._partitions.items()}

    def since(self, moment: Micros) -> dict[int, int]:
        """The position before the first record appended at ``moment`` or later."""
        return {number: _first(each, moment) for number, each in self._partitions.items()}

    def read(self, position: Position, limit: int = READ_MAX) -> tuple[list[Transition], dict[int, int]]:
        """The transitions among about ``limit`` records from ``position`` on, in the order they were appended, and the
        position after those records. A partition ``position`` does not name is read from its beginning."""
        share = max(1, limit // len(self._partitions))
        after = dict(position)
        found: list[Transition] = []
        for number, each in self._partitions.items():
            start = max(position.get(number, 0), each.files.log.bounds()[0])
            records = each.files.log.read(start, share)
            after[number] = records[-1].lsn + 1 if records else start
            found += [told for record in records if (told := self._told(each, record)) is not None]
        found.sort(key=lambda told: (told.appended, told.partition, told.lsn))
        return found, after

    def one(self, partition: int, lsn: int) -> Transition | None:
        """The transition at a place; None where it is none, was erased or trimmed away."""
        each = self._partitions[partition]
        try:
            return self._told(each, each.files.log.get(lsn))
        except NotFound:
            return None

    def close(self) -> None:
        for each in self._partitions.values():
            each.files.close()

    def _told(self, each: _Partition, record: Record) -> Transition | None:
        if record.type not in TYPES:
            return None
        unsealed = each.opener.unseal(record)
        if unsealed is None:
            return None
        owner, plain = unsealed
        told = decode(record.type, record.version, plain)
        event, segment, details = _read(told.event)
        return Transition(
            each.number,
            record.lsn,
            record.event_id.hex(),
            record.appended,
            record.event_time,
            record.subject,
            self._key(each, owner, told.meta),
            event,
            segment,
            details,
        )

    def _key(self, each: _Partition, owner: Owner, meta: Meta) -> str:
        """Where the fact names nobody, their profile does."""
        if owner.kind == "u" and meta.user_id:
            return "u:" + meta.user_id
        blob = each.files.state.get(PROFILES, owner.key_hash)
        if blob is None:
            return ""
        ids = _IDS.decode(blob)
        if owner.kind == "u":
            return "u:" + ids.user_id if ids.user_id else ""
        keys = (anonymous_key(known) for known in ids.anonymous)
        return next((key for key in keys if key_hash(self._secret, Key(key)) == owner.key_hash), "")


def _read(event: Event) -> tuple[str, str, dict[str, Json]]:
    """(event, segment, details)."""
    if isinstance(event, ContentAlerted):
        return "content_alert", "", {"items": list(event.items), "interest": event.interest, "strength": event.strength}
    assert isinstance(event, SegmentChanged)
    details: dict[str, Json] = {"segment": event.segment, "evidence": event.evidence}
    return "segment_entered" if event.entered else "segment_exited", event.segment, details


def _opened(store: Store, number: PartitionId) -> _Partition:
    files = PartitionFiles(store.folder(number), number, store)
    return _Partition(files, Unsealer(files.log, files.vault))


def _first(each: _Partition, moment: int) -> int:
    log = each.files.log
    start, end = log.bounds()
    return start + bisect_left(range(start, end), moment, key=lambda lsn: log.get(lsn).appended)


def position_text(position: Position) -> str:
    """As clients keep it."""
    return Token.of(position.items()).text()


def parse_position(name: str, text: str, end: Position) -> dict[int, int]:
    """What `position_text` made, of a store whose log ends at ``end``. Raises `BadRequest`.

    >>> parse_position("Last-Event-ID", position_text({0: 7}), {0: 9})
    {0: 7}
    """
    try:
        position = dict(Token.parse(text).marks)
    except BadRequest:
        raise BadRequest(f"`{name}` is no place in the stream: send an `id` as the stream told it") from None
    if set(position) != set(end) or any(lsn > end[number] for number, lsn in position.items()):
        raise BadRequest(f"`{name}` is no place in this store's stream: begin anew without it")
    return position
