"""Folding a log into a state store: recovery, `actors.verify` and a new fold version are all this one loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from actors.dedupe import DedupeSettings, Remembered
from actors.fold import fold
from actors.ledger import Ledger
from actors.profile import Profile
from actors.state import Change, StateStore
from actors.working_set import HEADS, PROFILES, Actor, Head, WorkingSet, from_row, newborn
from events.errors import KeyMissing, PartitionStopped, UnknownEventType
from events.log import LogReader
from events.payload import decode
from events.record import Record
from events.types import Payload
from events.unseal import ERASED_TYPE, Unsealer
from events.vault import VaultReader

OFFSET: Final = "log"
"""Name of the partition's own log among its state's offsets: the next LSN to fold."""
CHUNK: Final = 16_384
"""Records per commit: enough that a busy profile is written once for many facts."""
CACHE_BYTES: Final = 64 << 20
BEAT_EVERY: Final = 256
"""Records, or profiles written, between two beats: a chunk of large profiles takes seconds on a busy machine, and
whoever is silent for five is killed and begins again."""

Fold: TypeAlias = Callable[[Profile, int, int, bytes, Payload], Profile]


def advanced(actor: Actor, lsn: int, event_time: int, event_id: bytes, payload: Payload, folding: Fold) -> Actor:
    """The actor after one more of its records: where live, replay and time travel meet."""
    if isinstance(actor, Head):
        return Head(actor.subject, lsn)
    return folding(actor, lsn, event_time, event_id, payload)


class Refold:
    """Brings ``state`` up with ``log``.

    ``erase`` is told the subjects whose erasure is met, so that an owner can make sure of their keys; ``beat`` is
    called every few records, so that a long replay shows that it is alive.
    """

    def __init__(
        self,
        state: StateStore,
        log: LogReader,
        vault: VaultReader,
        dedupe: DedupeSettings,
        folding: Fold = fold,
        erase: Callable[[bytes], None] = lambda subject: None,
        beat: Callable[[], None] = lambda: None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._state = state
        self._log = log
        self._vault = vault
        self._folding = folding
        self._erase = erase
        self._beat = beat
        self._opener = Unsealer(log, vault)
        self._ledger = Ledger(dedupe, state)
        self._actors = WorkingSet(state, cache_bytes)
        self._nameless: set[bytes] = set()
        """Subjects erased here whose key, and with it the name of their state, was gone already."""

    @property
    def skipped(self) -> int:
        """Records passed over because their subject was erased."""
        return self._opener.skipped

    def run(self, stop: int | None = None) -> int:
        """Fold from the state's offset up to ``stop`` (default: the end as of now); returns the offset reached.

        Raises `PartitionStopped` naming the LSN of a record that does not fold, `KeyMissing`, `Corrupt`,
        `UnknownEventType`; everything before that record has been committed.
        """
        stop = self._log.bounds()[1] if stop is None else stop
        first = at = self._state.offsets().get(OFFSET, 0)
        while at < stop:
            at = self._chunk(self._log.read(at, min(CHUNK, stop - at)))
            self._beat()
        if self._nameless and first > 0:
            self._drop_nameless()
        return at

    def _chunk(self, records: Sequence[Record]) -> int:
        touched: dict[bytes, Actor | None] = {}
        notes = Remembered()
        done = 0
        try:
            for record in records:
                if done % BEAT_EVERY == 0:
                    self._beat()
                self._one(record, touched, notes)
                done += 1
        finally:
            self._commit(records[:done], touched, notes)
        return records[-1].lsn + 1

    def _one(self, record: Record, touched: dict[bytes, Actor | None], notes: Remembered) -> None:
        if record.type == ERASED_TYPE:
            self._erased(record.subject, touched)
            return
        unsealed = self._opener.unseal(record)
        if unsealed is None:
            return
        owner, plain = unsealed
        name = owner.key_hash
        actor = touched[name] if name in touched else self._actors.get(name, owner.has_profile)
        if actor is None or actor.subject != record.subject:  # another subject: the key was erased in between
            actor = newborn(record.subject, owner.has_profile)
        try:
            payload = decode(record.type, record.version, plain)
            touched[name] = advanced(actor, record.lsn, record.event_time, record.event_id, payload, self._folding)
        except UnknownEventType as error:
            raise UnknownEventType(f"LSN {record.lsn}: {error}") from None
        except Exception as error:  # a fold may fail in any way, and any is reason to stop here
            raise PartitionStopped(
                f"LSN {record.lsn} ({record.type} version {record.version}) does not fold: {error!r}. It did once: run "
                "the version that wrote it, or one with the fold mended"
            ) from error
        if isinstance(actor, Head):
            self._ledger.note_system(payload.event, notes)

    def _erased(self, subject: bytes, touched: dict[bytes, Actor | None]) -> None:
        try:
            touched[self._vault.open(subject).owner.key_hash] = None
        except KeyMissing:
            self._nameless.add(subject)
        self._erase(subject)

    def _commit(self, records: Sequence[Record], touched: dict[bytes, Actor | None], notes: Remembered) -> None:
        if not records:
            return
        self._ledger.note(records, notes)
        for number, (name, actor) in enumerate(touched.items()):
            if number % BEAT_EVERY == 0:
                self._beat()
            if actor is None:
                notes.changes += self._actors.drop(name)
            else:
                notes.changes.append(self._actors.put(name, actor))
        self._beat()
        self._state.commit(notes.changes, {OFFSET: records[-1].lsn + 1}, notes.emptied)
        self._actors.shrink()

    def _drop_nameless(self) -> None:
        """Find by their subject the rows of those whose name is gone: the state was older than their erasure."""
        gone: list[Change] = []
        for table in (PROFILES, HEADS):
            for key, row in self._state.scan(table):
                self._beat()
                if from_row(table, row).subject in self._nameless:
                    gone.append((table, key, None))
        self._state.commit(gone)
        self._nameless.clear()
