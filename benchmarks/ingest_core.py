"""What a partition takes and refolds, in one process, without HTTP and without a host: `Partition.append` in batches of
1,000 simple facts over 2,000 profiles of over 2 kB, on a real disk with LMDB; then the log folded again from its start.

``python -m benchmarks.ingest_core`` prints the figures; `run` returns them. Rates are by the wall clock, with CPU time
beside them, since a busy machine shows in the one and less in the other.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from actors.dedupe import DedupeSettings
from actors.garbage import collect_seldom
from actors.lmdb_state import LmdbState
from actors.recovery import Opening, OwnedPartition
from actors.refold import Refold
from actors.store import Store
from actors.working_set import PROFILES
from events.clock import SystemClock
from events.ids import PartitionId
from events.payload import encode
from events.record import Draft
from events.types import Interaction, Line, Meta, Signal

USERS: Final = 2_000
BATCH: Final = 1_000
WARM_UP: Final = 40
BATCHES: Final = 40
STEP_MS: Final = 20_000
TASTE: Final = 8
"""Items that one user returns to."""
SIGNALS: Final[tuple[Signal, ...]] = ("view", "view", "view", "click", "cart", "purchase")
LINES: Final = [
    Line(str(820_000 + n), f"Department {n % 20} > Commodity {n % 150} > Size {n % 600}", f"Brand {n % 80}", price=2.5)
    for n in range(5_000)
]


def batches(rng: random.Random, count: int) -> Iterator[list[Draft]]:
    """Facts in the order of their times; users drawn evenly (dearest: hardly a profile twice in a batch), items from
    what each user likes."""
    tastes = [rng.sample(LINES, TASTE) for _ in range(USERS)]
    at = int(time.time() * 1000) - 2 * WARM_UP * BATCH * STEP_MS
    number = 0
    for _ in range(count):
        batch = []
        for _ in range(BATCH):
            number += 1
            one = rng.randrange(USERS)
            user = f"user-{one}"
            event = Interaction(rng.choice(SIGNALS), (rng.choice(tastes[one]),), name="Product Viewed")
            meta = Meta(message_id=f"message-{number}", user_id=user, sent_at=at, received_at=at + 40)
            at += STEP_MS
            batch.append(Draft(f"u:{user}", rng.randbytes(16), at, "interaction", 1, encode(meta, event)))
        yield batch


def run(scale: float = 1.0) -> dict[str, float]:
    """Events per second (in all, and of the median batch), CPU microseconds per event, sizes; ``scale`` shortens it."""
    collect_seldom()
    with tempfile.TemporaryDirectory(prefix="everfold-ingest-") as folder:
        store = Store.create(Path(folder) / "store", 1, int(time.time() * 1000))
        number = PartitionId(0)
        owned = OwnedPartition(store.folder(number), number, Opening(store.secrets, SystemClock()))
        measured = max(1, int(BATCHES * scale))
        fed = list(batches(random.Random(7), WARM_UP + measured))
        for batch in fed[:WARM_UP]:
            owned.partition.append(batch)
        figures = _ingest(owned, fed[WARM_UP:])
        figures |= _refold(owned, Path(folder) / "again")
        sizes = [len(row) for _, row in owned.state.scan(PROFILES)]
        figures |= {"ingest_profile_bytes": statistics.mean(sizes), "ingest_profiles": float(len(sizes))}
        owned.close()
        return figures


def _ingest(owned: OwnedPartition, fed: list[list[Draft]]) -> dict[str, float]:
    walls, syncs = [], []
    cpu = time.process_time()
    for batch in fed:
        began = time.perf_counter()
        owned.partition.append(batch)
        walls.append(time.perf_counter() - began)
        syncs.append(owned.log.last_sync_s)
    cpu = time.process_time() - cpu
    events = BATCH * len(fed)
    return {
        "ingest_events_per_s": events / sum(walls),
        "ingest_events_per_s_median_batch": BATCH / statistics.median(walls),
        "ingest_cpu_us_per_event": cpu / events * 1e6,
        "ingest_sync_ms_median": statistics.median(syncs) * 1e3,
    }


def _refold(owned: OwnedPartition, scratch: Path) -> dict[str, float]:
    state = LmdbState(scratch)
    began, cpu = time.perf_counter(), time.process_time()
    records = Refold(state, owned.log, owned.vault, DedupeSettings()).run()
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    equal = list(state.scan(PROFILES)) == list(owned.state.scan(PROFILES))
    state.abandon()
    return {
        "refold_events_per_s": records / wall,
        "refold_events_per_cpu_s": records / cpu,
        "refold_equal": float(equal),
    }


if __name__ == "__main__":
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    print(json.dumps({name: round(value, 1) for name, value in run(scale).items()}, indent=2))
