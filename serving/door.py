"""A replica's application over the files of this machine and the addresses of hosts and followers."""

from __future__ import annotations

import os

from actors.store import Store
from events.clock import SystemClock
from serving.app import build_app
from serving.asgi import App
from serving.local_backend import Followers, Host, LocalBackend
from serving.logs import JsonLog
from serving.replica import Replica
from serving.settings import Settings


def open_app(store: Store, host: Host, followers: Followers, *, demo: bool) -> App:
    """Open what a replica stands on. Raises `BadSettings`."""
    clock = SystemClock()
    replica = Replica.open(store, Settings.load(store.path, os.environ), clock)
    backend = LocalBackend(store, host, followers, replica.items, replica.missing)
    return build_app(replica.deps(backend, JsonLog(clock), demo=demo))
