from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from partition_world import view
from reader_contract import ANN, ReaderContract, hosted
from store_world import made, sent, until

from actors.host import PartitionHost
from actors.reader import HostProfiles, LocalProfiles, ProfileReader
from actors.store import Store
from events.errors import Unavailable


class TestLocalProfiles(ReaderContract):
    def reader(self, store: Store, host: PartitionHost) -> ProfileReader:
        return LocalProfiles(store)


class TestHostProfiles(ReaderContract):
    def reader(self, store: Store, host: PartitionHost) -> ProfileReader:
        return HostProfiles(store, host)


def test_before_the_first_start_there_is_no_state_to_read(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="there is no state"):
        LocalProfiles(made(tmp_path)).read(ANN)


def test_while_the_host_is_down_the_last_commit_is_read_and_its_age_told(tmp_path: Path) -> None:
    store = made(tmp_path)

    async def life() -> None:
        async with hosted(store) as host:
            await sent(host, [view("ann", 1)])

    asyncio.run(life())
    reader = LocalProfiles(store)
    read = reader.read(ANN)
    assert read.profile is not None
    assert read.profile.version == 1
    until(lambda: reader.read(ANN).age_ms > 2_500, "the state grows old")
    asyncio.run(life())
    assert reader.read(ANN).age_ms == 0
