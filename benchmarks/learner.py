"""What learning costs, and how fresh it is: ``python -m benchmarks.learner``.

Cost: a real data folder (sealed facts in two partitions, sealed decisions in a spool) whose impressions and clicks a
learner reads, joins and learns, all three outcomes, on one thread. CPU time of that thread, so a busy machine disturbs
little. Lists of twelve, one list in three clicked, as many recommenders as there are; each speaks for a third of the
items.

Freshness: the same folder served by a follower host, windows of two seconds, impressions arriving all the time; from
the end of a list's window to the publication that holds what it taught.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from actors.host import PartitionHost
from actors.lmdb_state import LmdbReader
from actors.store import Store
from actors.wire import pack_drafts
from events import payload
from events.clock import Clock, ManualClock, SystemClock
from events.ids import Key, Micros, event_id, user_key
from events.record import Draft
from events.types import Event, Impression, Interaction, Line, Meta
from serving.decision import FORMAT, Decision, Rules, Shown, Versions, encode
from serving.decisions import SPOOL_FOLDER, open_shipper
from serving.follower_host import FollowerHost
from serving.learning import Learner
from serving.opening import host_settings, open_store, opening
from serving.sealing import Sealer, Vaults
from serving.settings import LearningSettings, Settings
from serving.spool import Spool
from serving.weights import FOLDER
from training.inventory import INVENTORY
from training.learned import CONTEXT
from training.learner.projection import META, META_KEY

START = 1_790_000_000_000_000
LISTS = 2_000
SLOTS = 12
PEOPLE = 500
FRESH_LISTS = 200
HOUR_US = 3_600_000_000


@dataclass
class Folder:
    """A data folder with answers to write into."""

    store: Store
    spool: Spool
    sealer: Sealer
    random: np.random.Generator

    @classmethod
    def make(cls, data: Path, settings: Settings, clock: Clock) -> Folder:
        store = open_store(data, settings, clock)
        vaults = Vaults(lambda number: _no_vault(number))
        sealer = Sealer(store.secrets.decisions, vaults)
        return cls(store, Spool(data / SPOOL_FOLDER), sealer, np.random.default_rng(5))

    def answer(self, at: int) -> tuple[str, tuple[str, ...]]:
        """The id and items of one more answered list."""
        items = tuple(f"item-{number}" for number in self.random.choice(5_000, SLOTS, replace=False).tolist())
        plain = encode(self._decision(at, items))
        owner = self.sealer.nobody()
        place = self.spool.write(Micros(at), owner, lambda place: self.sealer.seal(owner, place, plain))
        assert place is not None
        return place.text, items

    def draft(self, key: Key, message: str, at: int, event: Event) -> Draft:
        """A fact about the profile of ``key``, as the collector makes it."""
        name, version = payload.type_of(event)
        meta = Meta(message_id=message, user_id=key[2:])
        identity = event_id(self.store.secrets.event_id, "bench", message)
        return Draft(key, identity, at // 1000, name, version, payload.encode(meta, event))

    def _decision(self, at: int, items: tuple[str, ...]) -> Decision:
        names, random = tuple(INVENTORY), self.random
        cube = np.zeros((SLOTS, len(names), 4), np.float32)
        spoke = random.random((SLOTS, len(names))) < 1 / 3
        cube[:, :, 0] = np.where(spoke, random.normal(size=spoke.shape), 0)
        cube[:, :, 1] = np.log1p(np.maximum(cube[:, :, 0], 0))
        cube[:, :, 2] = np.where(spoke, 1 / (1 + random.integers(0, 60, spoke.shape)), 0)
        cube[:, :, 3] = ~spoke
        context = np.zeros((SLOTS, len(CONTEXT)), np.float32)
        context[:, 0] = 1 / np.log2(2 + np.arange(SLOTS))
        context[:, 1] = random.random(SLOTS)
        return Decision(
            format=FORMAT,
            versions=Versions("sampled-1", "learned", "1.1", 1, 1),
            consent="granted",
            rules=Rules("home", "allow", (1.0, 3.0, 10.0), "seen", 0.2, 0.02),
            read_at=at,
            asked=SLOTS,
            anchors=(),
            exclude=(),
            category="",
            context={},
            recommenders=names,
            weights=(1.0,) * len(names),
            candidates=(),
            scores=b"",
            features=cube.tobytes(),
            gains=bytes(4 * SLOTS),
            seed=1,
            slate=tuple(Shown(item, 0.5, 0.3, ("popularity",), "Popular") for item in items),
            context_features=context.tobytes(),
        )


def facts(folder: Folder, number: int, at: int) -> list[Draft]:
    """An impression of a fresh list, and for one in three a click."""
    list_id, items = folder.answer(at)
    key = user_key(f"person-{number % PEOPLE}")
    drafts = [folder.draft(key, f"seen-{number}", at, Impression(items, list_id))]
    if number % 3 == 0:
        item = items[int(folder.random.integers(SLOTS))]
        drafts.append(folder.draft(key, f"click-{number}", at, Interaction("click", (Line(item),), list_id=list_id)))
    return drafts


async def written(folder: Folder, settings: Settings, clock: ManualClock, lists: int) -> None:
    """Lists and what came of them, ten a second."""
    host = PartitionHost(
        folder.store, folder.store.numbers(), opening(folder.store, settings, clock), host_settings(settings)
    )
    await host.start()
    try:
        for start in range(0, lists, 10):
            clock.advance(1_000_000)
            drafts = [draft for number in range(start, start + 10) for draft in facts(folder, number, clock.now())]
            await host.append(pack_drafts(drafts))
    finally:
        await host.close()


def _host(store: Store, settings: Settings, clock: Clock) -> PartitionHost:
    return PartitionHost(store, store.numbers(), opening(store, settings, clock), host_settings(settings))


def cost(data: Path, lists: int) -> dict[str, float]:
    settings, clock = Settings(), ManualClock(Micros(START))
    folder = Folder.make(data, settings, clock)
    asyncio.run(written(folder, settings, clock, lists))
    open_shipper(data, 0).close()  # the decisions' index is there; what was answered is found in the spool
    learner = Learner(folder.store, settings)
    figures: dict[str, float] = {}
    counted = time.process_time()
    while learner.step(clock.now()):
        pass
    figures["learner_read_list_us"] = (time.process_time() - counted) / lists * 1e6
    counted = time.process_time()
    for hours in (1, 25, 24 * 8):
        while learner.step(START + hours * HOUR_US):
            pass
    spent = time.process_time() - counted
    numbers = learner.numbers()
    learned = {
        name: numbers[f'everfold_learner_rows_total{{outcome="{name}"}}'] for name in ("click", "cart", "purchase")
    }
    assert set(learned.values()) == {lists * SLOTS}, learned
    figures["learner_learn_row_us"] = spent / sum(learned.values()) * 1e6
    whole = spent + figures["learner_read_list_us"] * lists / 1e6
    figures["learner_rows_per_s"] = sum(learned.values()) / whole
    figures["learner_items_per_s"] = lists * SLOTS / whole
    learner.close()
    return figures


def freshness(data: Path, lists: int) -> dict[str, float]:
    """Seconds from a window's end until what it taught is published."""
    settings = Settings(learning=LearningSettings(click_minutes=2 / 60, rows_per_hour=10**6))
    clock = SystemClock()
    folder = Folder.make(data, settings, clock)
    waits = asyncio.run(_watched(data, folder, settings, clock, lists))
    return {
        "learner_publish_p50_s": statistics.median(waits),
        "learner_publish_p99_s": sorted(waits)[int(0.99 * len(waits))],
    }


