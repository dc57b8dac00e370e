"""A real store in a temporary folder, and a host over it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from actors.dedupe import DedupeSettings
from actors.host import PartitionHost
from actors.partition import PartitionSettings
from actors.recovery import Opening
from actors.store import Store
from actors.wire import Placed, pack_drafts, unpack_placed
from events.clock import SystemClock
from events.record import Draft
from events.segment_log import SegmentSettings

DEADLINE_S = 60.0


def made(path: Path, partitions: int = 2) -> Store:
    return Store.create(path, partitions, 1_760_000_000_000)


def opening(store: Store, **more: object) -> Opening:
    """Small, and content with any disk."""
    return Opening(
        secrets=store.secrets,
        clock=SystemClock(),
        partition=PartitionSettings(free_floor_bytes=0, dedupe=DedupeSettings(ids_max=40_000, bucket_ids=5_000)),
        log=SegmentSettings(segment_bytes=1 << 20, floor_bytes=0, spare=False),
        **more,  # type: ignore[arg-type]
    )


async def sent(host: PartitionHost, drafts: list[Draft]) -> list[Placed]:
    return unpack_placed(await host.append(pack_drafts(drafts)))


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for ``condition``, up to a deadline no healthy run comes near."""
    pause = threading.Event()
    tries = int(DEADLINE_S / 0.01)
    assert any(condition() or pause.wait(0.01) for _ in range(tries)), f"waited in vain: {what}"
