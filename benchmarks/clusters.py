"""How long it takes to cluster everybody: ``python -m benchmarks.clusters [PEOPLE] [ray]``.

A state folder with PEOPLE profiles (1,000,000 unless told), 2,000 different ones of 2 to 25 facts again and again under
their own keys, is written first and removed again: 5 GB for a million. Without ``ray`` all tasks run one after another
in this process and the figure is their CPU time; with it they run on a Ray of two CPUs and the figure is wall time.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

from actors.fold import fold
from actors.lmdb_state import LmdbState
from actors.profile import EMPTY, encode
from actors.recovery import STATE
from actors.state import Change
from actors.store import Store
from actors.working_set import PROFILES
from benchmarks.fold import START_MS, anything
from events.types import Identified, Meta, Payload
from training.cluster_refit import ClusterPlan, refit
from training.retraining import Cluster, Inline

DISTINCT: Final = 2_000
FACTS: Final = (2, 25)
DAY_MS: Final = 86_400_000
PARTITIONS: Final = 2
ROWS: Final = 10_000
AGES: Final = ("19-24", "25-34", "35-44", "45-54", "55-64", "65+")


def run(people: int = 1_000_000, *, on_ray: bool = False) -> dict[str, float]:
    """Seconds, and what they were spent on."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder) / "store", PARTITIONS, START_MS)
        size = _fill(store, people)
        plan = ClusterPlan(store.path, START_MS + 400 * DAY_MS)
        spent: dict[str, float] = {}
        with _cluster(on_ray) as cluster:
            wall, cpu = time.perf_counter(), time.process_time()
            found = refit(plan, cluster, _Stages(spent).tell)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        assert found.people == people
    figures = {"cluster_profile_bytes": size, "clusters": float(len(found.found))}
    return {**figures, "cluster_refit_wall_s": wall} if on_ray else {**figures, **spent, "cluster_refit_cpu_s": cpu}


def _cluster(on_ray: bool) -> AbstractContextManager[Cluster]:
    if not on_ray:
        return nullcontext(Inline())
    from training.on_ray import RayCluster

    return RayCluster(cpus=2)


class _Stages:
    """CPU time of this process by the first word of the tasks' names."""

    def __init__(self, spent: dict[str, float]) -> None:
        self._spent = spent
        self._since = time.process_time()

    def tell(self, name: str, done: int, count: int) -> None:
        now = time.process_time()
        stage = f"cluster_{name.split()[0]}_cpu_s"
        self._spent[stage] = self._spent.get(stage, 0.0) + now - self._since
        self._since = now


def _fill(store: Store, people: int) -> float:
    """Bytes of a profile in the mean."""
    blobs = [_person(random.Random(number)) for number in range(DISTINCT)]
    rng = random.Random(7)
    for number in store.numbers():
        state = LmdbState(store.folder(number) / STATE)
        own = people // PARTITIONS + (number < people % PARTITIONS)
        for first in range(0, own, ROWS):
            state.commit(_rows(rng, blobs, min(ROWS, own - first)))
        state.close()
    return sum(map(len, blobs)) / len(blobs)


def _rows(rng: random.Random, blobs: list[bytes], count: int) -> Iterator[Change]:
    for _ in range(count):
        yield PROFILES, rng.randbytes(16), blobs[rng.randrange(DISTINCT)]


def _person(rng: random.Random) -> bytes:
    profile, at = EMPTY, START_MS + rng.randrange(300) * DAY_MS
    meta = Meta(user_id="u", received_at=at)
    told = Payload(meta, Identified({"age": rng.choice(AGES), "member": rng.random() < 0.3}))
    profile = fold(profile, 0, at, bytes(16), told)
    for lsn in range(1, rng.randint(*FACTS)):
        at += rng.randrange(2 * DAY_MS)
        profile = fold(profile, lsn, at, rng.randbytes(16), Payload(meta, anything(rng)))
    return encode(profile)


if __name__ == "__main__":
    wanted = [word for word in sys.argv[1:] if word.isdecimal()]
    for name, value in run(int(wanted[0]) if wanted else 1_000_000, on_ray="ray" in sys.argv).items():
        print(f"{name:32} {value:,.2f}")
