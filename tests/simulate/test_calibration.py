"""The figures a world is compared by."""

from __future__ import annotations

import numpy as np
import pytest

from simulate.calibrate_command import BEGIN, fit_table, plots, spec_table
from simulate.calibration import Orders, likeness, world_orders
from simulate.world_spec import HOUR_MS, SPECS, START_MS, WEEK_MS


def orders(*rows: tuple[int, int, int, int]) -> Orders:
    columns = np.array(rows, np.int64).T
    return Orders.of(columns[0], columns[1], columns[2], columns[3])


def test_an_item_counts_once_per_order() -> None:
    found = orders((1, 10, 5, 7), (1, 10, 5, 7), (1, 10, 5, 8), (2, 11, 6, 7))
    assert found.item.tolist() == [7, 8, 7]


def test_repeats_are_what_the_same_person_took_before() -> None:
    week = START_MS + 8 * WEEK_MS
    found = likeness(orders((1, 1, START_MS, 0), (1, 2, week, 0), (1, 2, week, 1), (2, 3, week + 1, 0)), START_MS, 10)
    assert found.repeats[3] == pytest.approx(1 / 3)
    assert found.basket_mean == pytest.approx(4 / 3)


def test_hours_have_a_mean_of_one() -> None:
    found = likeness(orders(*[(n, n, START_MS + n * HOUR_MS, n) for n in range(48)]), START_MS, 1)
    assert found.hours[:48] == pytest.approx([168 / 48] * 48)
    assert sum(found.hours) == pytest.approx(168)


def test_personal_history_tells_more_than_popularity_where_people_repeat_themselves() -> None:
    rows = [(p, p * 100 + w, START_MS + w * WEEK_MS, p % 30) for p in range(60) for w in range(10)]
    found = likeness(orders(*rows), START_MS, 10)
    assert found.personal == 1.0
    assert found.popular < 0.6


def test_the_tables_name_every_parameter_and_figure() -> None:
    world = likeness(world_orders(SPECS["tiny"], 1, 3), START_MS, 3)
    assert "| items in an order, mean |" in fit_table(world, world)
    assert "| `idiosyncrasy` | 1.6 |" in spec_table(SPECS["tiny"])
    assert set(plots(world, world)) == {"hours", "repeats", "popularity", "activity", "baskets"}
    assert BEGIN.startswith("<!--")
