"""A report asks everybody, and says little of a few."""

from __future__ import annotations

from actors.fold import fold
from actors.profile import EMPTY, Profile, encode
from events.types import Consented, Event, Interaction, Line, Meta, Payload, SegmentDefined, Signal
from serving.segment_report import MEMBERS_MIN, report
from training.cluster_features import BEHAVIOUR

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


WEEKLY = tuple((days * DAY, did("purchase", 20.0)) for days in range(120, 0, -5))
POOR = [someone((DAY, did("purchase", 1.0))) for _ in range(30)]
REFUSED = [someone(*WEEKLY, (0, Consented({"personalization": False})))]


def test_a_report_counts_and_says_what_sets_apart() -> None:
    buyers = [someone(*WEEKLY)] * 20
    told = [
        SegmentDefined("weekly", "count(purchase) >= 10"),
        SegmentDefined("both", 'segment("weekly") and spent > quantile(spent, 0.2)'),
        SegmentDefined("few", "spent > 1000000"),
    ]
    made = report([encode(each) for each in buyers + POOR + REFUSED], told, BEHAVIOUR, NOW)
    found = {one.told.name: one for one in made.segments}
    assert (found["weekly"].members, found["both"].members, found["few"].members) == (20, 20, 0)
    assert found["weekly"].apart[0].here > found["weekly"].apart[0].overall
    assert len(found["weekly"].deviations) == len(made.measures)
    assert found["few"].description == "Too few people to say more."


def test_of_a_handful_of_people_nothing_is_said() -> None:
    few = [someone(*WEEKLY)] * (MEMBERS_MIN - 1)
    (only,) = report(
        [encode(each) for each in few + POOR], [SegmentDefined("w", "count(purchase) >= 10")], BEHAVIOUR, NOW
    ).segments
    assert (only.members, only.apart, only.deviations) == (MEMBERS_MIN - 1, (), ())
