"""What a client sees of a running service: throughput, latency, ingest, freshness. One function per figure."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import statistics
import time
from collections.abc import Iterator

from actors.reader import LocalProfiles
from actors.store import Store
from benchmarks import load, wrk
from benchmarks.service import Service
from events.ids import user_key

ITEMS_OF_A_USER = 12
NAMES = ("Product Viewed", "Product Viewed", "Product Viewed", "Product Clicked", "Product Added")


def recommend_paths(users: list[str], n: int = 10) -> list[str]:
    return [f"/v1/recommend?user_id={user}&n={n}&surface=home" for user in users]


def recommend_share(service: Service, noop_port: int, users: list[str], seconds: int, rounds: int) -> dict[str, float]:
    """Recommend against a no-op handler with the same flags and replicas, in turn; the median of the rounds."""
    ratios, ours, floor, bad = [], [], [], 0
    paths = recommend_paths(users)
    asyncio.run(wrk.throughput(service.port, paths, service.api_key, 16, seconds))  # every profile was seen before
    for _ in range(rounds):
        base, _ = asyncio.run(wrk.throughput(noop_port, ["/"], "", 16, seconds))
        rate, wrong = asyncio.run(wrk.throughput(service.port, paths, service.api_key, 16, seconds))
        ratios.append(rate / base)
        ours.append(rate)
        floor.append(base)
        bad += wrong
    middle = sorted(range(rounds), key=ratios.__getitem__)[rounds // 2]
    return {
        "recommend_share_of_noop": ratios[middle],
        "recommend_per_s": ours[middle],
        "noop_per_s": floor[middle],
        "recommend_not_2xx": float(bad),
    }


def recommend_latency(service: Service, users: list[str], count: int) -> dict[str, float]:
    """One connection, one request at a time: each household for the first time, then all of them again."""
    requests = [load.request("GET", path, bearer=service.api_key) for path in recommend_paths(users)]
    first = asyncio.run(load.closed_loop(service.port, requests, 1, 60))
    asyncio.run(load.closed_loop(service.port, requests, 2, 60))  # the other replica has seen them too
    some = itertools.islice(itertools.cycle(requests), count)
    report = asyncio.run(load.closed_loop(service.port, some, 1, 60))
    return {
        "recommend_first_p50_ms": first.quantile(0.5),
        "recommend_first_p99_ms": first.quantile(0.99),
        "recommend_p50_ms": report.quantile(0.5),
        "recommend_p99_ms": report.quantile(0.99),
    }


def batch_bodies(users: list[str], items: list[tuple[str, str]], batches: int, size: int, seed: int) -> list[bytes]:
    """Batches of distinct events by random users; each has a dozen items of its own among ``items`` (id, category),
    as people do. Same seed, same bodies, but for the message ids."""
    rng, stamp = random.Random(seed), f"{seed:x}{time.time_ns():x}"
    bodies = []
    for batch in range(batches):
        events = []
        for n in range(size):
            which = rng.randrange(len(users))
            item, category = items[(which * 31 + rng.randrange(ITEMS_OF_A_USER)) % len(items)]
            events.append(
                {
                    "type": "track",
                    "event": rng.choice(NAMES),
                    "userId": users[which],
                    "messageId": f"{stamp}-{batch}-{n}",
                    "properties": {"product_id": item, "category": category, "price": 2.5, "quantity": 1},
                    "context": {"library": {"name": "bench", "version": "1"}},
                }
            )
        bodies.append(json.dumps({"batch": events}).encode())
    return bodies


def batch_requests(service: Service, bodies: list[bytes]) -> Iterator[bytes]:
    path = f"/v1/batch?writeKey={service.write_key}"
    return (load.request("POST", path, body) for body in bodies)


def ingest(
    service: Service, users: list[str], items: list[tuple[str, str]], events: int, seed: int
) -> dict[str, float]:
    """Batches of 100, acknowledged after fdatasync, as fast as 16 connections go."""
    prepared = list(batch_requests(service, batch_bodies(users, items, events // 100, 100, seed)))
    report = asyncio.run(load.closed_loop(service.port, prepared, 16, 120))
    return {
        "ingest_events_per_s": report.rate * 100,
        "ingest_not_200": float(sum(n for status, n in report.statuses.items() if status != 200)),
        "ingest_batch_p50_ms": report.quantile(0.5),
        "ingest_batch_p99_ms": report.quantile(0.99),
    }


def single_events(service: Service, users: list[str], items: list[tuple[str, str]], count: int) -> dict[str, float]:
    """One event per request at 50 requests/s, open loop."""
    prepared = list(batch_requests(service, batch_bodies(users, items, count, 1, 7)))
    report = asyncio.run(load.open_loop(service.port, prepared, 50.0, 16))
    return {"ack_p50_ms": report.quantile(0.5), "ack_p99_ms": report.quantile(0.99)}


def freshness(service: Service, users: list[str], items: list[tuple[str, str]], count: int) -> dict[str, float]:
    """Event sent → an answer that knows it received: the profile version moved, asking again and again."""
    known = [asyncio.run(_fresh(service, user, items[n % len(items)])) for n, user in enumerate(users[:count])]
    new = [asyncio.run(_fresh(service, f"new-{time.time_ns()}", items[n % len(items)])) for n in range(count)]
    items_new = [_fresh_item(service, n) for n in range(max(3, count // 10))]
    return {
        "fresh_known_p99_ms": _p99(known),
        "fresh_known_p50_ms": _p50(known),
        "fresh_new_user_p99_ms": _p99(new),
        "fresh_new_item_p99_ms": _p99(items_new),
        "fresh_new_item_p50_ms": _p50(items_new),
    }


def _p99(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.99 * len(values)))]


def _p50(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


async def _fresh(service: Service, user: str, item: tuple[str, str]) -> float:
    asking, sending = await load.connect(service.port), await load.connect(service.port)
    ask = load.request("GET", f"/v1/recommend?user_id={user}&n=10&surface=home", bearer=service.api_key)
    before = json.loads((await asking.send(ask))[1]).get("profile_version") or 0
    body = batch_bodies([user], [item], 1, 1, time.time_ns() % 1_000_003)
    post = next(iter(batch_requests(service, body)))
    begun = time.perf_counter()
    acknowledged = sending.send(post)
    while True:
        version = json.loads((await asking.send(ask))[1]).get("profile_version") or 0
        if version > before:
            break
        assert time.perf_counter() - begun < 10, f"no changed answer for {user} within 10 s"
    elapsed = (time.perf_counter() - begun) * 1000
    await acknowledged
    for connection in (asking, sending):
        assert connection.transport is not None
        connection.transport.close()
    return elapsed


def _fresh_item(service: Service, n: int) -> float:
    """A brand-new item, upserted: until a list that asks for its like shows it."""
    item = f"bench-new-{time.time_ns()}"
    category = f"Bench > New {n} {time.time_ns()}"
    body = {"items": [{"item_id": item, "title": f"New thing {item}", "category": category, "price": 1.0}]}
    begun = time.perf_counter()
    status, answer = service.call("POST", "/v1/items", body)
    assert status in (200, 202), answer
    request = {"anonymous_id": "bench-asker", "n": 5, "surface": "discover", "category": category}
    while True:
        status, answer = service.call("POST", "/v1/recommend", request)
        shown = [entry["item_id"] for entry in answer.get("items", [])]  # type: ignore[union-attr,attr-defined]
        if item in shown:
            return (time.perf_counter() - begun) * 1000
        assert time.perf_counter() - begun < 10, f"{item} was never shown: {answer}"


def profile_bytes(service: Service, users: list[str]) -> float:
    """The median size of these users' profiles as stored."""
    profiles = LocalProfiles(Store.open(service.data))
    try:
        return float(statistics.median(len(profiles.view(user_key(user)).blob or b"") for user in users))
    finally:
        profiles.close()
