"""Threads of one process over one state: a writer and readers that ask for tables nobody has made."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from actors.lmdb_state import LmdbReader, LmdbState

WAIT_S = 60.0


def test_readers_of_missing_tables_and_a_writer_never_stop_each_other(tmp_path: Path) -> None:
    state = LmdbState(tmp_path / "state")
    state.commit([("there", b"k", b"v")], {"log": 1})

    def write() -> None:
        for number in range(2_000):
            state.commit([("there", b"k%d" % n, b"v" * 100) for n in range(20)], {"log": number})

    def read() -> None:
        reader = LmdbReader(tmp_path / "state")
        for number in range(20_000):
            assert reader.get(f"missing{number % 5}", b"k") is None

    work: list[Callable[[], None]] = [write, read, read]
    threads = [threading.Thread(target=each, daemon=True) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert not any(thread.is_alive() for thread in threads)
    state.close()


def test_readers_survive_an_owner_that_closes_and_opens_again(tmp_path: Path) -> None:
    """As a follower that failed does, in a service of one process."""
    folder = tmp_path / "state"
    state = LmdbState(folder)
    state.commit([("there", b"%04d" % n, b"v" * 50) for n in range(2_000)], {"log": 1})
    state.close()
    done = threading.Event()
    problems: list[Exception] = []

    def own() -> None:
        for number in range(60):
            owner = LmdbState(folder)
            owner.commit([("there", b"0000", b"%d" % number)], {"log": number})
            owner.close()
        done.set()

    def read() -> None:
        reader = LmdbReader(folder)
        try:
            while not done.is_set():
                assert sum(1 for _ in reader.scan("there")) == 2_000
                assert reader.get("there", b"0001") == b"v" * 50
                assert len(reader.get_many("there", [b"0001", b"0002"])) == 2
                assert "log" in reader.offsets()
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=each, daemon=True) for each in (own, read, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert problems == []
    assert done.is_set()