async def _watched(data: Path, folder: Folder, settings: Settings, clock: Clock, lists: int) -> list[float]:
    host = PartitionHost(
        folder.store, folder.store.numbers(), opening(folder.store, settings, clock), host_settings(settings)
    )
    await host.start()
    followers = FollowerHost(data, clock, settings)
    seen: list[tuple[float, int]] = []
    stopping = threading.Event()
    watcher = threading.Thread(target=_watch, args=(data, seen, stopping, lists * SLOTS))
    watcher.start()
    try:
        ends = []
        for number in range(lists):
            await host.append(pack_drafts([facts(folder, number, clock.now())[0]]))
            ends.append(clock.now() / 1e6 + 2.0)
            await asyncio.sleep(0.05)
        for _ in range(600):
            if not watcher.is_alive():
                break
            await asyncio.sleep(0.05)
    finally:
        stopping.set()
        watcher.join()
        await followers.close()
        await host.close()
    waits = []
    for number, end in enumerate(ends, 1):
        waits.append(next(at for at, rows in seen if rows >= number * SLOTS) - end)
    return waits


def _watch(data: Path, seen: list[tuple[float, int]], stopping: threading.Event, wanted: int) -> None:
    """When which number of rows was learned and published: both stand in one commit."""
    reader, publications = LmdbReader(data / FOLDER), 0
    while not stopping.wait(0.002):
        try:
            row = reader.get(META, META_KEY)
        except Exception:
            continue
        counts = msgspec.msgpack.decode(row)["counts"] if row is not None else {}
        if counts.get("publications", 0) > publications:
            publications = counts["publications"]
            seen.append((time.time(), counts.get("learned_click", 0)))
            if seen[-1][1] >= wanted:
                return


def run(scale: float = 1.0) -> dict[str, float]:
    """All figures; ``scale`` shortens the run."""
    with tempfile.TemporaryDirectory(prefix="everfold-learner-") as folder:
        figures = cost(Path(folder) / "cost", max(100, int(LISTS * scale) // 10 * 10))
        return figures | freshness(Path(folder) / "fresh", max(40, int(FRESH_LISTS * scale)))


def _no_vault(number: int) -> object:
    raise AssertionError(f"answers to nobody need no vault, least of all that of partition {number}")


if __name__ == "__main__":
    print(json.dumps(run(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0), indent=1))
