"""What segments cost: ``python -m benchmarks.segments [SCALE]``.

Changes: facts of all kinds over 2,000 profiles of over 2 kB, appended to a real partition on a real disk, then followed
by a real segment follower with 50 rules; a change is one profile looked at in one round, whatever facts it got there.
Back-fill: a state folder with a million profiles (2,000 different ones under their own keys), everybody looked at with
50 rules, then with a 51st. Timers: 100,000 profiles whose time comes within a minute, followed in real time. Rates are
by CPU time of one core, with wall time beside them, since a busy machine shows in the one and less in the other.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
from msgspec.structs import replace

from actors.fold import fold
from actors.garbage import collect_seldom
from actors.outbox import Settled
from actors.partition import Outcome
from actors.profile import EMPTY, encode
from actors.reader import LocalProfiles
from actors.recovery import Opening, OwnedPartition
from actors.segment_definition import SEGMENTS_KEY
from actors.segment_members import Members
from actors.segment_opened import OpenedSegments
from actors.segment_shipped import SHIPPED
from actors.segments import subject_of
from actors.state import Change, MemoryState
from actors.store import Store
from actors.working_set import PROFILES
from benchmarks import endpoints, memory
from benchmarks.fold import START_MS, anything
from benchmarks.ingest_core import WARM_UP, batches
from benchmarks.service import Service, running
from events.clock import SystemClock
from events.ids import PartitionId, key_hash, user_key
from events.payload import decode, type_of
from events.payload import encode as encoded
from events.record import Draft
from events.types import Interaction, Line, Meta, Payload, SegmentDefined

ROUNDS: Final = 40
PEOPLE: Final = 1_000_000
DISTINCT: Final = 2_000
FACTS: Final = (2, 25)
ROWS: Final = 10_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
SEGMENTS: Final = 50
SHARES: Final = (0.001, 0.01, 0.05, 0.2, 0.5)
"""How many are in a segment, of the 50 in turn."""
WAITING_MS: Final = 60_000
LOOK_S: Final = 0.01
BATCHES_PER_S: Final = 20
EVENTS_PER_BATCH: Final = 100
WARM_EVENTS: Final = 20
"""Per user, before latency is measured: who enters segments for the first time is a crowd of its own."""
SUBJECT: Final = b"everfold-segment"
USER: Final = "user-________"
"""Stand for subject and id in a profile that is made once and put into a state many times."""

_MORE: Final = (
    *(
        f"count({signal}, {window}) >= {least}"
        for signal, window, least in (
            ("view", "1 day", 3),
            ("view", "7 days", 10),
            ("view", "30 days", 20),
            ("click", "7 days", 3),
            ("cart", "1 day", 1),
            ("cart", "7 days", 3),
            ("purchase", "7 days", 1),
            ("purchase", "90 days", 5),
            ("view", "1 hour", 5),
            ("click", "1 day", 2),
            ("cart", "30 days", 5),
            ("purchase", "365 days", 10),
        )
    ),
    "sequence(view then cart, 1 day)",
    "sequence(view then purchase, 7 days)",
    "sequence(cart then no purchase for 1 day, 7 days)",
    "sequence(click then cart then purchase, 2 days)",
    'decayed(view, "day") > 3',
    'decayed(purchase, "month") > 1',
    'decayed(cart, "day") > 1',
    'decayed(click, "month") > 2',
    'interest("brand:Brand 7") > 1',
    'interest("category:Department 3") > 2',
    'bought("820001", 30 days) >= 1',
    'trait("plan") == "gold"',
    'trait("age") == "25-34" or trait("age") == "35-44"',
    'group("family")',
    "engagement > 0.5",
    "loyalty > 0.5",
    "price_sensitivity > 0.5",
    "purchase_intent > 0.5",
    "churn_risk > 0.5",
    "since(purchase) > 30 days",
    "since(view) < 1 day",
    "age > 30 days",
    "idle > 14 days",
    "sessions >= 5",
    "spent > 100",
    "did(purchase, 30 days) and not did(view, 7 days)",
    'segment("loyal") and segment("high-value")',
    'segment("browsers") or segment("cart-abandoners")',
)
RULES: Final = (*SHIPPED, *(SegmentDefined(f"rule-{number}", rule) for number, rule in enumerate(_MORE)))
"""50: the shipped ones, counts in windows, sequences, decayed values, interests, traits, scores, other segments."""


def changes(scale: float) -> dict[str, float]:
    """Profile changes per second through the whole follower, from the log's records to its commit."""
    collect_seldom()
    with tempfile.TemporaryDirectory(prefix="everfold-segments-") as folder:
        store = Store.create(Path(folder) / "store", 1, int(time.time() * 1000))
        owned = OwnedPartition(store.folder(PartitionId(0)), PartitionId(0), Opening(store.secrets, SystemClock()))
        fed = list(batches(random.Random(7), WARM_UP + max(2, int(ROUNDS * scale))))
        for batch in (*fed[:WARM_UP], defining()):
            owned.partition.append(batch)
        follower = OpenedSegments(store)
        _settle(follower)
        looked, cpu, wall, transitions = 0, 0.0, 0.0, 0
        for batch in fed[WARM_UP:]:
            owned.partition.append(batch)
            looked += len({draft.key for draft in batch})
            began, used = time.perf_counter(), time.process_time()
            follower.step(_now())
            wall, cpu = wall + time.perf_counter() - began, cpu + time.process_time() - used
            transitions += _drop(follower)
        sizes = [len(row) for _, row in owned.state.scan(PROFILES)]
        follower.close()
        owned.close()
    return {
        "segment_changes_per_cpu_s": looked / cpu,
        "segment_changes_per_s": looked / wall,
        "segment_transitions_per_change": transitions / looked,
        "segment_profile_bytes": sum(sizes) / len(sizes),
    }


