"""A whole service in one process: host, followers and one replica. For tests, benchmarks, and wherever one process is
enough; `serving.on_ray` spreads the same parts over several."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from actors.host import PartitionHost
from events.clock import Clock
from serving.app import Deps
from serving.follower_host import FollowerHost, appending
from serving.keys import Keys
from serving.local_backend import LocalBackend
from serving.logs import Log
from serving.opening import host_settings, open_store, opening
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
        followers = FollowerHost(data, clock, settings, appending(host, asyncio.get_running_loop()))
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
