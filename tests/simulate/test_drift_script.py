"""Drift scripts: each changes what it says, from when it says, and nothing before."""

from __future__ import annotations

import numpy as np
import pytest

from simulate.drift_script import SCRIPTS, Change, scripts
from simulate.truth import Truth
from simulate.world import Visit, World
from simulate.world_spec import DAY_MS, HOUR_MS, SPECS, START_MS, WEEK_MS

TINY = SPECS["tiny"]
MIDDLE = START_MS + WEEK_MS // 2


def test_every_script_has_a_labelled_start_but_the_control() -> None:
    assert set(scripts(1.0)) == set(SCRIPTS)
    assert scripts(1.0)["none"] == ()
    for name in set(SCRIPTS) - {"none"}:
        (change,) = scripts(1.5)[name]
        assert change.kind == name
        assert change.starts(START_MS) == START_MS + WEEK_MS * 3 // 2


@pytest.mark.parametrize("name", sorted(set(SCRIPTS) - {"none"}))
def test_nothing_changes_before_the_start(name: str) -> None:
    still, drifting = World(TINY, 1), World(TINY, 1, scripts(0.5)[name])
    before = MIDDLE - HOUR_MS
    ours, theirs = list(still.visits(START_MS, before)), list(drifting.visits(START_MS, before))
    assert ours == theirs
    for visit in ours[:50]:
        assert np.array_equal(Truth(still).utilities(visit), Truth(drifting).utilities(visit))


def after(name: str, days: float = 0.2) -> list[tuple[Visit, np.ndarray, np.ndarray]]:
    """Visits after the change, with utilities without and with it."""
    still, drifting = World(TINY, 1), World(TINY, 1, scripts(0.5)[name])
    found = []
    for visit in still.visits(MIDDLE, MIDDLE + round(days * DAY_MS)):
        drifting.mood(visit.person)
        found.append((visit, Truth(still).utilities(visit), Truth(drifting).utilities(visit)))
    return found


def test_a_taste_swap_turns_one_segment_round() -> None:
    world = World(TINY, 1)
    for visit, before, now in after("taste_swap"):
        swapped = world.people.segment[visit.person] == 2
        assert np.array_equal(before, now) != swapped
        if swapped:
            assert np.corrcoef(before, now)[0, 1] < 0.999


def test_a_rotation_is_gradual_and_ends() -> None:
    drifting = World(TINY, 1, (Change("gradual_rotation", 0.0, 2.0, segment=0, size=0.3),))
    taste, angles = np.eye(TINY.dims)[0], []
    for week in (0.0, 1.0, 2.0, 4.0):
        now = drifting.drift.taste(taste, 0, 0.5, START_MS + round(week * WEEK_MS))
        angles.append(float(np.arccos(np.clip(now @ taste, -1, 1))))
    assert angles == pytest.approx([0.0, 0.3, 0.6, 0.6], abs=1e-6)


def test_a_trend_lifts_its_category_and_a_shock_its_item() -> None:
    shelf = World(TINY, 1).shelf
    for _, before, now in after("new_trend")[:20]:
        lifted = (now - before > 1.0) & shelf.alive(MIDDLE)
        assert set(shelf.category[lifted].tolist()) <= {3}
        assert lifted.any()
    for _, before, now in after("popularity_shock")[:20]:
        assert np.flatnonzero(now != before).tolist() == [7]


def test_covariate_change_and_flash_crowd_change_who_comes_and_nothing_else() -> None:
    still = World(TINY, 1)
    usual = list(still.visits(MIDDLE, MIDDLE + 2 * DAY_MS))
    for name, least in (("covariate_only", 1.2), ("flash_crowd", 1.05)):
        drifting = World(TINY, 1, scripts(0.5)[name])
        assert len(list(drifting.visits(MIDDLE, MIDDLE + 2 * DAY_MS))) > least * len(usual)
        for _, before, now in after(name)[:10]:
            assert np.array_equal(before, now)


def test_a_flash_crowd_is_over_after_its_hours() -> None:
    drifting = World(TINY, 1, scripts(0.5)["flash_crowd"])
    assert drifting.drift.traffic(84 + 4, drifting.people.segment) == 1.0
    assert drifting.drift.traffic(84 + 1, drifting.people.segment) == 8.0
