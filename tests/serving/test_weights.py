"""A request is scored with one consistent pair of weights and model, whatever is published or loaded meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from answering import Desk, shown, surfaces
from service import until
from small_shop import NOW, Facts, buyer, described, did, small_shop

from actors.lmdb_state import LmdbState
from actors.state import MemoryState
from events.ids import Key, Millis
from serving.answer import RecommendRequest
from serving.decision import shown_rows
from serving.metrics import Numbers
from serving.recommend import AnswerRules
from serving.weights import FOLDER, RETRY_MS, PublishedWeights, Weights, open_weights
from training.blend import FEATURES
from training.learned import CONTEXT, KEY, OUTCOMES, TABLE, Learned, SurfaceWeights, pack
from training.model import Binder, Model, Provenance, load, model_of, save
from training.surface import Surface

NAMES = ("repeat_purchase", "popularity", "content")
ITEMS = small_shop()
PLAIN = Surface(name="plain", weights={"popularity": 1.0, "content": 0.1, "repeat_purchase": 0.1})


def weights_for(**by_name: float) -> SurfaceWeights:
    """Every outcome by ``log_z`` of the recommenders named."""
    table = np.zeros((len(OUTCOMES), len(NAMES), len(FEATURES)))
    for name, weight in by_name.items():
        table[:, NAMES.index(name), FEATURES.index("log_z")] = weight
    return SurfaceWeights(
        np.full(len(OUTCOMES), -3.0),
        table.reshape(len(OUTCOMES), -1),
        np.zeros((len(OUTCOMES), len(CONTEXT))),
        np.full(len(NAMES), 1 / len(NAMES)),
    )


def learned(version: str, model: str = "", **by_name: float) -> Learned:
    return Learned(version, model, NAMES, {"plain": weights_for(**by_name)})


class Shelf:
    """The learner's row, artefacts on disk, and a replica that reads them; loading can be held up."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.row, self.numbers = folder, MemoryState(), Numbers()
        self.gate = threading.Event()
        self.gate.set()
        self.loads: list[str] = []
        self.weights = Weights(PublishedWeights(self.row, self.numbers), self.load, self.numbers)

    def load(self, identity: str) -> Model:
        self.loads.append(identity)
        assert self.gate.wait(10)
        return load(self.folder, identity)

    def publish(self, one: Learned) -> None:
        self.row.commit([(TABLE, KEY, pack(one))])

    def made(self, seed: int) -> str:
        table: Mapping[str, np.ndarray] = {"factors": np.full(4, seed, np.float32)}  # type: ignore[type-arg]
        model = model_of(("tea", "milk"), {"ials": table}, None, Provenance(seeds={"ials": seed}))
        save(self.folder, model)
        return model.id

    def look(self, now: int = 0) -> tuple[str, str]:
        """Version of the weights, and the model's id."""
        pair = self.weights.snapshot(ITEMS.snapshot(), Millis(now))
        return pair.learned.version if pair.learned else "", pair.model.model.id if pair.model else ""

    def counted(self, name: str) -> float:
        return self.numbers.counter(f"everfold_{name}_total").value


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path / "models")
    yield shelf
    shelf.gate.set()
    shelf.weights.close()


def test_nothing_published_is_no_pair(shelf: Shelf, tmp_path: Path) -> None:
    assert shelf.look() == ("", "")
    opened = open_weights(tmp_path / "no such folder", Numbers())
    assert opened.snapshot(ITEMS.snapshot(), Millis(0)).learned is None
    opened.close()


def test_new_weights_of_the_same_model_are_taken_at_once(shelf: Shelf) -> None:
    first = shelf.made(1)
    shelf.publish(learned("a", first))
    assert shelf.look() == ("a", first)
    shelf.publish(learned("b", first))
    assert shelf.look() == ("b", first)
    assert shelf.loads == [first]


def test_the_old_pair_serves_until_the_new_model_is_whole(shelf: Shelf) -> None:
    first, second = shelf.made(1), shelf.made(2)
    shelf.publish(learned("a", first))
    assert shelf.look() == ("a", first)
    shelf.gate.clear()
    shelf.publish(learned("b", second))
    assert [shelf.look() for _ in range(20)] == [("a", first)] * 20
    shelf.publish(learned("c", second))
    assert shelf.look() == ("a", first)
    shelf.gate.set()
    shelf.weights.settle()
    assert shelf.look() == ("c", second)
    assert shelf.counted("model_swaps") == 2


class Watched:
    """A view that counts how often its ids are gone through."""

    def __init__(self) -> None:
        self.view, self.walked = ITEMS.snapshot(), 0
        self.size, self.numbering = self.view.size, self.view.numbering

    @property
    def ids(self) -> Sequence[str]:
        self.walked += 1
        return self.view.ids