def defining(rules: Sequence[SegmentDefined] = RULES, first: int = 0) -> list[Draft]:
    """The facts that define the segments."""
    drafts = []
    for at, told in enumerate(rules, first):
        name, version = type_of(told)
        drafts.append(Draft(SEGMENTS_KEY, at.to_bytes(16, "big"), START_MS, name, version, encoded(Meta(), told)))
    return drafts


def _now() -> int:
    return time.time_ns() // 1000


def _settle(follower: OpenedSegments) -> None:
    while follower.step(_now()) or _drop(follower):
        pass


def _drop(follower: OpenedSegments) -> int:
    """Settle what waits to be sent, without sending it anywhere."""

    def settled(target: int, drafts: Sequence[Draft]) -> Sequence[Settled]:
        return [Outcome("ok", 0)] * len(drafts)

    dropped = 0
    while sent := follower.send(settled):
        dropped += sent
    return dropped


def membership(people: int) -> dict[str, float]:
    """Memory of who is in what: `people` in 50 segments, each member drawn by itself."""
    rng = np.random.default_rng(7)
    members = Members(MemoryState())
    before = memory.private(os.getpid())
    for slot in range(SEGMENTS):
        for number in np.flatnonzero(rng.random(people) < SHARES[slot % len(SHARES)]).tolist():
            members.add(slot, number)
    grown = memory.private(os.getpid()) - before
    return {
        "segment_memory_mb": grown / 1e6,
        "segment_bitmaps_mb": members.bytes() / 1e6,
        "segment_memberships": float(sum(members.count(slot) for slot in range(SEGMENTS))),
    }


def backfill(people: int) -> dict[str, float]:
    """Everybody looked at with 50 rules, then with one more."""
    with tempfile.TemporaryDirectory(prefix="everfold-segments-") as folder:
        store = Store.create(Path(folder) / "store", 2, int(time.time() * 1000))
        blobs = [_person(random.Random(number)) for number in range(DISTINCT)]
        owned = _peopled(store, people, lambda rng, place: blobs[rng.randrange(DISTINCT)])
        follower = OpenedSegments(store)
        owned[store.partition(SEGMENTS_KEY)].partition.append(defining())
        figures = {f"segment_first_{name}": value for name, value in _timed(follower, people).items()}
        one_more = SegmentDefined("one-more", "count(view, 30 days) >= 3")
        owned[store.partition(SEGMENTS_KEY)].partition.append(defining([one_more], first=1_000))
        figures |= {f"segment_backfill_{name}": value for name, value in _timed(follower, people).items()}
        follower.close()
        for each in owned:
            each.close()
    return figures


def _timed(follower: OpenedSegments, people: int) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    _settle(follower)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"s": wall, "cpu_s": cpu, "cpu_us_each": cpu / people * 1e6}


