"""Chance on the answer path: where it comes from, what is kept of it, and who it leads to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from answering import STILL, Desk, shown, surfaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2
from small_shop import DAY, NOW, Facts, buyer, described, did, profile_of

from actors.item_reader import MemoryItems
from actors.profile import Profile
from events.ids import Key, Micros
from events.types import Consented, Impression
from serving.answer import RecommendRequest
from serving.asked import ask
from serving.decision import Decision, ShownRow, decode, encode, shown_rows
from serving.explain import EXPLORED
from serving.metrics import Numbers
from serving.recommend import AnswerRules, seed_of
from serving.slate import fill
from serving.why import explanation, recomputed, sampling_in, shortlist_of
from training.inventory import INVENTORY
from training.learned import CONTEXT
from training.recommender import ABSTAIN, Query, Scored
from training.surface import SURFACES, Surface

HALF_HOUR = 30 * 60 * 1_000_000
WARM = Surface(name="warm", weights=SURFACES["home"].weights, tau=0.5, floor=0.5, exploration_slots=(2,), diversity=0.3)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, rules=AnswerRules(surfaces=surfaces(WARM)))
    desk.profiles[Key("u:42")] = msgspec.structs.replace(buyer(), subject=desk.subject("u:42"))
    yield desk
    desk.close()


def seed(desk: Desk, **question: object) -> int:
    return desk.decision(desk.home(surface="warm", **question)).seed  # type: ignore[arg-type]


# ---- noise -------------------------------------------------------------------------------------------------------


def test_the_list_stays_while_facts_do_and_turns_over_with_the_epoch(desk: Desk) -> None:
    start = NOW * 1000 // HALF_HOUR * HALF_HOUR
    lists = []
    for half_hours in range(12):
        desk.clock.at = Micros(start + half_hours * HALF_HOUR)
        first = shown(desk.home(surface="warm", n=4))
        desk.clock.advance(HALF_HOUR - 1)
        assert shown(desk.home(surface="warm", n=4)) == first
        lists.append(tuple(first))
    assert len(set(lists)) > 3


def test_a_surface_says_how_long_its_noise_stays(tmp_path: Path) -> None:
    desk = Desk(tmp_path, rules=AnswerRules(surfaces=surfaces(WARM.model_copy(update={"rotation_minutes": 1}))))
    before = seed(desk)
    desk.clock.advance(60_000_000)
    assert seed(desk) != before
    desk.close()


def test_seeds_differ_by_person_and_surface(tmp_path: Path) -> None:
    other = WARM.model_copy(update={"name": "other"})
    desk = Desk(tmp_path, rules=AnswerRules(surfaces=surfaces(WARM, other)))
    seeds = {
        desk.decision(desk.home(user, surface=name)).seed for user in ("1", "2", "3") for name in ("warm", "other")
    }
    assert len(seeds) == 6
    desk.close()


def test_a_fact_of_the_persons_own_keeps_the_noise(desk: Desk) -> None:
    before = seed(desk, user_id="new")
    desk.profiles[Key("u:new")] = msgspec.structs.replace(
        profile_of((did("view", "nachos"), NOW)), subject=desk.subject("u:new")
    )
    assert seed(desk, user_id="new") == before


def test_another_store_draws_otherwise(tmp_path: Path, desk: Desk) -> None:
    rules = AnswerRules(surfaces=surfaces(WARM), noise_secret=b"another secret".ljust(32))
    other = Desk(tmp_path / "other", rules=rules)
    assert seed(other) != seed(desk)
    other.close()


# ---- the record --------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(1, 12),
    minutes=st.integers(0, 10_000),
    surface=st.sampled_from(["warm", "home", "product"]),
    pinned=st.lists(st.sampled_from(["wipes", "dip", "unknown"]), max_size=2),
)
def test_the_record_alone_gives_the_same_slate(
    desk: Desk, n: int, minutes: int, surface: str, pinned: list[str]
) -> None:
    desk.clock.advance(minutes * 60_000_000)
    answer = desk.home(surface=surface, n=n, items=("tea",), pinned=tuple(pinned))
    decision = decode(encode(desk.decision(answer)))
    assert recomputed(decision) == {"identical": True}
    assert [one.item for one in decision.slate] == shown(answer)
    assert [one.propensity for one in decision.slate] == [item.propensity for item in answer.items]


def test_a_record_that_was_meddled_with_is_told(desk: Desk) -> None:
    decision = desk.decision(desk.home(surface="warm", n=4))
    shuffled = msgspec.structs.replace(decision, slate=decision.slate[::-1])
    assert recomputed(shuffled)["identical"] is False
    assert recomputed(shuffled)["items"] == [one.item for one in decision.slate]


def test_an_empty_list_is_made_again_as_an_empty_list(desk: Desk) -> None:
    nothing = desk.decision(desk.home(category="no such category"))
    assert not nothing.slate
    assert recomputed(nothing) == {"identical": True}


def test_where_it_cannot_be_made_again_the_reason_is_said(tmp_path: Path, desk: Desk) -> None:
    few = Desk(tmp_path / "few", rules=AnswerRules(candidates_logged=0.0))
    decision = few.decision(few.home())
    assert "only the shown items" in str(recomputed(decision)["why"])
    few.close()
    whole = desk.decision(desk.home())
    old = msgspec.structs.replace(whole, format=1, kinds=b"")
    assert "format 1" in str(recomputed(old)["why"])


def test_a_record_of_before_sampling_still_opens(desk: Desk) -> None:
    """As format 1 was written: fewer fields everywhere."""
    fields = msgspec.msgpack.decode(encode(desk.decision(desk.home(n=2))))
    fields[0] = 1
    fields[1], fields[3] = fields[1][:5], fields[3][:6]
    slate = Decision.__struct_fields__.index("slate")
    fields[slate] = [one[:6] for one in fields[slate]]
    old = decode(msgspec.msgpack.encode(fields[: Decision.__struct_fields__.index("test") + 1]))
    assert (old.versions.learned, old.rules.diversity, old.rules.exploration_slots) == ("", 0.0, ())
    assert explanation("r", old)["recomputed"] != {"identical": True}
    assert len(shown_rows(old)) == 2


def test_the_learner_finds_features_by_name(desk: Desk) -> None:
    decision = desk.decision(desk.home(surface="warm", n=3))
    rows = shown_rows(decision)
    assert [row.slot for row in rows] == [1, 2, 3]
    assert rows[0].features["position"] == 1.0
    assert rows[1].features["position"] == pytest.approx(0.63093, abs=1e-5)
    known = {
        f"{name}.{kind}" for name in decision.recommenders for kind in ("z", "log_z", "reciprocal_rank", "abstained")
    }
    for row in rows:
        assert isinstance(row, ShownRow)
        assert set(row.features) <= {*known, *CONTEXT}
        assert all(row.features.values())


def test_over_many_epochs_shares_match_the_logged_propensities(desk: Desk) -> None:
    """The first two slots, over the seeds of real answers; one shortlist, so that counts can be compared."""
    decision = desk.decision(desk.home(surface="warm", n=2))
    short, sampling = shortlist_of(decision), sampling_in(decision)
    counts: Counter[tuple[int, ...]] = Counter()
    chance: dict[tuple[int, ...], float] = {}
    for epoch in range(3_000):
        desk.clock.advance(HALF_HOUR)
        slate = fill(short, sampling, seed_at(desk), 2)
        counts[slate.columns] += 1
        chance[slate.columns] = slate.propensities[0] * slate.propensities[1]
        assert epoch >= 0
    cells = [(counts[columns], 3_000 * share) for columns, share in chance.items() if 3_000 * share >= 5]
    rest = 3_000 - sum(had for had, _ in cells), 3_000 - sum(hoped for _, hoped in cells)
    statistic = sum((had - hoped) ** 2 / hoped for had, hoped in (*cells, rest) if hoped >= 5)
    assert len(cells) > 20
    assert chi2.sf(statistic, len(cells)) > 0.001


def seed_at(desk: Desk) -> int:
    request = RecommendRequest(user_id="42", surface="warm")
    return seed_of(ask(request, None, desk.clock.now(), desk.rules.surfaces, True), bytes(32))


# ---- consent -----------------------------------------------------------------------------------------------------


def refuser() -> Profile:
    refused = profile_of((Consented({"personalization": False}), NOW))
    return msgspec.structs.replace(buyer(), subject=b"s" * 16, consent=refused.consent)


def test_without_consent_the_seed_leads_to_nobody(desk: Desk) -> None:
    personal = seed(desk)
    desk.profiles[Key("u:42")] = refuser()
    seeds = set()
    for _ in range(5):
        seeds.add(seed(desk))
        desk.clock.advance(1)
    assert len(seeds) == 5, "the same person twice is not to be recognised"
    assert personal not in seeds
    desk.clock.at = Micros(NOW * 1000)
    assert seed(desk) == desk.decision(desk.ask(RecommendRequest(surface="warm"))).seed, "it is that of the moment"


# ---- what may not be learned from ----------------------------------------------------------------------------------


def test_an_answer_that_cannot_be_logged_is_made_without_chance(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file where the folder should be")
    lost = Desk(tmp_path / "spool", rules=AnswerRules(surfaces=surfaces(WARM)))
    kept = Desk(
        tmp_path / "kept", rules=AnswerRules(surfaces=surfaces(WARM.model_copy(update={"tau": 0.0, "floor": 0.0})))
    )
    answers = [one.home(surface="warm", n=6) for one in (lost, kept)]
    assert not answers[0].logged
    assert {item.propensity for item in answers[0].items} == {1.0}
    assert shown(answers[0]) == shown(answers[1])
    for one in (lost, kept):
        one.close()


def test_pinned_items_stand_first_marked_as_forced(desk: Desk) -> None:
    facts = Facts()
    facts.add(described("hidden gem", hidden=True), NOW)
    desk.items.fold(facts.made)
    answer = desk.home(surface="warm", n=4, pinned=("hidden gem", "wipes", "unknown", "dip"), exclude=("milk",))
    slate = desk.decision(answer).slate
    assert [(one.item, one.forced, one.propensity) for one in slate[:2]] == [("wipes", True, 1.0), ("dip", True, 1.0)]
    assert not any(one.forced for one in slate[2:])
    assert [row.forced for row in shown_rows(desk.decision(answer))] == [True, True, False, False]
    assert "milk" not in shown(desk.home(pinned=("milk",), exclude=("milk",)))


def test_the_floor_says_that_it_tries_something_new(desk: Desk) -> None:
    explored = 0
    for _ in range(40):
        desk.clock.advance(HALF_HOUR)
        slate = desk.decision(desk.home(surface="warm", n=4)).slate
        assert not any(one.explored for slot, one in enumerate(slate) if slot != 1)
        assert (slate[1].reason == EXPLORED) == slate[1].explored
        explored += slate[1].explored
    assert 8 < explored < 32


def test_hidden_items_are_never_drawn(desk: Desk) -> None:
    facts = Facts()
    facts.add(described("milk", hidden=True), NOW)
    desk.items.fold(facts.made)
    for _ in range(20):
        desk.clock.advance(HALF_HOUR)
        answer = desk.home(surface="warm", n=10)
        assert "milk" not in shown(answer)
        assert "milk" not in desk.decision(answer).candidates


def test_a_stored_answer_leaves_out_what_was_hidden_since(desk: Desk) -> None:
    first = desk.home(request_id="one", n=5)
    gone = shown(first)[1]
    facts = Facts()
    facts.add(described(gone, hidden=True), NOW)
    desk.items.fold(facts.made)
    again = desk.home(request_id="one", n=5)
    assert again.recommendation_id == first.recommendation_id
    assert shown(again) == [item for item in shown(first) if item != gone]


def test_rank_leaves_out_what_is_excluded(desk: Desk) -> None:
    assert sorted(shown(desk.rank("tea", "milk", "dip", exclude=("milk", "nobody knows this")))) == ["dip", "tea"]


# ---- fatigue and fairness ----------------------------------------------------------------------------------------


def test_what_was_seen_without_an_act_falls_behind(tmp_path: Path) -> None:
    weights = {"popularity": 1.0}
    tiring = Surface(name="tiring", weights=weights, fatigue=0.1)
    desk = Desk(tmp_path, rules=AnswerRules(surfaces=surfaces(tiring, Surface(name="fresh", weights=weights))))
    first, second = shown(desk.home(surface="fresh", n=2))
    looks = [(Impression((first,)), NOW - 60_000 * n) for n in range(9, 0, -1)]
    desk.profiles[Key("u:42")] = profile_of(*looks)
    assert shown(desk.home(surface="fresh", n=2)) == [first, second]
    assert shown(desk.home(surface="tiring", n=12))[-1] == first
    desk.profiles[Key("u:42")] = profile_of(*looks, (did("click", first), NOW))
    assert shown(desk.home(surface="tiring", n=2)) == [first, second]
    desk.profiles[Key("u:42")] = profile_of(*looks)
    desk.clock.advance(30 * DAY * 1000)
    assert shown(desk.home(surface="tiring", n=2)) == [first, second]
    desk.close()


# ---- recommenders that fail --------------------------------------------------------------------------------------


class Broken:
    name = "content"

    def recommend(self, query: Query) -> Scored:
        raise RuntimeError("no")


class Silent:
    name = "content"

    def recommend(self, query: Query) -> Scored:
        return ABSTAIN


def test_a_recommender_that_fails_drops_out_and_the_answer_comes(tmp_path: Path) -> None:
    numbers = Numbers()
    rules = AnswerRules(surfaces=STILL, recommenders={**INVENTORY, "content": Broken()})
    broken = Desk(tmp_path / "broken", rules=rules, numbers=numbers)
    silent = Desk(
        tmp_path / "silent", rules=AnswerRules(surfaces=STILL, recommenders={**INVENTORY, "content": Silent()})
    )
    for desk in (broken, silent):
        desk.profiles[Key("u:42")] = buyer()
    answer = broken.home()
    assert shown(answer) == shown(silent.home())
    assert broken.decision(answer).failed == ("content",)
    failures = numbers.counter("everfold_recommender_failures_total", recommender="content", reason="raised")
    assert failures.value == 1
    broken.close()
    silent.close()


def test_a_brand_that_is_hardly_seen_is_lifted(tmp_path: Path) -> None:
    facts = Facts()
    items = MemoryItems()
    for name, brand in (("big one", "Big"), ("big two", "Big"), ("small one", "Small"), ("small two", "Small")):
        facts.add(described(name, brand=brand), NOW - DAY)
    facts.add(did("purchase", "big one", "big two", "small one", "small two"), NOW)
    for _ in range(20):
        facts.add(did("purchase", "big one", "big two", "small one"), NOW)
        facts.add(Impression(("big one", "big two")), NOW)
    items.fold(facts.made)
    weights = {"popularity": 1.0}
    fair = Surface(name="fair", weights=weights, fairness=10.0)
    desk = Desk(
        tmp_path, items=items, rules=AnswerRules(surfaces=surfaces(fair, Surface(name="plain", weights=weights)))
    )
    assert shown(desk.home(surface="plain", n=2)) == ["big one", "big two"]
    answer = desk.home(surface="fair", n=2)
    assert shown(answer) == ["small one", "small two"]
    assert recomputed(desk.decision(answer)) == {"identical": True}
    desk.close()
