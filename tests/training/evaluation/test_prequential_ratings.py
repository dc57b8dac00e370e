"""Ratings are predicted before they are learned, in an order that is written down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rated import ratings

from events.errors import BadRequest, EverfoldError
from training.evaluation.history_table import HistoryTable, table
from training.evaluation.prequential_ratings import Means, errors, evaluate, predictions, stream
from training.evaluation.protocols import Evaluation
from training.evaluation.protocols import evaluate as by_format
from training.evaluation.report import ENSEMBLE, as_json
from training.rating import Rating


def rated(count: int, seed: int = 1) -> HistoryTable:
    """Four ratings a second, so that most carry the time of the one before."""
    rows = ratings(count, seed)
    at = np.arange(count, dtype=np.int64) // 4 * 1000
    stars = np.array([row.rating for row in rows], np.float32)
    return table([row.user for row in rows], [row.item for row in rows], at, rating=stars)


class Recording:
    """Says the middle, and keeps what it was shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, float]] = []

    def learn_one(self, user: str, item: str, rating: float) -> float:
        self.seen.append((user, item, rating))
        return 3.0


def test_rows_come_by_time_then_user_then_place_in_the_file() -> None:
    rows = table(
        ["b", "a", "b", "a", "a"],
        list("vwxyz"),
        np.array([5, 5, 5, 5, 1]),
        rating=np.array([1, 2, 3, 4, 5], np.float32),
    )
    ordered = stream(rows)
    assert list(zip(ordered.users, ordered.items, strict=True)) == [
        ("a", "z"),
        ("a", "w"),
        ("a", "y"),
        ("b", "v"),
        ("b", "x"),
    ]
    assert ordered.rating.tolist() == [5, 2, 4, 1, 3]


def test_changing_a_rating_changes_no_prediction_up_to_its_own() -> None:
    """The future, planted: were a row learned before it is predicted, its own prediction would move."""
    rows = rated(300)
    ordered = stream(rows)
    for learner in (lambda: Rating(), lambda: Means(lambda user, item: item)):
        before = predictions(learner(), ordered)
        changed = ordered.rating.copy()
        changed[200] = 6 - changed[200] if changed[200] != 3 else 5
        after = predictions(learner(), replace(ordered, rating=changed))
        assert (before[:201] == after[:201]).all()
        assert (before[201:] != after[201:]).any()


def test_every_learner_sees_every_row_once_in_order() -> None:
    ordered = stream(rated(50))
    recording = Recording()
    assert predictions(recording, ordered).tolist() == [3.0] * 50
    assert recording.seen == list(zip(ordered.users, ordered.items, ordered.rating.tolist(), strict=True))


def test_means_say_the_middle_then_the_mean_of_all_then_their_own() -> None:
    means = Means(lambda user, item: user)
    assert means.learn_one("a", "x", 5) == 3.0
    assert means.learn_one("b", "x", 2) == 5.0
    assert means.learn_one("a", "y", 1) == 5.0
    assert means.learn_one("a", "z", 1) == 3.0


def test_errors_are_those_of_the_definition() -> None:
    ordered = stream(table(["a", "b"], ["x", "y"], np.array([1, 2]), rating=np.array([1, 5], np.float32)))
    found = errors(np.array([2.0, 2.0]), ordered, seed=1)
    assert found["mae"].value == 2.0
    assert found["rmse"].value == pytest.approx(np.sqrt(5))


def test_the_report_compares_the_blend_with_every_baseline_and_repeats() -> None:
    report = evaluate(rated(400), seed=3)
    assert set(report.models) == {ENSEMBLE, "river biased mf", "river baseline", "item mean", "user mean", "mean"}
    assert set(report.models[ENSEMBLE].test) == {"mae", "rmse"}
    assert report.split == {"train": 0, "validation": 80, "test": 400, "users": 40, "items": 30}
    assert len(report.differences) == 10
    assert b"NaN" not in as_json(report)
    again = evaluate(rated(400), seed=3)
    assert again.models == report.models
    assert again.chosen == report.chosen


def test_people_in_groups_are_told_apart() -> None:
    rows = rated(200)
    rows = replace(rows, groups={"half": ["even" if int(user[1:]) % 2 == 0 else "odd" for user in rows.user_ids]})
    (scores,) = evaluate(rows, seed=1).groups
    assert {group: people for group, (_, people) in scores.groups.items()} == {"even": 20, "odd": 20}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (table(["a"], ["x"], np.array([1])), "need a rating and a time"),
        (table(["a"], ["x"], rating=np.array([1], np.float32)), "need a rating and a time"),
        (table([], [], np.array([], np.int64), rating=np.array([], np.float32)), "no ratings"),
        (table(["a"], ["x"], np.array([1]), rating=np.array([7], np.float32)), "user a, item x: rating 7"),
        (table(["a"], ["x"], np.array([1]), rating=np.array([np.nan], np.float32)), "user a, item x: rating nan"),
    ],
)
def test_data_it_cannot_use_is_named(rows: HistoryTable, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        stream(rows)


def folder_of(tmp_path: Path, lines: str) -> Path:
    (tmp_path / "u.data").write_text(lines)
    return tmp_path


def test_a_movielens_folder_is_evaluated_by_its_format(tmp_path: Path) -> None:
    rows = [f"{row.user}\t{row.item}\t{row.rating:g}\t{second}" for second, row in enumerate(ratings(60, seed=1))]
    report = by_format("ml-100k", Evaluation(folder_of(tmp_path, "\n".join(reversed(rows)) + "\n"), seed=1))
    assert report.split["test"] == 60
    assert report.protocol.startswith("Prequential")


@pytest.mark.parametrize(
    ("lines", "split", "says"),
    [
        ("a\tx\t3\t1\n", "timeline", "--split timeline"),
        ("a\tx\t3\n", "", "u.data line 1"),
        ("a\tx\tthree\t1\n", "", "u.data line 1.*rating"),
        ("a\tx\t6\t1\n", "", "user a, item x: rating 6"),
        ("", "", "u.data"),
    ],
)
def test_a_folder_it_cannot_use_is_named(tmp_path: Path, lines: str, split: str, says: str) -> None:
    with pytest.raises(EverfoldError, match=says):
        by_format("ml-100k", Evaluation(folder_of(tmp_path, lines), split))
