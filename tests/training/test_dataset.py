"""What retraining makes of the log: who is in it, and that nothing else moves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from small_shop import DAY, NOW, Facts, described, did

from actors.follower import Fact
from events.types import Consented, Event, ItemDeleted, Meta, SubjectErased
from training.dataset import Dataset, gather, joined
from training.interactions import Interactions

ANN, BOB = b"a" * 16, b"b" * 16
NO = Meta(consent={"personalization": False})


def table(*told: tuple[bytes, Event, int] | tuple[bytes, Event, int, Meta]) -> Interactions:
    """Of one partition without a catalogue."""
    return dataset(*told).interactions


def dataset(*told: tuple[bytes, Event, int] | tuple[bytes, Event, int, Meta], most: int = 100) -> Dataset:
    facts = Facts()
    for subject, event, at, *meta in told:
        facts.add(event, at, subject, *meta)
    return joined([gather(facts.made)], most)


def rows(of: Interactions) -> list[tuple[int, str, int, int]]:
    return [
        (int(user), of.item_ids[item], int(at), int(event))
        for user, item, at, event in zip(of.user, of.item, of.at, of.event, strict=True)
    ]


def test_rows_are_the_lines_of_events_in_order_of_time() -> None:
    found = table(
        (BOB, did("purchase", "tea", "milk"), NOW + 2),
        (ANN, did("view", "nachos"), NOW + 1),
        (ANN, did("cart", "tea"), NOW + 3),
    )
    assert rows(found) == [
        (0, "nachos", NOW + 1, 0),
        (1, "milk", NOW + 2, 1),
        (1, "tea", NOW + 2, 1),
        (0, "tea", NOW + 3, 2),
    ]
    assert found.users == 2
    assert found.bought.tolist() == [False, True, True, False]
    assert found.weight.tolist() == [1.0, 5.0, 5.0, 3.0]


def test_who_does_not_allow_personalization_is_not_in_it() -> None:
    found = table(
        (ANN, did("view", "tea"), NOW),
        (BOB, did("view", "tea"), NOW),
        (BOB, Consented({"personalization": False}), NOW + 1),
        (BOB, did("view", "milk"), NOW + 2),
    )
    assert rows(found) == [(0, "tea", NOW, 0)]


def test_who_never_decided_follows_the_stores_default_recorded_with_the_event() -> None:
    assert not len(table((ANN, did("view", "tea"), NOW, Meta(default_consent=False))))


def test_a_new_consent_lets_in_what_comes_after_it_only() -> None:
    found = table(
        (ANN, did("view", "tea"), NOW),
        (ANN, did("view", "milk"), NOW + 1, NO),
        (ANN, Consented({"personalization": True}), NOW + 2),
        (ANN, did("view", "salsa"), NOW + 3),
        (ANN, did("view", "nachos"), NOW - 1),
    )
    assert [item for _, item, _, _ in rows(found)] == ["salsa"]


def test_an_erased_person_is_not_in_it() -> None:
    found = table(
        (ANN, did("view", "tea"), NOW),
        (ANN, SubjectErased(), NOW + 1),
        (BOB, did("view", "milk"), NOW + 2),
    )
    assert [item for _, item, _, _ in rows(found)] == ["milk"]
    assert found.users == 1


def test_test_traffic_bots_and_acts_that_take_back_teach_nothing() -> None:
    found = table(
        (ANN, did("view", "tea"), NOW, Meta(test=True)),
        (ANN, did("view", "tea"), NOW, Meta(bot=True)),
        (ANN, did("refund", "tea"), NOW),
        (ANN, did("view"), NOW),
    )
    assert (len(found), found.users, found.items) == (0, 0, 0)


def test_items_the_catalogue_does_not_offer_are_left_out() -> None:
    found = dataset(
        (b"i", described("tea"), NOW),
        (b"j", described("milk", recommendable=False), NOW),
        (b"k", described("salsa"), NOW),
        (b"k", ItemDeleted("salsa"), NOW),
        (ANN, did("purchase", "tea", "milk", "salsa", "invented"), NOW),
    )
    assert rows(found.interactions) == [(0, "tea", NOW, 0)]
    assert found.facts.category[0] == "Drinks > Tea"


def test_items_on_offer_that_nobody_touched_stand_at_the_end() -> None:
    found = dataset(
        *((item.encode(), described(item), NOW) for item in ("wipes", "dip", "tea")),
        (b"k", described("salsa", recommendable=False), NOW),
        (ANN, did("view", "tea"), NOW),
    )
    assert found.interactions.item_ids == ("tea", "dip", "wipes")
    assert found.interactions.item.tolist() == [0]
    assert found.facts.tokens(1) == ("c:Snacks", "c:Snacks > Dips")


def test_of_one_person_the_newest_rows_count() -> None:
    busy = [(ANN, did("view", "tea" if n % 2 else "milk"), NOW + n) for n in range(50)]
    found = dataset(*busy, (BOB, did("view", "tea"), NOW), most=10).interactions
    assert np.bincount(found.user).tolist() == [1, 10]
    assert found.at[found.user == 1].min() == NOW + 40


def test_what_was_appended_after_the_offsets_changes_nothing() -> None:
    facts = Facts()
    for n in range(6):
        facts.add(did("purchase", "tea", "milk"), NOW + n * DAY, ANN)
    known = joined([gather(facts.made)])
    facts.add(did("purchase", "salsa"), NOW - DAY, ANN)  # late, but not known yet at the offset
    again = joined([gather(facts.made[:6])])
    assert same(known.interactions, again.interactions)


ITEMS = ("nachos", "salsa", "tea", "milk")
ACTS = st.tuples(
    st.integers(0, 4), st.lists(st.sampled_from(ITEMS), min_size=1, max_size=3, unique=True), st.integers(0, 5)
)


@given(st.lists(ACTS, max_size=20), st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_how_people_are_spread_over_partitions_changes_nothing(
    acts: list[tuple[int, list[str], int]], partitions: int
) -> None:
    facts = Facts()
    for person, items, at in acts:
        facts.add(did("view", *items), NOW + at, bytes([person]) * 16)
    together = joined([gather(facts.made)])
    apart = joined([gather(of_partition(facts.made, n, partitions)) for n in reversed(range(partitions))])
    assert same(together.interactions, apart.interactions)
    ordered = together.interactions
    order = np.lexsort((ordered.item, ordered.event, ordered.at))
    assert order.tolist() == list(range(len(ordered)))


def of_partition(facts: Sequence[Fact], number: int, partitions: int) -> list[Fact]:
    mine = [fact for fact in facts if fact.record.subject[0] % partitions == number]
    return [replace(fact, partition=number) for fact in mine]


def same(one: Interactions, other: Interactions) -> bool:
    return rows(one) == rows(other) and one.item_ids == other.item_ids and one.users == other.users
