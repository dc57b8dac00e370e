"""Features as they were, whatever happened since."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from small_shop import DAY, NOW, Facts, did

from actors.fold import fold
from actors.profile import EMPTY, Profile, digest
from events.types import Consented, SubjectErased
from training.interactions import Interactions
from training.point_in_time import HOUR_MS, HourlyItems, profiles_at

ANN, BOB = b"a" * 16, b"b" * 16
EVENTS = st.sampled_from(
    [
        did("view", "tea"),
        did("purchase", "milk", "tea"),
        did("refund", "milk"),
        Consented({"personalization": False}),
        Consented({"personalization": True}),
    ]
)


@given(st.lists(st.tuples(st.booleans(), EVENTS, st.integers(-3, 3)), min_size=1, max_size=15), st.data())
@settings(max_examples=50, deadline=None)
def test_a_profile_is_rebuilt_bit_for_bit_at_every_version_it_ever_had(
    told: list[tuple[bool, object, int]], data: st.DataObject
) -> None:
    facts = Facts()
    live: dict[bytes, Profile] = {}
    served: list[tuple[bytes, int, bytes]] = []
    for ann, event, days in told:
        subject = ANN if ann else BOB
        fact = facts.add(event, NOW + days * DAY, subject)  # type: ignore[arg-type]
        record = fact.record
        profile = live.get(subject) or Profile(subject=subject)
        live[subject] = fold(profile, record.lsn, record.event_time, record.event_id, fact.payload)
        served.append((subject, record.lsn, digest(live[subject])))
    chosen = data.draw(st.lists(st.sampled_from(served), max_size=6))
    wanted: dict[bytes, list[int]] = {}
    for subject, lsn, _ in chosen:
        wanted.setdefault(subject, []).append(lsn)
    rebuilt = {(one.subject, one.lsn): digest(one.profile) for one in profiles_at(facts.made, wanted)}
    assert rebuilt == {(subject, lsn): logged for subject, lsn, logged in chosen}


def test_a_later_record_of_somebody_else_means_the_profile_as_of_it() -> None:
    facts = Facts()
    facts.add(did("view", "tea"), NOW, ANN)
    facts.add(did("view", "tea"), NOW, BOB)
    facts.add(did("view", "milk"), NOW, ANN)
    (rebuilt,) = profiles_at(facts.made, {ANN: [1]})
    assert [entry.item for entry in rebuilt.profile.recent] == ["tea"]
    assert list(profiles_at(facts.made, {b"n" * 16: [1]})) == []


def test_an_erased_person_is_an_empty_profile_from_then_on() -> None:
    facts = Facts()
    facts.add(did("view", "tea"), NOW, ANN)
    facts.add(SubjectErased(), NOW, ANN)
    (rebuilt,) = profiles_at(facts.made, {ANN: [1]})
    assert rebuilt.profile.recent == EMPTY.recent


ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12 * HOUR_MS), st.floats(0.5, 5)), max_size=30)


def interactions(rows: list[tuple[int, int, float]]) -> Interactions:
    rows = sorted(rows, key=lambda row: (row[1], row[0]))
    return Interactions(
        item_ids=("a", "b", "c", "d"),
        users=1,
        user=np.zeros(len(rows), np.int32),
        item=np.array([item for item, _, _ in rows], np.int32),
        at=np.array([at for _, at, _ in rows], np.int64),
        event=np.arange(len(rows), dtype=np.int32),
        weight=np.array([weight for _, _, weight in rows], np.float32),
        bought=np.ones(len(rows), np.bool_),
    )


def asked(tables: HourlyItems, item: int, at: int) -> float:
    return float(tables.at(np.array([item], np.int32), np.array([at], np.int64))[0])


@given(ROWS, st.integers(0, 3), st.integers(0, 13 * HOUR_MS), st.floats(0.5, 48))
@settings(max_examples=100, deadline=None)
def test_the_join_gives_the_decayed_sum_of_the_hours_before(
    rows: list[tuple[int, int, float]], item: int, at: int, half_life: float
) -> None:
    hour = at // HOUR_MS
    plain = sum(
        np.float32(weight) * 2.0 ** (-(hour - then // HOUR_MS) / half_life)
        for which, then, weight in rows
        if which == item and then // HOUR_MS < hour
    )
    assert np.isclose(asked(HourlyItems(interactions(rows), half_life), item, at), plain, rtol=1e-6)


@given(ROWS, st.integers(0, 3), st.integers(0, 12 * HOUR_MS), st.integers(0, 5 * HOUR_MS))
@settings(max_examples=100, deadline=None)
def test_a_planted_future_changes_nothing(rows: list[tuple[int, int, float]], item: int, at: int, later: int) -> None:
    """A craze for the very item, from the moment of the question on."""
    craze = [(item, at + later, 1_000.0) for _ in range(5)]
    known, planted = HourlyItems(interactions(rows), 24.0), HourlyItems(interactions(rows + craze), 24.0)
    assert asked(known, item, at) == asked(planted, item, at)


def test_many_questions_are_answered_as_one_by_one() -> None:
    rng = np.random.default_rng(5)
    rows = [
        (int(i), int(t), float(w))
        for i, t, w in zip(rng.integers(0, 4, 50), rng.integers(0, 90 * HOUR_MS, 50), rng.random(50) + 0.1, strict=True)
    ]
    tables = HourlyItems(interactions(rows), 12.0)
    item, at = rng.integers(0, 4, 40).astype(np.int32), rng.integers(0, 99 * HOUR_MS, 40).astype(np.int64)
    assert tables.at(item, at).tolist() == [asked(tables, int(i), int(t)) for i, t in zip(item, at, strict=True)]
