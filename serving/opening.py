"""How this service's settings open a store: for the host's process, which needs nothing else of the serving room."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from actors.host import HostSettings, PartitionHost
from actors.partition import PartitionSettings
from actors.recovery import Opening
from actors.store import MANIFEST, Store
from events.clock import Clock, SystemClock, millis
from events.ids import PartitionId
from events.segment_log import SegmentSettings
from serving.settings import Settings


def open_store(data: Path, settings: Settings, clock: Clock) -> Store:
    """The store in ``data``, made when there is none."""
    if (data / MANIFEST).exists():
        return Store.open(data)
    return Store.create(data, settings.store.partitions, millis(clock.now()), settings.store.pinned)


def opening(store: Store, settings: Settings, clock: Clock) -> Opening:
    """How a host opens the partitions of ``store``."""
    floor = settings.store.free_bytes_min
    limits = PartitionSettings(cache_bytes=settings.store.profiles_cached_bytes, free_floor_bytes=floor)
    return Opening(store.secrets, clock, limits, SegmentSettings(floor_bytes=floor))


def host_settings(settings: Settings) -> HostSettings:
    return HostSettings(checkpoint_s=settings.store.checkpoint_s)


def open_host(data: str, numbers: Sequence[PartitionId]) -> PartitionHost:
    """A host over some partitions of the store in ``data``, not started yet. Called in the host's own process."""
    path, clock = Path(data), SystemClock()
    store, settings = Store.open(path), Settings.load(path, os.environ)
    return PartitionHost(store, numbers, opening(store, settings, clock), host_settings(settings))
