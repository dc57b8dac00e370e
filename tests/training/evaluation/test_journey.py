"""The next-basket protocol of The Complete Journey, on a year in small."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_journey import PRODUCTS, transactions, write_journey

from events.errors import BadRequest, NotFound
from training.evaluation import journey
from training.evaluation.data_folder import BadData
from training.evaluation.journey_findings import drawn_each
from training.evaluation.journey_log import UNKNOWN, JourneyLog
from training.evaluation.journey_tables import JourneyTables
from training.evaluation.report import ENSEMBLE, Report, as_json


def silent(step: str) -> None:
    pass


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> JourneyLog:
    return journey.load(write_journey(tmp_path_factory.mktemp("journey")), "recommendable")


@pytest.fixture(scope="module")
def report(year: JourneyLog) -> Report:
    return journey.evaluate(year, "recommendable", 0, silent)


def test_the_parts_are_the_weeks_of_the_protocol(year: JourneyLog, report: Report) -> None:
    for name, weeks in (("train", (1, 44)), ("validation", (45, 48)), ("test", (49, 53))):
        assert report.split[name] == int(year.log.weeks(*weeks).sum()) > 0


def test_every_model_is_reported_on_both_parts_with_new_items_apart(report: Report) -> None:
    assert set(report.models) == {*journey.BASELINES, *journey.NAMES, journey.NET, ENSEMBLE}
    for scores in report.models.values():
        for metric in ("ndcg@10", "recall@10", "new recall@10"):
            assert scores.test[metric].low <= scores.test[metric].value <= scores.test[metric].high
            assert metric in scores.validation


def test_a_sample_that_weighs_households_alike_is_reported_from_10_december_on(report: Report) -> None:
    for scores in report.models.values():
        found = scores.test["four each recall@10"]
        assert found.low <= found.value <= found.high
        assert "four each recall@10" not in scores.validation
    assert f"{ENSEMBLE} - {journey.FREQUENCY}: four each ndcg@10" in report.differences


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 4), st.integers(0, 3))
def test_of_every_owner_as_many_rows_are_drawn_as_there_are_up_to_the_count(
    owners: list[int], count: int, seed: int
) -> None:
    owner = np.array(owners, np.int32)
    drawn = drawn_each(owner, count, seed)
    assert (np.diff(drawn) > 0).all()
    for name, held in Counter(owners).items():
        assert (owner[drawn] == name).sum() == min(held, count)
    assert drawn_each(owner, count, seed).tolist() == drawn.tolist()


def test_habits_are_found(report: Report) -> None:
    reached = {name: scores.test["ndcg@10"].value for name, scores in report.models.items()}
    assert reached[journey.FREQUENCY] > reached["popularity"] + 0.2
    assert reached[ENSEMBLE] > reached["popularity"] + 0.2


def test_the_ensemble_is_not_worse_on_the_validation_than_the_network_it_starts_from(report: Report) -> None:
    on_validation = {name: scores.validation["ndcg@10"].value for name, scores in report.models.items()}
    assert on_validation[ENSEMBLE] >= on_validation[journey.NET] - 1e-12


def test_equal_data_and_seed_give_equal_reports(year: JourneyLog, report: Report) -> None:
    again = journey.evaluate(year, "recommendable", 0, silent)
    settings = {**again.settings, "cpu_seconds": report.settings["cpu_seconds"]}
    assert as_json(replace(again, seconds=report.seconds, settings=settings)) == as_json(report)


def test_the_report_compares_groups_and_says_how_probabilities_held(report: Report) -> None:
    found = orjson.loads(as_json(report))
    age = next(group for group in found["groups"] if group["attribute"] == "age")
    assert set(age["groups"]) == {"25-34", "45-54", UNKNOWN}
    assert found["calibration"][ENSEMBLE]
    assert f"{ENSEMBLE} - {journey.FREQUENCY}: recall@10" in found["differences"]


def test_fuel_coupons_and_products_nobody_described_are_no_items(tmp_path: Path, year: JourneyLog) -> None:
    assert year.log.items == PRODUCTS
    every = journey.load(write_journey(tmp_path), "every-line")
    assert every.log.items == PRODUCTS + 3
    assert every.lines_left_out == 0 < year.lines_left_out


def test_what_is_an_item_does_not_depend_on_sales_of_later_weeks(tmp_path: Path, year: JourneyLog) -> None:
    rows = transactions()
    early = [place for place, week in enumerate(rows["week"]) if week <= 44]
    cut = {name: [values[place] for place in early] for name, values in rows.items()}
    assert journey.load(write_journey(tmp_path, cut), "recommendable").log.items == year.log.items


def test_an_unknown_split_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="every-line, recommendable"):
        journey.load(write_journey(tmp_path), "random")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (write_journey(tmp_path) / "products.parquet").unlink()
    with pytest.raises(NotFound, match=r"products\.parquet is missing"):
        journey.load(tmp_path, "recommendable")


def broken(folder: Path, table: str, name: str, cells: list[object]) -> Path:
    """A year with one column replaced."""
    path = write_journey(folder) / f"{table}.parquet"
    found = pq.read_table(path)
    place = found.column_names.index(name)
    count = found.num_rows
    pq.write_table(found.set_column(place, name, pa.array((cells * count)[:count])), path)
    return folder


@pytest.mark.parametrize(
    ("table", "name", "cells", "complaint"),
    [
        ("transactions", "week", ["one"], r"transactions\.parquet row 1: week is 'one'"),
        ("transactions", "product_id", [7.5], r"row 1: product_id is '7\.5'"),
        ("transactions", "transaction_timestamp", ["today"], r"row 1: transaction_timestamp is 'today'"),
        ("transactions", "week", [5, 4], r"row \d+: week differs within basket"),
        ("products", "product_id", [None], r"products\.parquet row 1: product_id is"),
    ],
)
def test_a_bad_cell_is_named_with_file_row_and_column(
    tmp_path: Path, table: str, name: str, cells: list[object], complaint: str
) -> None:
    with pytest.raises(BadData, match=complaint):
        journey.load(broken(tmp_path, table, name, cells), "recommendable")


def test_time_that_runs_backwards_is_refused(tmp_path: Path) -> None:
    rows = transactions()
    rows["week"] = [54 - week for week in rows["week"]]
    with pytest.raises(BadData, match=r"week is \d+, but an earlier transaction_timestamp has a later one"):
        journey.load(write_journey(tmp_path, rows), "recommendable")


def test_a_missing_column_an_empty_table_and_a_file_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = write_journey(tmp_path) / "transactions.parquet"
    whole = pq.read_table(path)
    pq.write_table(whole.drop_columns(["week"]), path)
    with pytest.raises(BadData, match="column week is missing"):
        journey.load(tmp_path, "recommendable")
    pq.write_table(whole.slice(0, 0), path)
    with pytest.raises(BadData, match="empty"):
        journey.load(tmp_path, "recommendable")
    path.write_text("household_id,basket_id\n1,2\n")
    with pytest.raises(BadData, match="cannot be read as Parquet"):
        journey.load(tmp_path, "recommendable")


def test_half_a_year_is_refused(tmp_path: Path) -> None:
    rows = transactions()
    early = [place for place, week in enumerate(rows["week"]) if week <= 44]
    cut = {name: [values[place] for place in early] for name, values in rows.items()}
    found = journey.load(write_journey(tmp_path, cut), "recommendable")
    with pytest.raises(BadData, match="weeks 45-48"):
        journey.evaluate(found, "recommendable", 0, silent)


def test_the_installed_package_is_meant_by_name_and_never_by_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert journey._tables(Path("package")).folder == JourneyTables.installed().folder
    with pytest.raises(NotFound, match=r"is an empty folder: .* leave --data out"):
        journey._tables(tmp_path)
    (tmp_path / "package").mkdir()
    with pytest.raises(NotFound, match="package is an empty folder"):
        journey._tables(Path("package"))


def test_an_epoch_more_of_the_network_shows_in_its_curve(report: Report) -> None:
    curve = next(curve for curve in report.curves if "network" in curve.title)
    assert [x for x, _ in curve.lines[journey.NET]] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert all(0 < y <= 1 for _, y in curve.lines[journey.NET])


def test_listed_shares_are_probabilities(report: Report) -> None:
    for part in report.calibration[ENSEMBLE]:
        assert 0 <= part.predicted <= 1
        assert np.isfinite(part.observed)
