"""Swaps under load: ``python -m benchmarks.swap [REQUESTS]``.

A service with two replicas over a small shop; two models with tables and first weights of their own are promoted in
turn, one every two seconds, while sixteen connections ask for lists without a pause. Counted are answers that are none,
and answers whose weights and tables do not belong together: every version of learned weights has to be seen with one
artefact only, and with the one it was promoted with.

No impressions are sent, so each promotion publishes the same weights again: there are three consistent pairs in all
(fixed weights, and one per model), and anything else is a mixture.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np

from benchmarks.service import Service, running
from training.blend import FEATURES
from training.gate import Verdict
from training.inventory import INVENTORY
from training.learned import CONTEXT, OUTCOMES, Learned, SurfaceWeights
from training.model import Measured, Model, Provenance, model_of, save
from training.registry import Judged, Registry

REQUESTS = 100_000
CONNECTIONS = 16
SWAP_S = 2.0
ITEMS = 2_000
N = 12
"""Items per list."""
PEOPLE = 500
TIMEOUT_S = 30.0
NOTHING = Measured(0.0, 0.0, 0.0)


@dataclass
class Seen:
    """What came back."""

    versions: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    swaps: int = 0

    @property
    def answers(self) -> int:
        return sum(self.versions.values()) + sum(self.failed.values())

    def mixed(self, models: list[str]) -> int:
        """Answers whose weights stood with another artefact than most often, or with one that was never promoted."""
        home: dict[str, Counter[str]] = {}
        for version, count in self.versions.items():
            if version.startswith("learned-"):
                _, artefact, learned = version.split("-", 2)
                home.setdefault(learned, Counter())[artefact] += count
        wrong = sum(sum(artefacts.values()) - max(artefacts.values()) for artefacts in home.values())
        known = {model[:8] for model in models}
        return wrong + sum(n for each in home.values() for artefact, n in each.items() if artefact not in known)


def model(number: int) -> Model:
    """EASE rows and weights drawn from ``number``: no two models rank alike."""
    rng = np.random.default_rng(number)
    ease = {
        "place": np.arange(ITEMS, dtype=np.int32),
        "idx": rng.integers(0, ITEMS, (ITEMS, 50)).astype(np.int32),
        "weight": -np.sort(-rng.random((ITEMS, 50)).astype(np.float32), axis=1),
    }
    names, outcomes = tuple(INVENTORY), len(OUTCOMES)
    weights = SurfaceWeights(
        intercept=np.full(outcomes, -3.0),
        recommenders=rng.random((outcomes, len(names) * len(FEATURES))),
        context=np.zeros((outcomes, len(CONTEXT))),
        hedge=np.full(len(names), 1.0 / len(names)),
    )
    initial = Learned(f"bench-{number}", "", names, {"home": weights})
    return model_of([f"i{n}" for n in range(ITEMS)], {"ease": ease}, initial, Provenance(seeds={"bench": number}))


def accepted(data: Path, numbers: tuple[int, ...]) -> list[str]:
    """Models as a gate would have let them pass."""
    registry = Registry(data)
    made = [model(number) for number in numbers]
    for one in made:
        save(registry.folder, one)
        registry.keep(Judged(one.id, Verdict("promote", ("benchmark",), NOTHING, NOTHING, NOTHING), at=1))
    return [one.id for one in made]


def fill(service: Service) -> None:
    """A catalogue, and an order of everybody."""
    batch: list[dict[str, object]] = [
        {"type": "item", "item_id": f"i{n}", "title": f"Item {n}", "category": f"C{n % 20}"} for n in range(ITEMS)
    ]
    for person in range(PEOPLE):
        first = int.from_bytes(blake2b(str(person).encode(), digest_size=4).digest())
        products = [{"product_id": f"i{(first + 37 * step) % ITEMS}"} for step in range(6)]
        batch.append(
            {
                "type": "track",
                "userId": f"u{person}",
                "event": "Order Completed",
                "timestamp": int(time.time() * 1000) - 86_400_000,
                "properties": {"products": products},
            }
        )
    for start in range(0, len(batch), 100):
        body = {"producer": "swap", "first_seq": start + 1, "batch": batch[start : start + 100]}
        status, told = service.call("POST", "/v1/import", body)
        assert status == 200, told


def wait_full(service: Service, seconds: float = 120.0) -> None:
    """Until everybody gets whole lists: the item follower has read the shop."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answers = [service.call("GET", f"/v1/recommend?user_id=u{person}&n={N}")[1] for person in range(0, PEOPLE, 25)]
        if all(len(answer.get("items", ())) == N for answer in answers):  # type: ignore[arg-type]
            return
        time.sleep(0.5)
    raise RuntimeError("lists did not become whole")


async def ask(service: Service, seen: Seen, wanted: int, number: int) -> None:
    """One connection, request after request, until ``wanted`` answers were counted by all."""
    reader = writer = None
    while seen.answers < wanted:
        try:
            if writer is None or reader is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
            path = f"/v1/recommend?user_id=u{(seen.answers * 31 + number) % PEOPLE}&n={N}"
            head = f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {service.api_key}\r\n\r\n"
            writer.write(head.encode())
            status, body = await asyncio.wait_for(_answer(reader), TIMEOUT_S)
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as lost:
            seen.failed[type(lost).__name__] += 1
            if writer is not None:
                writer.close()
            writer = None
            continue
        if status != 200 or len(body.get("items", ())) != N:
            seen.failed[f"status {status}"] += 1
        else:
            seen.versions[body["model_version"]] += 1
    if writer is not None:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict]:  # type: ignore[type-arg]
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("content-length:")[2].partition("\r\n")[0])
    return int(head.split(" ", 2)[1]), json.loads(await reader.readexactly(length))


async def swap(service: Service, models: list[str], seen: Seen, wanted: int) -> None:
    """Promote them in turn while requests are under way."""
    while seen.answers < wanted:
        chosen = models[seen.swaps % len(models)]
        status, told = await asyncio.to_thread(service.call, "POST", f"/v1/models/{chosen}/promote", {"by": "bench"})
        assert status == 200, told
        seen.swaps += 1
        await asyncio.sleep(SWAP_S)


async def load(service: Service, models: list[str], wanted: int) -> Seen:
    seen = Seen()
    swapping = asyncio.create_task(swap(service, models, seen, wanted))
    await asyncio.gather(*(ask(service, seen, wanted, number) for number in range(CONNECTIONS)))
    await swapping
    return seen


def measure(requests: int = REQUESTS) -> dict[str, float]:
    """The figures; what was seen goes to the terminal."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        with running(data) as service:
            fill(service)
            wait_full(service)
            models = accepted(data, (1, 2))
            begun = time.perf_counter()
            seen = asyncio.run(load(service, models, requests))
            seconds = time.perf_counter() - begun
    print(f"{seen.answers:,} answers, {seen.swaps} promotions in {seconds:.0f} s")
    print(f"versions {dict(seen.versions)}, failed {dict(seen.failed)}")
    return {
        "swap_answers": float(seen.answers),
        "swap_failed_or_mixed": float(sum(seen.failed.values()) + seen.mixed(models)),
        "swap_promotions": float(seen.swaps),
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS), indent=1))
