"""How many a rule would hold for, before it is saved: ``POST /v1/segments/preview``.

Profiles lie in the order of a keyed hash of their key, so the first ones of every partition are a random sample of all.
They are asked until everybody was, or a time is up: exact for a small store, an estimate with its 95 % interval
(Wilson, Journal of the American Statistical Association 22, 1927) for a large one. Quantiles a rule compares with are
those of the first thousand, as they are now.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import sqrt
from typing import Final, Literal

import msgspec

from actors.segment_rules import Rule
from events.clock import Clock, millis
from events.errors import BadRequest
from events.ids import Micros
from events.types import SegmentDefined
from serving.http import Reply, Request, explained, json_reply
from serving.moments import moment_text, parse_moment
from serving.router import Doc, Field, Route
from serving.segment_door import BODY_BYTES_MAX, SegmentDoor
from serving.segment_people import Aside, People, Row
from serving.transitions import named
from serving.waiting import Waiting

BUDGET_S: Final = 0.5
"""For asking profiles, after quantiles were read."""
EXAMPLES_MAX: Final = 20
Z: Final = 1.96


class PreviewWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a preview: a definition, and how to look."""

    rule: str = ""
    cluster: dict[str, object] = {}
    examples: int = 5
    as_of: str = ""
    after: str = ""


_WISH: Final = msgspec.json.Decoder(PreviewWish)


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
    """Asks a store's profiles for previews."""

    def __init__(
        self, aside: Aside, budget_s: float = BUDGET_S, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._aside = aside
        self._monotonic = monotonic
        self._budget_s = budget_s

    async def count(self, rule: Rule, now: int, as_of: Micros | None, examples: int) -> Counted:
        """For how many ``rule`` holds at ``now`` (ms), or held for as they were known at ``as_of``. Raises `NotFound`
        or `Unavailable` while there is nothing to read."""
        return await self._aside.ask(lambda people: self._count(people, rule, now, as_of, examples))

    def _count(self, people: People, rule: Rule, now: int, as_of: Micros | None, examples: int) -> Counted:
        population = people.population(rule, now)
        counted, last = Counted(), dict[int, Row]()
        ends = self._monotonic() + self._budget_s
        by_partition: dict[int, int] = {}
        for row in people.by_turns(last):
            counted.looked += 1
            by_partition[row.files.number] = by_partition.get(row.files.number, 0) + 1
            person = people.person(row, now, as_of, population)
            if person is not None and person.counts() and rule.holds(person).holds:
                counted.matched += 1
                if len(counted.examples) < examples and (key := people.key_of(row)):
                    counted.examples.append(key)
            if self._monotonic() >= ends:
                break
        else:
            counted.exact, counted.profiles = True, counted.looked
            return counted
        counted.profiles = sum(looked / _share(last[number].name) for number, looked in by_partition.items())
        return counted


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
