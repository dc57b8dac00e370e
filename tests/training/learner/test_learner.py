"""The learner from end to end in memory: what is learned, when, and from whom."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from learner_lists import DAY, FIXED, HOUR, MINUTE, NAMES, SECOND, START, Shop, counts, did, everything, seen, settle

from actors.lmdb_state import LmdbReader, LmdbState
from actors.partition import Outcome
from actors.recorded import plans
from actors.state import MemoryState
from events.payload import decode
from events.record import Draft
from events.types import Consented, DriftDetected, Interaction, Line, Meta, ModelPromoted, Signal, SubjectErased
from training.attribution import Windows
from training.learned import KEY, TABLE, Learned, SurfaceWeights, unpack
from training.learner.blends import Blends
from training.learner.board import KIND_FORGET, KIND_TAUGHT, LISTS_PER_PERSON
from training.learner.settings import LearnerSettings
from training.rating_journal import RatingCopy, key_of


def published(store: MemoryState) -> Learned:
    row = store.get(TABLE, KEY)
    assert row is not None, "nothing was published"
    return unpack(row)


def seen_list(shop: Shop, list_id: str = "r1", subject: str = "ann") -> None:
    shop.answer(list_id, "tea", "milk", "soap")
    shop.add(0, subject, seen(list_id, "tea", "milk", "soap"))


def test_every_row_is_learned_once_for_every_outcome_when_its_window_closes() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    seen_list(shop)
    shop.now += MINUTE
    shop.add(0, "ann", did("click", "milk", list_id="r1"))
    settle(learner, START + 30 * MINUTE - 1)
    assert counts(learner)["learned_click"] == 0
    settle(learner, START + 30 * MINUTE)
    assert (counts(learner)["learned_click"], counts(learner)["positive_click"]) == (3, 1)
    settle(learner, START + DAY)
    assert (counts(learner)["learned_cart"], counts(learner)["positive_cart"]) == (3, 0)
    settle(learner, START + 30 * DAY)
    assert [counts(learner)[f"learned_{one}"] for one in ("click", "cart", "purchase")] == [3, 3, 3]
    assert learner.projection.due() is None
    assert not list(store.scan("pending")) + list(store.scan("by_subject")) + list(store.scan("shown_order"))


def test_an_idle_learner_writes_nothing() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    seen_list(shop)
    settle(learner, START + 30 * DAY)
    before = everything(store)
    assert not learner.step(START + 60 * DAY)
    assert everything(store) == before


def test_what_was_learned_is_published_within_a_second_of_log_time() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    seen_list(shop)
    shop.now += SECOND // 10
    seen_list(shop, "r2", "bob")
    settle(learner, START + 30 * MINUTE)
    first = published(store)
    settle(learner, START + 30 * MINUTE + SECOND // 10)
    assert counts(learner)["learned_click"] == 6
    assert published(store).version == first.version
    settle(learner, START + 30 * MINUTE + SECOND)
    assert published(store).version != first.version
    assert published(store).names == NAMES


def test_acts_count_across_partitions_by_the_list_they_name() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    seen_list(shop, subject="anonymous")
    shop.now += MINUTE
    shop.add(1, "known", did("purchase", "soap", list_id="r1"))
    settle(learner, START + 8 * DAY)
    assert counts(learner)["positive_purchase"] == 1
    assert counts(learner)["joined_purchase_list"] == 1


@pytest.mark.parametrize("late", [SECOND, 29 * MINUTE])
def test_a_click_that_comes_before_its_impression_through_another_partition_is_no_negative(late: int) -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    shop.answer("r1", "tea", "milk", "soap")
    shop.add(1, "known", did("click", "milk", list_id="r1"))
    settle(learner, shop.now)
    assert counts(learner)["unjoined_click"] == 1
    learner = shop.learner(store)  # another process goes on
    shop.now += late
    shop.add(0, "anonymous", seen("r1", "tea", "milk", "soap"))
    settle(learner, shop.now)
    settle(learner, shop.now + SECOND)
    assert len(set(published(store).surfaces["home"].hedge.tolist())) > 1, "Hedge learns from it at once"
    settle(learner, START + 2 * HOUR)
    assert (counts(learner)["learned_click"], counts(learner)["positive_click"]) == (3, 1)
    assert counts(learner)["joined_click_late"] == 1
    assert not list(store.scan("held"))


def test_acts_wait_for_answered_lists_only() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    shop.answer("r1", "tea", "milk", personal=False)
    for list_id in ("nobody answered this", "r1"):
        shop.add(1, "ann", did("click", "milk", list_id=list_id))
    shop.answer("r2", "tea")
    shop.add(1, "ann", did("click", "soap", list_id="r2"))
    settle(learner, shop.now)
    assert not list(store.scan("held"))
    shop.add(1, "ann", did("click", "tea", list_id="r2"))
    settle(learner, shop.now)
    assert rows_of(store, "ann")
    shop.add(1, "ann", Consented({"personalization": False}))
    settle(learner, shop.now)
    assert not rows_of(store, "ann")


def test_acts_are_counted_when_no_list_waits_too() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    shop.add(0, "ann", did("purchase", "tea", "milk"))
    settle(learner, shop.now)
    assert counts(learner)["unjoined_purchase"] == 2


def rated(stars: float, item: str) -> Interaction:
    return Interaction("rate", (Line(item),), weight=(stars - 3) / 2, properties={"rating": stars})


def expected(store: MemoryState, subject: str, *items: str) -> list[float] | None:
    copy = RatingCopy(store)
    copy.refresh()
    who = key_of(subject.encode().ljust(16, b"."))
    found = copy.rating.scores(who, items) if copy.rating is not None else None
    return None if found is None else found.tolist()


def test_ratings_are_learned_at_once_and_until_then_there_is_no_model() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    shop.add(0, "ann", did("view", "tea"))
    shop.add(0, "ann", Interaction("rate", (Line("tea"),), weight=0.0))
    settle(learner, shop.now)
    assert not list(store.scan("ratings"))
    for number in range(12):
        shop.add(number % 2, f"p{number}", rated(5, "tea"))
        shop.add(number % 2, f"p{number}", rated(1, "milk"))
    shop.add(0, "ann", rated(3, "soap"))
    settle(learner, shop.now)
    assert (counts(learner)["ratings"], counts(learner)["ratings_unusable"]) == (25, 1)
    tea, milk = expected(store, "ann", "tea", "milk") or (0, 0)
    assert tea > 0.3 > -0.3 > milk
    assert expected(store, "bob", "tea") is None


@pytest.mark.parametrize("default", [True, False])
def test_ratings_without_consent_teach_nothing_and_are_dropped_with_it(default: bool) -> None:
    """However long ago it was refused: a rating has no decision that would say so."""
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    meta = Meta(default_consent=default)
    shop.add(0, "ann", Consented({"personalization": True}), meta)
    shop.add(0, "bob", Consented({"personalization": False}), meta)
    shop.add(1, "cid", rated(4, "tea"), meta)
    settle(learner, shop.now)
    shop.now += 60 * DAY
    learner = shop.learner(store)
    for who in ("ann", "bob"):
        shop.add(0, who, rated(4, "tea"), meta)
    shop.add(0, "eve", rated(4, "tea"), Meta(bot=True, default_consent=default))
    settle(learner, shop.now)
    assert counts(learner)["ratings"] == 1 + default
    assert [who for who in ("ann", "bob", "cid", "eve") if expected(store, who, "tea")] == ["ann", "cid"][: 1 + default]
    shop.add(0, "ann", Consented({"personalization": False}), meta)
    settle(learner, shop.now)
    assert expected(store, "ann", "tea") is None
    shop.add(1, "cid", SubjectErased())
    settle(learner, shop.now)
    assert expected(store, "cid", "tea") is None


def test_one_person_rates_no_more_an_hour_than_may_be_taught() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store, LearnerSettings(rows_per_hour=3))
    shop.add(0, "bob", rated(5, "tea"))
    settle(learner, shop.now)
    for number in range(5):
        shop.add(0, "ann", rated(5, f"i{number}"))
        shop.add(0, "shop", rated(5, f"i{number}"), producer="import")
    settle(learner, shop.now)
    assert (counts(learner)["ratings"], counts(learner)["rows_capped"]) == (1 + 3 + 5, 2)


def test_an_imports_acts_are_opened_once_one_of_them_is_a_rating() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    for number in range(200):
        shop.add(0, f"p{number}", rated(4, "tea"), producer="import")
        shop.add(1, f"p{number}", did("view", "tea"), producer="import")
    settle(learner, shop.now, limit=20)
    assert counts(learner)["ratings"] >= 200 - 20
    assert counts(learner)["unjoined_click"] == 0, "an import's acts come of no answer"


def test_hedge_learns_at_once() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    seen_list(shop)
    shop.now += MINUTE
    shop.add(0, "ann", did("click", "milk", list_id="r1"))
    settle(learner, shop.now)
    settle(learner, shop.now + SECOND)
    assert counts(learner)["learned_click"] == 0
    assert len(set(published(store).surfaces["home"].hedge.tolist())) > 1


def test_a_segment_learns_whom_to_trust_from_its_own_people_alone() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    for number, segments in enumerate([("loyal",), ()]):
        shop.answer(f"r{number}", "tea", "milk", "soap", segments=segments)
        shop.add(0, f"p{number}", seen(f"r{number}", "tea", "milk", "soap"))
        shop.now += MINUTE
        shop.add(0, f"p{number}", did("click", "milk", list_id=f"r{number}"))
        settle(learner, shop.now)
        settle(learner, shop.now + SECOND)
        shop.now += HOUR
    home = published(store).surfaces["home"]
    assert set(home.hedges) == {"loyal"}
    assert home.hedges["loyal"].tolist() != home.hedge.tolist()
    again = shop.learner(store)
    settle(again, shop.now)
    assert published(store).surfaces["home"].hedges["loyal"].tolist() == home.hedges["loyal"].tolist()


@pytest.mark.parametrize("fault", ["bot", "test"])
def test_bots_and_test_traffic_teach_nothing(fault: str) -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    shop.answer("r1", "tea", "milk")
    meta = Meta(bot=fault == "bot", test=fault == "test")
    shop.add(0, "ann", seen("r1", "tea", "milk"), meta)
    settle(learner, START + 30 * DAY)
    assert counts(learner)["learned_click"] == 0
    assert counts(learner)[f"excluded_{fault}"] == 1


def test_answers_marked_as_test_teach_nothing() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    shop.answer("r1", "tea", "milk", test=True)
    shop.add(0, "ann", seen("r1", "tea", "milk"))
    settle(learner, START + 30 * DAY)
    assert (counts(learner)["learned_click"], counts(learner)["excluded_test"]) == (0, 1)


def test_a_bots_click_is_no_outcome() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    seen_list(shop)
    shop.add(0, "ann", did("click", "tea", list_id="r1"), Meta(bot=True))
    settle(learner, START + HOUR)
    assert (counts(learner)["learned_click"], counts(learner)["positive_click"]) == (3, 0)


def rows_of(store: MemoryState, subject: str) -> list[bytes]:
    """Everything in the learner's tables that names a person: the scan of its input. Not what is remembered so that
    nothing is learned: a refusal, and how much somebody taught within the hour."""
    who = subject.encode().ljust(16, b".")
    tables = ("pending", "by_subject", "due", "shown_order", "held")
    found = ((table, key, value) for table in tables for key, value in store.scan(table) if who in key or who in value)
    return [value for table, key, value in found if table != "due" or key[8] not in (KIND_FORGET, KIND_TAUGHT)]


def test_without_consent_there_is_no_row() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    shop.answer("r1", "tea", "milk", personal=False)
    shop.add(0, "ann", seen("r1", "tea", "milk"))
    shop.answer("r2", "tea", "milk")
    shop.add(1, "bob", seen("r2", "tea", "milk"), Meta(consent={"personalization": False}))
    settle(learner, START)
    assert not rows_of(store, "ann") + rows_of(store, "bob")
    assert not list(store.scan("pending"))
    settle(learner, START + 30 * DAY)
    assert counts(learner)["excluded_consent"] == 2
    assert counts(learner)["learned_click"] == 0


@pytest.mark.parametrize("how", ["choice", "context"])
def test_taking_consent_back_drops_what_waits_and_what_is_seen_later(how: str) -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    seen_list(shop)
    shop.answer("r2", "tea", "milk")
    settle(learner, START)
    assert rows_of(store, "ann")
    shop.now += MINUTE
    if how == "choice":
        shop.add(0, "ann", Consented({"personalization": False}))
    else:
        shop.add(0, "ann", did("view", "wine"), Meta(consent={"personalization": False}))
    shop.add(0, "ann", seen("r2", "tea", "milk"))
    settle(learner, shop.now)
    assert not rows_of(store, "ann")
    shop.add(0, "ann", Consented({"personalization": True}))
    shop.now += MINUTE
    shop.answer("r3", "tea")
    shop.add(0, "ann", seen("r3", "tea"))
    settle(learner, START + 30 * DAY)
    assert counts(learner)["learned_click"] == 1
    assert not list(store.scan("refused"))


def test_rows_of_an_erased_person_are_dropped() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    seen_list(shop)
    shop.add(0, "ann", SubjectErased())
    settle(learner, START)
    assert not rows_of(store, "ann")
    settle(learner, START + 30 * DAY)
    assert (counts(learner)["learned_click"], counts(learner)["rows_forgotten"]) == (0, 3)


def test_one_person_teaches_no_more_rows_an_hour_than_the_cap() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store, LearnerSettings(rows_per_hour=7))
    for number in range(5):
        seen_list(shop, f"r{number}")
    seen_list(shop, "other", "bob")
    shop.now += HOUR
    seen_list(shop, "later")
    settle(learner, START + 30 * DAY)
    assert counts(learner)["learned_click"] == 6 + 3 + 3
    assert counts(learner)["rows_capped"] == 9


def test_acts_beyond_the_cap_leave_their_rows_out_instead_of_calling_them_negative() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store, LearnerSettings(positives_per_hour=1))
    seen_list(shop)
    for item in ("tea", "milk", "soap"):
        shop.add(0, "ann", did("click", item, list_id="r1"))
    settle(learner, START + HOUR)
    assert (counts(learner)["learned_click"], counts(learner)["positive_click"]) == (1, 1)
    assert counts(learner)["acts_capped"] == 2


def test_beyond_the_most_lists_the_first_shown_gives_way() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store, LearnerSettings(lists_max=2))
    for number in range(5):
        shop.now += SECOND
        seen_list(shop, f"r{number}", f"person{number}")
    settle(learner, shop.now)
    assert [key.decode() for key, _ in store.scan("pending")] == ["r3", "r4"]
    assert counts(learner)["rows_crowded_out"] == 9
    settle(learner, START + 30 * DAY)
    assert counts(learner)["learned_click"] == 6


def test_of_one_person_only_so_many_lists_wait_at_once() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store, LearnerSettings(rows_per_hour=10_000))
    for number in range(LISTS_PER_PERSON + 3):
        shop.now += SECOND
        shop.answer(f"r{number}", "tea")
        shop.add(0, "ann", seen(f"r{number}", "tea"))
    settle(learner, shop.now, limit=100)
    assert len(list(store.scan("pending"))) == LISTS_PER_PERSON
    assert store.get("pending", b"r2") is None
    assert counts(learner)["rows_crowded_out"] == 3


def test_a_list_seen_long_after_it_was_answered_is_not_learned_from() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    shop.answer("r1", "tea")
    shop.now += DAY + 1
    shop.add(0, "ann", seen("r1", "tea"))
    settle(learner, shop.now + 30 * DAY)
    assert (counts(learner)["learned_click"], counts(learner)["rows_late"]) == (0, 1)


def test_impressions_that_name_no_list_or_an_unknown_one_are_counted() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    shop.add(0, "ann", seen("", "tea"))
    shop.add(0, "ann", seen("x" * 300, "tea"))
    shop.add(0, "ann", seen("nobody answered this", "tea"))
    settle(learner, START)
    assert (counts(learner)["impressions_unnamed"], counts(learner)["impressions_unknown"]) == (2, 1)


def artefact(value: float) -> Learned:
    names = ("covisitation", "easel")
    surface = SurfaceWeights(
        np.full(3, -value), np.full((3, 8), value), np.full((3, 3), value / 2), np.array([0.75, 0.25])
    )
    return Learned("", "", names, {"home": surface})


def test_a_promotion_starts_again_from_the_artefacts_weights_and_names_the_model() -> None:
    shop, store = Shop(initials={"m1": artefact(0.5)}), MemoryState()
    learner = shop.learner(store)
    seen_list(shop)
    settle(learner, START + HOUR)
    shop.now += 2 * HOUR
    shop.add(1, "models", ModelPromoted("m1"))
    settle(learner, shop.now)
    weights = published(store)
    home = weights.surfaces["home"]
    assert weights.model == "m1"
    assert home.intercept.tolist() == [-0.5] * 3
    assert home.recommenders[:, 4:8].tolist() == [[0.5] * 4] * 3  # covisitation
    assert home.recommenders[0, :4] == pytest.approx([0.0375, 0.75, 0, -0.0525])  # not in the artefact: as fixed
    assert home.context.tolist() == [[0.25] * 3] * 3
    assert abs(home.hedge.sum() - 1) < 1e-12


def test_without_learning_a_promotion_is_followed_all_the_same() -> None:
    shop, store = Shop(initials={"m1": artefact(0.5)}), MemoryState()
    settle(shop.learner(store), START)
    seen_list(shop)
    shop.answer("r2", "tea")
    settle(shop.learner(store), shop.now)
    learner = shop.learner(store, LearnerSettings(learns=False))
    shop.now += MINUTE
    shop.add(0, "ann", seen("r2", "tea"))
    shop.add(0, "bob", Consented({"personalization": False}))
    shop.add(1, "models", ModelPromoted("m1"))
    settle(learner, shop.now)
    before = published(store)
    assert before.model == "m1"
    assert before.surfaces["home"].intercept.tolist() == [-0.5] * 3
    settle(learner, START + 30 * DAY)
    assert published(store).version == before.version
    assert (counts(learner)["learned_click"], counts(learner)["rows_paused"]) == (0, 9)
    assert counts(learner)["lists"] == 1


def test_going_back_to_no_model_starts_again_from_the_fixed_weights() -> None:
    shop, store = Shop(initials={"m1": artefact(0.5)}), MemoryState()
    learner = shop.learner(store)
    shop.add(1, "models", ModelPromoted("m1"))
    shop.add(1, "models", ModelPromoted("", rollback=True))
    settle(learner, START)
    weights = published(store)
    assert weights.model == ""
    expected = [0.0375, 0.75, 0, -0.0525, 0, 0, 0, 0, 0.0125, 0.25, 0, -0.0175]
    assert weights.surfaces["home"].recommenders[0] == pytest.approx(expected)


def test_an_artefact_without_weights_keeps_those_learned() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    seen_list(shop)
    settle(learner, START + HOUR)
    before = published(store)
    shop.now += 2 * HOUR
    shop.add(1, "models", ModelPromoted("m9"))
    settle(learner, shop.now)
    after = published(store)
    assert (after.model, before.model) == ("m9", "")
    assert after.surfaces["home"].recommenders.tolist() == before.surfaces["home"].recommenders.tolist()


SIGNALS: tuple[Signal, ...] = ("click", "view", "cart", "purchase")


def traffic(shop: Shop, lists: int, seed: int) -> list[int]:
    """Lists, impressions and acts over some hours in both partitions; the times at which a learner looks."""
    random = np.random.default_rng(seed)
    looks = []
    items = [f"i{number}" for number in range(20)]
    for number in range(lists):
        shop.now += int(random.integers(1, 4 * MINUTE))
        chosen = [items[i] for i in random.permutation(20)[:4]]
        who, where = f"p{random.integers(6)}", int(random.integers(2))
        shop.answer(f"r{number}", *chosen, surface=str(random.choice(["home", "cart"])), seed=seed)
        if random.random() < 0.2:  # before it is seen
            shop.add(1 - where, who, did("click", chosen[0], list_id=f"r{number}"))
            shop.now += int(random.integers(1, 2 * MINUTE))
            looks.append(shop.now)
        shop.add(where, who, seen(f"r{number}", *chosen[: int(random.integers(1, 5))]))
        for _ in range(int(random.integers(3))):
            shop.now += int(random.integers(1, MINUTE))
            signal = SIGNALS[int(random.integers(len(SIGNALS)))]
            named = f"r{number}" if random.random() < 0.5 else ""
            shop.add(where, who, did(signal, str(random.choice(chosen)), list_id=named))
        if random.random() < 0.3:
            shop.add(where, who, rated(float(random.integers(1, 6)), str(random.choice(items))))
        if random.random() < 0.05:
            shop.add(where, who, Consented({"personalization": bool(random.random() < 0.5)}))
        if random.random() < 0.3:
            looks.append(shop.now)
    return [*looks, shop.now, shop.now + DAY, shop.now + 30 * DAY]


class Killed(Exception):
    pass


def run(shop: Shop, looks: list[int], kills: int = 0, seed: int = 0) -> MemoryState:
    """A learner that looks at those times and sees what was appended until then, killed and restarted as often as that
    at random steps."""
    store, random = MemoryState(), np.random.default_rng(seed)
    left = kills

    def steps(step: str) -> None:
        nonlocal left
        if left and random.random() < 0.3:
            left -= 1
            raise Killed(step)

    learner = shop.learner(store, steps=steps)
    for now in looks:
        shop.until = now
        while True:
            try:
                if not learner.step(now, limit=8):
                    break
            except Killed:
                learner = shop.learner(store, steps=steps)
    assert not left, "there were fewer steps than kills"
    return store


def test_killed_at_any_step_and_restarted_it_equals_the_run_that_was_not() -> None:
    shop = Shop()
    looks = traffic(shop, 60, seed=1)
    whole = everything(run(shop, looks))
    assert whole["models"]
    assert whole["hedges"]
    assert "joined_click_late" in str(whole["learner"])
    assert whole["ratings"]
    for seed in range(4):
        assert everything(run(shop, looks, kills=12, seed=seed)) == whole


def test_made_again_from_its_plans_the_state_is_the_same_to_the_bit() -> None:
    shop = Shop()
    looks = traffic(shop, 60, seed=2)
    live = run(shop, looks, kills=5)
    again = MemoryState()
    learner = shop.learner(again)
    for plan in plans(live):
        learner.replan(plan)
    assert everything(again) == everything(live)


def test_recommenders_that_come_and_go_keep_the_weights_of_the_others() -> None:
    shop, store = Shop(), MemoryState()
    learner = shop.learner(store)
    for number in range(30):
        seen_list(shop, f"r{number}", f"p{number}")
        shop.add(0, f"p{number}", did("click", "tea", list_id=f"r{number}"))
    settle(learner, START + HOUR)
    before = published(store).surfaces["home"]
    now = Blends(store, ("popularity", "ease", "repeat_purchase"), FIXED, LearnerSettings())
    after = now.learned("").surfaces["home"]
    assert after.recommenders[0, 8:12].tolist() == before.recommenders[0, :4].tolist()
    assert after.recommenders[0, :4].tolist() == before.recommenders[0, 8:12].tolist()
    assert not after.recommenders[:, 4:8].any()
    assert after.intercept.tolist() == before.intercept.tolist()


def dies(action: Callable[[], object]) -> bool:
    """Run ``action`` in a process of its own; whether it was killed."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    assert status in (0, signal.SIGKILL), "it failed of itself"
    return status == signal.SIGKILL


