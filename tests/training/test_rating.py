"""The online rating model: learns one rating at a time, answers without changing, forgets within bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rated import Rated, ratings
from river import linear_model, optim, reco

from events.errors import Corrupt
from training.rating import Rating, Scale
from training.rating_factors import Factors, Variant
from training.rating_pairs import PEOPLE_MAX, PairCovariance
from training.rating_residuals import HISTORY
from training.rating_slots import Slots
from training.rating_state import pack, unpack
from training.recursive_least_squares import RecursiveLeastSquares


def learned(rows: list[Rated], model: Rating | None = None) -> Rating:
    model = model or Rating()
    for row in rows:
        model.learn_one(row.user, row.item, row.rating)
    return model


def small() -> Rating:
    """So small that everything gives way all the time."""
    return Rating(people_max=5, items_max=12, pairs_max=4)


def test_predicting_leaves_the_model_unchanged() -> None:
    model = learned(ratings(400, seed=1))
    before = pack(model)
    for user, item in (("u0", "i0"), ("u0", "nobody's"), ("a stranger", "i0"), ("a stranger", "nobody's")):
        assert 1 <= model.predict_one(user, item) <= 5
        model.scores(user, [item])
    assert pack(model) == before


def test_learning_returns_what_predicting_just_before_says() -> None:
    model = learned(ratings(300, seed=2))
    for row in ratings(50, seed=3):
        said = model.predict_one(row.user, row.item)
        assert model.learn_one(row.user, row.item, row.rating) == pytest.approx(said, abs=1e-9)


def test_a_list_is_scored_as_its_items_are_one_by_one() -> None:
    model = learned(ratings(500, seed=4))
    items = [f"i{number}" for number in range(25)] + ["unknown"]
    scores = model.scores("u1", items)
    assert scores is not None
    assert scores.tolist() == pytest.approx([model.predict_one("u1", item) for item in items], abs=1e-9)


def test_somebody_who_never_rated_is_abstained_from() -> None:
    model = learned(ratings(100, seed=5))
    assert model.scores("a stranger", ["i0"]) is None
    assert Rating().scores("u0", []) is None


def test_nothing_learned_means_the_middle_of_the_scale() -> None:
    assert Rating().predict_one("u", "i") == 3.0
    assert Rating(Scale(-1, 1)).predict_one("u", "i") == 0.0


def test_it_learns_who_is_lenient_which_item_is_good_and_who_likes_what() -> None:
    """Two tastes over two halves of the items, of which the model is told nothing."""
    model = learned(ratings(4000, seed=6, lenience=0.7, taste=1.0))
    for person in range(4):
        same, other = (
            np.mean(model.scores(f"u{person}", [f"i{n}" for n in range(30) if (n + person) % 2 == k])) for k in (0, 1)
        )
        assert same > other + 1.0
    strict, lenient = (np.mean(model.scores(user, [f"i{n}" for n in range(30)])) for user in ("u0", "u38"))
    assert lenient > strict + 0.3


def test_it_beats_means_and_rivers_factors_on_their_own() -> None:
    rows = ratings(3000, seed=7, lenience=0.5, taste=0.8)
    model, alone = Rating(), reco.BiasedMF(10, optim.SGD(0.025), optim.SGD(0.025), seed=1)
    ours = theirs = mean = total = 0.0
    for number, row in enumerate(rows):
        average = total / number if number else 3.0
        mean += (average - row.rating) ** 2
        theirs += (min(max(alone.predict_one(row.user, row.item), 1), 5) - row.rating) ** 2
        ours += (model.learn_one(row.user, row.item, row.rating) - row.rating) ** 2
        alone.learn_one(row.user, row.item, row.rating)
        total += row.rating
    assert ours < 0.95 * theirs
    assert ours < 0.9 * mean


@pytest.mark.parametrize("make", [Rating, small])
def test_saved_and_loaded_it_goes_on_as_if_nothing_had_happened(make: type[Rating]) -> None:
    rows = ratings(600, seed=8)
    whole = learned(rows[:300], make())
    whole.forget("u3")
    again = unpack(pack(whole))
    assert pack(again) == pack(whole)
    for row in rows[300:]:
        assert whole.learn_one(row.user, row.item, row.rating) == again.learn_one(row.user, row.item, row.rating)
    assert pack(again) == pack(whole)


def test_the_same_ratings_give_the_same_bytes() -> None:
    assert pack(learned(ratings(200, seed=9))) == pack(learned(ratings(200, seed=9)))


@pytest.mark.parametrize("data", [b"", b"\x80", b"not msgpack", pack(Rating())[:-40], b"\x81\xa6format\x07"])
def test_bytes_that_are_not_a_models_are_refused(data: bytes) -> None:
    with pytest.raises(Corrupt, match="rating model"):
        unpack(data)


def test_memory_stays_within_its_bounds_however_many_come() -> None:
    model = Rating(people_max=3, items_max=4, pairs_max=2)
    sizes = set()
    for number in range(400):
        model.learn_one(f"u{number % 17}", f"i{number % 23}", 1 + number % 5)
        sizes.add(len(pack(model)) // 4096)
    assert len(model.people) == 3
    assert len(model.items) == 4
    assert len(model.residuals.pairs.slots) <= 2
    assert len(sizes) <= 3


def test_who_was_forgotten_to_make_room_comes_back_as_a_stranger() -> None:
    model = Rating(people_max=2)
    for user in ("a", "b", "c"):
        model.learn_one(user, "film", 5.0)
    assert model.scores("a", ["film"]) is None
    assert model.scores("b", ["film"]) is not None
    assert int(model.person_count[model.people.get("c")]) == 1


def test_an_item_that_gave_way_no_longer_counts_in_the_histories_of_those_who_rated_it() -> None:
    model = Rating(items_max=2)
    for item in ("x", "y", "z"):
        model.learn_one("u", item, 5.0)
    past = model.residuals.past(model.people.get("u"))
    assert len(past.item) == 2


def test_an_item_in_the_place_of_one_that_gave_way_inherits_no_likeness() -> None:
    model = Rating(items_max=3)
    for person in range(60):
        for item, rating in (("a", 1 + person % 5), ("b", 1 + person % 5)):
            model.learn_one(f"u{person}", item, rating)
    a, b = (model.items.get(item) for item in ("a", "b"))
    alike = model.residuals.pairs.between(np.array([a]), np.array([b]))[0, 0]
    assert alike > 0.1
    for item in ("c", "b", "d"):
        model.learn_one("somebody", item, 3.0)
    assert model.items.get("d") == a
    assert abs(model.residuals.pairs.between(np.array([a]), np.array([b]))[0, 0]) < 0.1 * alike


def test_nothing_is_left_of_a_person_who_is_forgotten() -> None:
    model = learned(ratings(200, seed=10))
    slot = model.people.get("u3")
    assert slot >= 0
    assert b"\xa2u3" in pack(model)
    model.forget("u3")
    model.forget("never seen")
    assert model.scores("u3", ["i0"]) is None
    assert not model.residuals.past_stars[slot].any()
    assert b"\xa2u3" not in pack(model)
    assert model.learn_one("new", "i0", 4.0) > 0
    assert model.people.get("new") == slot


def test_rating_an_item_again_replaces_the_earlier_rating() -> None:
    model = Rating()
    for rating in (1.0, 2.0, 5.0):
        model.learn_one("u", "film", rating)
    model.learn_one("u", "other", 3.0)
    person = model.people.get("u")
    length = model.residuals.past_length[person]
    assert model.residuals.past_stars[person, :length].tolist() == [5.0, 3.0]


def test_a_history_keeps_the_latest_ratings() -> None:
    model = Rating()
    for number in range(HISTORY + 3):
        model.learn_one("u", f"i{number}", 1 + number % 5)
    person = model.people.get("u")
    assert model.residuals.past_length[person] == HISTORY
    assert model.residuals.past_stars[person, -1] == 1 + (HISTORY + 2) % 5
    assert model.residuals.past_stars[person, 0] == 1 + 3 % 5


def test_a_rating_that_is_no_number_is_refused_and_one_off_the_scale_is_cut() -> None:
    model = Rating()
    with pytest.raises(ValueError, match="film"):
        model.learn_one("u", "film", math.nan)
    assert len(model.people) == 0
    model.learn_one("u", "film", 1e9)
    assert model.residuals.sum == 5.0


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.floats(1, 5)), max_size=40))
def test_whatever_comes_predictions_are_finite_and_on_the_scale(rows: list[tuple[int, int, float]]) -> None:
    model = Rating(people_max=3, items_max=4, pairs_max=3)
    for user, item, rating in rows:
        assert 1 <= model.learn_one(str(user), str(item), rating) <= 5


def test_factors_over_arrays_are_rivers_own() -> None:
    """Biases, vectors and predictions of `reco.BiasedMF` from the same start."""
    ours = Factors(Variant(4, 0.03, 0.02, seed=5), people_max=8, items_max=8)
    river = reco.BiasedMF(4, optim.SGD(0.03), optim.SGD(0.02))
    for slot in range(8):
        ours.admit_person(slot, f"u{slot}")
        ours.admit_item(slot, f"i{slot}")
        river.u_latents[slot], river.i_latents[slot] = (
            ours.model.u_latents[slot].copy(),
            ours.model.i_latents[slot].copy(),
        )
    rng = np.random.default_rng(11)
    for user, item, rating in zip(*rng.integers(0, 8, (2, 300)), rng.integers(1, 6, 300), strict=True):
        said = ours.estimate(int(user), np.array([item]))
        assert said[0] == pytest.approx(river.predict_one(user, item), abs=1e-9)
        ours.learn(int(user), int(item), float(rating))
        river.learn_one(user, item, float(rating))


def test_latent_vectors_start_the_same_whoever_came_first() -> None:
    first, second = (Factors(Variant(4, 0.1, 0.1), 8, 8) for _ in range(2))
    first.admit_person(0, "a")
    second.admit_person(0, "b")
    second.admit_person(1, "a")
    assert first.model.u_latents[0].tolist() == second.model.u_latents[1].tolist()
    assert first.model.u_latents[0].tolist() != second.model.u_latents[0].tolist()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.floats(-3, 3), min_size=4, max_size=4), min_size=1, max_size=30), st.floats(0.5, 50))
def test_without_forgetting_the_blend_is_ridge_regression(rows: list[list[float]], ridge: float) -> None:
    ours = RecursiveLeastSquares(3, ridge, 1.0)
    river = linear_model.BayesianLinearRegression(alpha=ridge, beta=1.0)
    for *x, y in rows:
        ours.learn_one(np.array(x), y)
        river.learn_one(dict(enumerate(x)), y)
    x, y = np.array(rows)[:, :3], np.array(rows)[:, 3]
    exact = np.linalg.solve(x.T @ x + ridge * np.eye(3), x.T @ y)
    assert ours.weights == pytest.approx(exact, abs=1e-8)
    assert float(exact.sum()) == pytest.approx(river.predict_one({0: 1.0, 1: 1.0, 2: 1.0}), abs=1e-6)


def test_forgetting_follows_a_change_and_never_lets_the_unseen_grow_without_bound() -> None:
    ours, rng = RecursiveLeastSquares(2, 10.0, 0.99), np.random.default_rng(12)
    for number in range(4000):
        x = np.array([rng.normal(), 0.0])
        ours.learn_one(x, float(x[0]) * (1 if number < 2000 else -1))
    assert ours.weights.tolist() == pytest.approx([-1, 0], abs=0.01)
    assert ours.covariance[1, 1] == 1 / 10.0


def test_counts_of_a_pair_are_halved_before_they_could_lose_precision() -> None:
    pairs = PairCovariance(4)
    for item in (0, 1):
        pairs.learn(item, np.array([], np.int64), np.array([]))
    pairs._people[0, 1] = pairs._people[1, 0] = PEOPLE_MAX - 1
    pairs._sum[0, 1] = pairs._sum[1, 0] = 0.5 * (PEOPLE_MAX - 1)
    pairs.learn(0, np.array([1]), np.array([0.5]))
    assert pairs._people[0, 1] == PEOPLE_MAX / 2
    assert pairs.between(np.array([0]), np.array([1]))[0, 0] == pytest.approx(0.5, rel=0.01)


class TestSlots:
    def test_a_freed_slot_is_given_out_before_anybody_gives_way(self) -> None:
        slots = Slots[str](2)
        assert [slots.admit(key) for key in "ab"] == [(0, True), (1, True)]
        assert slots.remove("a") == 0
        assert slots.remove("a") == -1
        assert slots.admit("c") == (0, True)
        assert slots.oldest() == "b"

    @settings(max_examples=50)
    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), max_size=60), st.integers(1, 4))
    def test_no_two_share_a_slot_and_a_copy_goes_on_alike(self, steps: list[tuple[bool, int]], most: int) -> None:
        slots = Slots[int](most)
        for admits, key in steps:
            if admits:
                slots.admit(key)
            else:
                slots.remove(key)
            taken = [slot for _, slot in slots]
            assert sorted([*taken, *slots.free]) == list(range(slots.used))
            assert slots.used <= most
        copy = Slots.restored(most, tuple(slots), slots.free)
        assert [copy.admit(key) for key in range(7)] == [slots.admit(key) for key in range(7)]
