from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.directory import Directory
from events.errors import NotFound
from events.ids import Key, partition_of, user_key

KEYS = st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True).map(user_key)


@given(KEYS, st.integers(1, 64), st.integers(1, 8))
def test_every_key_has_one_partition_and_that_one_host(key: Key, partitions: int, hosts: int) -> None:
    directory = Directory.spread(partitions, hosts)
    assert directory.partition(key) == partition_of(key, partitions)
    assert directory.partition(key) in directory.owned_by(directory.host(key))


@given(KEYS, KEYS, st.integers(1, 8))
def test_pinning_a_key_moves_no_other(key: Key, pinned: Key, partitions: int) -> None:
    plain, with_pin = Directory.spread(partitions, 1), Directory.spread(partitions, 1, [pinned])
    if key != pinned:
        assert with_pin.partition(key) == plain.partition(key)
    assert with_pin.partition(pinned) == partitions
    assert with_pin.owned_by(with_pin.host(pinned)) == (partitions,)


def test_hosts_share_the_partitions_evenly() -> None:
    directory = Directory.spread(64, 3)
    assert sorted(len(directory.owned_by(host)) for host in directory.names()) == [21, 21, 22]


def test_an_unknown_host_is_named() -> None:
    with pytest.raises(NotFound, match="h9"):
        Directory.spread(2, 1).owned_by("h9")