def test_a_learner_killed_by_the_kernel_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    shop = Shop()
    looks = traffic(shop, 25, seed=3)

    def follow(folder: Path, kill_at: int) -> None:
        steps = iter(range(1_000_000))

        def killing(step: str) -> None:
            if next(steps) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        store = LmdbState(folder)
        learner = shop.learner(store, steps=killing)
        looked = folder.with_suffix(".looked")  # time does not go back because somebody died
        for number in range(int(looked.read_text()) if looked.exists() else 0, len(looks)):
            looked.write_text(str(number))
            shop.until = looks[number]
            settle(learner, looks[number], limit=8)
        store.close()

    follow(tmp_path / "whole", -1)
    deaths = sum(dies(lambda at=at: follow(tmp_path / "killed", at)) for at in (0, 1, 2, 5, 7, 3, 1, 2))
    assert deaths == 8
    follow(tmp_path / "killed", -1)
    whole, killed = LmdbReader(tmp_path / "whole"), LmdbReader(tmp_path / "killed")
    assert everything(killed) == everything(whole)


def test_a_changed_world_is_found_and_becomes_one_fact() -> None:
    shop, store, random = Shop(), MemoryState(), np.random.default_rng(11)
    learner = shop.learner(store, LearnerSettings(windows=Windows(click=SECOND, cart=SECOND, purchase=SECOND)))
    items = [f"i{number}" for number in range(6)]
    lists = 1_200
    for number in range(lists):
        shop.now += 20 * MINUTE
        who = f"p{number % 200}"
        changes = number % 2 == 0
        shop.answer(f"r{number}", *items, seed=3, segments=("loyal",) if changes else ("new",))
        shop.add(0, who, seen(f"r{number}", *items))
        for item in items:
            if random.random() < (0.6 if changes and number > lists // 2 else 0.05):
                shop.add(0, who, did("click", item, list_id=f"r{number}"))
        if number % 20 == 0:
            settle(learner, shop.now)
    settle(learner, shop.now + HOUR)
    assert counts(learner)["drift_detections"] >= 1
    sent: list[Draft] = []

    def append(target: int, drafts: Sequence[Draft]) -> list[Outcome]:
        sent.extend(drafts)
        return [Outcome("ok", 0) for _ in drafts]

    assert learner.send(append) == counts(learner)["drift_detections"]
    assert learner.send(append) == 0
    found = decode(sent[0].type, sent[0].version, sent[0].payload).event
    assert isinstance(found, DriftDetected)
    assert found.model == "home/click"
    facts = [decode(draft.type, draft.version, draft.payload).event for draft in sent]
    where = {fact.segment for fact in facts if isinstance(fact, DriftDetected)}
    assert "loyal" in where
    assert "new" not in where, "its people do what they did"
    assert [draft.seq for draft in sent] == list(range(1, len(sent) + 1))
    assert len(list(store.scan("detected"))) == len(sent)
