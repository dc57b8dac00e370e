"""A model fitted on the small shop: six people who buy its baskets in turn, and browse between."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from small_shop import BASKETS, CATALOGUE, DAY, NOW

from actors.item_view import ItemView
from training.interactions import Interactions, ItemFacts
from training.inventory import FITTED
from training.model import Binder, Bound, Model, Provenance, model_of

PEOPLE = 6
WITHDRAWN = "withdrawn tea"
"""An item the model knows and the shop no longer does."""


def interactions_of(rows: Sequence[tuple[int, str, int, int]], items: Sequence[str], people: int) -> Interactions:
    """From (user, item, time, event), in any order; all are purchases."""
    number = {item: at for at, item in enumerate(items)}
    ordered = sorted((at, event, number[item], user) for user, item, at, event in rows)
    return Interactions(
        tuple(items),
        people,
        user=np.array([row[3] for row in ordered], np.int32),
        item=np.array([row[2] for row in ordered], np.int32),
        at=np.array([row[0] for row in ordered], np.int64),
        event=np.array([row[1] for row in ordered], np.int32),
        weight=np.full(len(ordered), 5.0, np.float32),
        bought=np.ones(len(ordered), np.bool_),
    )


def small_interactions(extra: Sequence[str] = ()) -> Interactions:
    """Person p buys basket (p + turn) of each turn, ten days apart, and `WITHDRAWN` with every tea. ``extra`` items are
    known and never touched."""
    rows: list[tuple[int, str, int, int]] = []
    for turn in range(len(BASKETS)):
        for person in range(PEOPLE):
            basket = BASKETS[(person + turn) % len(BASKETS)]
            at = NOW - (100 - 10 * turn) * DAY + person
            bought = (*basket, WITHDRAWN) if "tea" in basket else basket
            rows += [(person, item, at, turn * PEOPLE + person) for item in bought]
    return interactions_of(rows, [*CATALOGUE, WITHDRAWN, *extra], PEOPLE)


def facts_of(items: Sequence[str], categories: dict[str, str]) -> ItemFacts:
    return ItemFacts([categories.get(item, "") for item in items], [""] * len(items), [()] * len(items))


def fitted(interactions: Interactions, facts: ItemFacts, seed: int = 7) -> Model:
    """Everything that retraining fits, in one model."""
    tables = {name: one.fit(interactions, facts, seed) for name, one in FITTED.items()}
    settings = {name: one.settings for name, one in FITTED.items()}
    return model_of(interactions.item_ids, tables, None, Provenance(settings=settings, seeds={"all": seed}))


def small_model() -> Model:
    """Fitted anew with every call."""
    interactions = small_interactions(["new", "undescribed"])
    return fitted(interactions, facts_of(interactions.item_ids, CATALOGUE | {"new": "Drinks > Tea"}))


MODEL = small_model()


def bound(items: ItemView, model: Model = MODEL) -> Bound:
    return Binder().bind(model, items)
