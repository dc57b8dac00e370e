"""The rating model as rows: whoever reads them has the learner's own model, whenever it began to read."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rated import ratings

from actors.state import MemoryState
from training import rating_journal
from training.rating import Rating
from training.rating_journal import MODEL, RATINGS, SINCE, RatingCopy, RatingJournal, key_of
from training.rating_state import pack

PEOPLE = [bytes(range(number, number + 16)) for number in (1, 40, 80, 120)]
ACTS = st.tuples(st.sampled_from(PEOPLE), st.sampled_from("abcdef"), st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0, None]))


def state_of(rating: Rating | None) -> bytes:
    return b"" if rating is None else pack(rating)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is packed every few ratings."""
    monkeypatch.setattr(rating_journal, "PACKED_MIN", 8)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(ACTS, st.booleans(), st.booleans(), st.booleans()), max_size=40))
def test_the_learner_killed_anywhere_and_every_follower_have_the_same_model(
    story: list[tuple[tuple[bytes, str, float | None], bool, bool, bool]],
) -> None:
    store = MemoryState()
    journal, straight = RatingJournal(store), RatingJournal(MemoryState())
    often, seldom = RatingCopy(store), RatingCopy(store)
    for (who, item, rating), commit, killed, looked in story:
        for each in (journal, straight):
            each.forget(who) if rating is None else each.learn(who, item, rating)
        if commit or killed:
            store.commit(journal.changes())
            often.refresh()
        if killed:
            journal = RatingJournal(store)
        if looked:
            seldom.refresh()
    store.commit(journal.changes())
    expected = state_of(straight._copy.rating)
    for copy in (often, seldom, RatingCopy(store), RatingJournal(store)._copy):
        copy.refresh()
        assert state_of(copy.rating) == expected
        assert copy.refresh() == 0


def test_until_somebody_rates_there_is_nothing() -> None:
    store = MemoryState()
    journal, copy = RatingJournal(store), RatingCopy(store)
    journal.forget(PEOPLE[0])
    assert journal.changes() == []
    assert (copy.refresh(), copy.rating, bool(journal)) == (0, None, False)


def test_rows_are_packed_away_so_that_a_rating_costs_the_same_however_many_there_were() -> None:
    store = MemoryState()
    journal = RatingJournal(store)
    packs = 0
    for number, one in enumerate(ratings(400, seed=1)):
        before = store.get(RATINGS, MODEL)
        journal.learn(one.user.encode(), one.item, one.rating / 2 - 1.5)
        store.commit(journal.changes())
        packs += store.get(RATINGS, MODEL) != before
        assert len(list(store.scan(SINCE))) < max(8, number // 4 + 2)
    assert 10 < packs < 30


def test_whose_ratings_are_forgotten_stands_in_no_row_any_more() -> None:
    store = MemoryState()
    journal = RatingJournal(store)
    for who in PEOPLE[:2]:
        journal.learn(who, "tea", 1.0)
    store.commit(journal.changes())
    journal.forget(PEOPLE[0])
    store.commit(journal.changes())
    rows = [value for table in (RATINGS, SINCE) for _, value in store.scan(table)]
    for name in (PEOPLE[0], key_of(PEOPLE[0]).encode()):
        assert not any(name in row for row in rows)
    rating = RatingJournal(store)._copy.rating
    assert rating is not None
    assert rating.scores(key_of(PEOPLE[0]), ["tea"]) is None
    assert rating.scores(key_of(PEOPLE[1]), ["tea"]) is not None


def test_a_learner_that_began_anew_is_followed_from_its_beginning() -> None:
    store = MemoryState()
    journal = RatingJournal(store)
    for item in "abcdefghij":
        journal.learn(PEOPLE[0], item, 1.0)
    store.commit(journal.changes())
    copy = RatingCopy(store)
    copy.refresh()
    fresh = MemoryState()
    journal = RatingJournal(fresh)
    journal.learn(PEOPLE[1], "z", -1.0)
    fresh.commit(journal.changes())
    copy._store = fresh
    copy.refresh()
    assert state_of(copy.rating) == state_of(journal._copy.rating)


def test_a_reader_beside_sees_one_rating_or_the_next() -> None:
    lock = threading.Lock()
    store = MemoryState()
    journal, copy = RatingJournal(store), RatingCopy(store, lock)
    journal.learn(PEOPLE[0], "tea", 1.0)
    store.commit(journal.changes())
    with lock:
        follower = threading.Thread(target=copy.refresh)
        follower.start()
        assert copy.applied == 0, "it waits for whoever looks"
    follower.join(10)
    assert copy.applied == 1