def test_a_model_is_bound_to_the_items_before_it_serves(shelf: Shelf) -> None:
    view = Watched()
    first, second = shelf.made(1), shelf.made(2)
    for version, model in (("a", first), ("b", second)):
        shelf.publish(learned(version, model))
        shelf.weights.snapshot(view, Millis(0))  # type: ignore[arg-type]
        shelf.weights.settle()
        walked = view.walked
        bound = shelf.weights.snapshot(view, Millis(0)).model  # type: ignore[arg-type]
        assert bound is not None
        assert bound.model.id == model
        assert bound.to_model.tolist() == Binder().bind(bound.model, view.view).to_model.tolist()
        assert view.walked == walked, "the answer that takes it over looks up nothing"
    assert walked == 2


def test_what_was_promoted_while_nobody_asked_serves_the_first_who_does(shelf: Shelf) -> None:
    first, second, third = shelf.made(1), shelf.made(2), shelf.made(3)
    shelf.publish(learned("a", first))
    shelf.look()
    aside = PublishedWeights(shelf.row)
    shelf.publish(learned("b", second))
    for _ in range(3):
        shelf.weights.look_ahead(aside)
    shelf.weights.settle()
    assert shelf.look() == ("b", second)
    for _ in range(3):
        shelf.weights.look_ahead(aside)
    assert shelf.loads == [first, second], "each once"
    shelf.publish(learned("c", third))
    shelf.weights.look_ahead(aside)
    shelf.publish(learned("d", first))
    shelf.weights.look_ahead(aside)
    shelf.weights.settle()
    assert shelf.look() == ("d", first)


def test_a_damaged_model_that_was_looked_ahead_to_is_tried_again_later(shelf: Shelf) -> None:
    first, second = shelf.made(1), shelf.made(2)
    shelf.publish(learned("a", first))
    shelf.look()
    path = shelf.folder / second / "ials.factors.npy"
    whole = path.read_bytes()
    path.write_bytes(b"")
    shelf.publish(learned("b", second))
    shelf.weights.look_ahead(PublishedWeights(shelf.row))
    shelf.weights.settle()
    assert shelf.look(1) == ("a", first)
    path.write_bytes(whole)
    shelf.look(1 + RETRY_MS)
    shelf.weights.settle()
    assert shelf.look(2 + RETRY_MS) == ("b", second)
    assert shelf.counted("models_refused") == 1


def test_a_replica_looks_ahead_by_itself(tmp_path: Path) -> None:
    state = LmdbState(tmp_path / FOLDER)
    model = model_of(("tea", "milk"), {}, None, Provenance())
    save(tmp_path / "models", model)
    weights = open_weights(tmp_path)
    assert weights.snapshot(ITEMS.snapshot(), Millis(0)).model is None
    state.commit([(TABLE, KEY, pack(learned("a")))])
    assert weights.snapshot(ITEMS.snapshot(), Millis(0)).learned is not None
    state.commit([(TABLE, KEY, pack(learned("b", model.id)))])
    assert until(lambda: weights.ready == model.id)
    pair = weights.snapshot(ITEMS.snapshot(), Millis(0))
    assert pair.model is not None
    assert pair.model.model.id == model.id
    weights.close()
    state.close()


def test_another_promotion_while_one_is_loading_wins(shelf: Shelf) -> None:
    first, second, third = shelf.made(1), shelf.made(2), shelf.made(3)
    shelf.publish(learned("a", first))
    shelf.look()
    shelf.gate.clear()
    shelf.publish(learned("b", second))
    shelf.look()
    shelf.publish(learned("c", third))
    shelf.gate.set()
    for _ in range(3):
        shelf.weights.settle()
        seen = shelf.look()
        assert seen in {("a", first), ("c", third)}
    assert seen == ("c", third)


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_model_is_refused_and_tried_again_later(shelf: Shelf, damage: str) -> None:
    first, second = shelf.made(1), shelf.made(2)
    shelf.publish(learned("a", first))
    shelf.look()
    path = shelf.folder / second / "ials.factors.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1])) if damage == "changed" else path.unlink()
    shelf.publish(learned("b", second))
    for _ in range(5):
        shelf.look(1)
        shelf.weights.settle()
    assert shelf.look(1) == ("a", first)
    assert shelf.counted("models_refused") == 1
    assert shelf.loads.count(second) == 1
    path.write_bytes(whole)
    shelf.look(1 + RETRY_MS)
    shelf.weights.settle()
    assert shelf.look(2 + RETRY_MS) == ("b", second)


def test_a_first_model_that_is_damaged_leaves_the_fixed_weights(shelf: Shelf) -> None:
    shelf.publish(learned("a", "0" * 32))
    assert shelf.look() == ("", "")
    assert shelf.counted("models_refused") == 1


def test_rolled_back_to_no_model_the_tables_go(shelf: Shelf) -> None:
    shelf.publish(learned("a", shelf.made(1)))
    shelf.look()
    shelf.publish(learned("b"))
    assert shelf.look() == ("b", "")


def test_a_row_that_cannot_be_read_is_passed_over(shelf: Shelf) -> None:
    shelf.publish(learned("a"))
    assert shelf.look() == ("a", "")
    shelf.row.commit([(TABLE, KEY, b"\xff rubbish")])
    assert shelf.look() == ("a", "")
    assert shelf.counted("learned_unreadable") == 1


