"""A model artefact of the size retraining makes of The Complete Journey, with tables drawn at random: for what an
answer costs, the shapes of the tables matter and not what they say. Few items are named often, as in a fitted one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from training import ease, ials, ridge_next_item, session_knn, user_knn
from training.model import Model, Provenance, Table, model_of
from training.served_rows import ROWS

PEOPLE = 2_500
SESSIONS = 100_000
SKEW = 4
"""Power of a uniform number that items are drawn by: a tenth of them is named in more than half of all places."""

Ints = npt.NDArray[np.int32]


def drawn_model(item_ids: Sequence[str], known: Sequence[int], seed: int) -> Model:
    """Tables over ``item_ids``; ``known`` are items every recommender has a row of."""
    rng = np.random.default_rng(seed)
    items = len(item_ids)
    order = rng.permutation(items).astype(np.int32)
    order = np.concatenate((np.array(known, np.int32), order[~np.isin(order, known)]))
    tables = {
        user_knn.NAME: {
            "liked": named(rng, order, (PEOPLE, 48)),
            "how": falling(rng, (PEOPLE, 48)),
            "known_by": rng.integers(0, PEOPLE, (items, 32), np.int32),
            "closeness": falling(rng, (items, 32)),
        },
        ials.NAME: factors(rng, order[:9_000], items),
        ease.NAME: rows(rng, order, 5_000),
        ridge_next_item.NAME: rows(rng, order, 4_000),
        session_knn.NAME: {
            "held": named(rng, order, (SESSIONS, 16)),
            "strength": rng.random(SESSIONS, np.float32),
            "latest": rng.integers(0, SESSIONS, (items, 32), np.int32),
            "idf": 1 + rng.random(items, np.float32),
        },
    }
    return model_of(item_ids, tables, None, Provenance())


def named(rng: np.random.Generator, order: Ints, shape: tuple[int, int]) -> Ints:
    drawn: Ints = order[(rng.random(shape) ** SKEW * len(order)).astype(np.int32)]
    return drawn


def falling(rng: np.random.Generator, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    return -np.sort(-rng.random(shape, np.float32), axis=1)


def rows(rng: np.random.Generator, order: Ints, count: int) -> Table:
    """As `training.served_rows.served_rows` makes them."""
    some = np.sort(order[:count])
    place = np.full(len(order), -1, np.int32)
    place[some] = np.arange(count, dtype=np.int32)
    idx = named(rng, order[:count], (count, ROWS))
    return {"place": place, "idx": idx, "weight": falling(rng, (count, ROWS))}


def factors(rng: np.random.Generator, number: Ints, items: int) -> Table:
    settings = ials.Settings()
    place = np.full(items, -1, np.int32)
    place[number] = np.arange(len(number), dtype=np.int32)
    scale = np.array([settings.alpha, settings.ridge, settings.exponent, len(number)], np.float32)
    drawn = rng.standard_normal((len(number), settings.factors)).astype(np.float32) / 10
    gram = np.sort(rng.random(settings.factors).astype(np.float32)) * 100
    return {"number": number, "place": place, "factors": drawn, "gram": gram, "scale": scale}
