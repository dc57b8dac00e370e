"""How many a rule would hold for, before it is saved: ``POST /v1/segments/preview``.

Profiles lie in the order of a keyed hash of their key, so the first ones of every partition are a random sample of all.
They are asked until everybody was, or a time is up: exact for a small store, an estimate with its 95 % interval
(Wilson, Journal of the American Statistical Association 22, 1927) for a large one. Quantiles a rule compares with are
those of the first thousand.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from math import sqrt
from typing import Final, Literal, NamedTuple, TypeVar

import msgspec

from actors.profile import Membership, encode
from actors.reader import PartitionFiles
from actors.segment_rules import Rule
from actors.store import Store
from actors.working_set import PROFILES
from events.clock import Clock, millis
from events.errors import BadRequest
from events.ids import Key, Micros, anonymous_key, key_hash
from events.types import SegmentDefined
from serving.http import Reply, Request, explained, json_reply
from serving.moments import moment_text, parse_moment
from serving.router import Doc, Field, Route
from serving.segment_door import BODY_BYTES_MAX, SegmentDoor
from serving.transitions import named
from serving.waiting import Waiting
from training.people import Person, Population

BUDGET_S: Final = 0.5
"""For asking profiles, after quantiles were read."""
POPULATION_MAX: Final = 1_000
"""Profiles that quantiles are taken from: the 0.8 one is then right within 2.5 percentage points, 19 times of 20."""
EXAMPLES_MAX: Final = 20
Z: Final = 1.96

T = TypeVar("T")


class _Known(msgspec.Struct):
    """What is read of a stored profile besides what a rule asks for."""

    user_id: str = ""
    anonymous: dict[str, int] = {}
    segments: dict[str, Membership] = {}


_KNOWN: Final = msgspec.msgpack.Decoder(_Known)


class PreviewWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a preview: a definition, and how to look."""

    rule: str = ""
    cluster: dict[str, object] = {}
    examples: int = 5
    as_of: str = ""
    after: str = ""


_WISH: Final = msgspec.json.Decoder(PreviewWish)


class Row(NamedTuple):
    """One stored profile."""

    partition: PartitionFiles
    name: bytes
    blob: bytes


@dataclass
class Counted:
    """What asking came to. ``exact``: everybody was asked."""

    looked: int = 0
    matched: int = 0
    profiles: float = 0.0
    exact: bool = False
    examples: list[str] = field(default_factory=list)
    """Keys."""

    def shown(self) -> dict[str, object]:
        low, high = (self.matched, self.matched) if self.exact else self._interval()
        share = self.matched / self.looked if self.looked else 0.0
        return {
            "matching": self.matched if self.exact else round(share * self.profiles),
            "low": low,
            "high": high,
            "profiles": round(self.profiles),
            "looked": self.looked,
            "exact": self.exact,
            "examples": [named(key) for key in self.examples],
        }

    def _interval(self) -> tuple[int, int]:
        low, high = wilson(self.matched, self.looked)
        return round(low * self.profiles), round(high * self.profiles)


def wilson(matched: int, looked: int) -> tuple[float, float]:
    """The 95 % interval of a share.

    >>> [round(end, 3) for end in wilson(10, 100)], wilson(0, 0)
    ([0.055, 0.174], (0.0, 1.0))
    """
    if not looked:
        return 0.0, 1.0
    share, square = matched / looked, Z * Z / looked
    middle = (share + square / 2) / (1 + square)
    half = Z * sqrt(share * (1 - share) / looked + square / looked / 4) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


