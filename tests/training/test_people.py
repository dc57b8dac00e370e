"""People as rules read them, the population they are compared with, and whom the shipped segments mean."""

from __future__ import annotations

import pytest

from actors.fold import fold
from actors.profile import EMPTY, Profile, encode
from actors.segment_definition import Definitions, understood
from actors.segment_rules import understand
from actors.segment_shipped import SHIPPED
from events.types import Consented, Event, Grouped, Identified, Interaction, Line, Meta, Payload, Signal, Visited
from training.people import Person, Population

HOUR = 3_600_000
DAY = 24 * HOUR
NOW = 1_760_002_200_000
"""A Thursday."""


def did(signal: Signal, price: float = 0.0, item: str = "tea", category: str = "Drinks > Tea") -> Interaction:
    return Interaction(signal, (Line(item, category, price=price),))


def someone(*acts: tuple[int, Event], meta: Meta = Meta()) -> Profile:  # noqa: B008
    """(how long ago in ms, act), the earliest first."""
    profile = EMPTY
    for lsn, (ago, event) in enumerate(acts):
        profile = fold(profile, lsn, NOW - ago, lsn.to_bytes(16, "big"), Payload(meta, event))
    return profile


def shipped(profile: Profile, *others: Profile) -> set[str]:
    blobs = [encode(each) for each in (profile, *others)]
    person = Person(blobs[0], NOW, Population(blobs, NOW))
    return {told.name for told in SHIPPED if understood(told).enter.holds(person).holds}


ANN = someone(
    (3 * DAY, Identified({"age": 40, "plan": "gold"})),
    (3 * DAY, Grouped("acme")),
    (2 * DAY, did("view")),
    (DAY, did("purchase", 8.0)),
)


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("count(view) == 1 and did(purchase, 2 days)", True),
        ("since(view) >= 2 days and since(view) < 3 days", True),
        ('trait("age") > 30 and trait("plan") == "gold" and trait("other") == 1', False),
        ('group("acme") and not group("other")', True),
        ('interest("category:Drinks > Tea") > 0', True),
        ('interest("category:Toys") > 0', False),
        ('bought("tea") == 1 and bought("milk") == 0', True),
        ("idle >= 1 days and age >= 3 days", True),
        ("spent > 7.9 and spent < 8.1", True),
        ('consent("personalization")', True),
        ('segment("loyal")', True),
        ('segment("vip")', False),
        ("sessions == 2", True),
        ("spent > quantile(spent, 0.5)", False),
    ],
)
def test_a_person_is_what_their_profile_says(rule: str, holds: bool) -> None:
    person = Person(encode(ANN), NOW, None, {"loyal"})
    assert understand(rule).holds(person).holds is holds


def test_levels_are_those_of_everybody_who_counts() -> None:
    spent = [someone((DAY, did("purchase", float(n)))) for n in range(1, 101)]
    refused = [someone((DAY, did("purchase", 1e6)), (0, Consented({"personalization": False})))] * 50
    population = Population([encode(each) for each in spent + refused], NOW)
    assert population.quantile("spent", 0.9) == pytest.approx(90.1)
    assert population.quantile("session.depth", 0.5) == 1
    assert Population([], NOW).quantile("spent", 0.5) is None
    assert [len(population.cuts[field]) for field in ("recency", "frequency", "monetary")] == [4] * 3
    best = Person(encode(spent[-1]), NOW, population)
    assert understand("monetary_quintile == 5").holds(best).holds
    assert not Person(encode(refused[0]), NOW).counts()


def test_shipped_segments_stand_beside_each_other() -> None:
    held = Definitions()
    for told in SHIPPED:
        held = held.defined(understood(told))
    assert len(held) == len(SHIPPED) == 10


WEEKLY = tuple((days * DAY, did("purchase", 20.0)) for days in range(120, 0, -5))
QUIET = tuple((days * DAY, did("purchase", 20.0)) for days in (400, 395, 390, 385, 380))
POOR = [someone((DAY, did("purchase", 1.0))) for _ in range(30)]


@pytest.mark.parametrize(
    ("segment", "member", "other"),
    [
        ("new-visitors", someone((DAY, did("view"))), ANN),
        ("browsers", someone(*((n * HOUR, did("view")) for n in range(9, 0, -1))), ANN),
        ("frequent-buyers", someone(*WEEKLY), ANN),
        ("high-value", someone(*WEEKLY), someone((DAY, did("purchase", 1.0)))),
        ("cart-abandoners", someone((HOUR, did("cart"))), someone((HOUR, did("cart")), (HOUR // 2, did("purchase")))),
        ("loyal", someone(*WEEKLY), ANN),
        ("churn-risk", someone(*QUIET), someone(*WEEKLY)),
        (
            "weekend-binge",
            someone(*((5 * DAY - n * 60_000, did("view", item=f"i{n}")) for n in range(20))),
            someone(*((DAY - n * 60_000, did("view", item=f"i{n}")) for n in range(20))),
        ),
    ],
)
def test_a_shipped_segment_has_whom_its_name_means(segment: str, member: Profile, other: Profile) -> None:
    assert segment in shipped(member, *POOR)
    assert segment not in shipped(other, *POOR)


def test_who_buys_what_is_reduced_is_price_sensitive_and_hunts_bargains() -> None:
    def order(saved: float) -> Interaction:
        return Interaction("purchase", (Line("tea", "Drinks > Tea", price=5.0, quantity=1),), discount=saved)

    hunter = someone(*((days * DAY, order(5.0)) for days in (50, 40, 30, 20, 10)))
    payer = someone(*((days * DAY, order(0.0)) for days in (50, 40, 30, 20, 10)))
    assert {"price-sensitive", "bargain-hunters"} & shipped(hunter, *[payer] * 20) >= {"price-sensitive"}
    assert not {"price-sensitive", "bargain-hunters"} & shipped(payer, *[hunter] * 20)


def test_visits_make_up_the_rest() -> None:
    watcher = someone((HOUR, Visited("/a", "", 60_000, 0.5)))
    person = Person(encode(watcher), NOW)
    assert understand("dwell >= 1 minutes and scroll > 0.4").holds(person).holds
    assert person.text("session.landing") == "/a"
