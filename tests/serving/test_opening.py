"""What the settings say reaches every part that is opened with them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from actors.host import PartitionHost
from actors.recovery import OwnedPartition
from events.clock import SystemClock
from events.errors import DiskFull
from events.ids import Millis, PartitionId
from events.quarantine import Entry
from serving.decision import NOBODY, Owner
from serving.decisions import SPOOL_FOLDER, open_shipper
from serving.host_numbers import HostFigures
from serving.opening import open_store, opening
from serving.replica import rules_of
from serving.settings import Settings, StoreSettings
from serving.spool import Spool

ALL_THERE_IS = 1 << 60


def settings(free_bytes_min: int) -> Settings:
    return Settings(store=StoreSettings(free_bytes_min=free_bytes_min))


def opened(tmp_path: Path, chosen: Settings) -> OwnedPartition:
    store = open_store(tmp_path, chosen, SystemClock())
    return OwnedPartition(store.folder(PartitionId(0)), PartitionId(0), opening(store, chosen, SystemClock()))


def test_the_floor_of_free_disk_is_one_for_facts_and_for_what_was_set_aside(tmp_path: Path) -> None:
    owned = opened(tmp_path, settings(ALL_THERE_IS))
    with pytest.raises(DiskFull):
        owned.partition.append([])
    with pytest.raises(DiskFull):
        owned.quarantine.append([Entry(Millis(1), "bad_id", "", b"{}")])
    owned.close()
    low = opening(open_store(tmp_path, settings(5), SystemClock()), settings(5), SystemClock())
    assert (low.log.floor_bytes, low.partition.free_floor_bytes) == (5, 5)


def test_a_host_under_the_floor_says_that_it_takes_no_writes_and_why(tmp_path: Path) -> None:
    async def fault(free_bytes_min: int) -> str:
        chosen = settings(free_bytes_min)
        store = open_store(tmp_path, chosen, SystemClock())
        host = PartitionHost(store, store.numbers(), opening(store, chosen, SystemClock()))
        await host.start()
        try:
            return HostFigures.of(await host.status()).fault()
        finally:
            await host.close()

    assert "below the floor" in asyncio.run(fault(ALL_THERE_IS))
    assert asyncio.run(fault(0)) == ""


def test_decisions_wait_in_their_spool_while_the_disk_is_under_the_floor(tmp_path: Path) -> None:
    spool = Spool(tmp_path / SPOOL_FOLDER)
    assert spool.write(1, Owner(NOBODY, b"x" * 16), lambda place: b"sealed", request=b"r" * 16, test=False)
    spool.close()
    shipper = open_shipper(tmp_path, ALL_THERE_IS)
    with pytest.raises(DiskFull):
        shipper.ship()
    shipper.close()
    shipper = open_shipper(tmp_path, 0)
    assert shipper.ship() == 1
    shipper.close()


def test_noise_is_keyed_by_a_secret_of_its_own(tmp_path: Path) -> None:
    store = open_store(tmp_path, Settings(), SystemClock())
    assert rules_of(store, Settings()).noise_secret == store.secrets.noise
