"""Ports of one run. Every run gets its own, so that services live side by side on one machine."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass
from itertools import count

from events.errors import Conflict

REPLICA_PORTS = 32
"""Ports set aside for replicas: two per replica while one replaces the other, for the usual 2 to 8 replicas."""
_RANGE = (20_000, 32_000)
"""Where ports are looked for: above the registered services people run, below Linux's ephemeral range (32768), out of
which any outgoing connection may take one at any time."""


@dataclass(frozen=True)
class Ports:
    """``front`` is the service's own; the others listen on loopback only."""

    front: int
    fallback: int
    """Serve's own Python proxy: started with HAProxy, never routed to here."""
    fallback_grpc: int
    proxy_metrics: int
    proxy_stats: int
    ray_metrics: int
    replicas: tuple[int, int]
    """First and last."""


def is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def choose(host: str, front: int, rng: random.Random, replicas: int = 2) -> Ports:
    """``front`` as asked for (0: any free one) and free ones for the rest.

    Raises `Conflict` when ``front`` is taken.
    """
    width = max(REPLICA_PORTS, 4 * replicas)
    others = 6
    base = _free_block(rng, others + width)
    if front and not is_free(host, front):
        raise Conflict(f"port {front} on {host} is taken: stop what listens there, or start with another --port")
    return Ports(
        front=front or base + 5,
        fallback=base,
        fallback_grpc=base + 1,
        proxy_metrics=base + 2,
        proxy_stats=base + 3,
        ray_metrics=base + 4,
        replicas=(base + others, base + others + width - 1),
    )


def _free_block(rng: random.Random, width: int) -> int:
    """The first port of ``width`` free ones in a row."""
    for attempt in count(1):
        base = rng.randrange(*_RANGE)
        if all(is_free("127.0.0.1", base + offset) for offset in range(width)):
            return base
        if attempt == 200:
            raise Conflict(f"no {width} free ports in a row between {_RANGE[0]} and {_RANGE[1]} on loopback")
    raise AssertionError
