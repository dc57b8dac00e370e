"""The models retraining fits compute what their formulas say, held against slow and plain ones."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from implicit.cpu.als import AlternatingLeastSquares
from recommender_contract import query
from scipy import sparse
from small_model import MODEL, bound, facts_of, interactions_of
from small_shop import DAY, NOW, buyer, did, profile_of, small_shop
from threadpoolctl import threadpool_limits

from training import ease, ials, ridge_next_item, session_knn, user_knn
from training.interactions import Interactions
from training.model import Model, Table
from training.preference import most_active, preferences
from training.recommender import Query, ranked
from training.served_rows import served_rows, strongest

ITEMS = small_shop().snapshot()
NAMES = list(MODEL.item_ids)

ROWS = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from("abcdefg"), st.integers(0, 30), st.integers(0, 40)),
    min_size=1,
    max_size=60,
).map(lambda rows: [(user, item, day * DAY, 100 * user + event) for user, item, day, event in rows])


def table(rows: list[tuple[int, str, int, int]]) -> Interactions:
    """One event has one time: the first given."""
    first: dict[int, int] = {}
    return interactions_of([(u, i, first.setdefault(event, at), event) for u, i, at, event in rows], "abcdefg", 5)


def asked_of(fitted: Table, name: str, *given: str) -> Query:
    asked = query(ITEMS, given=given)
    model = Model("x", NAMES, {name: fitted})
    return Query(ITEMS, NOW, asked.surface, asked.history, asked.anchors, model=bound(ITEMS, model))


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_a_preference_is_the_decayed_share_of_a_persons_strongest(rows: list[tuple[int, str, int, int]]) -> None:
    interactions = table(rows)
    found = preferences(interactions, 30 * DAY).toarray()
    latest = {
        u: max(at for v, at in zip(interactions.user, interactions.at, strict=True) if v == u)
        for u in range(5)
        if u in interactions.user
    }
    expected = np.zeros((5, 7))
    for user, item, at, weight in zip(
        interactions.user, interactions.item, interactions.at, interactions.weight, strict=True
    ):
        expected[user, item] += weight * 2.0 ** (-(latest[user] - at) / (30 * DAY))
    expected /= np.maximum(expected.max(axis=1, keepdims=True), 1e-12)
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_most_active_items_come_by_rows_and_then_by_number() -> None:
    interactions = table([(0, "c", 0, 0), (0, "b", 0, 0), (0, "b", 1, 1), (0, "a", 2, 2)])
    assert most_active(interactions, 2).tolist() == [0, 1]
    assert most_active(interactions, 9).tolist() == [0, 1, 2]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 100))
def test_ease_solves_its_least_squares_under_a_zero_diagonal(seed: int, ridge: float) -> None:
    x = np.random.default_rng(seed).random((12, 5))
    weights = ease.item_weights(sparse.csr_matrix(x), ridge)
    assert np.diag(weights).tolist() == [0.0] * 5
    for item in range(5):
        others = [j for j in range(5) if j != item]
        a = x[:, others]
        best = np.linalg.solve(a.T @ a + ridge * np.eye(4), a.T @ x[:, item])
        assert weights[others, item] == pytest.approx(best, abs=1e-8)


@settings(max_examples=30, deadline=None)
@given(ROWS)
def test_ridge_next_item_regresses_each_event_on_the_decayed_ones_before(rows: list[tuple[int, str, int, int]]) -> None:
    interactions = table(rows)
    events, user = ridge_next_item.event_matrix(interactions, np.arange(7, dtype=np.int32))
    before = ridge_next_item.histories(events, user, 3, 0.5).toarray()
    own: dict[int, list[npt.NDArray[np.float64]]] = {}
    sequence = sorted(
        {
            (u, at, e)
            for u, at, e in zip(
                interactions.user.tolist(), interactions.at.tolist(), interactions.event.tolist(), strict=True
            )
        }
    )
    assert len(sequence) == len(user)
    for row, (who, at, event) in enumerate(sequence):
        items = {
            i
            for i, e, t in zip(
                interactions.item.tolist(), interactions.event.tolist(), interactions.at.tolist(), strict=True
            )
            if (e, t) == (event, at)
        }
        line = np.array([float(i in items) / len(items) for i in range(7)])
        assert events.toarray()[row] == pytest.approx(line, abs=1e-6)
        past = own.setdefault(who, [])
        expected = sum((0.5**lag * line_before for lag, line_before in enumerate(past[::-1][:3])), np.zeros(7))
        assert before[row] == pytest.approx(expected, abs=1e-6)
        past.append(line)
    weights = ridge_next_item.item_weights(sparse.csr_matrix(before), events, 2.0)
    after = events.toarray()
    assert weights == pytest.approx(np.linalg.solve(before.T @ before + 2.0 * np.eye(7), before.T @ after), abs=1e-5)


def loss_step(
    matrix: npt.NDArray[np.float64], fixed: npt.NDArray[np.float64], setting: ials.Settings
) -> npt.NDArray[np.float64]:
    """Row factors that minimise the loss for fixed column factors, row by row, densely."""
    out = np.zeros((len(matrix), fixed.shape[1]))
    for row, liked in enumerate(matrix):
        confidence = 1.0 + setting.alpha * liked
        ridge = setting.alpha * setting.ridge * ((liked > 0).sum() + len(fixed) / setting.alpha) ** setting.exponent
        system = (fixed.T * confidence) @ fixed + ridge * np.eye(fixed.shape[1])
        out[row] = np.linalg.solve(system, fixed.T @ (confidence * (liked > 0)))
    return out


MATRIX = np.round(np.random.default_rng(3).random((30, 20)) * (np.random.default_rng(4).random((30, 20)) < 0.3), 3)


def test_ials_ends_each_sweep_at_the_minimum_for_frequency_scaled_regularisation() -> None:
    setting = ials.Settings(factors=6, alpha=10.0, ridge=0.05, sweeps=4)
    people, items = ials.factorise(sparse.csr_matrix(MATRIX), setting, seed=1)
    expected = loss_step(MATRIX.T, people.astype(np.float64), setting)
    assert items == pytest.approx(expected, rel=0.02, abs=0.01)


def test_without_scaling_ials_is_implicits_own() -> None:
    """ν = 0: one λ for all. Both start elsewhere, so what is compared is where they end."""
    setting = ials.Settings(factors=4, alpha=10.0, ridge=0.5, exponent=0.0, sweeps=200)
    people, items = ials.factorise(sparse.csr_matrix(MATRIX), setting, seed=1)
    confidence = sparse.csr_matrix(MATRIX).astype(np.float32)
    confidence.data = 1 + 10 * confidence.data
    with threadpool_limits(1, "blas"):
        theirs = AlternatingLeastSquares(
            factors=4, regularization=float(np.exp(np.rint(np.log(5.0) / ials.LEVEL) * ials.LEVEL)),
            iterations=200, use_cg=False, num_threads=1, random_state=5,
        )  # fmt: skip
        theirs.fit(confidence, show_progress=False)
    assert people @ items.T == pytest.approx(theirs.user_factors @ theirs.item_factors.T, abs=0.02)


def test_rotating_factors_changes_no_product_and_makes_their_gram_diagonal() -> None:
    factors = np.random.default_rng(0).standard_normal((50, 5)).astype(np.float32)
    turned, gram = ials.rotated(factors)
    assert turned @ turned.T == pytest.approx(factors @ factors.T, abs=1e-4)
    assert turned.T @ turned == pytest.approx(np.diag(gram), abs=1e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.floats(1, 50), st.floats(0.1, 50))
def test_folding_in_solves_the_persons_own_equations(seed: int, liked: int, alpha: float, ridge: float) -> None:
    random = np.random.default_rng(seed)
    everything, gram = ials.rotated(random.standard_normal((40, 6)).astype(np.float32))
    own = everything[:liked]
    weight = random.uniform(0.05, 1.0, liked).astype(np.float32)
    found = ials.folded_in(own, weight, gram, alpha, ridge)
    system = np.diag(gram.astype(np.float64)) + (own.T * (alpha * weight)) @ own + ridge * np.eye(6)
    assert found == pytest.approx(np.linalg.solve(system, own.T @ (1 + alpha * weight)), rel=2e-3, abs=2e-3)


def test_an_item_nobody_touched_gets_the_factors_its_description_suggests() -> None:
    fitted = MODEL.tables["ials"]
    place, factors = fitted["place"], np.asarray(fitted["factors"], np.float32)
    new, tea, milk = (int(place[NAMES.index(item)]) for item in ("new", "tea", "nappies"))
    assert place[NAMES.index("undescribed")] == -1
    cosine = [
        float(factors[new] @ factors[at] / np.linalg.norm(factors[new]) / np.linalg.norm(factors[at]))
        for at in (tea, milk)
    ]
    assert cosine[0] > cosine[1]


def test_a_description_of_unheard_words_gives_no_factors() -> None:
    facts = facts_of(["a", "b", "c"], {"a": "X", "b": "X > Y", "c": "Z"})
    factors = np.ones((2, 3), np.float32)
    found = ials.described_factors(factors, np.array([0, 1], np.int32), facts, np.array([2], np.int32))
    assert found.tolist() == [[0.0] * 3]


def test_ials_likes_what_goes_with_the_taste() -> None:
    order = [ITEMS.ids[idx] for idx, _ in ranked(ials.Ials().recommend(query(ITEMS, given=["nappies"])))]
    assert order.index("wipes") < order.index("crisps")


@settings(max_examples=30, deadline=None)
@given(ROWS)
def test_user_knn_is_its_formula(rows: list[tuple[int, str, int, int]]) -> None:
    renamed = [(user, NAMES["abcdefg".index(item)], at, event) for user, item, at, event in rows]
    first: dict[int, int] = {}
    interactions = interactions_of([(u, i, first.setdefault(e, at), e) for u, i, at, e in renamed], NAMES, 5)
    asked = asked_of(user_knn.fit(interactions), "user_knn", NAMES[0], NAMES[1])
    found = dict(ranked(user_knn.UserKnn().recommend(asked)))
    r = preferences(interactions).toarray().astype(np.float64)
    r = r[(r > 0).sum(axis=1) > 1]
    idf = np.log1p(len(r) / np.maximum((r > 0).sum(axis=0), 1))
    close = (r[:, :2] * idf[:2] ** 2).sum(axis=1) / np.maximum(np.sqrt(((r * idf) ** 2).sum(axis=1)), 1e-9)
    expected = {ITEMS.index(NAMES[i]): score for i, score in enumerate((close @ r).tolist()) if score > 1e-9}
    assert {idx: score for idx, score in found.items() if score > 1e-9} == pytest.approx(expected, rel=1e-4)


@settings(max_examples=30, deadline=None)
@given(ROWS)
def test_session_knn_is_its_formula(rows: list[tuple[int, str, int, int]]) -> None:
    renamed = [(user, NAMES["abcdefg".index(item)], at, event) for user, item, at, event in rows]
    interactions = interactions_of(renamed, NAMES, 5)
    asked = asked_of(session_knn.fit(interactions), "session_knn", NAMES[0], NAMES[1])
    found = dict(ranked(session_knn.SessionKnn().recommend(asked)))
    sessions: dict[tuple[int, int], set[int]] = {}
    for user, item, at in zip(
        interactions.user.tolist(), interactions.item.tolist(), interactions.at.tolist(), strict=True
    ):
        sessions.setdefault((user, at), set()).add(item)  # days apart, so a moment is a session
    kept = {when: held for when, held in sessions.items() if len(held) > 1}
    df = [sum(item in held for held in kept.values()) for item in range(len(NAMES))]
    expected: dict[int, float] = {}
    for (_, at), held in kept.items():
        age = (int(interactions.at.max()) - at) / (60 * DAY)
        alike = (
            sum(math.log1p(len(kept) / max(df[item], 1)) for item in (0, 1) if item in held)
            * 2**-age
            / math.sqrt(len(held))
        )
        for item in held:
            if alike > 0:
                expected[ITEMS.index(NAMES[item])] = expected.get(ITEMS.index(NAMES[item]), 0.0) + alike
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_session_ends_with_half_an_hour_of_silence() -> None:
    minute = 60_000
    rows = [(0, "a", 0, 0), (0, "b", 29 * minute, 1), (0, "c", 59 * minute, 2), (1, "d", 1, 3)]
    assert session_knn.session_numbers(table(rows), 30 * minute).tolist() == [1, 0, 1, 2]


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_served_rows_are_the_strongest_positive_weights(seed: int, limit: int) -> None:
    weights = np.round(np.random.default_rng(seed).standard_normal((6, 6)), 1)
    items = np.array([0, 2, 3, 5, 7, 8], np.int32)
    made = served_rows(weights, items, 10, limit)
    for row in range(6):
        order = [at for at in sorted(range(6), key=lambda at: (-weights[row, at], at)) if weights[row, at] > 0][:limit]
        idx = np.asarray(made["idx"])[row]
        assert idx[idx >= 0].tolist() == items[order].tolist()
    assert np.flatnonzero(np.asarray(made["place"]) >= 0).tolist() == items.tolist()


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 20).map(float), st.integers(-1, 5)), max_size=30),
    st.integers(1, 8),
)
def test_the_strongest_are_sums_by_item_with_the_last_cause(entries: list[tuple[int, float, int]], limit: int) -> None:
    arrays = [
        np.array(column, kind)
        for column, kind in zip(
            zip(*entries, strict=True) if entries else ([], [], []), (np.int32, np.float32, np.int32), strict=True
        )
    ]
    found = strongest(*arrays, 10, limit)  # type: ignore[arg-type]
    sums: dict[int, float] = {}
    causes: dict[int, int] = {}
    for idx, score, because in entries:
        sums[idx] = sums.get(idx, 0.0) + score
        causes[idx] = because
    best = sorted(sums, key=lambda idx: (-sums[idx], idx))[:limit]
    assert sorted(found.idx.tolist()) == sorted(best)
    for idx, score, because in zip(found.idx.tolist(), found.score.tolist(), found.because.tolist(), strict=True):
        assert (score, because) == (sums[idx], causes[idx])


def test_a_taste_is_what_was_done_lately_and_what_is_always_bought() -> None:
    taste = query(ITEMS, buyer()).taste
    assert {ITEMS.ids[idx] for idx in taste.idx} == {"nachos", "tea", "milk"}
    assert [MODEL.item_ids[n] for n in taste.number] == [ITEMS.ids[idx] for idx in taste.idx]
    assert taste.weight[0] == taste.weight.max() == 1.0


def test_a_page_with_an_item_lowers_the_past_by_the_surfaces_share() -> None:
    profile = profile_of((did("purchase", "tea"), NOW - DAY))
    asked = query(ITEMS, profile, ["nachos"])
    there = Query(
        ITEMS,
        NOW,
        asked.surface.model_copy(update={"history_share": 0.25}),
        asked.history,
        asked.anchors,
        model=asked.model,
    )
    assert dict(zip(there.taste.idx.tolist(), there.taste.weight.tolist(), strict=True))[ITEMS.index("nachos")] == 1.0
    assert there.taste.weight.tolist()[-1] == 0.25
