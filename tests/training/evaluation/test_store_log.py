"""A store's own log, walked in the order of time."""

from __future__ import annotations

from pathlib import Path

import pytest
from grown_shop import grown

from events.errors import BadRequest, NotFound
from training.evaluation.data_folder import BadData
from training.evaluation.protocols import Evaluation, evaluate
from training.evaluation.report import ENSEMBLE, Report
from training.inventory import INVENTORY


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grown(tmp_path_factory.mktemp("shop") / "data", households=40, weeks=10)


@pytest.fixture(scope="module")
def report(shop: Path) -> Report:
    return evaluate("store", Evaluation(shop))


def test_every_recommender_the_fixed_weights_and_the_blend_are_judged_on_the_same_requests(report: Report) -> None:
    assert set(report.models) == {*INVENTORY, ENSEMBLE, "fixed", "personal_frequency"}
    assert report.split["test"] >= 40
    assert report.split["validation"] >= 40
    for scores in report.models.values():
        for part in (scores.test, scores.validation):
            assert 0 <= part["ndcg@10"].low <= part["ndcg@10"].value <= part["ndcg@10"].high <= 1


def test_the_blend_is_never_worse_than_its_best_member_where_its_weights_come_from(report: Report) -> None:
    reached = {name: scores.validation["ndcg@10"].value for name, scores in report.models.items()}
    assert reached[ENSEMBLE] >= max(reached[name] for name in INVENTORY) - 1e-9
    assert any(name.startswith("repeat_purchase.") for name in report.chosen)


def test_differences_are_paired_and_the_curve_ends_at_the_figure(report: Report) -> None:
    reached = {name: scores.test["ndcg@10"].value for name, scores in report.models.items()}
    for name in ("popularity", "personal_frequency", "item_knn", "fixed"):
        difference = report.differences[f"{ENSEMBLE} - {name}: ndcg@10"]
        assert difference.value == pytest.approx(reached[ENSEMBLE] - reached[name])
    assert reached[ENSEMBLE] > reached["newest"]
    assert reached["rating"] == 0, "nobody rates: it abstains, and what abstains is no list"
    (curve,) = report.curves
    assert curve.lines[ENSEMBLE][-1] == (report.split["test"], pytest.approx(reached[ENSEMBLE]))


def test_the_same_log_and_seed_give_the_same_report(shop: Path, report: Report) -> None:
    again = evaluate("store", Evaluation(shop))
    assert {name: scores.test for name, scores in again.models.items()} == {
        name: scores.test for name, scores in report.models.items()
    }


def test_what_cannot_be_evaluated_is_named(tmp_path: Path, shop: Path) -> None:
    with pytest.raises(NotFound, match=str(tmp_path)):
        evaluate("store", Evaluation(tmp_path))
    with pytest.raises(BadRequest, match="--split timeline is not for a store's log"):
        evaluate("store", Evaluation(shop, "timeline"))
    young = grown(tmp_path / "young", households=1, weeks=1)
    with pytest.raises(BadData, match="import a history of some weeks"):
        evaluate("store", Evaluation(young))
