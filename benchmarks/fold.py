"""How fast facts fold: decode and fold on one core, into profiles of at least 2 kB.

``python -m benchmarks.fold`` prints the figures; `run` returns them. Unsealing and the log are not in them.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from actors.fold import fold
from actors.profile import EMPTY, Profile, decode, encode
from events import payload
from events.types import Event, Identified, Impression, Interaction, Line, Meta, Payload, Visited

PROFILE_BYTES_MIN: Final = 2048
START_MS: Final = 1_760_000_000_000
PROFILES: Final = 200
ROUNDS: Final = 5

CATALOGUE: Final = [
    Line(str(820_000 + n), f"Department {n % 20} > Commodity {n % 150} > Size {n % 600}", f"Brand {n % 80}", price=2.5)
    for n in range(5_000)
]


class Stored(NamedTuple):
    """A record's part that the fold needs, its payload unsealed."""

    profile: int
    event_time: int
    event_id: bytes
    type: str
    version: int
    payload: bytes


def run(scale: float = 1.0) -> dict[str, float]:
    """Events per second of one core (median of five rounds) and microseconds per step; ``scale`` shrinks the work.

    Counted in the CPU time of this process, so that what else runs on the machine does not pass for our own work.
    """
    rng = random.Random(7)
    profiles = grown(rng, max(1, int(PROFILES * scale)))
    count = max(100, int(20_000 * scale))
    steps = max(10, int(2_000 * scale))
    sizes = [len(encode(profile)) for profile in profiles]
    blobs = [encode(profile) for profile in profiles]
    return {
        "fold_profile_bytes": statistics.mean(sizes),
        "fold_views_per_s": refold_rate(profiles, stream(rng, len(profiles), count, view)),
        "fold_mixed_per_s": refold_rate(profiles, stream(rng, len(profiles), count, anything)),
        "fold_orders_of_10_per_s": refold_rate(profiles, stream(rng, len(profiles), count // 5, order)),
        "fold_view_us": fold_time(profiles, rng, steps, view),
        "fold_order_of_10_us": fold_time(profiles, rng, steps, order),
        "profile_encode_us": micros(lambda n: encode(profiles[n % len(profiles)]), steps),
        "profile_decode_us": micros(lambda n: decode(blobs[n % len(blobs)]), steps),
    }


def grown(rng: random.Random, count: int) -> list[Profile]:
    """Shoppers with a past, each of at least `PROFILE_BYTES_MIN` as stored."""
    profiles = []
    for number in range(count):
        profile, at = EMPTY, START_MS - 90 * 86_400_000
        while len(encode(profile)) < PROFILE_BYTES_MIN:
            at += rng.randrange(86_400_000)
            facts = Payload(Meta(user_id=f"u{number}", anonymous_id=f"b{number}"), anything(rng))
            profile = fold(profile, profile.version, at, rng.randbytes(16), facts)
        profiles.append(profile)
    return profiles


def view(rng: random.Random) -> Event:
    return Interaction("view", (rng.choice(CATALOGUE),), "Product Viewed")


def order(rng: random.Random) -> Event:
    return Interaction("purchase", tuple(rng.sample(CATALOGUE, 10)), "Order Completed", order_id="o", revenue=25.0)


def anything(rng: random.Random) -> Event:
    """Sixty views, fifteen carts, five orders, ten lists, eight pages, two traits in a hundred."""
    kind = rng.random()
    if kind < 0.60:
        return view(rng)
    if kind < 0.75:
        return Interaction("cart", (rng.choice(CATALOGUE),), "Product Added")
    if kind < 0.80:
        return order(rng)
    if kind < 0.90:
        return Impression(tuple(line.item for line in rng.sample(CATALOGUE, 10)), "r", "Product List Viewed")
    if kind < 0.98:
        return Visited("Home", dwell_ms=4000, scroll=0.5)
    return Identified({"plan": "gold", "age": rng.randrange(90)})


def stream(rng: random.Random, profiles: int, count: int, kind: Callable[[random.Random], Event]) -> list[Stored]:
    """Facts in log order, for random profiles."""
    facts = []
    for number in range(count):
        who, event = rng.randrange(profiles), kind(rng)
        at = START_MS + number * 1000
        meta = Meta(message_id=f"m-{number:032x}", user_id=f"u{who}", anonymous_id=f"b{who}", received_at=at)
        facts.append(Stored(who, at, rng.randbytes(16), *payload.type_of(event), payload.encode(meta, event)))
    return facts


def refold_rate(start: Sequence[Profile], facts: list[Stored]) -> float:
    """Facts per second, payloads decoded and folded into profiles held in memory, as a replay does."""
    return statistics.median(_round(list(start), facts) for _ in range(ROUNDS))


def _round(profiles: list[Profile], facts: list[Stored]) -> float:
    begun = time.process_time()
    for lsn, fact in enumerate(facts, start=10**6):
        body = payload.decode(fact.type, fact.version, fact.payload)
        profiles[fact.profile] = fold(profiles[fact.profile], lsn, fact.event_time, fact.event_id, body)
    return len(facts) / (time.process_time() - begun)


def fold_time(profiles: list[Profile], rng: random.Random, steps: int, kind: Callable[[random.Random], Event]) -> float:
    """Microseconds of one fold, decoding excluded."""
    bodies = [Payload(Meta(user_id="u", anonymous_id="b0"), kind(rng)) for _ in range(64)]
    event_id = rng.randbytes(16)
    return micros(lambda n: fold(profiles[n % len(profiles)], n, START_MS + n, event_id, bodies[n % 64]), steps)


def micros(step: Callable[[int], object], steps: int) -> float:
    """Microseconds per call, the best of five rounds."""
    return min(_timed(step, steps) for _ in range(ROUNDS)) / steps * 1e6


def _timed(step: Callable[[int], object], steps: int) -> float:
    begun = time.process_time()
    for number in range(steps):
        step(number)
    return time.process_time() - begun


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
