"""A whole service in one process: host, followers and one replica. For tests, benchmarks, and wherever one process is
enough; `serving.on_ray` spreads the same parts over several."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors.host import HostSettings, PartitionHost
from actors.partition import PartitionSettings
from actors.recovery import Opening
from actors.store import MANIFEST, Store
from events.clock import Clock, millis
from serving.app import Deps
from serving.follower_host import FollowerHost
from serving.keys import Keys
from serving.local_backend import LocalBackend
from serving.logs import Log
from serving.replica import Replica
from serving.settings import Settings


@dataclass
class Embedded:
    """Open it inside the event loop that will serve it."""

    host: PartitionHost
    followers: FollowerHost
    replica: Replica
    backend: LocalBackend

    @classmethod
    async def open(cls, data: Path, settings: Settings, clock: Clock) -> Embedded:
        """Start over the store in ``data``, making one when there is none. Raises as `Store.open` and
        `PartitionHost.start` do."""
        store = open_store(data, settings, clock)
        host = PartitionHost(store, store.numbers(), opening(store, settings, clock), host_settings(settings))
        await host.start()
        followers = FollowerHost(data, clock)
        replica = Replica.open(store, settings, clock)
        backend = LocalBackend(store, host, followers, replica.items, lambda: "")
        return cls(host, followers, replica, backend)

    @property
    def keys(self) -> Keys:
        return self.replica.keys

    def deps(self, log: Log, *, demo: bool = False) -> Deps:
        return self.replica.deps(self.backend, log, demo=demo)

    async def close(self) -> None:
        await self.backend.close()
        self.replica.close()
        await self.followers.close()
        await self.host.close()


def open_store(data: Path, settings: Settings, clock: Clock) -> Store:
    """The store in ``data``, made when there is none."""
    if (data / MANIFEST).exists():
        return Store.open(data)
    return Store.create(data, settings.store.partitions, millis(clock.now()))


def opening(store: Store, settings: Settings, clock: Clock) -> Opening:
    """How a host opens the partitions of ``store``."""
    limits = PartitionSettings(
        cache_bytes=settings.store.profiles_cached_bytes, free_floor_bytes=settings.store.free_bytes_min
    )
    return Opening(store.secrets, clock, limits)


def host_settings(settings: Settings) -> HostSettings:
    return HostSettings(checkpoint_s=settings.store.checkpoint_s)
