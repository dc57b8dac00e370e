from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from partition_world import view
from reader_contract import ANN, ReaderContract, hosted
from store_world import made, sent, until

from actors.host import PartitionHost
from actors.profile import Profile, encode, mark
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


def test_a_glance_follows_every_new_fact_and_shows_what_a_read_does(tmp_path: Path) -> None:
    store = made(tmp_path)
    reader = LocalProfiles(store)

    async def life() -> None:
        async with hosted(store) as host:
            assert reader.glance(ANN).profile is None
            for number in range(3):
                await sent(host, [view("ann", number)])
                read, seen = reader.read(ANN).profile, reader.glance(ANN).profile
                assert read is not None
                assert seen is not None
                assert (seen.version, seen.lsn, seen.subject) == (number + 1, read.lsn, read.subject)
                assert seen.consent == read.consent
                assert seen.whole() == read
            await host.erase(ANN)
            assert reader.glance(ANN).profile is None

    asyncio.run(life())


def test_a_head_is_decoded_once_per_version(tmp_path: Path) -> None:
    store = made(tmp_path)

    async def life() -> None:
        async with hosted(store) as host:
            await sent(host, [view("ann", 1)])
            reader = LocalProfiles(store)
            first, second = reader.glance(ANN).profile, reader.glance(ANN).profile
            assert first is not None
            assert second is not None
            assert first.consent is second.consent

    asyncio.run(life())


@pytest.mark.parametrize("version", [0, 1, 127, 128, 1 << 40, 1 << 62])
def test_a_mark_tells_versions_positions_and_subjects_apart(version: int) -> None:
    profiles = [
        Profile(version + step, lsn, subject, user_id="ann", default_consent=False)
        for step in (0, 1)
        for lsn in (-1, 5, 1 << 62)
        for subject in (b"", bytes(16), bytes(15) + b"x")
    ]
    assert len({mark(encode(one)) for one in profiles}) == len(profiles)
