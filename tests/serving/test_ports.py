from __future__ import annotations

import random
import socket

import pytest

from events.errors import Conflict
from serving.ports import choose, is_free


def test_every_port_of_a_run_is_free_and_no_two_are_the_same() -> None:
    ports = choose("127.0.0.1", 0, random.Random(1))
    single = [
        ports.front,
        ports.fallback,
        ports.fallback_grpc,
        ports.proxy_metrics,
        ports.proxy_stats,
        ports.ray_metrics,
    ]
    every = single + list(range(ports.replicas[0], ports.replicas[1] + 1))
    assert len(set(every)) == len(every)
    assert all(is_free("127.0.0.1", port) for port in every)


def test_a_block_with_a_taken_port_is_passed_over() -> None:
    first = choose("127.0.0.1", 0, random.Random(2))
    with socket.create_server(("127.0.0.1", first.replicas[0])):
        second = choose("127.0.0.1", 0, random.Random(2))
    assert second != first


def test_a_taken_front_port_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Conflict, match=str(port)):
            choose("127.0.0.1", port, random.Random(3))