# ---- in answers --------------------------------------------------------------------------------------------------


@pytest.fixture
def desk(shelf: Shelf, tmp_path: Path) -> Iterator[Desk]:
    rules = AnswerRules(surfaces=surfaces(PLAIN))
    desk = Desk(tmp_path / "spool", rules=rules, weights=shelf.weights, numbers=shelf.numbers)
    desk.profiles[Key("u:42")] = msgspec.structs.replace(buyer(), subject=desk.subject("u:42"))
    yield desk
    desk.close()


def test_learned_weights_decide_the_list_and_are_named(shelf: Shelf, desk: Desk) -> None:
    fixed = desk.home(surface="plain")
    assert (fixed.model_version[:6], shown(fixed)[0]) == ("fixed-", "milk")
    shelf.publish(learned("w1", repeat_purchase=5.0))
    answer = desk.home(surface="plain")
    assert shown(answer)[:1] == ["tea"]
    assert answer.model_version == "learned-none-w1"
    assert answer.items[0].sources[0] == "repeat_purchase"
    decision = desk.decision(answer)
    assert (decision.versions.learned, decision.versions.artefact) == ("w1", "")
    assert desk.decision(desk.home(surface="home")).versions.learned == "", "no weights of that surface were learned"


def test_the_score_shown_is_what_the_logged_features_give(shelf: Shelf, desk: Desk) -> None:
    own = learned("w1", repeat_purchase=1.5, popularity=0.7)
    shelf.publish(own)
    decision = desk.decision(desk.home(surface="plain", n=5))
    weights = own.surfaces["plain"]
    for one, row in zip(decision.slate, shown_rows(decision), strict=True):
        table = weights.recommenders.reshape(len(OUTCOMES), len(NAMES), len(FEATURES))
        logit = weights.intercept[0] + sum(
            table[0, number, kind] * row.features.get(f"{name}.{feature}", 0.0)
            for number, name in enumerate(NAMES)
            for kind, feature in enumerate(FEATURES)
        )
        assert one.score == pytest.approx(logit, abs=1e-5), "all outcomes weigh alike here"


def test_an_answer_names_the_pair_it_was_made_with(shelf: Shelf, desk: Desk) -> None:
    first = shelf.made(1)
    shelf.publish(learned("w1", first, popularity=1.0))
    answer = desk.home(surface="plain")
    assert answer.model_version == f"learned-{first[:8]}-w1"
    assert desk.decision(answer).versions.artefact == first
    again = desk.home(surface="plain", request_id="kept")
    shelf.publish(learned("w2", first, popularity=1.0))
    assert desk.home(surface="plain", request_id="kept") == again


# ---- rankings kept -----------------------------------------------------------------------------------------------


def found(shelf: Shelf, outcome: str) -> float:
    return shelf.numbers.counter("everfold_prediction_cache_total", outcome=outcome).value


def test_what_is_about_nobody_is_scored_once_and_drawn_each_time(shelf: Shelf, desk: Desk) -> None:
    first = desk.home("somebody new", surface="plain")
    second = desk.home("somebody else", surface="plain")
    assert (found(shelf, "miss"), found(shelf, "hit")) == (1, 1)
    assert first.recommendation_id != second.recommendation_id
    assert desk.decision(second).scores == desk.decision(first).scores
    desk.home("42", surface="plain")
    assert (found(shelf, "miss"), found(shelf, "hit")) == (1, 1), "a profile's ranking is its own"
    for other in ({"category": "Snacks"}, {"exclude": ("tea",)}, {"items": ("tea",)}, {"surface": "home"}, {"n": 30}):
        desk.home("somebody new", **{"surface": "plain", **other})
    assert found(shelf, "hit") == 1


def test_a_kept_ranking_goes_with_weights_catalogue_and_time(shelf: Shelf, desk: Desk) -> None:
    def hits() -> float:
        before = found(shelf, "hit")
        desk.home("new", surface="plain")
        return found(shelf, "hit") - before

    assert [hits(), hits()] == [0, 1]
    shelf.publish(learned("w1", popularity=1.0))
    assert [hits(), hits()] == [0, 1]
    facts = Facts()
    facts.add(described("milk", hidden=True), NOW)
    desk.items.fold(facts.made)
    assert "milk" not in shown(desk.home("new", surface="plain"))
    assert hits() == 1
    desk.clock.advance(1_000_000)
    assert [hits(), hits()] == [0, 1]


def test_whoever_waits_for_a_write_gets_nothing_older(shelf: Shelf, desk: Desk) -> None:
    request = RecommendRequest(user_id="new", surface="plain")
    desk.answerer.recommend(request, None)
    desk.answerer.recommend(request, None, fresh=True)
    assert found(shelf, "hit") == 1, "nothing was written since"
    facts = Facts()
    facts.add(did("purchase", "dip"), NOW)
    desk.items.fold(facts.made)
    desk.answerer.recommend(request, None, fresh=True)
    assert found(shelf, "hit") == 1
    desk.answerer.recommend(request, None)
    assert found(shelf, "hit") == 2
