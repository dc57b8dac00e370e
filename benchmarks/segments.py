"""What segments cost: ``python -m benchmarks.segments [SCALE]``.

Changes: facts of all kinds over 2,000 profiles of over 2 kB, appended to a real partition on a real disk, then followed
by a real segment follower with 50 rules; a change is one profile looked at in one round, whatever facts it got there.
Back-fill: a state folder with a million profiles (2,000 different ones under their own keys), everybody looked at with
50 rules, then with a 51st. Timers: 100,000 profiles whose time comes within a minute, followed in real time. Rates are
by CPU time of one core, with wall time beside them, since a busy machine shows in the one and less in the other.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from actors.garbage import collect_seldom
from actors.outbox import Settled
from actors.partition import Outcome
from actors.recovery import Opening, OwnedPartition
from actors.segment_definition import SEGMENTS_KEY
from actors.segment_opened import OpenedSegments
from actors.segment_shipped import SHIPPED
from actors.store import Store
from actors.working_set import PROFILES
from benchmarks.fold import START_MS
from benchmarks.ingest_core import WARM_UP, batches
from events.clock import SystemClock
from events.ids import PartitionId
from events.payload import encode as encoded
from events.payload import type_of
from events.record import Draft
from events.types import Meta, SegmentDefined

ROUNDS: Final = 40
DISTINCT: Final = 2_000
FACTS: Final = (2, 25)
DAY_MS: Final = 86_400_000
ROWS: Final = 10_000
MEMBERSHIP_SHARES: Final = (0.001, 0.01, 0.05, 0.2, 0.5)
"""How many are in a segment, of the 50 in turn."""

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


def defining(rules: Sequence[SegmentDefined] = RULES) -> list[Draft]:
    """The facts that define the segments."""
    drafts = []
    for at, told in enumerate(rules):
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


def run(scale: float = 1.0) -> dict[str, float]:
    return changes(scale)


if __name__ == "__main__":
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    print(json.dumps({name: round(value, 3) for name, value in run(scale).items()}, indent=2))
