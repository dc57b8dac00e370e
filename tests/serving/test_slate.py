"""Slots are filled in a total order or drawn with the probabilities that are logged, and never with two items of one
label."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from actors.item_reader import id_hashes
from serving.slate import DRAWN_MAX, POINTS, Sampling, Shortlist, Slate, chances, fill, propensities

NOBODY = -1
STILL = Sampling()


def shortlist(*candidates: tuple[float, int, int, int, int], first: int = 0) -> Shortlist:
    """Each candidate is (gain, label, leaf, parent, brand)."""
    table = np.array(candidates, np.float64).reshape(len(candidates), 5)
    hashes = id_hashes([f"item {first + number}" for number in range(len(candidates))])
    return Shortlist(table[:, 0].astype(np.float32), table[:, 1:].T.astype(np.int32), hashes)


def plain(*gains: float) -> Shortlist:
    return shortlist(*[(gain, NOBODY, NOBODY, NOBODY, NOBODY) for gain in gains])


NUMBERS = st.integers(-1, 3)
CANDIDATES = st.lists(
    st.tuples(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0]), st.integers(-1, 6), NUMBERS, NUMBERS, NUMBERS), max_size=24
)
SAMPLINGS = st.builds(
    Sampling,
    tau=st.sampled_from([0.0, 0.05, 0.3, 2.0]),
    floor=st.sampled_from([0.0, 0.3, 1.0]),
    exploration_slots=st.sampled_from([(), (2,), (1, 3)]),
    diversity=st.sampled_from([0.0, 0.4]),
)


# ---- without chance ----------------------------------------------------------------------------------------------


def expected(candidates: list[tuple[float, int, int, int, int]], slots: int, diversity: float) -> list[int]:
    """Greedy maximal marginal relevance, by the definition."""
    chosen: list[int] = []
    for _ in range(slots):
        left = [
            column
            for column, one in enumerate(candidates)
            if column not in chosen and not any(one[1] == candidates[above][1] >= 0 for above in chosen)
        ]
        if not left:
            break
        chosen.append(max(left, key=lambda column: (worth(candidates, column, chosen, diversity), -column)))
    return chosen


def worth(candidates: list[tuple[float, int, int, int, int]], column: int, above: list[int], diversity: float) -> float:
    own = candidates[column]
    shared = [any(own[kind] == candidates[other][kind] >= 0 for other in above) for kind in (2, 3, 4)]
    return own[0] - diversity * sum(points for points, holds in zip(POINTS, shared, strict=True) if holds)


@settings(max_examples=150, deadline=None)
@given(CANDIDATES, st.integers(1, 12), st.sampled_from([0.0, 0.4, 2.0]))
def test_without_temperature_each_slot_goes_to_the_best_left(
    candidates: list[tuple[float, int, int, int, int]], slots: int, diversity: float
) -> None:
    slate = fill(shortlist(*candidates), Sampling(diversity=diversity), 1, slots)
    assert list(slate.columns) == expected(candidates, slots, diversity)
    assert set(slate.propensities) <= {1.0}


def test_equal_losses_in_another_order_stay_a_tie() -> None:
    """In steps, 0.5 - 0.2 - 0.1 is less than 0.5 - 0.1 - 0.2: the sum must not know which came first."""
    above = [(3.0, 0, 1, NOBODY, NOBODY), (2.0, 1, NOBODY, NOBODY, 2), (1.9, 2, NOBODY, 7, 3), (1.8, 3, 8, NOBODY, 9)]
    tied = [(0.5, 4, 1, NOBODY, 9), (0.5, 5, 8, NOBODY, 2), (0.5, 6, NOBODY, 7, 3)]
    slate = fill(shortlist(*above, *tied), Sampling(diversity=0.4), 1, 7)
    assert slate.columns == (0, 1, 2, 3, 4, 5, 6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.4, 2.0]), st.sampled_from([3, 20, 300]))
def test_far_down_too_each_slot_goes_to_the_best_left(seed: int, diversity: float, names: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = rng.integers(-1, names, (4, 110)).T.tolist()
    candidates = [(gain, *own) for gain, own in zip((rng.integers(-4, 5, 110) / 4).tolist(), kinds, strict=True)]
    slate = fill(shortlist(*candidates), Sampling(diversity=diversity), 1, 100)
    assert list(slate.columns) == expected(candidates, 100, diversity)


@pytest.mark.parametrize("tau", [0.0, 0.3])
def test_a_long_list_has_the_propensities_of_its_slate(tau: float) -> None:
    rng = np.random.default_rng(5)
    candidates = [(float(gain), *rng.integers(-1, 90, 4).tolist()) for gain in rng.normal(size=150)]
    long, sampling = shortlist(*candidates), Sampling(tau, 0.3, (4,), 0.4)
    for forced in ({}, {0: 17}, {60: 17}):
        slate = fill(long, sampling, 8, 90, forced)
        assert len(slate.columns) > DRAWN_MAX
        assert propensities(long, sampling, slate.columns, forced) == slate.propensities


def test_labels_that_repeat_at_the_top_do_not_empty_the_list() -> None:
    many = [(2.0, 0, -1, -1, -1)] * 200 + [(1.0, label, -1, -1, -1) for label in range(1, 20)]
    for sampling in (STILL, Sampling(tau=0.05)):
        assert len(fill(shortlist(*many), sampling, 1, 10).columns) == 10


# ---- what holds of every slate -----------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(CANDIDATES, SAMPLINGS, st.integers(0, 2**64 - 1), st.integers(1, 8))
def test_a_slate_is_whole_has_no_label_twice_and_knows_its_own_probability(
    candidates: list[tuple[float, int, int, int, int]], sampling: Sampling, seed: int, slots: int
) -> None:
    pool = shortlist(*candidates)
    slate = fill(pool, sampling, seed, slots)
    labels = [candidates[column][1] for column in slate.columns if candidates[column][1] >= 0]
    distinct = len({one[1] for one in candidates if one[1] >= 0}) + sum(one[1] < 0 for one in candidates)
    assert len(set(slate.columns)) == len(slate.columns) == min(slots, distinct)
    assert len(labels) == len(set(labels))
    assert all(0 < one <= 1 + 1e-12 for one in slate.propensities)
    assert propensities(pool, sampling, slate.columns) == slate.propensities
    assert fill(pool, sampling, seed, slots) == slate


@settings(max_examples=100, deadline=None)
@given(CANDIDATES.filter(bool), SAMPLINGS, st.integers(0, 2**64 - 1))
def test_the_probabilities_of_a_slot_add_up_to_one(
    candidates: list[tuple[float, int, int, int, int]], sampling: Sampling, seed: int
) -> None:
    pool = shortlist(*candidates)
    above = list(fill(pool, sampling, seed, 2).columns)
    for cut in range(len(above) + 1):
        total = sum(propensities(pool, sampling, [*above[:cut], column])[cut] for column in range(len(pool)))
        left = expected(candidates, cut + 1, 0.0)
        assert total == pytest.approx(1.0 if len(left) > cut else 0.0, abs=1e-9)


def test_the_formula_by_hand() -> None:
    """Gains 1 and 0; 2 shares the leaf and parent of 0, so it loses 0.4 once 0 stands above."""
    pool = shortlist((1, -1, 7, 8, -1), (0, -1, -1, -1, -1), (0.5, -1, 7, 8, -1))
    rules = Sampling(tau=0.5, floor=0.2, exploration_slots=(2,), diversity=0.4)
    first = math.exp(2) / (math.exp(2) + 1 + math.exp(1))
    second = 0.8 * math.exp(0.2) / (math.exp(0.2) + 1) + 0.2 / 2
    assert propensities(pool, rules, (0, 2, 1)) == pytest.approx((first, second, 1.0), rel=1e-6)


def test_extreme_gains_keep_every_probability_above_zero() -> None:
    slate = fill(plain(30.0, -30.0, 0.0), Sampling(tau=0.05, diversity=2.0), 1, 3)
    assert slate.columns == (0, 2, 1)
    assert min(propensities(plain(30.0, -30.0, 0.0), Sampling(tau=0.05), (1, 2, 0))) > 0


def test_slots_far_down_are_not_drawn() -> None:
    pool = plain(*np.linspace(1, 0, DRAWN_MAX + 10).tolist())
    slate = fill(pool, Sampling(tau=2.0), 5, DRAWN_MAX + 10)
    assert set(slate.propensities[DRAWN_MAX:]) == {1.0}
    assert list(slate.columns[DRAWN_MAX:]) == sorted(slate.columns[DRAWN_MAX:])
    assert propensities(pool, Sampling(tau=2.0), slate.columns) == slate.propensities


# ---- noise -------------------------------------------------------------------------------------------------------


def test_noise_belongs_to_the_item_not_to_its_place() -> None:
    """One more candidate that is not drawn, and another numbering, change nothing for the others."""
    gains = [0.5, 0.4, 0.3, 0.2, 0.1]
    names = [f"item {number}" for number in range(5)]
    kinds = np.full((4, 6), -1, np.int32)
    for seed in range(50):
        one = fill(Shortlist(np.array(gains, np.float32), kinds[:, :5], id_hashes(names)), Sampling(tau=0.5), seed, 5)
        moved = np.array([-40.0, *gains[::-1]], np.float32)
        two = fill(Shortlist(moved, kinds, id_hashes(["more", *names[::-1]])), Sampling(tau=0.5), seed, 5)
        assert [names[column] for column in one.columns] == [names[5 - column] for column in two.columns]


def test_an_item_whose_gain_grows_never_falls_in_the_first_slot() -> None:
    before, after = plain(0.0, 0.1, 0.2), plain(0.3, 0.1, 0.2)
    for seed in range(300):
        if fill(before, Sampling(tau=0.5), seed, 1).columns == (0,):
            assert fill(after, Sampling(tau=0.5), seed, 1).columns == (0,)


def test_seeds_beside_each_other_draw_independently() -> None:
    draws = [fill(plain(0.0, 0.0), Sampling(tau=1.0), seed, 1).columns[0] for seed in range(4_000)]
    repeats = sum(one == two for one, two in pairwise(draws))
    assert abs(sum(draws) - 2_000) < 3.5 * math.sqrt(1_000)
    assert abs(repeats - 2_000) < 3.5 * math.sqrt(1_000)


# ---- forced slots ------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(SAMPLINGS, st.integers(0, 2**64 - 1))
def test_a_forced_item_stands_where_it_was_put_and_is_never_drawn(sampling: Sampling, seed: int) -> None:
    pool = shortlist(*[(gain, label, 0, 0, 0) for gain, label in ((9.0, 1), (1.0, 1), (0.5, 2), (0.0, 3))])
    slate = fill(pool, sampling, seed, 4, {1: 1})
    assert (slate.columns[1], slate.propensities[1], slate.forced) == (1, 1.0, (1,))
    assert slate.columns.count(1) == 1
    assert 0 not in slate.columns, "its label stands in the list already"
    assert propensities(pool, sampling, slate.columns, {1: 1}) == slate.propensities


# ---- shares over many slates -------------------------------------------------------------------------------------

DRAWS = 100_000
POOL = shortlist(
    (1.2, 0, 0, 0, 0), (1.0, 1, 0, 0, 1), (0.8, 2, 1, 0, 1), (0.4, 2, 2, 2, NOBODY), (-0.5, NOBODY, NOBODY, NOBODY, 0)
)
LOGGING = Sampling(tau=0.6, floor=0.3, exploration_slots=(2,), diversity=0.5)
TARGET = Sampling(tau=0.9, diversity=0.2)
TARGET_POOL = Shortlist(POOL.gains + np.array([0.0, 0.3, -0.2, 0.4, 0.2], np.float32), POOL.kinds, POOL.hashes)


@pytest.fixture(scope="module")
def drawn() -> Counter[Slate]:
    return Counter(fill(POOL, LOGGING, seed, 3) for seed in range(DRAWS))


def test_shares_match_the_logged_propensities(drawn: Counter[Slate]) -> None:
    """Chi-square of the next item given those above, over all that can stand above. Fixed seeds: no flakes."""
    prefixes: dict[tuple[int, ...], Counter[int]] = {}
    for slate, times in drawn.items():
        for slot, column in enumerate(slate.columns):
            prefixes.setdefault(slate.columns[:slot], Counter())[column] += times
    statistic, freedom = 0.0, 0
    for above, seen in prefixes.items():
        expected = {
            column: propensities(POOL, LOGGING, (*above, column))[-1] * seen.total() for column in range(len(POOL))
        }
        cells = [(seen[column], hoped) for column, hoped in expected.items() if hoped > 0]
        if min(hoped for _, hoped in cells) >= 5:
            statistic += sum((had - hoped) ** 2 / hoped for had, hoped in cells)
            freedom += len(cells) - 1
    assert freedom > 20
    assert 0.001 < chi2.sf(statistic, freedom) < 0.999


def test_shares_of_whole_slates_match_the_product_of_propensities(drawn: Counter[Slate]) -> None:
    slates: Counter[tuple[int, ...]] = Counter()
    chance: dict[tuple[int, ...], float] = {}
    for slate, times in drawn.items():
        slates[slate.columns] += times
        chance[slate.columns] = math.prod(slate.propensities)
    cells = [(slates[columns], DRAWS * share) for columns, share in chance.items()]
    statistic = sum((had - hoped) ** 2 / hoped for had, hoped in cells)
    assert sum(chance.values()) == pytest.approx(1.0, abs=1e-9)
    assert 0.001 < chi2.sf(statistic, len(cells) - 1) < 0.999


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_the_mean_importance_weight_of_another_policy_is_one(drawn: Counter[Slate], slots: int) -> None:
    weights, times = [], []
    for slate, count in drawn.items():
        target = propensities(TARGET_POOL, TARGET, slate.columns)
        weights.append(math.prod(target[:slots]) / math.prod(slate.propensities[:slots]))
        times.append(count)
    mean = np.average(weights, weights=times)
    deviation = math.sqrt(np.average((np.array(weights) - mean) ** 2, weights=times) / DRAWS)
    assert deviation > 0
    assert abs(mean - 1.0) < 3 * deviation


def test_the_floor_decides_its_share_of_the_exploration_slot(drawn: Counter[Slate]) -> None:
    explored = sum(times for slate, times in drawn.items() if slate.explored)
    assert {slot for slate in drawn for slot in slate.explored} == {1}
    assert abs(explored - 0.3 * DRAWS) < 4 * math.sqrt(DRAWS * 0.3 * 0.7)


# ---- every candidate's chance ------------------------------------------------------------------------------------


@given(CANDIDATES, SAMPLINGS, st.integers(1, 6))
def test_chances_hold_the_propensities_and_each_slot_s_add_up_to_one(
    candidates: list[tuple[float, int, int, int, int]], sampling: Sampling, slots: int
) -> None:
    short = shortlist(*candidates)
    slate = fill(short, sampling, seed=7, slots=slots)
    rows = chances(short, sampling, slate.columns)
    assert rows.shape == (len(slate.columns), len(short))
    assert rows.sum(axis=1) == pytest.approx(np.ones(len(slate.columns)))
    own = [row[column] for row, column in zip(rows, slate.columns, strict=True)]
    assert own == pytest.approx(list(slate.propensities))


def test_a_guest_has_no_chance_but_keeps_its_label_away() -> None:
    """The last candidate was shown by somebody else; it shares a label with the first."""
    short = shortlist((1.0, 5, -1, -1, -1), (0.0, -1, -1, -1, -1), (0.0, -1, -1, -1, -1), (-1e6, 5, -1, -1, -1))
    rows = chances(short, Sampling(tau=1.0, floor=0.5, exploration_slots=(2,)), (3, 1), guests=1)
    assert rows[0, 3] == 0.0
    assert rows[0].sum() == pytest.approx(1.0)
    assert rows[1].tolist() == pytest.approx([0.0, 0.5, 0.5, 0.0])
