"""The stream as it arrives: duplicates, retried batches, late and out-of-order events, clocks that are wrong, bots, and
messages that cannot be read. What is what stands in labels beside the stream, never in it.

Dirt is added to messages that were made clean (`simulate.payloads`), so the clean stream is what a perfect guard would
keep: nothing is lost, only repeated, delayed, misdated, or added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, TypeAlias

import numpy as np

from simulate.chance import key_of, uniform
from simulate.payloads import Message, stamp
from simulate.shelf import Shelf

Dirt: TypeAlias = Literal[
    "clean", "duplicate", "retry", "late", "skewed", "missing_impression", "scraper", "clicker", "pumper", "malformed"
]
BOTS: Final[frozenset[Dirt]] = frozenset({"scraper", "clicker", "pumper"})
AGAIN: Final[frozenset[Dirt]] = frozenset({"duplicate", "retry"})

_SECOND, _MINUTE, _HOUR = 1_000, 60_000, 3_600_000
_TRANSIT_MS = 200
_RETRY_BATCH = 20
_PICK, _AGAIN, _LATE, _SKEW, _BAD, _LOST = range(201, 207)


@dataclass(frozen=True, slots=True)
class DirtSpec:
    """Shares are of messages, but for ``skewed`` (of devices) and ``retries`` (of batches of 20)."""

    duplicates: float = 0.02
    """Sent again under the same id, minutes to a day later."""
    retries: float = 0.01
    """Whole batches sent again seconds later, as SDKs do after a timeout."""
    late: float = 0.03
    """Held back by the device: minutes to days, lognormal."""
    late_median_ms: int = 20 * _MINUTE
    late_sigma: float = 1.5
    skewed: float = 0.05
    """Devices whose clock is wrong by hours or, rarely, days."""
    missing_impressions: float = 0.05
    """Impressions that blockers swallow."""
    malformed: float = 0.005
    """Added, one per so many messages."""
    scrapers: int = 1
    """Each looks at every item once an hour, one per second."""
    clickers: int = 3
    """Each clicks any items, ten a minute, as nobody does."""
    pumpers: int = 20
    """Accounts that put one and the same item into carts and buy it, every few minutes."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as it arrives. ``at``: when, ms."""

    at: int
    message: Message


@dataclass(frozen=True, slots=True)
class Dirty:
    """A stream with its truth beside it. ``labels[k]`` is what ``deliveries[k]`` is."""

    deliveries: tuple[Delivery, ...]
    """In the order of arrival."""
    labels: tuple[Dirt, ...]
    pumped: str
    """The item that is pumped; empty: none."""

    def numbers(self, *kinds: Dirt) -> list[int]:
        """Places of the deliveries with these labels."""
        return [place for place, label in enumerate(self.labels) if label in kinds]


def dirty(stream: Iterable[tuple[int, Message]], spec: DirtSpec, seed: int, shelf: Shelf) -> Dirty:
    """The stream (when it is sent, message) with dirt. The same arguments give the same bytes."""
    key = key_of(seed, "dirt")
    clean = sorted(stream, key=lambda one: one[0])
    if not clean:
        return Dirty((), (), "")
    start, end = clean[0][0], clean[-1][0]
    found = [one for number, (at, message) in enumerate(clean) for one in _people(key, number, at, message, spec)]
    found += _retried(key, [one for one in found if one[2] != "duplicate"], spec)
    found += _malformed(key, clean, spec)
    pumped = shelf.ids[key % len(shelf.ids)] if spec.pumpers else ""
    found += _scrapers(key, start, end, spec, shelf)
    found += _clickers(key, start, end, spec, shelf)
    found += _pumpers(key, start, end, spec, pumped)
    order = sorted(range(len(found)), key=lambda place: (found[place][0], place))
    return Dirty(
        tuple(Delivery(found[place][0], found[place][1]) for place in order),
        tuple(found[place][2] for place in order),
        pumped,
    )


_Found: TypeAlias = "tuple[int, Message, Dirt]"


def _people(key: int, number: int, at: int, message: Message, spec: DirtSpec) -> list[_Found]:
    """One message of a real person: on time, late, misdated, lost, and perhaps once more."""
    seen = message.get("event") == "Product List Viewed"
    if seen and uniform(key, _LOST, number) < spec.missing_impressions:
        return []
    label: Dirt = "clean"
    arrives = at + _TRANSIT_MS
    rng = np.random.Generator(np.random.PCG64(key ^ number))
    if uniform(key, _LATE, number) < spec.late:
        label, arrives = "late", at + round(spec.late_median_ms * np.exp(spec.late_sigma * rng.standard_normal()))
    wrong = _clock_error(key, str(message.get("anonymousId")), spec)
    if wrong:
        label = "skewed"
    sent = {**message, "timestamp": stamp(at + wrong), "sentAt": stamp(arrives - _TRANSIT_MS + wrong)}
    found: list[_Found] = [(arrives, sent, label)]
    if uniform(key, _AGAIN, number) < spec.duplicates:
        again = arrives + round(_MINUTE * np.exp(rng.uniform(0, np.log(1440))))
        found.append((again, sent, "duplicate"))
    return found


