"""The written list of recommenders is whole, and each of them passes the contract."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from recommender_contract import RecommenderContract, query
from small_model import MODEL, WITHDRAWN, bound, facts_of, fitted, interactions_of, small_model
from small_shop import buyer, described, small_shop

from actors.item_view import ItemView
from training.inventory import FITTED, INVENTORY
from training.model import Bound, load, model_of, save
from training.recommender import Query, Recommender, ranked
from training.surface import SURFACES

TRAINING = Path(__file__).parents[2] / "training"


@pytest.mark.parametrize("recommender", INVENTORY.values(), ids=list(INVENTORY))
class TestEvery(RecommenderContract):
    """The contract, for each of the written list."""


def with_model(asked: Query, model: Bound | None) -> Query:
    return Query(asked.items, asked.now, asked.surface, asked.history, asked.anchors, model=model)


@pytest.mark.parametrize("recommender", [INVENTORY[name] for name in FITTED], ids=list(FITTED))
class TestFitted:
    """What those that retraining fits promise on top."""

    @pytest.fixture
    def items(self) -> ItemView:
        return small_shop([described("new")]).snapshot()

    def test_without_a_model_it_abstains(self, recommender: Recommender, items: ItemView) -> None:
        assert len(recommender.recommend(with_model(query(items, buyer()), None)).idx) == 0

    def test_without_its_table_it_abstains(self, recommender: Recommender, items: ItemView) -> None:
        bare = bound(items, model_of(MODEL.item_ids, {}, None, MODEL.provenance))
        assert len(recommender.recommend(with_model(query(items, buyer()), bare)).idx) == 0

    def test_of_items_the_model_does_not_know_it_says_nothing(self, recommender: Recommender) -> None:
        items = small_shop([described("fresh")]).snapshot()
        assert len(recommender.recommend(query(items, given=["fresh"])).idx) == 0

    def test_items_only_the_model_knows_are_never_named(self, recommender: Recommender, items: ItemView) -> None:
        known = list(MODEL.item_ids)
        assert known.index(WITHDRAWN) >= 0 > items.index(WITHDRAWN)
        scored = recommender.recommend(query(items, given=["tea", "nappies"]))
        assert len(scored.idx)
        assert ((scored.idx >= 0) & (scored.idx < items.size)).all()

    def test_it_names_the_same_items_whatever_numbers_the_shop_gives_them(self, recommender: Recommender) -> None:
        shop = small_shop().snapshot()
        shifted = small_shop([described("aaa"), described("bbb")]).snapshot()
        said = [
            {items.ids[idx]: score for idx, score in ranked(recommender.recommend(query(items, buyer())))}
            for items in (shop, shifted)
        ]
        assert said[0] == said[1]

    def test_what_was_saved_and_loaded_recommends_the_same(
        self, recommender: Recommender, items: ItemView, tmp_path: Path
    ) -> None:
        asked = query(items, buyer())
        save(tmp_path, MODEL)
        loaded = with_model(asked, bound(items, load(tmp_path, MODEL.id)))
        one, two = recommender.recommend(asked), recommender.recommend(loaded)
        assert (one.idx.tolist(), one.score.tolist()) == (two.idx.tolist(), two.score.tolist())

    def test_a_history_of_nobody_is_fitted_too_and_then_it_abstains(self, recommender: Recommender) -> None:
        items = small_shop().snapshot()
        for catalogue in ([], ["tea", "milk"]):
            empty = fitted(interactions_of([], catalogue, 0), facts_of(catalogue, {}))
            asked = with_model(query(items, buyer(), ["tea"]), bound(items, empty))
            assert len(recommender.recommend(asked).idx) == 0

    def test_one_person_who_did_one_thing_is_no_obstacle(self, recommender: Recommender) -> None:
        items = small_shop().snapshot()
        lonely = fitted(interactions_of([(0, "tea", 1, 0)], ["tea"], 1), facts_of(["tea"], {}))
        scored = recommender.recommend(with_model(query(items, buyer(), ["tea"]), bound(items, lonely)))
        assert np.isfinite(scored.score).all()


def test_the_same_history_and_seed_make_the_same_model() -> None:
    assert small_model().id == MODEL.id


def test_every_fitted_table_is_one_of_a_recommender() -> None:
    assert set(FITTED) <= set(INVENTORY)


def test_every_weight_of_a_surface_is_one_of_a_recommender() -> None:
    for surface in SURFACES.values():
        assert set(surface.weights) <= set(INVENTORY)


def test_the_written_list_names_every_recommender_there_is() -> None:
    found = set()
    for path in TRAINING.glob("*.py"):
        if path.stem == "on_ray":
            continue
        module = importlib.import_module(f"training.{path.stem}")
        found |= {
            kind
            for kind in vars(module).values()
            if isinstance(kind, type)
            and kind.__module__ == module.__name__
            and isinstance(vars(kind).get("name"), str)
            and callable(vars(kind).get("recommend"))
        }
    assert found == {type(recommender) for recommender in INVENTORY.values()}
    assert list(INVENTORY) == [recommender.name for recommender in INVENTORY.values()]
    assert len({kind.__module__ for kind in found}) == len(INVENTORY), "one file each"
