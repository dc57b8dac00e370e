"""The profiles a source would make, without a service: its events through the import's door, folded in memory, written
into a folder that has states and no log. For describing people, not for serving them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from actors.fold import fold
from actors.lmdb_state import LmdbState
from actors.profile import EMPTY, Profile, encode
from actors.recovery import STATE
from actors.state import Change
from actors.store import Store
from actors.working_set import PROFILES
from events import payload
from events.ids import Key, Millis, PartitionId, is_profile, key_hash
from events.import_intake import ImportIntake
from events.intake import Accepted, IntakeSettings
from events.record import Draft
from events.types import ItemUpserted
from events.vocabulary import Vocabulary
from serving.importing import parts
from serving.source import Source

PARTITIONS: Final = 2
ROWS: Final = 4_096


def fold_source(source: Source, folder: Path, now: Millis) -> Store:
    """A new store in ``folder`` with everybody of ``source``, times as they are in it. Raises `Conflict` where there is
    a store already, and what the source does."""
    store = Store.create(folder, PARTITIONS, now)
    folding = _Folding(store.secrets.event_id)
    for part in parts(source.events(0), 1):
        body = b'{"producer":"source","first_seq":%d,"batch":[%s]}' % (part.first_seq, b",".join(part.events))
        folding.take(body, now)
    for number in store.numbers():
        _write(store, number, folding.profiles)
    return store


class _Folding:
    def __init__(self, secret: bytes) -> None:
        self.profiles: dict[Key, Profile] = {}
        self._items: dict[str, tuple[str, str, tuple[str, ...]]] = {}
        self._intake = ImportIntake(secret, IntakeSettings(), Vocabulary(), self._items.get)
        self._lsn = 0

    def take(self, body: bytes, now: Millis) -> None:
        for outcome in self._intake.batch(body, now):
            if isinstance(outcome, Accepted):
                self._fold(outcome.draft)

    def _fold(self, draft: Draft) -> None:
        told = payload.decode(draft.type, draft.version, draft.payload)
        if isinstance(told.event, ItemUpserted):
            item = told.event
            self._items[item.item] = item.category, item.brand, item.attributes
            return
        key = Key(draft.key)
        if is_profile(key):
            known = self.profiles.get(key, EMPTY)
            self.profiles[key] = fold(known, self._lsn, draft.event_time, draft.event_id, told)
            self._lsn += 1


def _write(store: Store, number: PartitionId, profiles: Mapping[Key, Profile]) -> None:
    own = [key for key in profiles if store.partition(key) == number]
    rows: list[Change] = [(PROFILES, key_hash(store.secrets.key_hash, key), encode(profiles[key])) for key in own]
    state = LmdbState(store.folder(number) / STATE)
    try:
        for first in range(0, max(len(rows), 1), ROWS):
            state.commit(rows[first : first + ROWS])
    finally:
        state.close()
