from __future__ import annotations

import pytest

from actors.state import MemoryState
from actors.steps import GAP_MS, LAGS, STEPS, Steps, Transition

ME = b"s" * 16
T = 1_760_000_000_000


@pytest.fixture
def store() -> MemoryState:
    return MemoryState()


@pytest.fixture
def steps(store: MemoryState) -> Steps:
    return Steps(store)


def test_a_step_pairs_with_the_five_before_it_ever_more_weakly(steps: Steps) -> None:
    for number in range(LAGS + 1):
        steps.take(ME, T + number, (number,))
    found = steps.take(ME, T + 10, (99,))
    assert [(each.earlier, each.later) for each in found] == [((n,), (99,)) for n in (5, 4, 3, 2, 1)]
    assert [each.weight for each in found] == pytest.approx([1, 0.6, 0.36, 0.216, 0.1296])


def test_a_step_after_more_than_a_day_starts_anew(steps: Steps) -> None:
    steps.take(ME, T, (1,))
    assert steps.take(ME, T + GAP_MS, (2,)) != []
    assert [each.earlier for each in steps.take(ME, T + GAP_MS + 1, (3,))] == [(2,)]


def test_the_same_item_again_is_the_same_step(steps: Steps) -> None:
    steps.take(ME, T, (1,))
    steps.take(ME, T + 1, (2,))
    assert steps.take(ME, T + 2, (2,)) == []
    assert [(each.earlier, each.weight) for each in steps.take(ME, T + 3, (3,))] == [((2,), 1.0), ((1,), 0.6)]


def test_a_late_step_takes_its_place_in_time(steps: Steps) -> None:
    steps.take(ME, T, (1,))
    steps.take(ME, T + 10, (3,))
    assert steps.take(ME, T + 5, (2,)) == [
        Transition((1,), (2,), T + 5, 1.0),
        Transition((2,), (3,), T + 10, 1.0),
    ]


def test_subjects_do_not_mix(steps: Steps) -> None:
    steps.take(ME, T, (1,))
    assert steps.take(b"t" * 16, T + 1, (2,)) == []


def test_trails_outlive_a_restart(store: MemoryState, steps: Steps) -> None:
    steps.take(ME, T, (1,))
    steps.decide(b"t" * 16, T, granted=False)
    store.commit(steps.changes())
    again = Steps(store)
    assert [each.earlier for each in again.take(ME, T + 1, (2,))] == [(1,)]
    assert not again.allowed(b"t" * 16, default=True)


def test_what_was_not_committed_is_not_there_after_a_restart(store: MemoryState, steps: Steps) -> None:
    steps.take(ME, T, (1,))
    assert Steps(store).take(ME, T + 1, (2,)) == []


def test_a_refusal_forgets_the_trail_and_a_grant_starts_afresh(store: MemoryState, steps: Steps) -> None:
    steps.take(ME, T, (1,))
    steps.decide(ME, T + 1, granted=False)
    assert not steps.allowed(ME, default=True)
    steps.decide(ME, T + 2, granted=True)
    assert steps.allowed(ME, default=False)
    assert steps.take(ME, T + 3, (2,)) == []


def test_the_newest_decision_counts_however_late_an_older_one_comes(steps: Steps) -> None:
    steps.decide(ME, T + 5, granted=False)
    steps.decide(ME, T, granted=True)
    assert not steps.allowed(ME, default=True)


def test_without_a_decision_the_default_holds(steps: Steps) -> None:
    assert steps.allowed(ME, default=True)
    assert not steps.allowed(ME, default=False)


def test_an_erased_subject_leaves_no_row(store: MemoryState, steps: Steps) -> None:
    steps.take(ME, T, (1,))
    store.commit(steps.changes())
    steps.forget(ME)
    store.commit(steps.changes())
    assert list(store.scan(STEPS)) == []
