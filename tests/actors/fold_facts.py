"""Generated facts: any that decode, and those of a plausible shopper."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

from hypothesis import strategies as st

from actors.fold import fold
from actors.profile import EMPTY, Profile
from events import types
from events.payload import decode, encode, type_of
from events.types import Event, Impression, Interaction, Line, Meta, Payload

DAY = 86_400_000
NOW = 1_760_000_000_000


class Fact(NamedTuple):
    """The arguments of the fold."""

    lsn: int
    event_time: int
    event_id: bytes
    payload: Payload


def folded(facts: Iterable[Fact], start: Profile = EMPTY) -> Profile:
    profile = start
    for each in facts:
        profile = fold(profile, *each)
    return profile


def fact(number: int, event: Event, at: int = NOW, **meta: object) -> Fact:
    """Fact ``number`` of user ``u``, at ``at``."""
    surroundings = Meta(**{"user_id": "u", "message_id": str(number), **meta})  # type: ignore[arg-type]
    event_id = blake2b(str(number).encode(), digest_size=16).digest()
    return Fact(number, at, event_id, Payload(surroundings, event))


def interaction(signal: str, *items: str, category: str = "A > B", **more: object) -> Interaction:
    return Interaction(signal, tuple(Line(item, category, "Brand") for item in items), **more)  # type: ignore[arg-type]


# ---- any fact that decodes ----------------------------------------------------------------------------------------

INT64 = st.integers(-(2**63), 2**63 - 1)
TIMES = st.one_of(st.integers(NOW - 3 * 365 * DAY, NOW + DAY), INT64)
ANY_FLOAT = st.floats()
TEXT = st.text(max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=4)
CHOICES = st.dictionaries(st.sampled_from(["personalization", "sale_share", "ads"]) | TEXT, st.booleans(), max_size=3)
ITEMS = st.sampled_from([f"i{n}" for n in range(8)]) | TEXT
LINES = st.builds(
    Line, ITEMS, st.sampled_from(["", "A", "A > B", "A > C > D > E > F", " > "]) | TEXT, TEXT, ANY_FLOAT, ANY_FLOAT,
    st.lists(TEXT, max_size=10).map(tuple),
)  # fmt: skip
SIGNALS = st.sampled_from(types.Signal.__args__)  # type: ignore[attr-defined]

BODIES = {
    types.Interaction: st.builds(
        Interaction, SIGNALS, st.lists(LINES, max_size=4).map(tuple), name=TEXT, weight=ANY_FLOAT, revenue=ANY_FLOAT,
        dwell_ms=INT64, watched=ANY_FLOAT, query=TEXT, properties=OBJECT,
    ),
    types.Impression: st.builds(Impression, st.lists(ITEMS, max_size=6).map(tuple), list_id=TEXT),
    types.Visited: st.builds(types.Visited, TEXT, TEXT, INT64, ANY_FLOAT, OBJECT),
    types.Identified: st.builds(types.Identified, OBJECT),
    types.Grouped: st.builds(types.Grouped, TEXT, OBJECT),
    types.Aliased: st.builds(types.Aliased, TEXT),
    types.Consented: st.builds(types.Consented, CHOICES, TEXT),
    types.Exposed: st.builds(types.Exposed, TEXT, TEXT, OBJECT),
    types.Tracked: st.builds(types.Tracked, TEXT, OBJECT),
    types.ItemUpserted: st.builds(types.ItemUpserted, ITEMS),
    types.ItemDeleted: st.builds(types.ItemDeleted, ITEMS),
    types.SubjectErased: st.builds(types.SubjectErased, TEXT),
    types.ImportStarted: st.builds(types.ImportStarted, TEXT, TEXT, TEXT),
    types.ImportCompleted: st.builds(types.ImportCompleted, TEXT, TEXT, TEXT),
    types.SegmentChanged: st.builds(types.SegmentChanged, TEXT, st.booleans(), OBJECT),
    types.ModelPromoted: st.builds(types.ModelPromoted, TEXT, TEXT, TEXT, st.lists(TEXT, max_size=2).map(tuple)),
    types.DriftDetected: st.builds(types.DriftDetected, TEXT, st.lists(TEXT, max_size=2).map(tuple), TEXT, OBJECT),
    types.SegmentDefined: st.builds(types.SegmentDefined, TEXT, TEXT, TEXT, cluster=OBJECT),
    types.SegmentDropped: st.builds(types.SegmentDropped, TEXT, TEXT),
    types.ContentAlerted: st.builds(types.ContentAlerted, st.lists(ITEMS, max_size=3).map(tuple), TEXT, ANY_FLOAT),
}  # fmt: skip
"""One strategy per event type; a test compares the keys with the table of types."""

METAS = st.builds(
    Meta, user_id=TEXT, anonymous_id=TEXT, consent=CHOICES, gpc=st.booleans(), default_consent=st.booleans(),
    test=st.booleans(), bot=st.booleans(),
)  # fmt: skip


@st.composite
def any_fact(draw: st.DrawFn) -> Fact:
    """Any fact, as it comes out of the log."""
    event = draw(st.one_of(*BODIES.values()))
    payload = decode(*type_of(event), encode(draw(METAS), event))
    return Fact(draw(st.integers(0, 2**40)), draw(TIMES), draw(st.binary(min_size=16, max_size=16)), payload)


# ---- a plausible shopper -------------------------------------------------------------------------------------------

CATEGORIES = ("Drinks > Tea", "Drinks > Coffee", "Snacks > Dips > Salsa", "Garden")
SHOP = [Line(f"item{n}", CATEGORIES[n % 4], f"brand{n % 3}", attributes=(f"colour:{n % 2}",)) for n in range(12)]
SHOP_TIMES = st.one_of(
    st.integers(NOW - 3 * DAY, NOW), st.integers(NOW - 800 * DAY, NOW), st.sampled_from([NOW, NOW - 1, NOW - DAY])
)

SHOPPING = st.one_of(
    st.builds(
        Interaction,
        SIGNALS,
        st.lists(st.sampled_from(SHOP), min_size=1, max_size=4).map(tuple),
        weight=st.sampled_from([1.0, 0.25, -0.5]),
        dwell_ms=st.integers(0, 100_000),
        watched=st.floats(0, 1),
    ),
    st.builds(Impression, st.lists(st.sampled_from([line.item for line in SHOP]), max_size=5).map(tuple)),
    st.builds(types.Visited, scroll=st.floats(0, 1), dwell_ms=st.integers(0, 10_000)),
    st.builds(types.Tracked, st.just("Heart Beat")),
    st.builds(types.Identified, st.dictionaries(st.sampled_from("abc"), st.none() | st.integers(0, 3), max_size=3)),
    st.builds(types.Grouped, st.sampled_from(["g1", "g2"])),
    st.builds(types.Aliased, st.sampled_from(["u", "old1", "old2"])),
    st.builds(types.Exposed, st.sampled_from(["e1", "e2"]), st.sampled_from("AB")),
    st.builds(types.SegmentChanged, st.sampled_from(["s1", "s2"]), st.booleans()),
    st.builds(types.ContentAlerted, st.just(("item1",)), st.just("category:Drinks > Tea"), st.just(7.0)),
    st.builds(types.Consented, st.dictionaries(st.sampled_from(["ads", "sale_share"]), st.booleans(), max_size=2)),
)


@st.composite
def shopping(draw: st.DrawFn, most: int = 25) -> list[Fact]:
    """Facts of one person who never takes back consent for personalization, late ones among them."""
    events = draw(st.lists(st.tuples(SHOPPING, SHOP_TIMES, st.integers(0, 2)), min_size=1, max_size=most))
    return [
        fact(number, event, at, anonymous_id=f"b{browser}", gpc=browser == 2)
        for number, (event, at, browser) in enumerate(events)
    ]
