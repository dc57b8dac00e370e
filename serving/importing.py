"""An import: a source's events, numbered, sent in order to a running service through its ordinary door.

Number 1 is the fact that the import began, with the source's hash and the shift of its times; the last one that it is
complete. One request is in flight at a time, so that order holds, while the next one is being built.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

import msgspec

from events.errors import BadRequest
from events.ids import Millis
from serving.import_client import ImportClient, ImportStatus, Taken
from serving.source import Source, SourceEvent

PART_EVENTS_MAX: Final = 500
PART_BYTES_MAX: Final = 1_500_000
"""Keeps a request under the body limit (4 MB) and its handling under a tenth of a second."""

_ENCODER = msgspec.json.Encoder()


class Progress(Protocol):
    """Who is told how far the import is. ``total`` is None where the source cannot know."""

    def begin(self, total: int | None, done: int) -> None: ...

    def advance(self, events: int, rejected: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Report:
    """``sent`` of this run (with its two boundary facts), ``skipped`` because an earlier run had sent them."""

    producer: str
    sent: int
    skipped: int
    rejected: int
    shift_ms: int


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive events, encoded; the first has the number ``first_seq``."""

    first_seq: int
    events: tuple[bytes, ...]


def run_import(
    source: Source, client: ImportClient, now: Millis, progress: Progress, keep_times: bool = False
) -> Report:
    """Import ``source``, going on where an earlier run stopped; does nothing if it is complete already.

    ``keep_times`` leaves the times alone and asks for no stamping of ``appended``. Raises `BadRequest` for an empty
    source, and what `ImportClient.send` raises.
    """
    status = client.status(source.producer)
    shift = _shift(source, status, now, keep_times)
    if status.completed:
        return Report(source.producer, 0, status.low, 0, shift)
    stamp = not keep_times
    total = source.total()
    progress.begin(None if total is None else total + 2, status.low)
    events = islice(_with_boundaries(source, shift, stamp), status.low, None)
    sent = rejected = 0
    for part, taken in _delivered(parts(events, status.low + 1), client, source.producer, stamp):
        sent += len(part.events)
        rejected += taken.rejected
        progress.advance(len(part.events), taken.rejected)
    return Report(source.producer, sent, status.low, rejected, shift)


def _shift(source: Source, status: ImportStatus, now: Millis, keep_times: bool) -> int:
    """That of the import's beginning where there was one: the rest of a source moves by the same weeks."""
    if status.shift_ms is not None:
        return status.shift_ms
    return 0 if keep_times else source.shift_ms(now)


def _with_boundaries(source: Source, shift_ms: int, stamp: bool) -> Iterator[SourceEvent]:
    """The source's events between the facts that the import began and that it is complete."""
    about: SourceEvent = {"source": source.name, "source_hash": source.source_hash}
    count, at = 0, None
    for event in source.events(shift_ms):
        at = event.get("timestamp")
        if not count:
            yield {"type": "import_started", **about, "shift_ms": shift_ms, "stamped": stamp, "timestamp": at}
        count += 1
        yield event
    if not count:
        raise BadRequest(f"{source.name} holds no events: nothing was imported")
    yield {"type": "import_completed", **about, "events": count, "timestamp": at}


def parts(events: Iterable[SourceEvent], first_seq: int) -> Iterator[Part]:
    """Events in order, at most 500 and 1.5 MB at a time."""
    held: list[bytes] = []
    size = 0
    for event in events:
        data = _ENCODER.encode(event)
        if held and (len(held) == PART_EVENTS_MAX or size + len(data) > PART_BYTES_MAX):
            yield Part(first_seq, tuple(held))
            first_seq, held, size = first_seq + len(held), [], 0
        held.append(data)
        size += len(data) + 1
    if held:
        yield Part(first_seq, tuple(held))


def _delivered(
    waiting: Iterator[Part], client: ImportClient, producer: str, stamp: bool
) -> Iterator[tuple[Part, Taken]]:
    """Sends every part after the one before it was taken, and builds the next one meanwhile."""
    flying: tuple[Part, Future[Taken]] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="import") as line:
        for part in waiting:
            if flying is not None:
                yield flying[0], flying[1].result()
            flying = part, line.submit(client.send, _body(part, producer, stamp))
        if flying is not None:
            yield flying[0], flying[1].result()


def _body(part: Part, producer: str, stamp: bool) -> bytes:
    head = _ENCODER.encode({"producer": producer, "first_seq": part.first_seq, "stamp": stamp})
    return b'%s,"batch":[%s]}' % (head[:-1], b",".join(part.events))
