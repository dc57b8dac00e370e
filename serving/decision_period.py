"""A period of the decision log, and the facts around it: read beside a running service or from a stopped folder.

Nothing is written. Decisions come in the order they were made, from the log and from spools not shipped yet, each once.
Left out: decisions of erased subjects (nobody can open them), and of people who do not consent to personalization,
either when they were answered or now.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from heapq import merge
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from actors.follower import Fact
from actors.profile import allowed, decode
from actors.reader import PartitionFiles
from actors.store import Store
from actors.working_set import PROFILES
from events.errors import BadRequest, KeyMissing, NotFound
from events.ids import Micros, PartitionId
from events.log import LogReader, scan
from events.segment_log import SegmentLogReader
from events.unseal import Unsealer
from serving import spool
from serving.decision import PERSONAL, Decision, Owner, Place
from serving.decisions import FOLDER, SPOOL_FOLDER, Decisions, entry_of, open_decisions
from serving.moments import parse_moment
from serving.sealing import Sealer, Vaults

_UNITS: Final = {"m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_LENGTH: Final = re.compile(r"(\d{1,5})([mhdw])")
_FOUND: Final = np.dtype([("at", "<i8"), ("high", ">u8"), ("low", ">u8")])
"""When, and the 16 bytes of the id."""
_ID: Final = struct.Struct(">QQ")
CONSENTS_KEPT: Final = 200_000
"""Subjects whose consent is remembered, about 100 bytes each."""


@dataclass(frozen=True, slots=True)
class Period:
    """From ``since`` (inclusive) to ``until`` (exclusive), us."""

    since: Micros
    until: Micros


def since_of(text: str, now: Micros) -> Micros:
    """A length back from ``now`` such as ``7d``, ``36h``, ``90m``, ``2w``, or a moment. Raises `BadRequest`.

    >>> since_of("7d", Micros(10**15)), since_of("1970-01-02", Micros(10**15))
    (999395200000000, 86400000000)
    """
    length = _LENGTH.fullmatch(text)
    if length is None:
        try:
            return parse_moment("since", text, now)
        except BadRequest as error:
            raise BadRequest(f"{error}, or a length such as 7d, 36h or 90m") from None
    return Micros(max(0, now - int(length[1]) * _UNITS[length[2]] * 1_000_000))


@dataclass(frozen=True, slots=True)
class Answered:
    """One decision that may be read."""

    place: Place
    at: Micros
    owner: Owner
    decision: Decision

    @property
    def subject(self) -> bytes:
        """The person's random id; where nobody is known it is thrown away, and every answer is a person of its own."""
        return self.owner.subject


class DecisionPeriod:
    """Reads of one data folder. Open it with `open_period`; one thread."""

    def __init__(self, store: Store, decisions: Decisions, log: LogReader, files: dict[int, PartitionFiles]) -> None:
        self._store = store
        self._decisions = decisions
        self._log = log
        self._files = files
        self._spools = store.path / SPOOL_FOLDER
        self._consents: dict[bytes, bool] = {}
        self.erased = 0
        """Decisions met that cannot be opened any more."""
        self.unwilling = 0
        """Decisions met of somebody, or nobody, without consent."""

    def decisions(self, period: Period) -> Iterator[Answered]:
        """In the order (time, id). Those made meanwhile are left to the next reading."""
        for found in self._found(period):
            entry = self._decisions.entry(Place.of(found.tobytes()[8:]))
            if entry is None:
                continue  # trimmed meanwhile
            try:
                decision = self._decisions.open(entry)
            except NotFound:
                self.erased += 1
                continue
            if decision.consent in PERSONAL and self._consents_now(entry.owner):
                yield Answered(entry.place, entry.at, entry.owner, decision)
            else:
                self.unwilling += 1

    def count(self, period: Period) -> int:
        """Decisions of the period, readable or not."""
        return len(self._found(period))

    def facts(self, since: int, until: int, types: frozenset[str]) -> Iterator[Fact]:
        """The facts of these types, of all partitions, appended in [since, until) us, in the order they were appended,
        ties by partition. Records of other types are not opened."""
        streams = [_facts(files, since, until, types) for _, files in sorted(self._files.items())]
        return merge(*streams, key=lambda fact: (fact.record.appended, fact.partition))

    def _found(self, period: Period) -> npt.NDArray[np.void]:
        """Every decision of the period, in order, 24 bytes each: spools ship in their own order, so the log is not in
        that of time."""
        listed = self._listed(period)
        rows = ((at, *_ID.unpack(place.id)) for at, place in listed if period.since <= at < period.until)
        found = np.fromiter(rows, _FOUND)
        found = found[np.lexsort((found["low"], found["high"], found["at"]))]
        distinct: npt.NDArray[np.void] = found[np.append(True, found[1:] != found[:-1])[: len(found)]]
        return distinct

    def _listed(self, period: Period) -> Iterator[tuple[Micros, Place]]:
        """Spools first: an entry is in the log before its spool goes, so none is missed; some are met twice."""
        for name in spool.spools(self._spools):
            offset = 0
            while batch := list(spool.entries(self._spools, name, offset)):
                yield from ((entry.at, entry.place) for entry in batch)
                offset = batch[-1].end
        start, end = self._log.bounds()
        for record in scan(self._log, first_appended(self._log, start, end, period.since), end, chunk=256):
            entry = entry_of(record)
            yield entry.at, entry.place

    def _consents_now(self, owner: Owner) -> bool:
        """As of the last commit. A throw-away subject cannot have changed its mind."""
        if not owner.known:
            return True
        known = self._consents.get(owner.subject)
        if known is None:
            if len(self._consents) >= CONSENTS_KEPT:
                self._consents.clear()
            known = self._consents[owner.subject] = self._allowed(owner)
        return known

    def _allowed(self, owner: Owner) -> bool:
        files = self._files[owner.partition]
        try:
            name = files.vault.open(owner.subject).owner.key_hash
        except KeyMissing:
            return False
        row = files.state.get(PROFILES, name)
        return row is not None and allowed(decode(row))


@contextmanager
def open_period(data: Path) -> Iterator[DecisionPeriod]:
    """Raises `NotFound` for a folder without a store."""
    store = Store.open(data)
    with ExitStack() as stack:
        files: dict[int, PartitionFiles] = {}
        for number in store.numbers():
            opened = PartitionFiles(store.folder(number), PartitionId(number), store)
            stack.callback(opened.close)
            files[int(number)] = opened
        vaults = Vaults(lambda number: files[number].vault)
        decisions = open_decisions(data, Sealer(store.secrets.decisions, vaults))
        log = SegmentLogReader(data / FOLDER)
        stack.callback(log.close)
        yield DecisionPeriod(store, decisions, log, files)


def first_appended(log: LogReader, start: int, end: int, at: int) -> int:
    """The first LSN in [start, end) appended at or after ``at`` us; ``end`` when there is none. `Record.appended` grows
    with the LSN, so this takes a few looks."""
    while start < end:
        middle = (start + end) // 2
        if log.get(middle).appended < at:
            start = middle + 1
        else:
            end = middle
    return start


def _facts(files: PartitionFiles, since: int, until: int, types: frozenset[str]) -> Iterator[Fact]:
    opener = Unsealer(files.log, files.vault)
    start, end = files.log.bounds()
    for record in scan(files.log, first_appended(files.log, start, end, since), end):
        if record.appended >= until:
            return
        if record.type in types:
            payload = opener.payload(record)
            if payload is not None:
                yield Fact(int(files.number), record, payload)