class Sampler:
    """Reads a store's profiles for previews, in a thread of its own."""

    def __init__(
        self, store: Store, budget_s: float = BUDGET_S, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._monotonic = monotonic
        self._budget_s = budget_s
        self._secret = store.secrets.key_hash
        self._files: list[PartitionFiles] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="preview")

    async def count(self, rule: Rule, now: int, as_of: Micros | None, examples: int) -> Counted:
        """For how many ``rule`` holds at ``now`` (ms), or held for as they were known at ``as_of``. Raises `NotFound`
        or `Unavailable` while there is nothing to read."""
        return await self._aside(lambda: self._count(rule, now, as_of, examples))

    def close(self) -> None:
        self._thread.shutdown()
        for files in self._files:
            files.close()

    async def _aside(self, action: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, action)

    def _count(self, rule: Rule, now: int, as_of: Micros | None, examples: int) -> Counted:
        if not self._files:
            self._files = [PartitionFiles(self._store.folder(n), n, self._store) for n in self._store.numbers()]
        population = None
        if "quantiles" in rule.reads or any(read.endswith("_quintile") for read in rule.reads):
            population = Population([row.blob for row in islice(self._rows({}), POPULATION_MAX)], now)
        counted, last = Counted(), dict[int, Row]()
        ends = self._monotonic() + self._budget_s
        by_partition: dict[int, int] = {}
        for row in self._rows(last):
            counted.looked += 1
            by_partition[row.partition.number] = by_partition.get(row.partition.number, 0) + 1
            person = self._person(row, now, as_of, population)
            if person is not None and person.counts() and rule.holds(person).holds:
                counted.matched += 1
                if len(counted.examples) < examples and (key := self.key_of(row)):
                    counted.examples.append(key)
            if self._monotonic() >= ends:
                break
        else:
            counted.exact, counted.profiles = True, counted.looked
            return counted
        counted.profiles = sum(looked / _share(last[number].name) for number, looked in by_partition.items())
        return counted

    def _rows(self, last: dict[int, Row]) -> Iterator[Row]:
        """Everybody, the partitions by turns; ``last`` is told the latest row of each."""
        scans = [_scan(files) for files in self._files]
        while scans:
            for scan in list(scans):
                row = next(scan, None)
                if row is None:
                    scans.remove(scan)
                    continue
                last[row.partition.number] = row
                yield row

    def _person(self, row: Row, now: int, as_of: Micros | None, population: Population | None) -> Person | None:
        if as_of is None:
            inside = {name for name, held in _KNOWN.decode(row.blob).segments.items() if held.entered}
            return Person(row.blob, now, population, inside)
        key = self.key_of(row)
        if not key:
            return None
        profile = row.partition.history.as_of(key, as_of)
        inside = {name for name, held in profile.segments.items() if held.entered}
        return Person(encode(profile), now, population, inside)

    def key_of(self, row: Row) -> Key | None:
        """Whose profile it is, as far as it says."""
        known = _KNOWN.decode(row.blob)
        keys = [Key("u:" + known.user_id)] if known.user_id else []
        keys += [anonymous_key(each) for each in known.anonymous]
        return next((key for key in keys if key_hash(self._secret, key) == row.name), None)


def _scan(files: PartitionFiles) -> Iterator[Row]:
    return (Row(files, name, blob) for name, blob in files.state.scan(PROFILES))


def _share(name: bytes) -> float:
    """How much of all key hashes lies at or below ``name``: of a keyed hash, as much of the profiles."""
    return (int.from_bytes(name, "big") + 1) / (1 << 8 * len(name))


class SegmentPreview:
    """The route."""

    def __init__(self, door: SegmentDoor, sampler: Sampler, waiting: Waiting, clock: Clock) -> None:
        self._door = door
        self._waiting = waiting
        self._sampler = sampler
        self._clock = clock

    def routes(self) -> tuple[Route, ...]:
        return (Route(("POST",), "/v1/segments/preview", self.preview, doc=PREVIEW),)

    async def preview(self, request: Request) -> Reply:
        wish = _wish(await request.body(BODY_BYTES_MAX))
        await self._waiting.until(wish.after)
        now = self._clock.now()
        as_of = parse_moment("as_of", wish.as_of, now) if wish.as_of else None
        kind: Literal["rule", "cluster"] = "cluster" if wish.cluster else "rule"
        told = SegmentDefined("preview", wish.rule, kind=kind, cluster=wish.cluster)
        known = await self._door.read()
        definition = await asyncio.to_thread((known if as_of is None else known.at(as_of)).now.check, told)
        at = now if as_of is None else as_of
        counted = await self._sampler.count(definition.enter, millis(at), as_of, wish.examples)
        return json_reply({**counted.shown(), "as_of": moment_text(at)})


def _wish(body: bytes) -> PreviewWish:
    try:
        wish = _WISH.decode(body or b"{}")
    except msgspec.ValidationError as error:
        raise BadRequest(explained(error, PreviewWish)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest('the body is not JSON: send {"rule": "..."}') from None
    if not 0 <= wish.examples <= EXAMPLES_MAX:
        raise BadRequest(f"`examples` must be a whole number from 0 to {EXAMPLES_MAX}")
    return wish


PREVIEW: Final = Doc(
    "How many a rule would hold for, with examples, before it is saved",
    "Segments",
    body=(
        Field("rule", "The rule", "count(view, 7 days) >= 3", required=True),
        Field("cluster", "A cluster instead of a rule", {}),
        Field("examples", f"How many to name, at most {EXAMPLES_MAX}", 5),
        Field("as_of", "Profiles as they were known at that moment: ISO 8601 or ms", ""),
        Field("after", "A token: see that write first", ""),
    ),
    example={"rule": "did(purchase)", "examples": 1},
    answer={
        "matching": 14,
        "low": 14,
        "high": 14,
        "profiles": 15,
        "looked": 15,
        "exact": True,
        "examples": [{"user_id": "900"}],
        "as_of": "2026-01-31T12:00:00.000001Z",
    },
    statuses=(200, 413, 503),
)
