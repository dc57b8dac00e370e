"""The monitor over a world whose change is known."""

from __future__ import annotations

from dataclasses import replace

from simulate.drift_delay import Alarm, Watched, told, watch
from simulate.world_spec import SPECS

SPEC = replace(SPECS["tiny"], base=-5.0, items=600)


def test_a_swapped_segment_clicks_less_and_the_control_goes_on() -> None:
    swapped, calm = watch(SPEC, 1, "taste_swap", 0.4, 0.8), watch(SPEC, 1, "none", 0.4, 0.8)
    assert swapped.lists_after > 50
    assert swapped.kept < 0.7
    assert calm.alarms == ()
    assert swapped.lists - swapped.lists_after == calm.lists - calm.lists_after


def test_a_delay_counts_from_the_change_and_to_the_segment_that_changed() -> None:
    alarms = (Alarm("s2", -1, 0.2), Alarm("", 10, 0.5), Alarm("s2", 400, 0.6), Alarm("s2", 900, 0.7))
    found = Watched("taste_swap", 1, 0.8, 2_000, 1_000, 0.1, 0.5, alarms)
    assert found.delay("s2") == 400
    assert found.delay("s1") is None
    assert "| 400 | 1 | 1 |" in told([found])
    assert "not found" in told([replace(found, alarms=())])
