"""Who may write, and how the last owner finds out."""

from __future__ import annotations

import pytest

from events.epoch import current, ensure_owner, take
from events.errors import Corrupt, NotOwner
from events.memory_disk import MemoryDisk


def test_every_taking_gives_the_next_number_and_refuses_the_one_before() -> None:
    disk = MemoryDisk()
    assert current(disk, "p0") == 0
    assert take(disk, "p0") == 1
    ensure_owner(disk, "p0", 1)
    assert take(disk, "p0") == 2
    with pytest.raises(NotOwner, match="epoch 2"):
        ensure_owner(disk, "p0", 1)
    assert current(disk, "p1") == 0, "each partition has its own"


def test_a_taking_survives_a_power_loss() -> None:
    for seed in range(20):
        disk = MemoryDisk(seed)
        take(disk, "p0")
        take(disk, "p0")
        disk.crash()
        assert current(disk, "p0") == 2


def test_a_file_that_holds_no_number_stops_instead_of_starting_at_one() -> None:
    disk = MemoryDisk()
    disk.open("p0/epoch").append(b"\0\0")
    with pytest.raises(Corrupt, match="p0/epoch"):
        take(disk, "p0")
