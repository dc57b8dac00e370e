"""Lists for everybody, through the answer path itself: one slice of one partition's profiles at a time.

Who does not allow personalization gets no list: the same list for all needs no batch. A slice holds one profile in
memory at once; its rows come back as one Arrow table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow as pa

from actors.item_reader import LocalItems
from actors.lmdb_state import LmdbReader
from actors.profile import Profile, allowed, decode
from actors.recovery import STATE
from actors.store import Store
from actors.working_set import PROFILES
from events.clock import Clock
from events.ids import Micros, PartitionId
from serving.answer import Answer, RecommendRequest
from serving.recommend import Answerer
from serving.replica import open_journal, open_vaults, rules_of
from serving.settings import Settings
from serving.weights import open_weights

SLICES: Final = 16
"""Slices of a partition: a task holds the rows of one, about 20 MB of 50,000 lists."""
SCHEMA: Final = pa.schema(
    [
        ("user_id", pa.string()),
        ("anonymous_id", pa.string()),
        ("surface", pa.string()),
        ("items", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float32())),
        ("propensities", pa.list_(pa.float32())),
        ("recommendation_id", pa.string()),
        ("model_version", pa.string()),
        ("profile_version", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Lists:
    """What is wanted of everybody."""

    data: Path
    settings: Settings
    surface: str
    n: int
    log: bool
    """Whether every list is logged as an answer."""
    at: Micros
    """The moment the lists are made for."""


class Still(Clock):
    """A clock that stands at the batch's moment, so that all lists are of one."""

    def __init__(self, at: Micros) -> None:
        self._at = at

    def now(self) -> Micros:
        return self._at


def lists_of(wanted: Lists, number: PartitionId, part: int) -> pa.Table:
    """The lists of slice ``part`` of `SLICES` of a partition's profiles, in the order of their state."""
    store = Store.open(wanted.data)
    items, weights = LocalItems(wanted.data), open_weights(wanted.data)
    vaults = open_vaults(store)
    journal = open_journal(store, vaults)[0] if wanted.log else None
    rules = replace(rules_of(store, wanted.settings), n_max=max(wanted.n, wanted.settings.recommend.n_max))
    answerer = Answerer(items, journal, Still(wanted.at), rules, weights)
    state = LmdbReader(store.folder(number) / STATE)
    try:
        columns: dict[str, list[object]] = {name: [] for name in SCHEMA.names}
        for profile in _people(state, part):
            if allowed(profile):
                _add(columns, profile, answerer.recommend(_request(wanted, profile), profile))
        return pa.table(columns, SCHEMA)
    finally:
        state.close()
        if journal is not None:
            journal.close()
        vaults.close()
        weights.close()
        items.close()


def _people(state: LmdbReader, part: int) -> Iterator[Profile]:
    """The profiles whose hashed key begins with one of this slice's bytes."""
    first, end = part * 256 // SLICES, (part + 1) * 256 // SLICES
    for key, blob in state.scan(PROFILES, bytes([first])):
        if key[0] >= end:
            return
        profile = decode(blob)
        if profile.user_id or profile.anonymous:
            yield profile


def _request(wanted: Lists, profile: Profile) -> RecommendRequest:
    anonymous = "" if profile.user_id else profile.anonymous_ids[0]
    return RecommendRequest(
        user_id=profile.user_id,
        anonymous_id=anonymous,
        n=wanted.n,
        surface=wanted.surface,
        as_of=None if wanted.log else wanted.at,
    )


def _add(columns: dict[str, list[object]], profile: Profile, answer: Answer) -> None:
    row: dict[str, object] = {
        "user_id": profile.user_id or None,
        "anonymous_id": None if profile.user_id else profile.anonymous_ids[0],
        "surface": answer.surface,
        "items": [item.item_id for item in answer.items],
        "scores": [item.score for item in answer.items],
        "propensities": [item.propensity for item in answer.items],
        "recommendation_id": answer.recommendation_id,
        "model_version": answer.model_version,
        "profile_version": profile.version,
    }
    for name, value in row.items():
        columns[name].append(value)
