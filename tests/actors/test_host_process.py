"""A real host on a real disk, killed for real."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from host_process import USERS, facts
from partition_world import fact_id
from reader_contract import hosted
from store_world import made, opening, sent, until

from actors.heartbeat import Pulse
from actors.host import PartitionHost
from actors.locking import end_silent_holder, holder
from actors.reader import LocalProfiles, PartitionFiles
from actors.store import Store
from actors.verify import verify
from events.errors import Held
from events.ids import PartitionId, user_key
from events.log import scan

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


class Child:
    """The host process, with many appends under way."""

    def __init__(self, store: Store) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "host_process.py"), str(store.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)])},
        )
        assert self.line() == "open\n"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def begin(self, first: int, stop: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{first} {stop}\n")
        self.process.stdin.flush()

    def killed(self) -> set[int]:
        """Kill it; the facts it acknowledged and that were not read yet."""
        self.process.send_signal(signal.SIGKILL)
        rest, _ = self.process.communicate()
        return {number for line in rest.splitlines() for number in acknowledged(line)}


def acknowledged(line: str) -> range:
    word, first, stop = line.split()
    assert word == "ok"
    return range(int(first), int(stop))


def in_log(store: Store) -> list[bytes]:
    ids = []
    for number in store.numbers():
        files = PartitionFiles(store.folder(number), number, store)
        ids += [record.event_id for record in scan(files.log, 0)]
        files.close()
    return ids


def test_nothing_acknowledged_is_lost_and_nothing_counts_twice_however_often_it_is_killed(tmp_path: Path) -> None:
    store, random = made(tmp_path / "store"), Random(11)
    told: set[int] = set()
    sent_up_to = 0
    for _ in range(8):
        child = Child(store)
        for _ in range(random.randrange(10, 60)):
            child.begin(sent_up_to, sent_up_to + 10)
            sent_up_to += 10
        for _ in range(random.randrange(0, 10)):
            told |= set(acknowledged(child.line()))
        told |= child.killed()
        held = in_log(store)
        assert {fact_id(number) for number in told} <= set(held)
        assert len(held) == len(set(held))
        assert LocalProfiles(store).applied(PartitionId(0)) >= 0

    async def resend() -> None:
        async with hosted(store) as host:
            for first in range(0, sent_up_to, 100):
                await sent(host, facts(first, min(first + 100, sent_up_to)))

    asyncio.run(resend())
    assert sorted(in_log(store)) == sorted(fact_id(number) for number in range(sent_up_to))
    assert all(verify(store, number, tmp_path / "scratch").equal for number in store.numbers())
    reader = LocalProfiles(store)
    versions = [reader.read(user_key(f"user-{number}")).profile for number in range(USERS)]
    assert sum(0 if profile is None else profile.version for profile in versions) == sent_up_to
    assert told


def test_a_stopped_owner_is_killed_and_what_it_had_not_acknowledged_never_is(tmp_path: Path) -> None:
    store = made(tmp_path / "store", 1)
    folder = store.folder(PartitionId(0))
    child = Child(store)
    child.begin(0, 10)
    assert child.line() == "ok 0 10\n"
    child.process.send_signal(signal.SIGSTOP)
    child.begin(10, 20)
    pulse = Pulse(folder)
    until(lambda: pulse.silence_s() > 0.5, "the owner falls silent")
    reader = LocalProfiles(store)
    assert reader.read(user_key("user-3")).profile is not None

    async def take_over() -> None:
        with pytest.raises(Held, match=f"process {child.process.pid}"):
            await PartitionHost(store, store.numbers(), opening(store)).start()
        assert holder(folder) == child.process.pid
        assert end_silent_holder(folder, 0.5, 30.0) == child.process.pid
        async with hosted(store) as host:
            assert {each.status for each in await sent(host, facts(0, 10))} == {"duplicate"}
            assert {each.status for each in await sent(host, facts(10, 20))} == {"ok"}

    asyncio.run(take_over())
    rest, _ = child.process.communicate()
    assert rest == ""
    assert verify(store, PartitionId(0), tmp_path / "scratch").equal


def test_a_machine_crash_after_a_kill_is_answered_from_the_checkpoint(tmp_path: Path) -> None:
    store = made(tmp_path / "store", 1)
    checkpoints = store.folder(PartitionId(0)) / "checkpoints"
    child = Child(store)
    for first in range(0, 100, 10):
        child.begin(first, first + 10)
    for _ in range(10):
        child.line()
    until(lambda: checkpoints.exists() and any(each.name.isdigit() for each in checkpoints.iterdir()), "a checkpoint")
    child.begin(100, 110)
    child.line()
    child.killed()
    data = store.folder(PartitionId(0)) / "state" / "data.mdb"
    (data.parent / "marker").unlink()
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])

    async def again() -> None:
        async with hosted(store) as host:
            assert {each.status for each in await sent(host, facts(0, 110))} == {"duplicate"}

    asyncio.run(again())
    assert verify(store, PartitionId(0), tmp_path / "scratch").equal
