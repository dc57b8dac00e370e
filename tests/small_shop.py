"""A small shop for tests: a grocery catalogue, a few hundred orders, and profiles folded from facts."""

from __future__ import annotations

from collections.abc import Sequence

from actors.fold import fold
from actors.follower import Fact
from actors.item_reader import MemoryItems
from actors.profile import EMPTY, Profile
from events.ids import Millis
from events.payload import encode, type_of
from events.record import Record
from events.types import Event, Interaction, ItemUpserted, Line, Meta, Payload, Signal

DAY = 86_400_000
NO_META = Meta()
NOW = Millis(1_700_000_000_000)

CATALOGUE = {
    "nachos": "Snacks > Chips",
    "crisps": "Snacks > Chips",
    "salsa": "Snacks > Dips",
    "dip": "Snacks > Dips",
    "tea": "Drinks > Tea",
    "mint tea": "Drinks > Tea",
    "milk": "Dairy > Milk",
    "oat milk": "Dairy > Milk",
    "nappies": "Baby > Nappies",
    "wipes": "Baby > Care",
}
BASKETS = (
    ("nachos", "salsa"),
    ("nachos", "dip", "milk"),
    ("nachos", "salsa", "milk"),
    ("crisps", "dip"),
    ("tea", "milk"),
    ("tea", "oat milk"),
    ("mint tea", "milk"),
    ("nappies", "wipes"),
    ("nappies", "wipes", "milk"),
)


class Facts:
    """Facts in the order they are made, as a follower would be given them."""

    def __init__(self) -> None:
        self.made: list[Fact] = []

    def add(self, event: Event, at: int, subject: bytes = b"", meta: Meta = NO_META) -> Fact:
        lsn = len(self.made)
        name, version = type_of(event)
        record = Record(
            lsn=lsn,
            links=(),
            appended=at * 1000 + lsn,
            event_time=at,
            type=name,
            version=version,
            subject=subject or lsn.to_bytes(16, "big"),
            event_id=lsn.to_bytes(16, "big"),
            payload=encode(meta, event),
        )
        fact = Fact(0, record, Payload(meta, event))
        self.made.append(fact)
        return fact


def line(item: str) -> Line:
    return Line(item, category=CATALOGUE.get(item, ""))


def did(signal: Signal, *items: str) -> Interaction:
    return Interaction(signal=signal, lines=tuple(line(item) for item in items))


def described(item: str, **fields: object) -> ItemUpserted:
    given: dict[str, object] = {"title": item.capitalize(), "category": CATALOGUE.get(item, ""), **fields}
    return ItemUpserted(item=item, **given)  # type: ignore[arg-type]


def small_shop(extra: Sequence[ItemUpserted] = (), repeats: int = 6) -> MemoryItems:
    """The catalogue, `BASKETS` bought ``repeats`` times, and a browse from nachos to salsa."""
    facts = Facts()
    for item in CATALOGUE:
        facts.add(described(item), NOW - 90 * DAY)
    for event in extra:
        facts.add(event, NOW - 90 * DAY)
    for round_ in range(repeats):
        for number, basket in enumerate(BASKETS):
            facts.add(did("purchase", *basket), NOW - (60 - round_) * DAY + number * 60_000)
    items = MemoryItems()
    items.fold(facts.made)
    return items


def profile_of(*history: tuple[Event, int], meta: Meta = NO_META) -> Profile:
    """The profile after (event, time), in that order."""
    profile = EMPTY
    for lsn, (event, at) in enumerate(history):
        profile = fold(profile, lsn, at, lsn.to_bytes(16, "big"), Payload(meta, event))
    return profile


def buyer() -> Profile:
    """Buys tea and milk every ten days, looked at nachos an hour ago."""
    orders = [(did("purchase", "tea", "milk"), NOW - days * DAY) for days in (40, 30, 20, 10)]
    return profile_of(*orders, (did("view", "nachos"), NOW - 3_600_000))
