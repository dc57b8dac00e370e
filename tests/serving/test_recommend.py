"""The answer path, rule by rule."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from answering import STILL, Desk, shown, surfaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_shop import DAY, NOW, Facts, buyer, described, did, profile_of, small_shop

from actors.item_reader import MemoryItems
from actors.profile import EMPTY, Profile
from events.errors import BadRequest, BadSettings, NotFound, Unavailable
from events.ids import Key, Micros
from events.types import Consented, ItemDeleted, SegmentChanged
from serving.answer import Answer, RecommendRequest
from serving.recommend import AnswerRules
from serving.why import slate_again
from training.blend import FEATURES
from training.surface import SURFACES, Surface

UNDECIDED_IS_NO = AnswerRules(default_consent=False, surfaces=STILL)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    desk.profiles[Key("u:42")] = msgspec.structs.replace(buyer(), subject=desk.subject("u:42"))
    yield desk
    desk.close()


# ---- the list ----------------------------------------------------------------------------------------------------


def test_a_click_changes_the_very_next_list(desk: Desk) -> None:
    before = shown(desk.home(user_id="7", surface="discover"))
    desk.profiles[Key("u:7")] = profile_of((did("click", "nachos"), NOW))
    after = desk.home(user_id="7", surface="discover")
    assert {"salsa", "dip"} & set(shown(after)[:2])
    assert shown(after) != before


def test_nothing_changes_without_a_new_fact(desk: Desk) -> None:
    first = desk.home()
    for _ in range(5):
        again = desk.home()
        assert (again.items, again.profile_version) == (first.items, first.profile_version)


def test_buy_again_holds_only_what_was_bought(desk: Desk) -> None:
    assert set(shown(desk.home(surface="buy_again"))) == {"tea", "milk"}
    assert shown(desk.home(user_id="newcomer", surface="buy_again")) == []


def test_discover_never_shows_what_was_bought(desk: Desk) -> None:
    assert not {"tea", "milk"} & set(shown(desk.home(surface="discover")))


def test_a_cooldown_hides_what_was_bought_lately(tmp_path: Path) -> None:
    weights = {"repeat_purchase": 1.0}
    own = Surface(name="later", repeats="cooldown", cooldown_hours=24, weights=weights)
    desk = Desk(tmp_path, rules=AnswerRules(surfaces=surfaces(own)))
    orders = [(did("purchase", "tea"), NOW - 2 * DAY), (did("purchase", "milk"), NOW - DAY // 2)]
    desk.profiles[Key("u:42")] = profile_of(*orders)
    assert shown(desk.home(surface="later")) == ["tea"]
    desk.clock.advance(DAY * 1000)
    assert set(shown(desk.home(surface="later"))) == {"tea", "milk"}
    desk.close()


def test_anchors_lead_the_product_page_and_are_not_recommended(desk: Desk) -> None:
    answer = desk.home(surface="product", items=("nappies",))
    assert shown(answer)[0] == "wipes"
    assert "nappies" not in shown(answer)


def test_excluded_items_and_other_categories_stay_out(desk: Desk) -> None:
    assert "milk" not in shown(desk.home(exclude=("milk", "unknown")))
    snacks = shown(desk.home(surface="discover", category="Snacks"))
    assert set(snacks) == {"nachos", "crisps", "salsa", "dip"}
    assert set(shown(desk.home(surface="discover", category="Snacks > Dips"))) == {"salsa", "dip"}
    assert shown(desk.home(category="Nowhere")) == []


def test_a_newcomer_gets_what_is_popular(desk: Desk) -> None:
    answer = desk.home(user_id="newcomer", n=3)
    assert shown(answer)[0] == "milk"
    assert {item.reason for item in answer.items} <= {"Popular right now", "Trending now"}


def test_on_its_first_day_a_shop_shows_its_catalogue(tmp_path: Path) -> None:
    facts, items = Facts(), MemoryItems()
    for name in ("first", "second"):
        facts.add(described(name), NOW)
    items.fold(facts.made)
    desk = Desk(tmp_path, items=items)
    for surface in ("home", "discover", "product", "cart"):
        answer = desk.home(surface=surface)
        assert (shown(answer), answer.items[0].reason) == (["second", "first"], "New here")
    desk.close()


def test_who_is_in_a_segment_is_shown_what_its_people_do(tmp_path: Path) -> None:
    items, facts = small_shop(), Facts()
    facts.add(SegmentChanged("parents", True), NOW - DAY, b"p" * 16)
    facts.add(did("purchase", "wipes"), NOW - DAY, b"p" * 16)
    items.fold(facts.made)
    rules = AnswerRules(surfaces=surfaces(Surface(name="alike", weights={"segment_popularity": 1.0})))
    desk = Desk(tmp_path, items=items, rules=rules)
    seen = (SegmentChanged("parents", True), NOW), (did("view", "tea"), NOW)
    desk.profiles[Key("u:42")] = profile_of(*seen)
    answer = desk.home(surface="alike")
    assert (shown(answer), answer.items[0].reason) == (["wipes"], "Popular with people like you")
    desk.profiles[Key("u:42")] = profile_of(*seen, (SegmentChanged("parents", False), NOW + 1))
    assert shown(desk.home(surface="alike")) == []
    desk.close()


def test_fewer_items_are_answered_where_there_are_no_more(desk: Desk) -> None:
    assert len(shown(desk.home(n=100))) <= len(desk.items.snapshot().ids)
    assert len(shown(desk.home(n=2))) == 2


def test_an_empty_catalogue_has_an_empty_answer(tmp_path: Path) -> None:
    desk = Desk(tmp_path, items=MemoryItems())
    answer = desk.home()
    assert (answer.items, answer.logged) == ([], True)
    assert desk.decision(answer).slate == ()
    desk.close()


GONE: dict[str, object] = {
    "hidden": {"hidden": True},
    "sold out": {"stock": 0},
    "not to be recommended": {"recommendable": False},
    "deleted": "deleted",
}


@pytest.mark.parametrize("how", GONE.values(), ids=GONE)
def test_what_must_not_be_shown_is_gone_from_the_next_answer(desk: Desk, how: object) -> None:
    assert "milk" in shown(desk.home())
    facts = Facts()
    facts.add(described("milk", **how) if isinstance(how, dict) else ItemDeleted("milk"), NOW)
    desk.items.fold(facts.made)
    for surface in SURFACES:
        assert "milk" not in shown(desk.home(surface=surface, items=("tea",)))
    assert "milk" not in shown(desk.rank("milk", "tea"))


def test_an_item_new_to_the_catalogue_is_found_by_a_cached_history(desk: Desk) -> None:
    desk.profiles[Key("u:7")] = profile_of((did("purchase", "late item"), NOW))
    assert shown(desk.home(user_id="7", surface="buy_again")) == []
    facts = Facts()
    facts.add(described("late item"), NOW)
    desk.items.fold(facts.made)
    assert shown(desk.home(user_id="7", surface="buy_again")) == ["late item"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    labels=st.lists(st.sampled_from(["A", "B", "C", "D"]), min_size=10, max_size=10),
    hidden=st.sets(st.integers(0, 9), max_size=4),
    n=st.integers(1, 12),
    surface=st.sampled_from(sorted(SURFACES)),
)
def test_no_two_items_of_one_label_and_never_a_hidden_one(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str], hidden: set[int], n: int, surface: str
) -> None:
    items = small_shop(repeats=2)
    names = list(items.snapshot().ids)
    facts = Facts()
    for number, name in enumerate(names):
        facts.add(described(name, item_group=labels[number], hidden=number in hidden), NOW)
    items.fold(facts.made)
    desk = Desk(tmp_path_factory.mktemp("spool"), items=items)
    desk.profiles[Key("u:42")] = buyer()
    answer = shown(desk.home(surface=surface, items=("nachos",), n=n))
    assert len({labels[names.index(item)] for item in answer}) == len(answer) <= n
    assert not {names.index(item) for item in answer} & hidden
    desk.close()


def test_ties_are_broken_by_item_in_every_answer(tmp_path: Path) -> None:
    """Four items nobody tells apart."""
    twins = [described(f"twin {n}", category="Twins") for n in range(4)]
    items = small_shop(twins)
    facts = Facts()
    facts.add(did("purchase", *[twin.item for twin in twins]), NOW)
    items.fold(facts.made)
    desk = Desk(tmp_path, items=items)
    for surface in ("home", "discover"):
        assert shown(desk.home(user_id="x", surface=surface, category="Twins")) == [twin.item for twin in twins]
    desk.close()


@settings(max_examples=20, deadline=None)
@given(
    surface=st.sampled_from(sorted(SURFACES)),
    given_items=st.lists(st.sampled_from(["tea", "nachos", "unknown"]), max_size=3),
    n=st.integers(1, 20),
)
def test_asking_changes_nothing_but_the_journal(
    tmp_path_factory: pytest.TempPathFactory, surface: str, given_items: list[str], n: int
) -> None:
    desk = Desk(tmp_path_factory.mktemp("spool"), items=SHOP)
    profile = desk.profiles[Key("u:42")] = buyer()
    before = pickle.dumps((profile, SHOP._state_store, desk.answerer._rules))
    first = desk.home(surface=surface, items=tuple(given_items), n=n)
    for _ in range(3):
        assert desk.home(surface=surface, items=tuple(given_items), n=n).items == first.items
    assert pickle.dumps((profile, SHOP._state_store, desk.answerer._rules)) == before
    desk.close()


SHOP = small_shop()


# ---- reasons -----------------------------------------------------------------------------------------------------


def reason_of(answer: Answer, item: str) -> str:
    return next(one.reason for one in answer.items if one.item_id == item)


def test_every_item_says_why_it_is_there(desk: Desk) -> None:
    assert all(item.reason and item.sources for item in desk.home().items)


def test_reasons_name_what_led_there(desk: Desk) -> None:
    desk.profiles[Key("u:7")] = profile_of((did("view", "nachos"), NOW))
    assert reason_of(desk.home(user_id="7", surface="discover"), "salsa") == "Because you viewed Nachos"
    desk.profiles[Key("u:8")] = profile_of((did("cart", "nappies"), NOW))
    assert reason_of(desk.home(user_id="8", surface="discover"), "wipes") == "Goes with Nappies in your cart"
    desk.profiles[Key("u:9")] = profile_of((did("purchase", "nappies"), NOW))
    assert reason_of(desk.home(user_id="9", surface="discover"), "wipes") == "Often bought with Nappies"
    assert (
        reason_of(desk.home(user_id="", surface="product", items=("nappies",)), "wipes") == "Often bought with Nappies"
    )


def test_a_habit_is_named_with_its_rhythm(desk: Desk) -> None:
    assert reason_of(desk.home(surface="buy_again"), "tea") == "You buy this about every 10 days"
    desk.profiles[Key("u:7")] = profile_of((did("purchase", "tea"), NOW))
    assert reason_of(desk.home(user_id="7", surface="buy_again"), "tea") == "You bought this before"


def test_popular_says_where(desk: Desk) -> None:
    answer = desk.home(user_id="newcomer", surface="home", category="Snacks")
    assert reason_of(answer, "nachos") == "Popular in Snacks"


# ---- consent -----------------------------------------------------------------------------------------------------


def denier() -> Profile:
    kept = msgspec.structs.replace(buyer(), subject=b"s" * 16)
    refused = profile_of((Consented({"personalization": False}), NOW))
    return msgspec.structs.replace(kept, consent=refused.consent)


def assert_contextual(desk: Desk, answer: Answer, consent: str) -> None:
    assert answer.profile_version is None
    assert shown(answer) == shown(desk.ask(RecommendRequest()))
    decision = desk.decision(answer)
    assert (decision.consent, decision.versions.profile, decision.versions.profile_lsn) == (consent, None, None)


def test_a_refusal_makes_the_answer_contextual(desk: Desk) -> None:
    desk.profiles[Key("u:42")] = denier()
    answer = desk.home()
    assert_contextual(desk, answer, "denied")
    assert answer.logged


def test_a_refusal_in_the_request_itself_reads_no_profile(desk: Desk) -> None:
    answer = desk.home(context={"consent": {"categoryPreferences": {"Functional": False}}})
    assert desk.read == []
    assert_contextual(desk, answer, "denied")


def test_a_consent_that_cannot_be_read_is_refused_not_guessed(desk: Desk) -> None:
    with pytest.raises(BadRequest, match="consent"):
        desk.home(context={"consent": {"categoryPreferences": {"Functional": "perhaps"}}})


def test_undecided_is_what_the_store_says(tmp_path: Path, desk: Desk) -> None:
    assert desk.decision(desk.home()).consent == "default"
    careful = Desk(tmp_path / "careful", rules=UNDECIDED_IS_NO)
    careful.profiles = desk.profiles
    assert_contextual(careful, careful.home(), "undecided")
    granted = profile_of((Consented({"personalization": True}), NOW), (did("view", "nachos"), NOW))
    careful.profiles = {Key("u:42"): granted}
    answer = careful.home()
    assert (answer.profile_version, careful.decision(answer).consent) == (granted.version, "granted")
    careful.close()


def test_contextual_answers_follow_the_items_of_the_request(desk: Desk) -> None:
    desk.profiles[Key("u:42")] = denier()
    assert shown(desk.home(surface="product", items=("nappies",)))[0] == "wipes"


def test_contextual_answers_belong_to_a_new_throw_away_subject_each_time(desk: Desk) -> None:
    desk.profiles[Key("u:42")] = denier()
    ids = [desk.home().recommendation_id for _ in range(2)]
    desk.shipper.ship()
    owners = [record.subject for record in desk.log.read(0, 10)]
    assert len(ids) == len(set(owners)) == 2
    assert denier().subject not in owners


def test_a_personal_decision_goes_with_its_subject(desk: Desk) -> None:
    answer = desk.home()
    assert desk.decision(answer).versions.profile == desk.profiles[Key("u:42")].version
    desk.vault.erase(desk.profiles[Key("u:42")].subject)
    with pytest.raises(NotFound, match="erased"):
        desk.decision(answer)
    late = desk.home()
    assert (late.logged, late.recommendation_id) == (False, None)
    assert late.items


# ---- the decision record -----------------------------------------------------------------------------------------


def test_the_decision_holds_what_is_needed_to_make_the_slate_again(desk: Desk) -> None:
    answer = desk.home(n=5)
    decision = desk.decision(answer)
    slate = slate_again(decision, {})
    assert [decision.candidates[column] for column in slate.columns] == shown(answer)
    assert list(slate.propensities) == [one.propensity for one in answer.items]
    assert np.frombuffer(decision.gains, "<f4").tolist() == list(slate.gains)
    assert np.frombuffer(decision.features, "<f4").shape == (5 * len(decision.recommenders) * len(FEATURES),)
    assert set(decision.recommenders) == set(SURFACES["home"].weights)


def test_the_decision_says_under_which_rules_and_from_what(desk: Desk) -> None:
    answer = desk.home(surface="product", items=("tea",), exclude=("milk",), context={"page": "p"}, test=True)
    decision = desk.decision(answer)
    assert decision.rules.surface == "product"
    assert (decision.rules.tau, decision.rules.floor, decision.seed) == (0.0, 0.0, 0)
    assert (decision.anchors, decision.exclude, decision.context) == (("tea",), ("milk",), {"page": "p"})
    assert decision.versions.items == desk.items.snapshot().version
    assert decision.versions.model == answer.model_version
    assert decision.read_at == NOW * 1000
    assert decision.test
    assert [one.item for one in decision.slate] == shown(answer)
    assert {one.propensity for one in decision.slate} == {1.0}


def test_other_weights_are_another_model(tmp_path: Path, desk: Desk) -> None:
    other = Desk(tmp_path / "other", rules=AnswerRules(surfaces=surfaces(Surface(name="own", weights={"content": 1}))))
    assert other.home().model_version != desk.home().model_version
    other.close()


def test_without_a_share_only_shown_items_are_logged(tmp_path: Path) -> None:
    desk = Desk(tmp_path, rules=AnswerRules(candidates_logged=0.0, surfaces=STILL))
    decision = desk.decision(desk.home(n=3))
    assert (decision.candidates, decision.scores, len(decision.slate)) == ((), b"", 3)
    desk.close()


def test_a_spool_that_cannot_be_written_is_said_and_the_answer_given(tmp_path: Path) -> None:
    place_taken = tmp_path / "spool"
    place_taken.write_text("a file where the folder should be")
    desk = Desk(place_taken)
    for request_id in ("", "one"):
        answer = desk.home(request_id=request_id)
        assert (answer.logged, answer.recommendation_id) == (False, None)
        assert answer.items


# ---- as of -------------------------------------------------------------------------------------------------------


def test_as_of_reads_the_past_profile_at_the_past_moment_and_logs_nothing(desk: Desk) -> None:
    past = profile_of((did("purchase", "tea"), NOW - 30 * DAY), (did("purchase", "milk"), NOW - 29 * DAY))
    at = Micros((NOW - 28 * DAY) * 1000)
    answer = desk.answerer.recommend(RecommendRequest(user_id="42", surface="buy_again", as_of=at), past)
    assert (answer.approximate, answer.logged, answer.recommendation_id) == (True, False, None)
    assert answer.profile_version == past.version
    assert answer.as_of == "2023-10-17T22:13:20.000000Z"
    assert shown(answer) == ["milk", "tea"]
    assert desk.shipper.ship() == 0


def test_as_of_honours_the_consent_of_then(desk: Desk) -> None:
    at = Micros(NOW * 1000)
    answer = desk.answerer.recommend(RecommendRequest(user_id="42", as_of=at), denier())
    assert answer.profile_version is None


# ---- request ids -------------------------------------------------------------------------------------------------


def test_the_same_request_id_gets_the_stored_answer_whatever_happened_since(desk: Desk) -> None:
    first = desk.home(request_id="one", n=4)
    desk.profiles[Key("u:42")] = profile_of((did("view", "nappies"), NOW))
    desk.clock.advance(60_000_000)
    other = desk.replica()
    assert desk.home(n=4).items != first.items
    for answerer in (None, other):
        assert desk.ask(RecommendRequest(user_id="42", request_id="one", n=4), answerer) == first
    desk.shipper.ship()
    for journal in desk.journals:
        journal.close()
    desk.shipper.ship()
    assert desk.ask(RecommendRequest(user_id="42", request_id="one", n=4), desk.replica()) == first
    assert desk.log.bounds() == (0, 2)


def test_somebody_elses_request_id_is_their_own(desk: Desk) -> None:
    mine = desk.home(request_id="one")
    theirs = desk.home(user_id="newcomer", request_id="one")
    assert theirs.recommendation_id != mine.recommendation_id
    assert shown(theirs) != shown(mine)


def test_after_a_withdrawal_the_stored_personal_answer_is_not_given(desk: Desk) -> None:
    personal = desk.home(request_id="one")
    desk.profiles[Key("u:42")] = denier()
    answer = desk.home(request_id="one")
    assert answer.profile_version is None
    assert answer.recommendation_id != personal.recommendation_id


def test_a_request_being_answered_elsewhere_is_asked_to_come_again(desk: Desk) -> None:
    elsewhere = desk.replica()
    assert elsewhere is not desk.answerer
    with desk.journals[1].claim(Key("u:42"), "one"), pytest.raises(Unavailable):
        desk.home(request_id="one")
    assert desk.home(request_id="one").logged


# ---- rank --------------------------------------------------------------------------------------------------------


def test_rank_orders_the_callers_candidates_and_loses_none_that_may_be_shown(desk: Desk) -> None:
    answer = desk.rank("wipes", "unknown", "tea", "salsa", "tea")
    assert sorted(shown(answer)) == ["salsa", "tea", "unknown", "wipes"]
    assert shown(answer)[0] == "tea"
    assert shown(answer)[-1] == "unknown"
    assert answer.logged
    assert set(desk.decision(answer).candidates) == {"wipes", "tea", "salsa"}


def test_rank_without_evidence_falls_back_to_the_total_order(desk: Desk) -> None:
    desk.profiles.clear()
    assert shown(desk.rank("salsa", "dip", surface="buy_again")) == ["salsa", "dip"]
    assert shown(desk.rank("dip", "salsa", surface="buy_again")) == ["salsa", "dip"]


# ---- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"surface": "nowhere"}, "use one of buy_again, cart, discover, home, product"),
        ({"n": 101}, "at most 100"),
        ({"user_id": "\x00"}, "NUL"),
        ({"user_id": "x" * 1000}, "1000 characters"),
        ({"context": {"x": "y" * 9000}}, "larger than 8192 bytes"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_reason(
    desk: Desk, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(BadRequest, match=message):
        desk.home(**fields)


def test_a_surface_that_weighs_an_unknown_recommender_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"surfaces.own.weights.popularty.*popularity"):
        Desk(tmp_path, rules=AnswerRules(surfaces=surfaces(Surface(name="own", weights={"popularty": 1}))))


def test_nobody_and_anonymous_visitors_are_answered(desk: Desk) -> None:
    desk.profiles[Key("a:web-1")] = profile_of((did("view", "nappies"), NOW))
    assert "wipes" in shown(desk.ask(RecommendRequest(anonymous_id="web-1", surface="discover")))[:2]
    nobody = desk.ask(RecommendRequest())
    assert (nobody.user_id, nobody.profile_version, desk.decision(nobody).consent) == (None, None, "nobody")
    assert desk.read == [Key("a:web-1")]


def test_a_profile_with_nothing_in_it_is_no_obstacle(desk: Desk) -> None:
    desk.profiles[Key("u:42")] = EMPTY
    assert desk.home().profile_version == 0


def test_details_come_with_the_answer_when_asked_for(desk: Desk) -> None:
    item = desk.home(n=1, details=True).items[0]
    assert item.item is not None
    assert item.item["category"]
    assert b'"item"' not in desk.home(n=1).json()