def timers(people: int, seconds: float = 20.0) -> dict[str, float]:
    """How late transitions are that time brings, while ``people`` wait for theirs within a minute."""
    with tempfile.TemporaryDirectory(prefix="everfold-segments-") as folder:
        store = Store.create(Path(folder) / "store", 2, int(time.time() * 1000))
        begins = int(time.time() * 1000) + 20_000 + people // 5
        seen = {place: begins + place * WAITING_MS // people - HOUR_MS for place in range(people)}
        owned = _peopled(store, people, lambda rng, place: _viewed(seen[place]))
        follower = OpenedSegments(store)
        owned[store.partition(SEGMENTS_KEY)].partition.append(
            defining([SegmentDefined("just-seen", "count(view, 1 hour) >= 1")])
        )
        _settle(follower)
        late: list[float] = []

        def heard(target: int, drafts: Sequence[Draft]) -> Sequence[Settled]:
            now = time.time() * 1000
            late.extend(now - seen[subject_of(_meta(draft))] - HOUR_MS for draft in drafts)
            return [Outcome("ok", 0)] * len(drafts)

        pending = follower.numbers()["everfold_segment_timers_pending"]
        waiting, used = threading.Event(), time.process_time()
        while time.time() * 1000 < begins + seconds * 1000:
            if not follower.step(_now()) and not follower.send(heard):
                waiting.wait(LOOK_S)
        used = time.process_time() - used
        follower.close()
        for each in owned:
            each.close()
    late.sort()
    return {
        "segment_timers_pending": pending,
        "segment_timed_transitions": float(len(late)),
        "segment_timed_late_p50_ms": late[len(late) // 2],
        "segment_timed_late_p99_ms": late[int(0.99 * len(late))],
        "segment_timed_late_max_ms": late[-1],
        "segment_timed_early_ms": max(0.0, -late[0]),
        "segment_timed_cpu_share": used / seconds,
    }


def _meta(draft: Draft) -> Meta:
    return decode(draft.type, draft.version, draft.payload).meta


def _viewed(at: int) -> bytes:
    event = Interaction("view", (Line("tea", "Drinks > Tea", "Brand", price=2.0),), "Product Viewed")
    return encode(fold(replace(EMPTY, subject=SUBJECT), 0, at, bytes(16), Payload(Meta(user_id=USER), event)))


def _person(rng: random.Random) -> bytes:
    profile, at = replace(EMPTY, subject=SUBJECT), _now() // 1000 - 60 * DAY_MS + rng.randrange(30) * DAY_MS
    meta = Meta(user_id=USER, received_at=at)
    for lsn in range(1, rng.randint(*FACTS)):
        at += rng.randrange(2 * DAY_MS)
        profile = fold(profile, lsn, at, rng.randbytes(16), Payload(meta, anything(rng)))
    return encode(profile)


def _peopled(store: Store, people: int, blob: Callable[[random.Random, int], bytes]) -> list[OwnedPartition]:
    """The partitions of ``store``, opened, with profiles of numbers 0 to ``people`` put straight into their states."""
    opening, owned, rng = Opening(store.secrets, SystemClock()), [], random.Random(7)
    secret = store.secrets.key_hash
    for number in store.numbers():
        each = OwnedPartition(store.folder(number), number, opening)
        count = len(store.numbers())
        for first in range(int(number), people, ROWS * count):
            places = range(first, min(people, first + ROWS * count), count)
            each.state.commit(_row(secret, blob(rng, place), place, count) for place in places)
        owned.append(each)
    return owned


def _row(secret: bytes, blob: bytes, place: int, partitions: int) -> Change:
    user = f"user-{place:08d}"
    subject = SUBJECT[:12] + (place // partitions).to_bytes(4, "big")
    own = blob.replace(SUBJECT, subject, 1).replace(USER.encode(), user.encode(), 1)
    return PROFILES, key_hash(secret, user_key(user)), own


def latency(service: Service, seconds: float = 10.0) -> dict[str, float]:
    """Acknowledged to visible in the profile, 50 segments defined, at 2,000 events/s in batches of 100."""
    for told in (*RULES, SegmentDefined("probed", "count(view, 1 hour) >= 1")):
        body = {"rule": told.rule, "stay": told.stay, "kind": told.kind}
        service.call("PUT", f"/v1/segments/{told.name}", body)
    users = [f"segment-{n}" for n in range(2_000)]
    probes = [f"probe-{time.time_ns()}-{n}" for n in range(int(seconds * BATCHES_PER_S))]
    shelf = [(f"item-{n}", f"Department {n % 20} > Aisle {n % 97}") for n in range(500)]
    bodies = endpoints.batch_bodies(users, shelf, len(probes), EVENTS_PER_BATCH - 1, 11)
    endpoints.ingest(service, users, shelf, len(users) * WARM_EVENTS, 12)
    _rest(service)
    acknowledged: dict[str, float] = {}
    visible: dict[str, float] = {}
    ended = threading.Event()
    watching = threading.Thread(target=_watch, args=(service, probes, acknowledged, visible, ended))
    watching.start()
    refused, acks = _send(service, probes, bodies, acknowledged)
    ended.set()
    watching.join()
    taken = sorted((visible[probe] - acknowledged[probe]) * 1000 for probe in visible if probe in acknowledged)
    return {
        "segment_visible_p50_ms": taken[len(taken) // 2],
        "segment_visible_p99_ms": taken[int(0.99 * len(taken))],
        "segment_visible_max_ms": taken[-1],
        "segment_visible_missing": float(len(acknowledged) - len(taken)),
        "segment_batches_refused": float(refused),
        "segment_ack_p50_ms": acks[len(acks) // 2],
        "segment_ack_p99_ms": acks[int(0.99 * len(acks))],
    }


def _rest(service: Service, seconds: float = 120.0) -> None:
    """Wait until the segment follower has nothing left to do."""
    names = ('everfold_follower_lag_records{follower="segments"', "everfold_segment_transitions_waiting ")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        text = str(service.call("GET", "/metrics")[1].get("text"))
        values = [float(line.split()[-1]) for line in text.splitlines() if line.startswith(names)]
        if len(values) == len(names) and not any(values):
            return
        time.sleep(0.2)
    raise RuntimeError(f"the segment follower did not come to rest within {seconds:.0f} s")


def _send(
    service: Service, probes: list[str], bodies: list[bytes], acknowledged: dict[str, float]
) -> tuple[int, list[float]]:
    """Batches at fixed times, each with one probe; how many were refused, and how long the others took, ms,
    ascending."""
    acks: list[float] = []

    def one(probe: str, body: bytes) -> int:
        batch = json.loads(body)
        batch["batch"].append(
            {"type": "track", "event": "Product Viewed", "userId": probe, "properties": {"product_id": "item-1"}}
        )
        began = time.perf_counter()
        status, _ = service.call("POST", f"/v1/batch?writeKey={service.write_key}", batch)
        if status == 200:
            acknowledged[probe] = time.perf_counter()
            acks.append((acknowledged[probe] - began) * 1000)
        return status

    begun = time.perf_counter()
    with ThreadPoolExecutor(8) as senders:
        sent = []
        for n, (probe, body) in enumerate(zip(probes, bodies, strict=True)):
            time.sleep(max(0.0, begun + n / BATCHES_PER_S - time.perf_counter()))
            sent.append(senders.submit(one, probe, body))
        refused = sum(each.result() != 200 for each in sent)
    return refused, sorted(acks)


def _watch(
    service: Service,
    probes: list[str],
    acknowledged: dict[str, float],
    visible: dict[str, float],
    ended: threading.Event,
) -> None:
    """Look at the profiles that wait, every millisecond, until two seconds after the last batch."""
    profiles = LocalProfiles(Store.open(service.data))
    waiting, stop = list(probes), 0.0
    while waiting and not (stop and time.perf_counter() > stop):
        if ended.is_set() and not stop:
            stop = time.perf_counter() + 2.0
        for probe in [probe for probe in waiting if probe in acknowledged][:20]:
            profile = profiles.read(user_key(probe)).profile
            held = profile.segments.get("probed") if profile is not None else None
            if held is not None and held.entered:
                visible[probe] = time.perf_counter()
                waiting.remove(probe)
        time.sleep(0.001)
    profiles.close()


def served(scale: float = 1.0) -> dict[str, float]:
    """`latency` of a service of its own."""
    with tempfile.TemporaryDirectory(prefix="everfold-segments-") as folder, running(Path(folder) / "data") as service:
        return latency(service, max(3.0, 10.0 * scale))


if __name__ == "__main__":
    words = sys.argv[1:]
    scale = next((float(word) for word in words if word.replace(".", "").isdecimal()), 1.0)
    parts = {
        "changes": lambda: changes(scale),
        "membership": lambda: membership(int(PEOPLE * scale)),
        "backfill": lambda: backfill(int(PEOPLE * scale)),
        "timers": lambda: timers(int(PEOPLE * scale / 10)),
        "served": lambda: served(scale),
    }
    for name in [word for word in words if word in parts] or list(parts):
        print(json.dumps({figure: round(value, 3) for figure, value in parts[name]().items()}, indent=2), flush=True)
