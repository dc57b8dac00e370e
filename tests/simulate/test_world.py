"""The world: same seed, same bytes; people tire, want again, leave, log in; and its luck is nobody's doing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from simulate.attention import clicked, expected_clicks
from simulate.chance import words
from simulate.payloads import acts, impression, opening, organic
from simulate.shopper import Mood, need
from simulate.truth import Truth
from simulate.world import Visit, World
from simulate.world_spec import DAY_MS, HOUR_MS, SPECS, START_MS, WEEK_MS

TINY = SPECS["tiny"]
ROOT = Path(__file__).parents[2]


def world(seed: int = 1, **fields: object) -> World:
    return World(replace(TINY, **fields), seed)  # type: ignore[arg-type]


def visits(of: World, days: float = 3.0) -> list[Visit]:
    return list(of.visits(START_MS, START_MS + round(days * DAY_MS)))


def stream(of: World, days: float) -> bytes:
    """Everything sent while the first ten items are shown to everybody."""
    slate = of.shelf.ids[:10]
    sent: list[object] = []
    for visit in of.visits(START_MS, START_MS + round(days * DAY_MS)):
        outcome = of.answer(visit, slate)
        sent += [*opening(visit), impression(visit, outcome, "l"), *acts(visit, outcome, "l")]
        sent += organic(visit, of.organic(visit))
    return json.dumps(sent, sort_keys=True).encode()


def test_the_same_seed_sends_the_same_bytes_and_another_does_not() -> None:
    assert stream(world(1), 2) == stream(world(1), 2) != stream(world(2), 2)


def test_the_bytes_do_not_depend_on_the_hash_seed() -> None:
    code = (
        "import sys; sys.path[:0] = ['tests/simulate']; import hashlib, test_world as t;"
        "print(hashlib.sha256(t.stream(t.world(3), 0.8)).hexdigest())"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1] != ""


def test_shares_of_a_world_are_the_whole_of_it() -> None:
    whole = {visit.key for visit in visits(world())}
    parts = [{visit.key for visit in visits(World(TINY, 1, share=(part, 3)))} for part in range(3)]
    assert set.union(*parts) == whole
    assert sum(map(len, parts)) == len(whole)


def test_visits_come_in_the_order_of_time_and_within_it() -> None:
    found = visits(world())
    assert len(found) > 100
    assert found == sorted(found, key=lambda visit: visit.at)
    assert all(START_MS <= visit.at < START_MS + 3 * DAY_MS for visit in found)


def test_split_windows_hold_the_same_visits() -> None:
    middle = START_MS + 30 * HOUR_MS + 1_234
    of = world()
    halves = [*of.visits(START_MS, middle), *of.visits(middle, START_MS + 3 * DAY_MS)]
    assert [visit.key for visit in halves] == [visit.key for visit in visits(world())]


@pytest.mark.parametrize("attention", ["position", "cascade", "trust"])
def test_expected_clicks_are_those_that_happen(attention: str) -> None:
    spec = replace(TINY, attention=attention)  # type: ignore[arg-type]
    likes = np.array([0.5, 0.1, 0.6, 0.05, 0.3])
    names = words(9, np.arange(5, dtype=np.uint64))
    happened = [len(clicked(spec, likes, key * 7919, names)[1]) for key in range(6_000)]
    error = float(np.std(happened)) / len(happened) ** 0.5
    assert abs(float(np.mean(happened)) - expected_clicks(spec, likes)) < 4 * error


@pytest.mark.parametrize("attention", ["position", "cascade", "trust"])
def test_no_list_is_worth_more_than_the_oracles(attention: str) -> None:
    of = world(attention=attention, items=6, categories=3)
    truth = Truth(of)
    for visit in visits(of, 0.5)[:8]:
        best = max(truth.value(visit, slate) for slate in permutations(of.shelf.ids, 3))
        assert truth.oracle(visit, 3)[1] == pytest.approx(best, abs=1e-12)


def test_asking_for_the_truth_changes_nothing() -> None:
    asked, unasked = world(), world()
    truth = Truth(asked)
    for visit, other in zip(
        asked.visits(START_MS, START_MS + DAY_MS), unasked.visits(START_MS, START_MS + DAY_MS), strict=True
    ):
        truth.oracle(visit, 5)
        truth.regret(visit, asked.shelf.ids[:5])
        slate = asked.shelf.ids[3:9]
        assert (visit, asked.answer(visit, slate), asked.organic(visit)) == (
            other,
            unasked.answer(other, slate),
            unasked.organic(other),
        )


def test_luck_does_not_depend_on_what_is_shown_beside() -> None:
    one, other = world(base=-1.0), world(base=-1.0)
    for visit in visits(one, 1)[:40]:
        first = {act.item for act in one.answer(visit, one.shelf.ids[:5]).acts if act.slot == 1}
        second = {
            act.item for act in other.answer(visit, [one.shelf.ids[0], *one.shelf.ids[20:24]]).acts if act.slot == 1
        }
        one._moods.clear()
        other._moods.clear()
        assert first == second


def test_a_bored_person_likes_the_category_less_and_recovers() -> None:
    of = world()
    visit = visits(of, 1)[0]
    category = int(of.shelf.category[0])
    before = Truth(of).utilities(visit)[0]
    of.mood(visit.person).bored[category] = 8.0
    of.mood(visit.person).at = visit.at
    later = replace(visit, at=visit.at + 14 * DAY_MS)
    bored = Truth(of).utilities(replace(visit, at=visit.at + 1))[0]
    assert bored == pytest.approx(before - TINY.boredom * 5.0, abs=1e-4)
    assert Truth(of).utilities(later)[0] > bored + 1.0


def test_what_was_bought_is_not_wanted_until_its_cycle_is_over() -> None:
    cycle = np.array([20 * DAY_MS, 0])
    at_once, due, much_later = (need(TINY, cycle, np.array([days, days]) * DAY_MS) for days in (0, 60, 600))
    assert at_once.tolist() == [-TINY.satiation, -TINY.satiation]
    assert due[0] > 0.7 * TINY.habit > 0.0 > due[1]
    assert much_later[1] == pytest.approx(0.0, abs=0.01)


def test_what_was_shown_again_and_again_tires() -> None:
    mood = Mood(np.zeros(TINY.categories))
    of = world()
    for hour in range(3):
        mood.show(np.array([4]), hour * 1000)
    assert mood.weariness(TINY, of.shelf, 3_000)[4] == pytest.approx(3 * TINY.fatigue, rel=1e-3)
    assert mood.weariness(TINY, of.shelf, 3 * DAY_MS)[4] == pytest.approx(3 * TINY.fatigue / 8, rel=1e-2)


def test_people_are_anonymous_then_log_in_once_on_each_device() -> None:
    of = world(second_device=1.0)
    logins: Counter[tuple[int, int]] = Counter()
    known: set[tuple[int, int]] = set()
    ids: dict[str, tuple[int, int]] = {}
    for visit in visits(of, 40):
        whose = (visit.person, visit.device)
        assert ids.setdefault(visit.anonymous_id, whose) == whose
        if whose in known:
            assert visit.user_id
        if visit.user_id:
            known.add(whose)
        logins[whose] += visit.logs_in
    assert {device for _, device in known} == {0, 1}
    assert max(logins.values()) == 1
    assert {whose for whose, times in logins.items() if times} == known


def test_content_people_come_more_often_than_those_who_find_nothing() -> None:
    def came(good: bool) -> int:
        of, count = world(base=-1.5, leave=0.5, weeks=6), 0
        truth = Truth(of)
        for visit in of.visits(START_MS, START_MS + 2 * WEEK_MS):
            of.answer(visit, truth.oracle(visit, 10)[0] if good else of.shelf.ids[:1])
            count += 1
        return count

    assert came(True) > 1.2 * came(False)


def test_nobody_and_nothing_comes_before_it_is_born() -> None:
    of = world(new_people_per_week=0.1, new_items_per_week=0.1)
    for visit in visits(of, 10):
        assert of.people.born[visit.person] <= visit.at
        for item in Truth(of).oracle(visit, 5)[0]:
            assert of.shelf.born[of.shelf.numbers[item]] <= visit.at


def test_the_hours_of_the_week_are_those_of_the_spec() -> None:
    hours = tuple(2.0 if hour % 24 < 12 else 0.0 for hour in range(168))
    assert all((visit.at // HOUR_MS) % 24 < 12 for visit in visits(world(hours=hours), 7) if not visit.page)


def test_the_starved_provider_is_as_good_and_less_seen() -> None:
    shelf = World(SPECS["calibrated"], 1).shelf
    last = shelf.provider == SPECS["calibrated"].providers - 1
    assert abs(shelf.quality[last].mean() - shelf.quality[~last].mean()) < 0.4
    assert shelf.appeal[last].mean() < shelf.appeal[~last].mean() - 0.8
