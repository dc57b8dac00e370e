"""People and segments as the store has them, read aside: profiles, who is in which segment, and who was.

Everything here is read from files, in a thread of its own, so it goes on while the host is away and holds up no answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final, NamedTuple, TypeVar

import msgspec

from actors.lmdb_state import LmdbReader
from actors.profile import Membership, encode
from actors.reader import PartitionFiles
from actors.segment_reader import SegmentActors
from actors.segment_rules import Rule
from actors.segment_tables import FOLDER, offset_name
from actors.store import Store
from actors.working_set import PROFILES
from events.ids import Key, Micros, anonymous_key, key_hash
from events.types import Json, SegmentChanged
from training.people import Person, Population

POPULATION_MAX: Final = 1_000
"""Profiles that quantiles are taken from: the 0.8 one is then right within 2.5 percentage points, 19 times of 20."""

T = TypeVar("T")


class Known(msgspec.Struct):
    """What is read of a stored profile besides what a rule asks for."""

    user_id: str = ""
    anonymous: dict[str, int] = {}
    segments: dict[str, Membership] = {}


_KNOWN: Final = msgspec.msgpack.Decoder(Known)


class Row(NamedTuple):
    """One stored profile."""

    files: PartitionFiles
    name: bytes
    """Key hash."""
    blob: bytes

    def known(self) -> Known:
        return _KNOWN.decode(self.blob)


class Held(NamedTuple):
    """What somebody's facts say of one segment."""

    entered: bool
    at: int
    """ms."""
    evidence: dict[str, Json]


class People:
    """See the module. One thread."""

    def __init__(self, store: Store) -> None:
        """Raises `NotFound` while a partition was never opened by its owner."""
        self.files = [PartitionFiles(store.folder(number), number, store) for number in store.numbers()]
        self._secret = store.secrets.key_hash
        self._state = LmdbReader(store.path / FOLDER)
        self.segments = SegmentActors(self._state, len(self.files))

    def followed(self, partition: int) -> int:
        """Every record of the partition below this LSN is in the segments. Raises `Unavailable`."""
        return self._state.offsets().get(offset_name(partition), 0)

    def row(self, partition: int, name: bytes) -> Row | None:
        """None: erased."""
        files = self.files[partition]
        blob = files.state.get(PROFILES, name)
        return None if blob is None else Row(files, name, blob)

    def rows(self, partition: int, start: bytes = b"") -> Iterator[Row]:
        """A partition's profiles by key hash: an order that is random, and always the same."""
        files = self.files[partition]
        return (Row(files, name, blob) for name, blob in files.state.scan(PROFILES, start))

    def by_turns(self, last: dict[int, Row]) -> Iterator[Row]:
        """Everybody, the partitions by turns; ``last`` is told the latest row of each."""
        scans = [(number, self.rows(number)) for number in range(len(self.files))]
        while scans:
            for number, scan in list(scans):
                row = next(scan, None)
                if row is None:
                    scans.remove((number, scan))
                    continue
                last[number] = row
                yield row

    def key_of(self, row: Row) -> Key | None:
        """Whose profile it is, as far as it says."""
        known = row.known()
        keys = [Key("u:" + known.user_id)] if known.user_id else []
        keys += [anonymous_key(each) for each in known.anonymous]
        return next((key for key in keys if key_hash(self._secret, key) == row.name), None)

    def person(self, row: Row, now: int, as_of: Micros | None, population: Population | None) -> Person | None:
        """As rules read them at ``now`` (ms), as they were known at ``as_of``; None for somebody of the past whom the
        profile does not name."""
        if as_of is None:
            return Person(row.blob, now, population, _inside(row.known().segments))
        key = self.key_of(row)
        if not key:
            return None
        profile = row.files.history.as_of(key, as_of)
        return Person(encode(profile), now, population, _inside(profile.segments))

    def population(self, rule: Rule, now: int) -> Population | None:
        """What ``rule`` compares people with; None where it compares with nobody."""
        if "quantiles" not in rule.reads and not any(read.endswith("_quintile") for read in rule.reads):
            return None
        return Population([row.blob for row in islice(self.by_turns({}), POPULATION_MAX)], now)

    def held_at(self, row: Row, names: Collection[str], as_of: Micros) -> dict[str, Held]:
        """Of each of the segments ``names`` what was known of the person at ``as_of``; those never entered are left
        out."""
        wanted = set(names) & set(row.known().segments)
        found: dict[str, Held] = {}
        key = self.key_of(row) if wanted else None
        if not key:
            return found
        for record, told in row.files.history.walk(key):
            event = told.event
            if isinstance(event, SegmentChanged) and event.segment in wanted and record.appended <= as_of:
                found[event.segment] = Held(event.entered, record.event_time, event.evidence)
                wanted.discard(event.segment)
                if not wanted:
                    break
        return found

    def close(self) -> None:
        self._state.close()
        for files in self.files:
            files.close()


def _inside(segments: dict[str, Membership]) -> set[str]:
    return {name for name, held in segments.items() if held.entered}


class Aside:
    """A thread with `People` of its own, opened when they are first asked."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._people: People | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="people")

    async def ask(self, action: Callable[[People], T]) -> T:
        """What ``action`` reads. Raises what it raises, and `NotFound` as `People` does."""

        def act() -> T:
            if self._people is None:
                self._people = People(self._store)
            return action(self._people)

        return await asyncio.get_running_loop().run_in_executor(self._thread, act)

    def close(self) -> None:
        self._thread.shutdown()
        if self._people is not None:
            self._people.close()
            self._people = None
