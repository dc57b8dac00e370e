"""What a partition knows about its log besides its actors: ids seen, producers' marks, imports, who may stamp.

Live and replay tell it the same records in the same order, so it is rebuilt like any other fold.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from actors.dedupe import Dedupe, DedupeSettings, Remembered
from actors.state import StateReader
from events.record import Draft, Record
from events.types import Event, ImportCompleted, ImportStarted
from events.unseal import ERASED_TYPE

META = "meta"
ERASED = b"erased"
"""When somebody was erased last, us; absent: nobody was."""
PRODUCERS = "producers"
IMPORTS = "imports"
_SOLE = b"sole"
_MIXED = ""


class Import(msgspec.Struct, frozen=True):
    """One import into this store, as its `ImportStarted` and `ImportCompleted` facts tell."""

    producer: str
    source: str
    source_hash: str
    shift_ms: int = 0
    stamped: bool = False
    completed: bool = False
    events: int = 0


class Ledger:
    """See the module."""

    def __init__(self, settings: DedupeSettings, state: StateReader) -> None:
        self.dedupe = Dedupe.load(settings, state)
        self.duplicates = 0
        """Drafts refused as known, since this process started."""
        self._marks = {name.decode(): int.from_bytes(seq, "little") for name, seq in state.scan(PRODUCERS)}
        sole = state.get(META, _SOLE)
        self._sole = None if sole is None else sole.decode()
        rows = (msgspec.msgpack.decode(row, type=Import) for _, row in state.scan(IMPORTS))
        self._imports = {row.source_hash: row for row in rows}

    def fresh(self, drafts: Sequence[Draft]) -> list[bool]:
        """For each draft, whether it is the first to state its fact. A producer's drafts have to come in the order of
        their seq: what is at or below its highest is known."""
        seen = iter(self.dedupe.seen([draft.event_id for draft in drafts if not draft.producer]))
        marks = dict(self._marks)
        ids: set[bytes] = set()
        verdicts = [
            self._advance(draft, marks) if draft.producer else _first(draft.event_id, next(seen), ids)
            for draft in drafts
        ]
        self.duplicates += verdicts.count(False)
        return verdicts

    def may_stamp(self, draft: Draft) -> bool:
        """Whether the draft's wish for ``appended`` counts: an import into a log that holds nothing else."""
        return draft.appended > 0 and draft.producer != "" and self._sole in (None, draft.producer)

    def mark(self, producer: str) -> int:
        """The highest seq taken from ``producer``; 0 for one never heard of."""
        return self._marks.get(producer, 0)

    def imports(self) -> list[Import]:
        return [self._imports[key] for key in sorted(self._imports)]

    def note(self, records: Sequence[Record], out: Remembered) -> None:
        """These records are in the log now; what has to be committed is added to ``out``."""
        if not records:
            return
        ids = [record.event_id for record in records if not record.producer]
        if ids:
            self.dedupe.remember(ids, records[-1].appended, out)
        marks: dict[str, int] = {}
        for record in records:
            if record.type == ERASED_TYPE:
                out.changes.append((META, ERASED, record.appended.to_bytes(8, "little")))
            if record.producer:
                marks[record.producer] = max(record.seq, self._marks.get(record.producer, 0))
                self._marks[record.producer] = marks[record.producer]
        out.changes += [(PRODUCERS, name.encode(), seq.to_bytes(8, "little")) for name, seq in marks.items()]
        names = {*marks, *([_MIXED] if ids else []), *([] if self._sole is None else [self._sole])}
        sole = names.pop() if len(names) == 1 else _MIXED
        if sole != self._sole:
            self._sole = sole
            out.changes.append((META, _SOLE, sole.encode()))

    def note_system(self, event: Event, out: Remembered) -> None:
        """A fact about the store itself."""
        match event:
            case ImportStarted():
                known = Import(event.producer, event.source, event.source_hash, event.shift_ms, event.stamped)
            case ImportCompleted():
                started = self._imports.get(event.source_hash)
                base = Import(event.producer, event.source, event.source_hash) if started is None else started
                known = msgspec.structs.replace(base, completed=True, events=event.events)
            case _:
                return
        self._imports[event.source_hash] = known
        out.changes.append((IMPORTS, b"#" + event.source_hash.encode()[:256], msgspec.msgpack.encode(known)))

    @staticmethod
    def _advance(draft: Draft, marks: dict[str, int]) -> bool:
        if draft.seq <= marks.get(draft.producer, 0):
            return False
        marks[draft.producer] = draft.seq
        return True


def _first(event_id: bytes, seen: bool, ids: set[bytes]) -> bool:
    if seen or event_id in ids:
        return False
    ids.add(event_id)
    return True
