"""Time never leaks: a planted feature from the future is caught whatever the split."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.errors import BadRequest
from training.evaluation.history_table import HistoryTable, table
from training.evaluation.splits import (
    Split,
    cross_validation,
    global_timeline,
    history,
    leaks,
    leave_last_out,
    per_session,
    prequential,
    visible_until,
)

Made = list[tuple[int, int, int, int]]
"""(user, item, time, session of the user)"""

rows = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 40), st.integers(0, 3)), min_size=12, max_size=60
)


def made(of: Made) -> HistoryTable:
    users, items, times, sessions = zip(*of, strict=True)
    return table(
        [f"u{user}" for user in users],
        [f"i{item}" for item in items],
        np.array(times, np.int64),
        sessions=[f"{user}/{session}" for user, session in zip(users, sessions, strict=True)],
    )


def last_out(of: HistoryTable) -> list[Split]:
    return [leave_last_out(of)]


def timeline(of: HistoryTable) -> list[Split]:
    return [global_timeline(of, 0.2, 0.2)]


def by_session(of: HistoryTable) -> list[Split]:
    return [per_session(of, 0.2, 0.2)]


def folds(of: HistoryTable) -> list[Split]:
    return cross_validation(of, 3)


def stepwise(of: HistoryTable) -> list[Split]:
    return list(prequential(of, 3))


EVERY = [last_out, timeline, by_session, folds, stepwise]
every_split = pytest.mark.parametrize("cut", EVERY, ids=lambda cut: cut.__name__)
Cut = Callable[[HistoryTable], list[Split]]


def cut_or_refused(cut: Cut, of: HistoryTable) -> list[Split]:
    try:
        return cut(of)
    except BadRequest:
        return []


@every_split
@settings(max_examples=12)
@given(of=rows)
def test_nothing_is_learned_from_what_came_later(cut: Cut, of: Made) -> None:
    data = made(of)
    for split in cut_or_refused(cut, data):
        assert leaks(split, data) == []


@every_split
@settings(max_examples=12)
@given(of=rows, pick=st.integers(0, 10_000))
def test_a_single_row_learned_too_early_is_noticed(cut: Cut, of: Made, pick: int) -> None:
    """The check above can fail: any test row slipped into what is learned from is named."""
    data = made(of)
    for split in cut_or_refused(cut, data):
        slipped = int(split.test[pick % len(split.test)])
        sloppy = Split(split.name, np.union1d(split.fit, [slipped]), split.validation, split.test, split.scope)
        assert slipped in {leak.row for leak in leaks(sloppy, data)}


@every_split
@settings(max_examples=12)
@given(of=rows)
def test_a_planted_feature_from_the_future_is_never_seen(cut: Cut, of: Made) -> None:
    """Right after each request a row is planted that gives its item away. No model may see that row: not in what is
    learned from, where time is everybody's, and not in the history it is asked with."""
    data = made(of)
    requests = sorted({int(row) for split in cut_or_refused(cut, data) for row in split.test})
    for asked in requests[:5]:
        user, time = int(data.user[asked]), int(data.at[asked])
        session = int(data.session[asked])
        tale = [*zip(data.user.tolist(), data.item.tolist(), data.at.tolist(), data.session.tolist(), strict=True)]
        planted = made([*tale, (user, 99, time, session)])
        tell = planted.item_ids.index("i99")
        for split in cut_or_refused(cut, planted):
            wanted = int(np.flatnonzero(planted.item == tell)[0])
            for row in split.test[(planted.user[split.test] == planted.user[wanted])]:
                if planted.at[row] <= time:
                    assert tell not in planted.item[history(planted, int(row))]
                    assert split.scope == "user" or tell not in planted.item[split.fit]
                    assert wanted not in split.fit


def test_the_planted_feature_would_pay_if_it_were_seen() -> None:
    """The plant is worth catching: a model that looks at a whole table, future included, is right every time."""
    data = made([(user, item, 10 * item, 0) for user in range(4) for item in range(5)])
    split = leave_last_out(data)
    whole = {int(data.user[row]): int(data.item[row]) for row in range(len(data))}
    honest = {int(data.user[row]): int(data.item[row]) for row in split.fit}
    wanted = {int(data.user[row]): int(data.item[row]) for row in split.test}
    assert whole == wanted
    assert all(honest[user] != item for user, item in wanted.items())


@settings(max_examples=12)
@given(rows)
def test_no_session_is_ever_split(of: Made) -> None:
    data = made(of)
    for cut in (by_session, folds):
        for split in cut_or_refused(cut, data):
            sides = [set(data.session[part].tolist()) for part in (split.fit, split.validation, split.test)]
            assert sum(map(len, sides)) == len(set.union(*sides))
            for part, sessions in zip((split.fit, split.validation, split.test), sides, strict=True):
                assert len(part) == np.isin(data.session, list(sessions)).sum()


@settings(max_examples=12)
@given(rows)
def test_a_request_sees_its_users_earlier_moments_and_nothing_else(of: Made) -> None:
    data = made(of)
    seen = visible_until(data, np.arange(len(data)))
    for row in range(len(data)):
        earlier = np.flatnonzero((data.user == data.user[row]) & (data.at < data.at[row]))
        assert history(data, row).tolist() == earlier.tolist()
        assert seen[row] == len(earlier)


def test_leave_last_out_takes_the_last_and_the_one_before_it() -> None:
    data = made([(0, 1, 1, 0), (0, 2, 2, 0), (0, 3, 3, 0), (1, 1, 9, 0), (1, 2, 8, 0)])
    split = leave_last_out(data)
    assert [data.item_ids[i] for i in data.item[split.test]] == ["i3"]
    assert [data.item_ids[i] for i in data.item[split.validation]] == ["i2"]
    assert split.sizes == {"train": 3, "validation": 1, "test": 1}


def test_rows_of_one_moment_stay_on_one_side() -> None:
    data = made([(user, 0, time, 0) for user in range(5) for time in (1, 1, 2, 2, 3)])
    split = global_timeline(data, 0.2, 0.1)
    assert set(data.at[split.test].tolist()) == {3}
    assert set(data.at[split.validation].tolist()) == {2}


def test_prequential_asks_for_every_row_after_the_warm_up_once() -> None:
    data = made([(0, item, item // 2, 0) for item in range(10)])
    steps = list(prequential(data, 4))
    assert np.concatenate([step.test for step in steps]).tolist() == list(range(4, 10))
    assert [len(step.fit) for step in steps] == [4, 6, 8]


@pytest.mark.parametrize("cut", [timeline, by_session, folds, stepwise])
def test_data_without_times_is_refused_where_times_are_compared(cut: Cut) -> None:
    with pytest.raises(BadRequest, match="needs times"):
        cut(table(["a", "a", "b"], ["x", "y", "x"]))


def test_a_split_with_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(BadRequest, match="0 to test"):
        leave_last_out(table(["a", "a"], ["x", "y"]))
