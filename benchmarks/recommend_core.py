"""What one answer costs in CPU, without HTTP and without fetching the profile: candidates, filters, blend, slate,
reasons, decision record sealed and written to the spool, JSON.

The item table is synthetic and of the size of The Complete Journey's (92,000 items, 2,400 categories), in LMDB as the
item follower writes it. Neighbours are drawn at random: real rows overlap more, so they give fewer candidates. The
profile is full: 50 recent items, 256 purchases, what was seen and not taken. `home_whole` is the dearest answer there
is: learned weights, a promoted model, so that 14 recommenders speak, and 12 slots drawn. Asked again within a minute, a
person's evidence is at hand (`training.memo`); the figures that end in ``new_fact`` are those of a profile version that
was never seen. CPU time of the thread is measured, so a busy machine disturbs little.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from actors.catalogue import CATEGORIES, ENTRIES, NAMES, SHOWN, SHOWN_ROW, key
from actors.content import CONTENT
from actors.exploration import POOL
from actors.fold import fold
from actors.item_reader import FOLDER, LocalItems
from actors.item_view import CatalogueItem
from actors.items import META, STATE_KEY, ItemsState
from actors.lmdb_state import LmdbState
from actors.neighbours import COVISITED, SIMILAR
from actors.popularity import ALL, HALF_LIFE_MS, LATELY_MS, POPULAR, TOP
from actors.profile import EMPTY, Profile
from actors.ranked import pack
from actors.recency import weight
from actors.state import Change, MemoryState
from actors.trending import TREND, TRENDING
from benchmarks.drawn_model import drawn_model
from events.clock import SystemClock, millis
from events.disk import LocalDisk
from events.errors import NotFound
from events.ids import Key, KeyHash, Millis
from events.secrets import Secrets
from events.types import Impression, Interaction, Line, Meta, Payload
from events.vault import SLOTS, Vault, VaultReader
from serving.answer import RankRequest, RecommendRequest
from serving.answered import Answered
from serving.decisions import open_decisions
from serving.journal import Journal
from serving.recommend import Answerer, AnswerRules
from serving.sealing import Sealer, Vaults
from serving.spool import Spool
from serving.weights import PublishedWeights, Weights
from training.blend import FEATURES
from training.learned import CONTEXT, OUTCOMES, Learned, SurfaceWeights
from training.learned import KEY as LEARNED_KEY
from training.learned import TABLE as LEARNED
from training.learned import pack as pack_learned
from training.model import Model
from training.surface import SURFACES

ITEMS = 92_000
PATHS = 2_400
ANSWERS = 2_000
WARM_UP = 200
SEED = 7
USER = "2375"
STILL_HOME = SURFACES["home"].model_copy(update={"tau": 0.0, "floor": 0.0, "diversity": 0.0})


def run(scale: float = 1.0) -> dict[str, float]:
    """Median CPU per answer in microseconds, by surface; ``scale`` shortens the run, the catalogue stays whole."""
    measured = _measured(scale)
    return {f"answer_{name}_us": times["p50"] for name, times in measured.items()}


def _measured(scale: float) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        secrets = Secrets.derive(bytes(32))
        now = millis(SystemClock().now())
        write_items(data, now)
        profile = full_profile(data, secrets, now)
        journal = open_journal(data, secrets)
        items = LocalItems(data)
        answerer = Answerer(items, journal, SystemClock(), AnswerRules())
        requests = {
            surface: RecommendRequest(user_id=USER, surface=surface, n=12, items=("i100", "i200") * anchored)
            for surface, anchored in (("home", 0), ("buy_again", 0), ("discover", 0), ("product", 1), ("cart", 1))
        }
        answers = max(int(ANSWERS * scale), 50)
        figures = {surface: timed(answerer, request, profile, answers) for surface, request in requests.items()}
        figures["newcomer"] = timed(answerer, RecommendRequest(n=12), None, answers)
        learning = Answerer(items, journal, SystemClock(), AnswerRules(), learned_weights())
        figures["home_learned"] = timed(learning, requests["home"], profile, answers)
        still = AnswerRules(surfaces={**SURFACES, "home": STILL_HOME})
        whole = Answerer(items, journal, SystemClock(), AnswerRules(), learned_weights(shop_model()))
        figures["home_whole"] = timed(whole, requests["home"], profile, answers)
        candidates = tuple(f"i{n}" for n in np.random.default_rng(SEED).choice(ITEMS, 500, replace=False))
        ordered = RankRequest(user_id=USER, surface="home", candidates=candidates)
        figures["rank_500"] = timed(answerer, ordered, profile, answers // 4)
        figures["rank_500_whole"] = timed(whole, ordered, profile, answers // 4)
        figures["home_without_chance"] = timed(
            Answerer(items, journal, SystemClock(), still), requests["home"], profile, answers
        )
        figures["after_each_new_fact"] = timed(answerer, requests["home"], profile, answers, fresh=True)
        figures["home_whole_after_each_new_fact"] = timed(whole, requests["home"], profile, answers // 2, fresh=True)
        journal.close()
        items.close()
        return figures


def shop_model() -> Model:
    return drawn_model([f"i{idx}" for idx in range(ITEMS)], own_items().tolist(), SEED)


def learned_weights(model: Model | None = None) -> Weights:
    """Weights of every recommender for `home`, drawn at random, as the learner publishes them, for ``model``."""
    rng = np.random.default_rng(SEED)
    names, outcomes = tuple(SURFACES["home"].weights), len(OUTCOMES)
    home = SurfaceWeights(
        np.full(outcomes, -3.0),
        rng.normal(size=(outcomes, len(names) * len(FEATURES))) / 10,
        rng.normal(size=(outcomes, len(CONTEXT))) / 10,
        np.full(len(names), 1 / len(names)),
    )
    learned = Learned("w1", model.id if model is not None else "", names, {"home": home})
    row = MemoryState()
    row.commit([(LEARNED, LEARNED_KEY, pack_learned(learned))])

    def load(identity: str) -> Model:
        if model is None:
            raise NotFound(f"there is no model {identity}")
        return model

    return Weights(PublishedWeights(row), load)


def timed(
    answerer: Answerer, request: RecommendRequest, profile: Profile | None, answers: int, *, fresh: bool = False
) -> dict[str, float]:
    """``fresh``: every answer sees a profile version it has not seen."""
    taken = np.empty(answers)
    for n in range(-WARM_UP, answers):
        if fresh and profile is not None:
            profile = msgspec.structs.replace(profile, version=profile.version + 1)
        start = time.thread_time_ns()
        answerer.recommend(request, profile).json()
        if n >= 0:
            taken[n] = time.thread_time_ns() - start
    p50, p90, p99 = np.percentile(taken / 1000, [50, 90, 99]).round(1).tolist()
    return {"p50": p50, "p90": p90, "p99": p99}


def open_journal(data: Path, secrets: Secrets) -> Journal:
    disk = LocalDisk(data / "partitions" / "p0")
    sealer = Sealer(secrets.decisions, Vaults(lambda _: VaultReader(disk.open(SLOTS, "read"), secrets.vault_wrap)))
    decisions, spools = open_decisions(data, sealer), data / "spool"
    return Journal(Spool(spools), sealer, Answered(spools, decisions), decisions, secrets.decisions, lambda key: 0)


def write_items(data: Path, now: Millis) -> None:
    """The tables of the item follower, drawn at random."""
    rng = np.random.default_rng(SEED)
    paths = [f"Department {n % 30} > Aisle {n % 300} > Shelf {n}" for n in range(PATHS)]
    shown = np.empty(ITEMS, SHOWN_ROW)
    shown["blocked"] = rng.random(ITEMS) < 0.05
    shown["group"] = rng.integers(0, ITEMS // 2, ITEMS)
    shown["category"] = rng.integers(0, PATHS, ITEMS)
    rows = shown.tobytes()
    changes: list[Change] = [(CATEGORIES, key(n), path.encode()) for n, path in enumerate(paths)]
    changes += [(POPULAR, key(place), top(rng, now)) for place in (ALL, *range(PATHS))]
    changes.append((TRENDING, key(ALL), trends(rng, now)))
    changes.append((POOL, key(ALL), pack(rng.choice(ITEMS, 200, replace=False), np.sort(rng.random(200))[::-1])))
    for idx in range(ITEMS):
        entry = CatalogueItem(
            f"i{idx}",
            f"Item number {idx}, white, 1 gal",
            paths[shown["category"][idx]],
            f"Brand {idx % 900}",
            price=2.5,
        )
        changes.append((NAMES, key(idx), entry.item.encode()))
        changes.append((ENTRIES, key(idx), msgspec.msgpack.encode(entry)))
        changes.append((SHOWN, key(idx), rows[idx * SHOWN_ROW.itemsize : (idx + 1) * SHOWN_ROW.itemsize]))
        for table, length in ((COVISITED, 64), (SIMILAR, 64), (CONTENT, 20)):
            neighbours = rng.integers(0, ITEMS, length)
            changes.append((table, key(idx), pack(neighbours, np.sort(rng.random(length))[::-1] + 0.1)))
    state = ItemsState(commits=1, catalogue_seq=1, clock=now, size=ITEMS)
    store = LmdbState(data / FOLDER)
    store.commit([*changes, (META, STATE_KEY, state.packed())])
    store.close()


def top(rng: np.random.Generator, now: Millis) -> bytes:
    best = np.empty(200, TOP)
    best["idx"] = rng.choice(ITEMS, 200, replace=False)
    best["sum"] = np.sort(rng.random(200))[::-1] * 100 * weight(now, HALF_LIFE_MS)
    return best.tobytes()


def trends(rng: np.random.Generator, now: Millis) -> bytes:
    rising = np.zeros(200, TREND)
    rising["idx"] = rng.choice(ITEMS, 200, replace=False)
    rising["lately"] = (1 + rng.random(200)) * 100 * weight(now, LATELY_MS)
    return rising.tobytes()


def own_items() -> npt.NDArray[np.int64]:
    """What the person deals with."""
    return np.random.default_rng(SEED).choice(ITEMS, 300, replace=False)


def full_profile(data: Path, secrets: Secrets, now: Millis) -> Profile:
    """256 items bought in 30 baskets over a year, then 20 looked at today and 60 seen; with a key in the vault."""
    rng, own = np.random.default_rng(SEED), own_items()
    profile = EMPTY
    baskets = [Interaction("purchase", tuple(line(n) for n in rng.choice(own, 30, replace=False))) for _ in range(30)]
    views = [Interaction("view", (line(n),)) for n in own[:20]]
    days = 86_400_000
    times = [now - (31 - n) * 12 * days for n in range(30)] + [now - (20 - n) * 60_000 for n in range(20)]
    for lsn, (event, at) in enumerate(zip((*baskets, *views), times, strict=True)):
        profile = fold(profile, lsn, at, lsn.to_bytes(16, "big"), Payload(Meta(), event))
    seen = Impression(tuple(f"i{n}" for n in own[100:160]))
    profile = fold(profile, len(times), now, len(times).to_bytes(16, "big"), Payload(Meta(), seen))
    slots = LocalDisk(data / "partitions" / "p0").open(SLOTS)
    vault = Vault(slots, secrets.vault_wrap)
    subject = vault.create(Key(f"u:{USER}"), KeyHash(bytes(16)))
    vault.close()
    return msgspec.structs.replace(profile, subject=subject)


def line(idx: int) -> Line:
    return Line(f"i{idx}", category=f"Department {idx % 30} > Aisle {idx % 300} > Shelf {idx % PATHS}")


if __name__ == "__main__":
    print(json.dumps(run(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0), indent=2))
