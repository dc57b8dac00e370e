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