def _clock_error(key: int, device: str, spec: DirtSpec) -> int:
    """ms that a device's clock is ahead; 0 for most."""
    own = key_of(key, "clock", device)
    if uniform(own, _SKEW) >= spec.skewed:
        return 0
    hours = round(-12 + 24 * uniform(own, _SKEW, 1)) or 1
    days = 30 if uniform(own, _SKEW, 2) < 0.1 else 0
    return hours * _HOUR - days * 24 * _HOUR


def _retried(key: int, sent: Sequence[_Found], spec: DirtSpec) -> list[_Found]:
    """Batches that go twice."""
    ordered = sorted(sent, key=lambda one: one[0])
    found: list[_Found] = []
    for first, last in pairwise(range(0, len(ordered) + _RETRY_BATCH, _RETRY_BATCH)):
        if uniform(key, _AGAIN, -1 - first) < spec.retries:
            after = ordered[min(last, len(ordered)) - 1][0] + 10 * _SECOND
            found += [(after, message, "retry") for _, message, _ in ordered[first:last]]
    return found


def _malformed(key: int, clean: Sequence[tuple[int, Message]], spec: DirtSpec) -> list[_Found]:
    """Messages that no reader can make a fact of, each in another way."""
    found: list[_Found] = []
    for number, (at, message) in enumerate(clean):
        if uniform(key, _BAD, number) < spec.malformed:
            broken: tuple[Message, ...] = (
                {**message, "type": "tarck"},
                {"type": "track", "event": "Product Viewed", "properties": {"product_id": "item-1"}},
                {**message, "timestamp": "yesterday"},
                {**message, "properties": "product_id=1", "type": "track", "event": "Product Viewed"},
                {**message, "type": "track", "event": "Product Viewed", "properties": {}},
                {**message, "userId": "x" * 300},
            )
            place = int(uniform(key, _BAD, number, 1) * len(broken))
            found.append((at, {**broken[place], "messageId": f"bad-{number}"}, "malformed"))
    return found


def _scrapers(key: int, start: int, end: int, spec: DirtSpec, shelf: Shelf) -> list[_Found]:
    found: list[_Found] = []
    for bot in range(spec.scrapers):
        who = f"anon-{key_of(key, 'scraper', bot):016x}"
        for hour in range(start + bot * _MINUTE, end, _HOUR):
            for place, item in enumerate(shelf.ids[: _HOUR // _SECOND]):
                at = hour + place * _SECOND
                if at < end:
                    found.append((at, _act(who, "Product Viewed", item, at), "scraper"))
    return found


def _clickers(key: int, start: int, end: int, spec: DirtSpec, shelf: Shelf) -> list[_Found]:
    found: list[_Found] = []
    for bot in range(spec.clickers):
        who = f"anon-{key_of(key, 'clicker', bot):016x}"
        for number, at in enumerate(range(start + bot * _SECOND, end, 6 * _SECOND)):
            item = shelf.ids[int(uniform(key, _PICK, bot, number) * len(shelf.ids))]
            found.append((at, _act(who, "Product Clicked", item, at), "clicker"))
    return found


def _pumpers(key: int, start: int, end: int, spec: DirtSpec, item: str) -> list[_Found]:
    found: list[_Found] = []
    for bot in range(spec.pumpers):
        who = f"anon-{key_of(key, 'pumper', bot):016x}"
        for at in range(start + bot * 13 * _SECOND, end, 5 * _MINUTE):
            found.append((at, _act(who, "Product Added", item, at), "pumper"))
            found.append((at + 30 * _SECOND, _order(who, item, at + 30 * _SECOND), "pumper"))
    return [one for one in found if one[0] < end]


def _act(who: str, event: str, item: str, at: int) -> Message:
    return _track(who, event, at, {"product_id": item})


def _order(who: str, item: str, at: int) -> Message:
    return _track(who, "Order Completed", at, {"order_id": f"{who}-{at}", "products": [{"product_id": item}]})


def _track(who: str, event: str, at: int, properties: Message) -> Message:
    return {
        "type": "track",
        "messageId": f"{who}-{event}-{at}",
        "anonymousId": who,
        "timestamp": stamp(at),
        "context": {"userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
        "event": event,
        "properties": properties,
    }
