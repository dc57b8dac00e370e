"""A million registered profiles (identify + 10 events each): what they cost, and how fast a host is back with them.

The folder is filled in process, through the same `PartitionHost.append` a service calls; then a real service runs over
it and its host, and later everything, is killed with SIGKILL while a client writes again and again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import lmdb

from actors.host import HostSettings, PartitionHost
from actors.recovery import Opening
from actors.store import Store
from actors.wire import pack_drafts
from benchmarks import endpoints, memory
from benchmarks.service import Service, running, start, stop
from events.clock import SystemClock
from events.ids import user_key
from events.payload import encode, type_of
from events.record import Draft
from events.types import Event, Identified, Interaction, Line, Meta

EVENTS_EACH = 10
CHUNK_USERS = 400


def drafts(users: int, seed: int = 1) -> Iterator[list[Draft]]:
    """Chunks of every user's identify and ten views of ten items in three aisles, user after user, like visitors."""
    rng, at = random.Random(seed), int(time.time() * 1000) - 86_400_000
    for first in range(0, users, CHUNK_USERS):
        chunk = []
        for n in range(first, min(users, first + CHUNK_USERS)):
            user = f"user-{n}"
            chunk.append(_draft(user, 0, at, Identified({"plan": "basic", "country": "NL", "age": n % 80})))
            for seq in range(1, EVENTS_EACH + 1):
                item = f"item-{int(rng.paretovariate(0.7)) % 50_000}"
                category = f"Department {n % 7} > Aisle {(n + seq % 3) % 97}"
                chunk.append(
                    _draft(user, seq, at + seq * 60_000, Interaction("view", (Line(item, category, "Brand"),)))
                )
        yield chunk


def _draft(user: str, seq: int, at: int, event: Event) -> Draft:
    name, version = type_of(event)
    message = f"{user}-{seq}".encode().rjust(16, b"\0")
    return Draft(user_key(user), message, at, name, version, encode(Meta(message.decode(), user), event))


async def fill(data: Path, users: int) -> dict[str, float]:
    """Register ``users`` profiles in ``data``; seconds it took and events per second."""
    clock = SystemClock()
    store = Store.create(data, 2, clock.now() // 1000)
    opening = Opening(store.secrets, clock)
    host = PartitionHost(store, store.numbers(), opening, HostSettings())
    await host.start()
    begun, done = time.perf_counter(), 0
    for chunk in drafts(users):
        await host.append(pack_drafts(chunk), 60.0)
        done += len(chunk)
    seconds = time.perf_counter() - begun
    await host.close()
    return {"million_fill_events_per_s": done / seconds, "million_fill_s": seconds}


def disk(data: Path, users: int) -> dict[str, float]:
    """Bytes per profile on disk, by what they are for: allocated blocks of files, pages in use of LMDB tables."""
    sizes = {"log": 0, "vault": 0, "state": 0, "dedupe": 0, "checkpoints": 0}
    for path in (data / "partitions").rglob("*"):
        part = next((name for name in ("log", "vault", "checkpoints") if name in path.relative_to(data).parts), None)
        if part and path.is_file():
            sizes[part] += path.stat().st_blocks * 512
    for folder in (data / "partitions").glob("*/state"):
        with lmdb.open(str(folder), readonly=True, lock=False, max_dbs=64) as env, env.begin() as look:
            for name in [bytes(name) for name, _ in look.cursor()]:
                pages = look.stat(env.open_db(name, look, create=False))
                used = (pages["branch_pages"] + pages["leaf_pages"] + pages["overflow_pages"]) * pages["psize"]
                sizes["dedupe" if b"dedupe" in name else "state"] += used
    return {f"million_{part}_bytes_per_profile": size / users for part, size in sizes.items()}


def host_pid(service: Service) -> int:
    """The process that owns partition 0, as its lock file says."""
    return int((service.data / "partitions" / "p0" / "lock").read_text().split()[0])


def first_write_after(service: Service, kill: list[int]) -> float:
    """Seconds from SIGKILL of ``kill`` to the first acknowledged write."""
    begun = time.perf_counter()
    for pid in kill:
        os.kill(pid, signal.SIGKILL)
    while time.perf_counter() - begun < 120:
        try:
            event = {"userId": "user-1", "type": "track", "event": "Product Viewed", "properties": {"product_id": "x"}}
            status, _ = service.call("POST", f"/v1/batch?writeKey={service.write_key}", {"batch": [event]}, 2.0)
            if status == 200:
                return time.perf_counter() - begun
        except OSError:
            pass
        time.sleep(0.02)
    return float("nan")


def run(data: Path, users: int) -> dict[str, float]:
    """Fill ``data`` unless it is there, then measure a service over it."""
    figures: dict[str, float] = {}
    if not (data / "manifest.json").exists():
        figures |= asyncio.run(fill(data, users))
    figures |= disk(data, users)
    with running(data, data.parent / "million.log") as service:
        time.sleep(4)  # HAProxy reloads once more soon after the start, and closes kept-alive connections then
        some = [f"user-{n}" for n in random.Random(2).sample(range(users), min(users, 20_000))]
        endpoints.ingest(service, some, [("item-1", "Department 1 > Aisle 1")], 60_000, 9)  # the LRU is full then
        figures["million_host_private_mb"] = memory.private(host_pid(service)) / 1e6
        figures["million_first_write_after_host_kill_s"] = first_write_after(service, [host_pid(service)])
        everything = [service.process.pid, *memory.stamped(service.run)]
        begun = time.perf_counter()
        for pid in everything:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        service.process.wait()
        again = start(data, service.port, data.parent / "million.log")
        figures["million_first_write_after_kill_of_everything_s"] = (
            time.perf_counter() - begun + first_write_after(again, [])
        )
        stop(again)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--users", type=int, default=1_000_000)
    asked = parser.parse_args()
    print(json.dumps(run(asked.data, asked.users), indent=1))
